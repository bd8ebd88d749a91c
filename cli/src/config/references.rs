//! `$env{NAME}` and `$file{PATH}`: values that are kept elsewhere. For every key, entries of `[[..]]` included, which the
//! environment cannot set; meant for secrets.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use microgw_compiler::secret::Reference;

use super::diagnostic::{Code, ConfigDiagnostic, Origin};
use super::keys::{self, Danger, Key, Kind, Status};
use super::layers::{Layers, Raw};

/// Bytes of a file that a value is in.
const MAX_SIZE: u64 = 64 * 1024;

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
        let reference = Reference::parse(text).map_err(|error| error.to_string())?;
        let Some(reference) = reference else { return Ok(None) };
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

/// What a reference of a definition comes to, or why to nothing. Relative paths begin where the gateway was started.
pub fn look_up(reference: Reference<'_>) -> Result<String, String> {
    let value = match reference {
        Reference::Variable(name) => match std::env::var(name) {
            Ok(value) => value,
            Err(std::env::VarError::NotPresent) => return Err("is not set".to_owned()),
            Err(std::env::VarError::NotUnicode(_)) => return Err("is not UTF-8".to_owned()),
        },
        Reference::File(path) => match read(Path::new(path)) {
            Err(error) => return Err(format!("cannot be read: {error}")),
            Ok((value, mode)) => {
                if mode & 0o004 != 0 && !is_of_a_container(Path::new(path)) {
                    tracing::warn!(path, "everybody on this machine can read a secret for backends (mode {mode:03o})");
                }
                value
            }
        },
    };
    if value.is_empty() { Err("is empty".to_owned()) } else { Ok(value) }
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
