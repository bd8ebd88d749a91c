//! `conf/deployment-config.toml`: how the project is read. Its sections for images and clusters of the old product have
//! no meaning here.

use std::io;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::Report;
use crate::definition::did_you_mean;
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::files::Files;
use crate::source::{into_text, place_in};

/// Relative to the project.
pub const PATH: &str = "conf/deployment-config.toml";
/// Bytes.
const MAX_SIZE: u64 = 1 << 20;
const IGNORED: &[&str] = &["docker", "kubernetes"];

/// What an empty `security` means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EmptySecurity {
    /// `openapiSecurity = "standard"`: public.
    Public,
    /// `"legacy"`, the default: in the old product it meant secured, so it is refused.
    #[default]
    Refused,
}

/// Reads the file, if there is one.
pub(super) fn read(files: &dyn Files, report: &mut Report) -> EmptySecurity {
    let file: Arc<str> = PATH.into();
    let bytes = match files.read(PATH, MAX_SIZE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return EmptySecurity::default(),
        Err(error) => {
            let message = format!("`{PATH}` cannot be read: {error}");
            report.add(Diagnostic::new(Code::UnreadableFile, Place::whole(file), message));
            return EmptySecurity::default();
        }
    };
    let text = match into_text(&file, bytes) {
        Ok(text) => text,
        Err(diagnostic) => {
            report.add(diagnostic);
            return EmptySecurity::default();
        }
    };
    let say = |report: &mut Report, code, range, message: String, help: Option<String>| {
        report.add(Diagnostic { help, ..Diagnostic::new(code, place_in(&file, &text, range), message) });
    };
    let table = match DeTable::parse(&text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            say(report, Code::Syntax, error.span().unwrap_or_default(), error.message().to_owned(), None);
            return EmptySecurity::default();
        }
    };
    let mut empty = EmptySecurity::default();
    for (key, value) in &table {
        let name = key.get_ref().as_ref();
        match name {
            "project" => {
                let Some(project) = value.get_ref().as_table() else {
                    say(report, Code::DeploymentConfig, value.span(), "`project` must be a table".to_owned(), None);
                    continue;
                };
                for (key, value) in project {
                    match (key.get_ref().as_ref(), value.get_ref()) {
                        ("openapiSecurity", DeValue::String(word)) if word == "standard" => {
                            empty = EmptySecurity::Public;
                        }
                        ("openapiSecurity", DeValue::String(word)) if word == "legacy" => {
                            empty = EmptySecurity::Refused;
                        }
                        ("openapiSecurity", _) => {
                            let message = "`openapiSecurity` must be \"standard\" or \"legacy\"".to_owned();
                            say(report, Code::DeploymentConfig, value.span(), message, None);
                        }
                        (unknown, _) => {
                            let message = format!("`[project]` has no key `{unknown}`");
                            let help = did_you_mean(unknown, ["openapiSecurity"]);
                            say(report, Code::DeploymentConfig, key.span(), message, help);
                        }
                    }
                }
            }
            "filters" => {
                let message = "custom filters are not run".to_owned();
                let help = Some(
                    "remove the section, and put what its filters do in front of or behind the gateway".to_owned(),
                );
                say(report, Code::BallerinaCode, key.span(), message, help);
            }
            _ if IGNORED.contains(&name) => {
                say(report, Code::DeploymentIgnored, key.span(), format!("the section `{name}` is ignored"), None);
            }
            _ => {
                let message = format!("there is no section `{name}`");
                let help = did_you_mean(name, ["project"]);
                say(report, Code::DeploymentConfig, key.span(), message, help);
            }
        }
    }
    empty
}
