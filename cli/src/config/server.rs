//! `[server]`: what requests and responses say of the gateway.

use microgw_compiler::settings::ServerHeader;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::values::Values;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerHeaders {
    pub server: ServerHeader,
    /// `None`: as it comes from the client; empty: none.
    pub user_agent: Option<String>,
}

pub fn headers(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> ServerHeaders {
    let name = text(values, "server.header", problems);
    let mut headers = ServerHeaders::default();
    if !name.is_empty() {
        headers.server = ServerHeader::IfAbsent(name.clone());
    }
    let mut seen = Vec::new();
    for entry in values.entries("server.headerConf") {
        let at = |key| format!("{entry}.{key}");
        let header = values.text(&at("headerName")).to_lowercase();
        let value = text(values, &at("overrideValue"), problems);
        let kept = values.bool(&at("preserveHeader"));
        if seen.contains(&header) {
            let message = format!("`{}` is listed twice: `{header}`", at("headerName"));
            problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(&at("headerName")), message));
        }
        if kept && !value.is_empty() {
            let message = format!("`{}` has no effect: the header is preserved", at("overrideValue"));
            problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(&at("overrideValue")), message));
        }
        match header.as_str() {
            "user-agent" if !kept => headers.user_agent = Some(value),
            "server" if !kept => {
                let value = if value.is_empty() { name.clone() } else { value };
                if value.is_empty() {
                    // Envoy replaces the header, and does not leave it out.
                    let message = format!("`{entry}`: `Server` can be replaced, and not be left out");
                    let help = "give an `overrideValue`";
                    problems.push(
                        ConfigDiagnostic::error(Code::BadValue, &values.section_origin(&entry), message).help(help),
                    );
                }
                headers.server = ServerHeader::Always(value);
            }
            "user-agent" | "server" => {}
            _ => {
                let message = format!("`{}` must be `User-Agent` or `Server`", at("headerName"));
                problems.push(ConfigDiagnostic::error(Code::BadValue, &values.section_origin(&entry), message));
            }
        }
        seen.push(header);
    }
    headers
}

/// The value of a header.
fn text(values: &Values, path: &str, problems: &mut Vec<ConfigDiagnostic>) -> String {
    let text = values.text(path);
    if text.chars().any(|c| !(c == ' ' || c.is_ascii_graphic())) {
        let message = format!("`{path}` has characters that no header can have");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message));
    }
    text
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
