//! What a project of the old product may hold that is not run here: said aloud, never passed over.

use std::sync::Arc;

use super::Report;
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::files::Files;
use crate::source::into_text;

/// Bytes.
const MAX_SIZE: u64 = 4 << 20;

/// Reports Ballerina code, gRPC definitions and Java libraries. `list` gives a directory's files in order.
pub(super) fn check(files: &dyn Files, list: impl Fn(&mut Report, &str) -> Vec<String>, report: &mut Report) {
    for path in ["interceptors", "extensions"].iter().flat_map(|directory| list(report, directory)).collect::<Vec<_>>()
    {
        if has_extension(&path, "bal") {
            ballerina(files, report, &path);
        }
    }
    for path in list(report, "grpc_definitions").iter().filter(|path| has_extension(path, "proto")) {
        let message = format!("`{path}` is not served: gRPC definitions are not built yet");
        report.add(
            Diagnostic::new(Code::GrpcDefinition, Place::whole(path.as_str()), message)
                .help("move it out of `grpc_definitions`, or describe its service in OpenAPI"),
        );
    }
    for path in list(report, "lib").iter().filter(|path| has_extension(path, "jar")) {
        let message = format!("`{path}` is not loaded: Java interceptors are not run");
        report.add(
            Diagnostic::new(Code::JavaLibrary, Place::whole(path.as_str()), message)
                .help("remove it when nothing depends on it"),
        );
    }
}

fn ballerina(files: &dyn Files, report: &mut Report, path: &str) {
    let file: Arc<str> = path.into();
    let text = files.read(path, MAX_SIZE).map_err(|error| {
        let message = format!("`{path}` cannot be read: {error}");
        Diagnostic::new(Code::UnreadableFile, Place::whole(Arc::clone(&file)), message)
    });
    match text.and_then(|bytes| into_text(&file, bytes)) {
        Err(diagnostic) => report.add(diagnostic),
        Ok(text) if has_code(&text) => report.add(
            Diagnostic::new(
                Code::BallerinaCode,
                Place::whole(file),
                format!("`{path}` has Ballerina code, which is not run"),
            )
            .help("port what it does to the definition, to a component or to an interceptor service (docs/interceptors.md says how), then delete the file"),
        ),
        Ok(_) => report.add(Diagnostic::new(
            Code::BallerinaIgnored,
            Place::whole(file),
            format!("`{path}` has no code and is ignored"),
        )),
    }
}

/// Whether a Ballerina file does anything: more than imports, and functions and objects whose bodies are empty or only
/// return, as in the templates that the old product put into every project.
fn has_code(text: &str) -> bool {
    // A `//` inside a string cuts a statement short, and it still is a statement.
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim());
    let code: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let code = code.join(" ");
    let statement = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
    code.split([';', '{', '}']).map(statement).any(|statement| !is_inert(&statement))
}

fn is_inert(statement: &str) -> bool {
    let declares = |prefix: &str| {
        let words = statement.strip_prefix("public ").unwrap_or(statement);
        words.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(' ')) && !statement.contains('=')
    };
    matches!(statement, "" | "return" | "return true" | "return ()")
        || statement.starts_with("import ")
        || declares("function")
        || (declares("type") && statement.ends_with(" object"))
}

fn has_extension(path: &str, extension: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, found)| found.eq_ignore_ascii_case(extension))
}
