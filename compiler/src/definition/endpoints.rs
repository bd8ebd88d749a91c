//! The endpoints of an API and its operations: `x-wso2-*-endpoints`, and what comes of servers.

use std::collections::HashMap;
use std::rc::Rc;

use super::fields::{list, object, suggest, text};
use super::servers::{self, Address, Server};
use super::shape::{Shape, one_of, unknown_key};
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::model::{BackendUrl, Endpoint};
use crate::source::{Content, Value};

const REFERENCE: &str = "#/x-wso2-endpoints/";
const KEYS: &[&str] = &["urls", "type", "securityConfig", "advanceEndpointConfig"];
const TYPES: &[&str] = &["http", "address", "load_balance", "failover"];

const MILLISECONDS: Shape = Shape::Integer(0, i32::MAX as i64);
const COUNT: Shape = Shape::Integer(0, i32::MAX as i64);
/// -1: the gateway's setting.
const LIMIT: Shape = Shape::Integer(-1, i32::MAX as i64);

const SECURITY: Shape = Shape::Object(&[
    ("type", Shape::OneOf(&["basic", "digest"])),
    ("username", Shape::Text),
    ("password", Shape::Text),
]);

const ADVANCED: Shape = Shape::Object(&[
    ("timeoutInMillis", MILLISECONDS),
    (
        "retryConfig",
        Shape::Object(&[
            ("count", COUNT),
            ("intervalInMillis", MILLISECONDS),
            ("backOffFactor", Shape::Number(0.0, 1000.0)),
            ("maxWaitIntervalInMillis", MILLISECONDS),
            ("statusCodes", Shape::Statuses),
        ]),
    ),
    (
        "circuitBreaker",
        Shape::Object(&[
            (
                "rollingWindow",
                Shape::Object(&[
                    ("requestVolumeThreshold", COUNT),
                    ("timeWindowInMillis", MILLISECONDS),
                    ("bucketSizeInMillis", MILLISECONDS),
                ]),
            ),
            ("failureThreshold", Shape::Number(0.0, 1.0)),
            ("resetTimeInMillis", MILLISECONDS),
            ("statusCodes", Shape::Statuses),
        ]),
    ),
    (
        "poolConfig",
        Shape::Object(&[
            ("maxActiveConnections", LIMIT),
            ("maxIdleConnections", LIMIT),
            ("waitTimeInMillis", LIMIT),
            ("maxActiveStreamsPerConnection", LIMIT),
        ]),
    ),
]);

/// What one level says about one environment.
#[derive(Clone, Default)]
pub(super) enum Declared {
    #[default]
    Nothing,
    /// Something that cannot be used, and has been reported.
    Broken,
    Endpoint(Rc<Endpoint>),
}

/// The two environments of one level.
#[derive(Clone, Default)]
pub(super) struct Environments {
    pub production: Declared,
    pub sandbox: Declared,
}

/// The entries of `x-wso2-endpoints`.
pub(super) struct Named<'d>(HashMap<&'d str, Declared>);

// === impl Declared ===

impl Declared {
    /// `self`, or what the level above says.
    pub(super) fn or(&self, above: &Declared) -> Declared {
        if let Declared::Nothing = self { above.clone() } else { self.clone() }
    }

    fn of(endpoint: Option<Endpoint>) -> Declared {
        endpoint.map_or(Declared::Broken, |endpoint| Declared::Endpoint(Rc::new(endpoint)))
    }
}

// === impl Environments ===

impl Environments {
    /// Reads the extensions of an API or operation; servers are its production endpoint when no extension names one.
    pub(super) fn of<'d>(report: &mut Report, owner: Value<'d>, servers: &Declared, named: &Named<'d>) -> Environments {
        let production = from_extension(report, owner, "x-wso2-production-endpoints", named);
        let sandbox = from_extension(report, owner, "x-wso2-sandbox-endpoints", named);
        Environments { production: production.or(servers), sandbox }
    }

    pub(super) fn are_nothing(&self) -> bool {
        matches!((&self.production, &self.sandbox), (Declared::Nothing, Declared::Nothing))
    }

    pub(super) fn or(&self, above: &Environments) -> Environments {
        Environments { production: self.production.or(&above.production), sandbox: self.sandbox.or(&above.sandbox) }
    }
}

