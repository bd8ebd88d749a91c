//! What is written down about the gateway's work: its log, the access log, traces.

use microgw_compiler::settings;
use tracing::level_filters::LevelFilter;

use super::diagnostic::{Code, ConfigDiagnostic};
use super::values::Values;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

pub fn log_level(values: &Values) -> LevelFilter {
    values.text("b7a.log.level").parse().unwrap_or(LevelFilter::INFO)
}

pub fn log_format(values: &Values) -> LogFormat {
    if values.text("b7a.log.format") == "json" { LogFormat::Json } else { LogFormat::Human }
}

pub fn access_log(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<settings::AccessLog> {
    let (console, path) = (values.bool("b7a.http.accesslog.console"), values.path("b7a.http.accesslog.path"));
    if console && path.is_some() {
        let message = "`b7a.http.accesslog.console` has no effect: `b7a.http.accesslog.path` is given too";
        let origin = values.origin("b7a.http.accesslog.console");
        problems.push(ConfigDiagnostic::warning(Code::NoEffect, &origin, message));
    }
    let path = path.map(|path| path.to_string_lossy().into_owned());
    path.or_else(|| console.then(|| "/dev/stdout".to_owned())).map(|path| settings::AccessLog { path })
}
