//! `[[interceptors]]`: where services are here, and by what they know the gateway.

use microgw_compiler::{names, url};

use super::diagnostic::{Code, ConfigDiagnostic};
use super::users::Secret;
use super::values::Values;

/// What settings say of one interceptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interceptor {
    pub name: String,
    /// `None`: where its description says.
    pub url: Option<String>,
    /// A header, lower-case, and its value.
    pub credential: Option<(String, Secret)>,
}

const SECTION: &str = "interceptors";

pub fn read(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Vec<Interceptor> {
    let mut found: Vec<Interceptor> = Vec::new();
    for entry in values.entries(SECTION) {
        let at = |key: &str| format!("{entry}.{key}");
        let text = |key: &str| Some(values.text(&at(key))).filter(|text| !text.is_empty());
        let mut wrong = |key: &str, message: String| {
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(&at(key)), message));
        };
        let Some(name) = text("name") else {
            let message = format!("`{entry}` needs the `name` of an interceptor");
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.section_origin(&entry), message));
            continue;
        };
        if found.iter().any(|other| other.name == name) {
            wrong("name", format!("`{}` is the second entry for `{name}`", at("name")));
            continue;
        }
        let url = text("url");
        if url.as_deref().is_some_and(|url| url::parse(url).is_err()) {
            wrong(
                "url",
                format!("`{}` must be a URL of http or https, without credentials, query and fragment", at("url")),
            );
        }
        let header = text("header").map(|header| header.to_ascii_lowercase());
        if header.as_deref().is_some_and(|header| !names::is_header(header)) {
            wrong("header", format!("`{}` is no header's name", at("header")));
        }
        let value = text("value");
        let sendable = |value: &str| value.bytes().all(|byte| matches!(byte, b' '..=b'~')) && value.trim() == value;
        if value.as_deref().is_some_and(|value| !sendable(value)) {
            wrong("value", format!("`{}` has a character that a header cannot have", at("value")));
        }
        let credential = match (header, value) {
            (Some(header), Some(value)) => Some((header, Secret::new(value))),
            (None, None) => None,
            (header, _) => {
                let (there, missing) = if header.is_some() { ("header", "value") } else { ("value", "header") };
                wrong(there, format!("`{}` has no meaning without `{}`", at(there), at(missing)));
                None
            }
        };
        if credential.is_some() && url.is_none() {
            wrong("header", format!("`{}` needs `{}`: a secret goes where settings say", at("header"), at("url")));
        }
        found.push(Interceptor { name, url, credential });
    }
    found
}

#[cfg(test)]
#[path = "interceptors_tests.rs"]
mod tests;
