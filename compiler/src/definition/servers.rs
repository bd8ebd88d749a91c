//! Where a definition says that its API is: `servers` of OpenAPI 3, `host`, `basePath` and `schemes` of Swagger 2.0.

use super::fields::{list, object, scalar, text};
use super::shape::one_of;
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::model::BackendUrl;
use crate::source::Value;
use crate::url::{self, UrlError};

/// One server, its variables replaced.
pub(super) struct Server<'d> {
    pub at: Value<'d>,
    pub address: Address,
}

pub(super) enum Address {
    Absolute(BackendUrl),
    /// A path alone: `""` for the root.
    Relative(String),
    /// Reported.
    Broken,
}

/// The `servers` of an OpenAPI 3 object, if it has any.
pub(super) fn of_openapi<'d>(report: &mut Report, owner: Value<'d>) -> Vec<Server<'d>> {
    let Some(servers) = owner.get("servers").and_then(|servers| list(report, "servers", servers)) else {
        return Vec::new();
    };
    servers.items().map(|server| read(report, server)).collect()
}

/// What `host`, `basePath` and `schemes` of a Swagger 2.0 definition come to.
pub(super) fn of_swagger<'d>(report: &mut Report, root: Value<'d>) -> Vec<Server<'d>> {
    let base = root.get("basePath").and_then(|base| Some((base, text(report, "basePath", base)?)));
    let path = match base {
        None => Some(String::new()),
        Some((at, base)) => url::normal_path(base).or_else(|| {
            report.say(Code::BadBasePath, at, format!("the base path `{base}` is not a concrete, normalised path"));
            None
        }),
    };
    let host = root.get("host").and_then(|host| Some((host, text(report, "host", host)?)));
    let address = |relative: String| Address::Relative(relative);
    let Some((at, host)) = host else {
        let path = path.map_or(Address::Broken, address);
        return base.map(|(at, _)| Server { at, address: path }).into_iter().collect();
    };
    let scheme = scheme(report, root, at);
    let (Some(scheme), Some(path)) = (scheme, path) else { return vec![Server { at, address: Address::Broken }] };
    let address = absolute(report, at, &format!("{scheme}://{host}{path}"));
    vec![Server { at, address }]
}

/// `schemes` are ways to reach one host, not backends to share the load: the encrypted one is taken.
fn scheme(report: &mut Report, root: Value<'_>, host: Value<'_>) -> Option<&'static str> {
    let Some(schemes) = root.get("schemes") else {
        report.advise(
            Code::AssumedScheme,
            host,
            "the host has no `schemes`; `https` is assumed",
            "add `schemes: [https]`",
        );
        return Some("https");
    };
    let schemes = list(report, "schemes", schemes)?;
    let words: Vec<&str> = schemes
        .items()
        .map(|scheme| one_of(report, "schemes", scheme, &["http", "https", "ws", "wss"]))
        .collect::<Option<_>>()?;
    let scheme = ["https", "http"].into_iter().find(|scheme| words.contains(scheme));
    if scheme.is_none() {
        report.say(Code::BadUrl, schemes, "`schemes` names neither `http` nor `https`");
    }
    scheme
}

fn read<'d>(report: &mut Report, server: Value<'d>) -> Server<'d> {
    let broken = Server { at: server, address: Address::Broken };
    let Some(server) = object(report, "servers", server) else { return broken };
    let Some(at) = server.get("url") else {
        report.say(Code::BadUrl, server, "the server has no `url`");
        return broken;
    };
    let Some(template) = text(report, "url", at) else { return broken };
    let Some(resolved) = resolve(report, server, at, template) else { return Server { at, address: Address::Broken } };
    if resolved.starts_with('/') && !resolved.starts_with("//") {
        let address = url::normal_path(&resolved).map_or_else(
            || {
                report.say(Code::BadUrl, at, format!("the server URL `{resolved}` cannot be used: {}", UrlError::Path));
                Address::Broken
            },
            Address::Relative,
        );
        return Server { at, address };
    }
    Server { at, address: absolute(report, at, &resolved) }
}

/// The URL with the default of each variable in its place.
fn resolve(report: &mut Report, server: Value<'_>, at: Value<'_>, template: &str) -> Option<String> {
    let mut resolved = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, tail)) = rest.split_once('{') {
        let Some((name, tail)) = tail.split_once('}') else { break };
        resolved.push_str(before);
        let default = server
            .get("variables")
            .and_then(|variables| variables.get(name))
            .and_then(|variable| variable.get("default"));
        let Some(default) = default else {
            let message = format!("the variable `{name}` of the server URL has no default");
            report.advise(Code::BadUrl, at, message, format!("give `{name}` a `default` under `variables`"));
            return None;
        };
        resolved.push_str(scalar(report, "default", default)?);
        rest = tail;
    }
    resolved.push_str(rest);
    Some(resolved)
}

/// An absolute URL of `at`; reports why it is none.
pub(super) fn absolute(report: &mut Report, at: Value<'_>, text: &str) -> Address {
    match url::parse(text) {
        Ok(url) => Address::Absolute(url),
        Err(error) => {
            // A URL with a password in it is not repeated.
            let shown = if error == UrlError::UserInfo { String::new() } else { format!(" `{text}`") };
            let message = format!("the URL{shown} cannot be used: {error}");
            match error {
                UrlError::International => {
                    report.advise(Code::BadUrl, at, message, "write the host in its `xn--` form");
                }
                UrlError::Relative => report.advise(Code::BadUrl, at, message, "begin it with `http://` or `https://`"),
                UrlError::UserInfo => report.advise(Code::BadUrl, at, message, "take the credentials out of the URL"),
                _ => report.say(Code::BadUrl, at, message),
            }
            Address::Broken
        }
    }
}
