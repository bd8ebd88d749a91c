//! The endpoints of an API and its operations: `x-wso2-*-endpoints`, and what comes of servers.

mod canary;
mod credentials;
mod policy;
mod urls;

use std::collections::HashMap;
use std::rc::Rc;

use microgw_proto::traffic::v1::{Balance, Host, host};

use super::fields::{list, object, suggest, text};
use super::servers::{Address, Server};
use super::shape::{Words, one_of, unknown_key};
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::model::{Endpoint, Target};
use crate::source::{Content, Value};
use crate::traffic::destination::host_name;
use sha2::{Digest, Sha256};

use urls::Written;

const REFERENCE: &str = "#/x-wso2-endpoints/";
const KEYS: &[&str] = &["urls", "type", "securityConfig", "canary", "host"];
const TYPES: &[&str] = &["http", "address", "load_balance", "failover"];

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
    /// Settings call what is not in `x-wso2-endpoints` by `id`, or not at all if that is empty.
    pub(super) fn of<'d>(
        report: &mut Report,
        owner: Value<'d>,
        servers: &Declared,
        named: &Named<'d>,
        id: &str,
    ) -> Environments {
        let production = from_extension(report, owner, "x-wso2-production-endpoints", named, id);
        let sandbox = from_extension(report, owner, "x-wso2-sandbox-endpoints", named, id);
        Environments { production: production.or(servers), sandbox }
    }

    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        [&self.production, &self.sandbox].into_iter().filter_map(|declared| match declared {
            Declared::Endpoint(endpoint) => Some(&**endpoint),
            Declared::Nothing | Declared::Broken => None,
        })
    }

    pub(super) fn are_nothing(&self) -> bool {
        matches!((&self.production, &self.sandbox), (Declared::Nothing, Declared::Nothing))
    }

    pub(super) fn or(&self, above: &Environments) -> Environments {
        Environments { production: self.production.or(&above.production), sandbox: self.sandbox.or(&above.sandbox) }
    }
}

/// The endpoint that servers of one level make together. A path alone makes none.
pub(super) fn from_servers(report: &mut Report, servers: &[Server<'_>], id: &str) -> Declared {
    let mut urls = Vec::new();
    let mut broken = false;
    for server in servers {
        match &server.address {
            Address::Absolute(url) => {
                urls.push(Written { target: Target::of(url.clone()), at: server.at, weight: None });
            }
            Address::Relative(_) => {}
            Address::Broken => broken = true,
        }
    }
    match broken {
        true => Declared::Broken,
        false if urls.is_empty() => Declared::Nothing,
        false => {
            let targets = urls::together(report, &urls, false);
            Declared::of(targets.map(|targets| Endpoint { targets, name: id.to_owned(), ..Endpoint::default() }))
        }
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
                let endpoint = Declared::of(read(report, name.text(), value, name.text()));
                if named.insert(name.text(), endpoint).is_some() {
                    report.say(Code::DuplicateKey, name, format!("the endpoint `{}` is defined twice", name.text()));
                }
            }
        }
        Named(named)
    }
}

pub(super) fn from_extension<'d>(
    report: &mut Report,
    owner: Value<'d>,
    key: &str,
    named: &Named<'d>,
    id: &str,
) -> Declared {
    let Some(value) = owner.get(key) else { return Declared::Nothing };
    let Content::Text(reference) = value.content() else { return Declared::of(read(report, key, value, id)) };
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

/// An endpoint object. `id`: what settings call it, if they can.
fn read(report: &mut Report, key: &str, value: Value<'_>, id: &str) -> Option<Endpoint> {
    let endpoint = object(report, key, value)?;
    let known = || KEYS.iter().copied().chain(policy::KEYS);
    for (name, _) in endpoint.entries().filter(|(name, _)| !known().any(|known| known == name.text())) {
        unknown_key(report, Words::Old, key, name, known());
    }
    let security = endpoint.get("securityConfig");
    let credentials = security.map(|security| credentials::read(report, security, !id.is_empty()));
    let host = endpoint.get("host").map(|host| host_of(report, host));
    let canary = endpoint.get("canary").map(|canary| canary::read(report, canary));
    let kind = match endpoint.get("type") {
        None => None,
        Some(kind) => Some((kind, one_of(report, "type", kind, TYPES)?)),
    };
    let mut written = urls::read(report, key, endpoint)?;
    let failover = written.len() > 1 && kind.is_some_and(|(_, kind)| kind == "failover");
    if let (Some((at, kind @ ("http" | "address"))), true) = (kind, written.len() > 1) {
        let message = format!("an endpoint of type `{kind}` uses only its first URL");
        report.advise(Code::IgnoredUrl, at, message, "write `type: load_balance` to use them all");
        written.truncate(1);
    }
    if failover && let Some(at) = written.iter().find_map(|written| written.weight) {
        report.say(Code::BadValue, at, "URLs that fail over to each other have no shares: `weight` has no meaning");
    }
    let targets = urls::together(report, &written, failover);
    let encrypted = targets.as_ref().is_none_or(|targets| targets.iter().any(|target| target.url.tls));
    let mut policy = policy::read(report, endpoint, encrypted);
    if failover && targets.as_ref().is_some_and(|targets| targets.len() > 1) {
        policy.balance = Balance::Failover.into();
    }
    // What is broken has been reported.
    policy.credentials = credentials.map_or(Some(None), |read| read.map(Some))?;
    policy.host = host.map_or(Some(None), |read| read.map(Some))?.filter(|host| host.kind.is_some());
    let canary = canary.map_or(Some(None), |read| read.map(Some))?;
    Some(Endpoint { targets: targets?, name: id.to_owned(), policy, canary })
}

/// What backends get as `Host`: nothing in particular where that is their own.
fn host_of(report: &mut Report, at: Value<'_>) -> Option<Host> {
    let kind = match text(report, "host", at)? {
        "backend" => None,
        "client" => Some(host::Kind::AsSent(true)),
        name => {
            let Some(name) = host_name(name) else {
                let message = format!("`{name}` cannot stand in `Host`");
                let help = "write `backend`, `client`, or a name with or without a port";
                report.advise(Code::BadValue, at, message, help);
                return None;
            };
            Some(host::Kind::Name(name))
        }
    };
    Some(Host { kind })
}

/// What settings call the endpoints that an API names for all of its operations, as in the old product.
pub(super) fn id_of_api(title: &str, version: &str) -> String {
    use std::fmt::Write as _;
    let hash = Sha256::digest(format!("{title}:{version}"));
    hash.iter().fold("api_".to_owned(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}
