//! What is written down about the gateway's work: its log, the access log, traces.

use microgw_compiler::model::BackendUrl;
use microgw_compiler::settings::{self, Protocol};
use microgw_compiler::{names, url};
use reqwest::header::HeaderValue;
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
    let caller = values.bool("b7a.http.accesslog.caller");
    path.or_else(|| console.then(|| "/dev/stdout".to_owned())).map(|path| settings::AccessLog { path, caller })
}

/// `None` also where a problem leaves nothing to go on with.
pub fn tracing(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<settings::Tracing> {
    let endpoint = values.text("telemetry.otlpEndpoint");
    if endpoint.is_empty() {
        for member in values.members("telemetry") {
            let path = format!("telemetry.{member}");
            let message = format!("`{path}` has no effect without `telemetry.otlpEndpoint`");
            problems.push(ConfigDiagnostic::warning(Code::NoEffect, &values.origin(&path), message));
        }
        return None;
    }
    let protocol = if values.text("telemetry.protocol") == "http" { Protocol::Http } else { Protocol::Grpc };
    let collector = collector(&endpoint, protocol, values, problems);
    let headers = headers(values, problems);
    let ratio = values.ratio("telemetry.sampling");
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 0 to 10,000
    let sampling = (ratio * 10_000.0).round() as u32;
    if sampling == 0 && ratio > 0.0 {
        let message = format!("`telemetry.sampling` is {ratio}: less than 0.0001 is none");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin("telemetry.sampling"), message));
    }
    let collector = collector?;
    let loopback = collector.host == "localhost"
        || collector.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if !collector.tls && !loopback && !headers.is_empty() {
        let message = "`telemetry.headers` travel to `telemetry.otlpEndpoint` in the clear";
        let problem = ConfigDiagnostic::warning(Code::Insecure, &values.origin("telemetry.otlpEndpoint"), message);
        problems.push(problem.help("use `https:` if one of them is a credential"));
    }
    Some(settings::Tracing {
        collector,
        protocol,
        headers,
        sampling,
        trust_clients: values.bool("telemetry.trustTraceparent"),
        service_name: values.text("telemetry.serviceName"),
    })
}

fn collector(
    endpoint: &str,
    protocol: Protocol,
    values: &Values,
    problems: &mut Vec<ConfigDiagnostic>,
) -> Option<BackendUrl> {
    let path = "telemetry.otlpEndpoint";
    let reason = match url::parse(endpoint) {
        Ok(collector) if protocol == Protocol::Grpc && !collector.path.is_empty() => {
            "has a path, which gRPC has no use for".to_owned()
        }
        Ok(collector) => return Some(collector),
        Err(error) => format!("is not the URL of a collector: {error}"),
    };
    // It may have a password in it.
    problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), format!("`{path}` {reason}")));
    None
}

fn headers(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Vec<settings::SecretHeader> {
    let mut headers = Vec::new();
    for member in values.members("telemetry.headers") {
        let path = format!("telemetry.headers.{member}");
        let value = values.text(&path);
        let reason = match names::credential_header(member.trim_matches('"')) {
            Ok(name) if name.starts_with("grpc-") => "is a header of gRPC itself",
            // Such as what refers to nothing: that has been said.
            Ok(_) if values.is_wrong(&path) => continue,
            Ok(_) if value.is_empty() || HeaderValue::from_str(&value).is_err() => "is not the value of a header",
            Ok(name) => {
                headers.push(settings::SecretHeader { name, value });
                continue;
            }
            Err(_) => "does not name a header that requests are free to carry",
        };
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(&path), format!("`{path}` {reason}")));
    }
    headers
}

#[cfg(test)]
#[path = "telemetry_tests.rs"]
mod tests;
