//! Whether what is vendored is what was taken in.

use std::io;
use std::sync::Arc;

use super::{Content, DIRECTORY, LOCK, Lock, Locked, MAX_FILE, MAX_LOCK};
use crate::compile::Report;
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::files::Files;
use crate::source::place_in;

/// `paths` are the project's files below [`DIRECTORY`].
pub(crate) fn check(files: &dyn Files, paths: &[String], report: &mut Report) {
    let bytes = match files.read(LOCK, MAX_LOCK) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            let message = format!("`{LOCK}` cannot be read: {error}");
            report.add(Diagnostic::new(Code::UnreadableFile, Place::whole(LOCK), message));
            return;
        }
    };
    let file: Arc<str> = LOCK.into();
    let wrong = |range, message: String, text: &str| {
        Diagnostic::new(Code::ChangedPolicy, place_in(&file, text, range), message)
    };
    let Ok(text) = String::from_utf8(bytes) else {
        report.add(Diagnostic::new(Code::ChangedPolicy, Place::whole(LOCK), format!("`{LOCK}` is not in UTF-8")));
        return;
    };
    let locked = match Lock::read_spanned(&text) {
        Ok(locked) => locked,
        Err(error) => {
            report.add(wrong(error.range, format!("`{LOCK}` cannot be used: {}", error.message), &text));
            return;
        }
    };
    for (name, (locked, range)) in locked {
        match content(files, paths, &name) {
            Ok(content) if content.is_empty() => {
                let message = format!("`{DIRECTORY}/{name}` is not there, and was taken in from `{}`", locked.source);
                let help = format!("`micro-gw policy update {name}` brings it back, `policy remove {name}` forgets it");
                report.add(wrong(range, message, &text).help(help));
            }
            Ok(content) if content.digest() != locked.digest => {
                report.add(wrong(range, changed(&name, &locked, &content), &text).help(format!(
                    "`micro-gw policy update --force {name}` brings back what was there; what is to be changed here is a policy of your own, under \
                     another name"
                )));
            }
            Ok(_) => {}
            Err(message) => report.add(wrong(range, format!("`{DIRECTORY}/{name}`: {message}"), &text)),
        }
    }
}

fn changed(name: &str, locked: &Locked, content: &Content) -> String {
    format!(
        "`{DIRECTORY}/{name}` is not what was taken in from `{}`: its digest is {}",
        locked.source,
        content.digest()
    )
}

/// What is there of a policy.
fn content(files: &dyn Files, paths: &[String], name: &str) -> Result<Content, String> {
    let mut content = Content::default();
    for path in paths {
        let below =
            path.strip_prefix(DIRECTORY).and_then(|path| path.strip_prefix('/')?.strip_prefix(name)?.strip_prefix('/'));
        let Some(below) = below else { continue };
        let bytes = files.read(path, MAX_FILE).map_err(|error| format!("`{below}` cannot be read: {error}"))?;
        content.add(below, &bytes).map_err(|error| error.to_string())?;
    }
    Ok(content)
}
