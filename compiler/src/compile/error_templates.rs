//! `error_templates/`: how the project words faults.
//!
//! `<code>.<extension>` is for one error code, `default.<extension>` for all others; `.problem.json` for clients that ask
//! for problem details.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use microgw_faults::{Fault, Form};

use super::Report;
use crate::diagnostic::{Code, Diagnostic, LineColumn, Place};
use crate::error_template::{ErrorTemplate, MAX_SIZE, Syntax, TemplateError};
use crate::files::Files;
use crate::source::into_text;

pub(super) const DIRECTORY: &str = "error_templates";

/// Reads `paths`, and renders each for every fault that it is for.
pub(super) fn read(files: &dyn Files, paths: Vec<String>, report: &mut Report) -> Vec<ErrorTemplate> {
    let mut templates = BTreeMap::new();
    for path in paths {
        let file: Arc<str> = path.into();
        let (code, problem, syntax) = match named(&file) {
            Ok(named) => named,
            Err(message) => {
                let help = "name it `<code>.json`, `default.json` or `<code>.problem.json`; `.xml`, `.html` and `.txt` can stand \
                            for the first `.json`";
                report.add(Diagnostic::new(Code::ErrorTemplate, Place::whole(file), message).help(help));
                continue;
            }
        };
        if let Some((other, _)) = templates.get(&(code, problem)) {
            let message = format!("`{file}` is for the same answers as `{other}`");
            report.add(Diagnostic::new(Code::ErrorTemplate, Place::whole(file), message));
            continue;
        }
        let Some(source) = source(files, &file, report) else { continue };
        let template = ErrorTemplate { code, problem, syntax, source };
        if let Err(TemplateError { line, message }) = check(&template) {
            let place = Place::point(Arc::clone(&file), LineColumn { line, column: 1 });
            let diagnostic =
                Diagnostic::new(Code::ErrorTemplate, place, format!("the template cannot be used: {message}"));
            let help = "there are `code`, `status`, `name`, `message`, `description`, `type`, of throttled requests `policy` and of validated ones `errors`";
            let help = match syntax {
                Syntax::Json => format!(
                    "{help}; in JSON they bring their own quotes: write `{{{{ message }}}}`, not `\"{{{{ message }}}}\"`"
                ),
                _ => help.to_owned(),
            };
            report.add(diagnostic.help(help));
            continue;
        }
        templates.insert((code, problem), (file, template));
    }
    templates.into_values().map(|(_, template)| template).collect()
}

fn named(path: &str) -> Result<(Option<u32>, bool, Syntax), String> {
    let name = path.strip_prefix(DIRECTORY).map_or(path, |name| name.trim_start_matches('/'));
    let (stem, extension) = name.split_once('.').ok_or_else(|| format!("`{path}` has no extension"))?;
    let (problem, extension) = match extension.strip_prefix("problem.") {
        Some("json") => (true, "json"),
        Some(_) => return Err(format!("`{path}` is for problem details, which are JSON")),
        None => (false, extension),
    };
    let syntax =
        Syntax::of_extension(extension).ok_or_else(|| format!("`{path}` has an extension that is not known"))?;
    if stem == "default" {
        return Ok((None, problem, syntax));
    }
    let code = stem.parse::<u32>().ok().filter(|code| Fault::ALL.iter().any(|fault| fault.code() == *code));
    match code {
        // One spelling: not `0404`.
        Some(code) if code.to_string() == stem => Ok((Some(code), problem, syntax)),
        _ => Err(format!("`{stem}` is no error code of the gateway")),
    }
}

fn source(files: &dyn Files, file: &Arc<str>, report: &mut Report) -> Option<String> {
    match files.read(file, MAX_SIZE as u64) {
        Ok(bytes) => into_text(file, bytes).map_err(|diagnostic| report.add(diagnostic)).ok(),
        Err(error) => {
            let (code, message) = if error.kind() == io::ErrorKind::FileTooLarge {
                (Code::InputBudget, format!("`{file}` has more than {MAX_SIZE} bytes"))
            } else {
                (Code::UnreadableFile, format!("`{file}` cannot be read: {error}"))
            };
            report.add(Diagnostic::new(code, Place::whole(Arc::clone(file)), message));
            None
        }
    }
}

/// A template of a project that builds renders for every fault.
fn check(template: &ErrorTemplate) -> Result<(), TemplateError> {
    let mut faults =
        Fault::ALL.iter().filter(|fault| Form::ALL.iter().any(|form| template.fits(**fault, *form).is_some()));
    faults.try_for_each(|fault| template.render(*fault).map(drop))
}

#[cfg(test)]
mod tests;
