//! The extensions that the gateway knows, and where each has a meaning.

use super::fields::suggest;
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::source::Value;

/// Where an extension stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Api,
    Path,
    Operation,
}

struct Extension {
    name: &'static str,
    api: bool,
    operation: bool,
}

const fn api(name: &'static str) -> Extension {
    Extension { name, api: true, operation: false }
}

const fn operation(name: &'static str) -> Extension {
    Extension { name, api: false, operation: true }
}

const fn both(name: &'static str) -> Extension {
    Extension { name, api: true, operation: true }
}

const EXTENSIONS: &[Extension] = &[
    operation("x-auth-type"),
    both("x-microgw-body-limit"),
    both("x-microgw-compression"),
    both("x-microgw-cost"),
    both("x-microgw-headers"),
    api("x-microgw-hosts"),
    both("x-microgw-idle-timeout"),
    both("x-microgw-interceptors"),
    both("x-microgw-mirror"),
    both("x-microgw-mock"),
    operation("x-microgw-redirect"),
    both("x-microgw-scope-match"),
    both("x-microgw-stream"),
    both("x-microgw-timeout"),
    operation("x-microgw-websocket"),
    both("x-microgw-transform"),
    both("x-microgw-validation"),
    operation("x-scope"),
    both("x-throttling-tier"),
    both("x-wso2-application-security"),
    api("x-wso2-auth-header"),
    api("x-wso2-basePath"),
    api("x-wso2-cors"),
    both("x-wso2-disable-security"),
    api("x-wso2-endpoints"),
    api("x-wso2-mutual-ssl"),
    api("x-wso2-owner"),
    both("x-wso2-production-endpoints"),
    both("x-wso2-request-interceptor"),
    api("x-wso2-response-cache"),
    both("x-wso2-response-interceptor"),
    both("x-wso2-sandbox-endpoints"),
    both("x-wso2-throttling-tier"),
    api("x-wso2-transports"),
];

/// Whether `key` is one of the gateway's own extensions, or claims to be.
pub(crate) fn is_ours(key: &str) -> bool {
    key.starts_with("x-wso2-") || key.starts_with("x-microgw-") || find(key).is_some()
}

/// Reports the extensions of `object` that are not known or have no meaning at its level.
pub(crate) fn check(report: &mut Report, level: Level, object: Value<'_>) {
    for (key, _) in object.entries().filter(|(key, _)| is_ours(key.text())) {
        match find(key.text()) {
            Some(extension) if extension.is_for(level) => {}
            Some(extension) => misplaced(report, key, extension, level.name()),
            None => {
                let message = format!("the extension `{}` is not known and has no effect", key.text());
                // Nobody else has extensions of that name: what it was to do is not done.
                let own = key.text().starts_with("x-microgw-");
                let code = if own { Code::Misspelled } else { Code::UnknownExtension };
                suggest(report, code, key, message, key.text(), EXTENSIONS.iter().map(|known| known.name));
            }
        }
    }
}

/// Reports an extension outside the API, its paths and its operations.
pub(crate) fn stray(report: &mut Report, key: Value<'_>) {
    if let Some(extension) = find(key.text()) {
        misplaced(report, key, extension, "here");
    }
}

fn misplaced(report: &mut Report, key: Value<'_>, extension: &Extension, place: &str) {
    let belongs = match (extension.api, extension.operation) {
        (true, true) => "move it to the operations, or to the top level for the whole API",
        (true, false) => "move it to the top level",
        _ => "move it to the operations",
    };
    report.advise(Code::MisplacedExtension, key, format!("`{}` has no meaning {place}", extension.name), belongs);
}

fn find(name: &str) -> Option<&'static Extension> {
    EXTENSIONS.iter().find(|extension| extension.name == name)
}

// === impl Level ===

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Api => "at the top level",
            Level::Path => "on a path",
            Level::Operation => "on an operation",
        }
    }
}

// === impl Extension ===

impl Extension {
    fn is_for(&self, level: Level) -> bool {
        match level {
            Level::Api => self.api,
            Level::Path => false,
            Level::Operation => self.operation,
        }
    }
}
