//! `$env{NAME}` and `$file{PATH}`: values that are kept elsewhere. For every key, entries of `[[..]]` included, which the
//! environment cannot set; meant for secrets.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::diagnostic::{Code, ConfigDiagnostic, Origin};
use super::keys::{self, Danger, Key, Kind, Status};
use super::layers::{Layers, Raw};

/// Bytes of a file that a value is in.
const MAX_SIZE: u64 = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reference<'a> {
    Variable(&'a str),
    File(&'a str),
}

/// Where a value is that is referred to.
struct Target<'a> {
    path: &'a str,
    key: &'static Key,
    origin: &'a Origin,
    environment: &'a [(String, String)],
}

/// Puts values in the place of what refers to them. What a variable or a file holds is read as if it stood on the command
/// line (an entry of a list: as one text), and never for another reference. A value that is not to be had is [`Raw::Unresolved`], and a problem.
pub fn resolve(layers: &mut Layers, environment: &[(String, String)]) -> Vec<ConfigDiagnostic> {
    let mut problems = Vec::new();
    for (path, setting) in layers {
        let Some(key) = keys::find(path).filter(|key| is_read(key)) else { continue };
        let target = Target { path, key, origin: &setting.value_origin, environment };
        match &mut setting.raw {
            Raw::List(entries) => {
                for entry in &mut *entries {
                    target.replace(entry, Raw::Text, &mut problems);
                }
                if entries.contains(&Raw::Unresolved) {
                    setting.raw = Raw::Unresolved;
                }
            }
            raw => target.replace(raw, Raw::Untyped, &mut problems),
        }
    }
    problems
}

/// Whether a container engine has put the file there, for one container: it mounts it as the machine has it, or with its
/// own mode, and nobody inside could change that.
fn is_of_a_container(path: &Path) -> bool {
    ["/run/secrets", "/var/run/secrets"].iter().any(|directory| path.starts_with(directory))
}

/// Whether anything depends on the value.
fn is_read(key: &Key) -> bool {
    match key.status {
        Status::Supported => true,
        Status::NotYet { danger, .. } => matches!(danger, Danger::When(_)),
    }
}

// === impl Reference ===

impl Reference<'_> {
    /// `None`: the text is what it says.
    fn parse(text: &str) -> Result<Option<Reference<'_>>, &'static str> {
        if !["$env{", "$file{"].iter().any(|start| text.contains(start)) {
            return Ok(None);
        }
        let inside = |start| text.strip_prefix(start)?.strip_suffix('}').filter(|name| !name.contains(['{', '}']));
        let reference = inside("$env{").map(Reference::Variable).or_else(|| inside("$file{").map(Reference::File));
        match reference {
            Some(Reference::Variable("") | Reference::File("")) => Err("has a reference to nothing"),
            Some(reference) => Ok(Some(reference)),
            None => Err("has a reference in it: `$env{NAME}` or `$file{PATH}` must be all of the value"),
        }
    }
}

impl std::fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reference::Variable(name) => write!(f, "$env{{{name}}}"),
            Reference::File(path) => write!(f, "$file{{{path}}}"),
        }
    }
}

// === impl Target ===

impl Target<'_> {
    fn replace(&self, raw: &mut Raw, read: fn(String) -> Raw, problems: &mut Vec<ConfigDiagnostic>) {
        let (Raw::Text(text) | Raw::Untyped(text)) = &*raw else { return };
        match self.value(text, problems) {
            Ok(None) => {}
            Ok(Some(value)) => *raw = read(value),
            Err(reason) => {
                let message = format!("`{}` {reason}", self.path);
                problems.push(ConfigDiagnostic::error(Code::BadValue, self.origin, message));
                *raw = Raw::Unresolved;
            }
        }
    }

    fn value(&self, text: &str, problems: &mut Vec<ConfigDiagnostic>) -> Result<Option<String>, String> {
        let Some(reference) = Reference::parse(text)? else { return Ok(None) };
        let value = match reference {
            Reference::Variable(name) => {
                let found = self.environment.iter().find(|(variable, _)| variable == name);
                found.map(|(_, value)| value.clone()).ok_or_else(|| "is not set".to_owned())
            }
            Reference::File(path) => {
                let path = self.origin.resolve(path);
                read(&path).map_err(|error| format!("cannot be read: {error}")).map(|(value, mode)| {
                    if self.key.kind == Kind::Secret && mode & 0o004 != 0 && !is_of_a_container(&path) {
                        let message =
                            format!("everybody on this machine can read `{}` (mode {mode:03o})", path.display());
                        let help = format!("it holds `{}`: take the right to read it from others", self.path);
                        problems.push(ConfigDiagnostic::warning(Code::Insecure, self.origin, message).help(help));
                    }
                    value
                })
            }
        };
        // Compose sets variables that it knows nothing about to nothing.
        let value = value.and_then(|value| if value.is_empty() { Err("is empty".to_owned()) } else { Ok(value) });
        value.map(Some).map_err(|reason| format!("refers to `{reference}`, which {reason}"))
    }
}

/// The text of a file without the newline at its end, and who may do what with it.
fn read(path: &Path) -> io::Result<(String, u32)> {
    // A pipe would be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let file = File::open(path)?;
    let mode = file.metadata()?.mode() & 0o777;
    let mut text = String::new();
    file.take(MAX_SIZE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(io::Error::other(format!("it has more than {MAX_SIZE} bytes")));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok((text, mode))
}

#[cfg(test)]
#[path = "references_tests.rs"]
mod tests;