/// The endpoint that servers of one level make together. A path alone makes none.
pub(super) fn from_servers(report: &mut Report, servers: &[Server<'_>]) -> Declared {
    let mut urls = Vec::new();
    let mut broken = false;
    for server in servers {
        match &server.address {
            Address::Absolute(url) => urls.push((url.clone(), server.at)),
            Address::Relative(_) => {}
            Address::Broken => broken = true,
        }
    }
    match broken {
        true => Declared::Broken,
        false if urls.is_empty() => Declared::Nothing,
        false => Declared::of(together(report, urls)),
    }
}

// === impl Named ===

impl<'d> Named<'d> {
    pub(super) fn of(report: &mut Report, root: Value<'d>) -> Named<'d> {
        let mut named = HashMap::new();
        let entries = root.get("x-wso2-endpoints").and_then(|value| list(report, "x-wso2-endpoints", value));
        for item in entries.into_iter().flat_map(Value::items) {
            let Some(item) = object(report, "x-wso2-endpoints", item) else { continue };
            for (name, value) in item.entries() {
                let endpoint = Declared::of(read(report, name.text(), value));
                if named.insert(name.text(), endpoint).is_some() {
                    report.say(Code::DuplicateKey, name, format!("the endpoint `{}` is defined twice", name.text()));
                }
            }
        }
        Named(named)
    }
}

fn from_extension<'d>(report: &mut Report, owner: Value<'d>, key: &str, named: &Named<'d>) -> Declared {
    let Some(value) = owner.get(key) else { return Declared::Nothing };
    let Content::Text(reference) = value.content() else { return Declared::of(read(report, key, value)) };
    let Some(name) = reference.strip_prefix(REFERENCE) else {
        report.say(
            Code::UnknownEndpoint,
            value,
            format!("`{key}` must be an object or `{REFERENCE}<name>`, not `{reference}`"),
        );
        return Declared::Broken;
    };
    named.0.get(name).cloned().unwrap_or_else(|| {
        let message = format!("`x-wso2-endpoints` has no entry `{name}`");
        let mut known: Vec<&str> = named.0.keys().copied().collect();
        known.sort_unstable();
        suggest(report, Code::UnknownEndpoint, value, message, name, known);
        Declared::Broken
    })
}

/// An endpoint object.
fn read(report: &mut Report, key: &str, value: Value<'_>) -> Option<Endpoint> {
    let endpoint = object(report, key, value)?;
    for (name, _) in endpoint.entries().filter(|(name, _)| !KEYS.contains(&name.text())) {
        unknown_key(report, key, name, KEYS.iter().copied());
    }
    if let Some(security) = endpoint.get("securityConfig")
        && SECURITY.check(report, "securityConfig", security)
    {
        report.say(Code::BackendCredentials, security, "credentials for backends are not sent yet");
    }
    if let Some(advanced) = endpoint.get("advanceEndpointConfig") {
        check_advanced(report, advanced);
    }
    let kind = match endpoint.get("type") {
        None => None,
        Some(kind) => Some((kind, one_of(report, "type", kind, TYPES)?)),
    };
    let Some(urls) = endpoint.get("urls") else {
        report.say(Code::NoEndpoint, endpoint, format!("`{key}` has no `urls`"));
        return None;
    };
    let urls = list(report, "urls", urls)?;
    let mut read =
        urls.items().map(|item| backend(report, item)).collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?;
    if read.is_empty() {
        report.say(Code::NoEndpoint, urls, format!("the `urls` of `{key}` are empty"));
        return None;
    }
    if let (Some((at, kind)), true) = (kind, read.len() > 1) {
        match kind {
            "failover" => {
                report.say(Code::Failover, at, "failover is not done yet: only the first URL would be used");
                read.truncate(1);
            }
            "http" | "address" => {
                let message = format!("an endpoint of type `{kind}` uses only its first URL");
                report.advise(Code::IgnoredUrl, at, message, "write `type: load_balance` to use them all");
                read.truncate(1);
            }
            _ => {}
        }
    }
    together(report, read)
}

/// A URL, or the default of `etcd(key, default)`.
fn backend<'d>(report: &mut Report, at: Value<'d>) -> Option<(BackendUrl, Value<'d>)> {
    let written = text(report, "urls", at)?.trim();
    let mut plain = written;
    if let Some(arguments) = written.strip_prefix("etcd").map(str::trim_start).and_then(|rest| rest.strip_prefix('(')) {
        let parts: Vec<&str> = arguments.strip_suffix(')').unwrap_or_default().split(',').map(str::trim).collect();
        let [key, default] = *parts.as_slice() else {
            report.advise(
                Code::BadEtcd,
                at,
                "`etcd(...)` must have exactly two parts",
                "write `etcd(key, default URL)`",
            );
            return None;
        };
        if key.is_empty() || default.is_empty() {
            report.advise(Code::BadEtcd, at, "a part of `etcd(...)` is empty", "write `etcd(key, default URL)`");
            return None;
        }
        report.say(
            Code::Etcd,
            at,
            format!("the endpoint is not looked up in etcd yet: only `{default}` would be used"),
        );
        plain = default;
    }
    match servers::absolute(report, at, plain) {
        Address::Absolute(url) => Some((url, at)),
        Address::Relative(_) | Address::Broken => None,
    }
}

/// One endpoint of several URLs, each once. They must agree in scheme and path; those that do not are left out.
fn together(report: &mut Report, urls: Vec<(BackendUrl, Value<'_>)>) -> Option<Endpoint> {
    let mut agreed: Vec<BackendUrl> = Vec::new();
    for (url, at) in urls {
        if agreed.first().is_some_and(|first| (first.tls, &first.path) != (url.tls, &url.path)) {
            report.say(
                Code::MixedUrls,
                at,
                "URLs of one endpoint that differ in scheme or path are not balanced yet: this one would not be used",
            );
        } else if !agreed.contains(&url) {
            agreed.push(url);
        }
    }
    (!agreed.is_empty()).then(|| Endpoint::of(agreed))
}

fn check_advanced(report: &mut Report, advanced: Value<'_>) {
    if !ADVANCED.check(report, "advanceEndpointConfig", advanced) {
        return;
    }
    let window = advanced.get("circuitBreaker").and_then(|breaker| breaker.get("rollingWindow"));
    let milliseconds = |key: &str, default: i64| {
        window.and_then(|window| window.get(key)).and_then(|value| value.text().parse::<i64>().ok()).unwrap_or(default)
    };
    if let Some(window) = window
        && milliseconds("bucketSizeInMillis", 10_000) > milliseconds("timeWindowInMillis", 60_000)
    {
        report.say(Code::BadValue, window, "`bucketSizeInMillis` must not be longer than `timeWindowInMillis`");
    }
    if advanced.entries().next().is_some() {
        report.say(
            Code::AdvancedEndpoint,
            advanced,
            "timeouts, retries, circuit breakers and pools of endpoints are not applied yet",
        );
    }
}
