//! Where operations go: URLs with their shares, canaries, by what backends know the gateway, and what settings call them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use microgw_compiler::model::{Endpoint, EndpointId, Lookup, Model, Operation, Target};
use microgw_compiler::url::bracketed;
use microgw_proto::traffic::v1::credentials::Kind;
use microgw_proto::traffic::v1::host;
use serde_json::{Value, json};

/// `production; sandbox ...`.
pub fn of_operation(model: &Model, operation: &Operation) -> String {
    let production = operation.production.map(|id| described(model, id));
    let sandbox = operation.sandbox.map(|id| format!("sandbox {}", described(model, id)));
    production.into_iter().chain(sandbox).collect::<Vec<_>>().join("; ")
}

/// What settings at the start can change: one line for each name and environment.
pub fn names(text: &mut String, model: &Model) {
    let mut lines = BTreeSet::new();
    for operation in model.apis.iter().flat_map(|api| &api.operations) {
        for (id, short) in [(operation.production, "prod"), (operation.sandbox, "sand")] {
            let Some(endpoint) = id.and_then(|id| model.endpoint(id)).filter(|endpoint| !endpoint.name.is_empty())
            else {
                continue;
            };
            for (index, url) in endpoint.targets.iter().map(target).enumerate() {
                lines.insert((endpoint.name.clone(), short, index, url));
            }
        }
    }
    if !lines.is_empty() {
        text.push_str("\nendpoints, by the settings that change them at the start\n");
    }
    for (name, short, index, url) in lines {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name}_{short}_endpoint_{index}  {url}");
    }
}

pub fn as_json(model: &Model, id: EndpointId) -> Value {
    let Some(endpoint) = model.endpoint(id) else { return Value::Null };
    let targets = |targets: &[Target]| {
        let one = |target: &Target| json!({ "url": url(target), "weight": target.weight, "lookup": lookup(target) });
        targets.iter().map(one).collect::<Vec<_>>()
    };
    let canary = endpoint.canary.as_ref().map(|canary| {
        let header = canary.header.as_ref().map(|(name, value)| json!({ "name": name, "value": value }));
        json!({ "urls": targets(&canary.targets), "percent": percent(canary.share), "header": header })
    });
    json!({
        "id": Some(&endpoint.name).filter(|name| !name.is_empty()),
        "urls": targets(&endpoint.targets),
        "canary": canary,
        "credentials": credentials(endpoint),
        "host": host(endpoint),
    })
}

/// Comma-separated URLs.
pub fn urls(model: &Model, id: EndpointId) -> String {
    model.endpoint(id).map(|endpoint| listed(&endpoint.targets)).unwrap_or_default()
}

fn described(model: &Model, id: EndpointId) -> String {
    let Some(endpoint) = model.endpoint(id) else { return String::new() };
    let mut text = listed(&endpoint.targets);
    if let Some(canary) = &endpoint.canary {
        let _ = write!(text, " (canary {}", listed(&canary.targets));
        if canary.share > 0 {
            let _ = write!(text, ", {}% of requests", percent(canary.share));
        }
        match &canary.header {
            Some((name, Some(value))) => drop(write!(text, ", with `{name}: {value}`")),
            Some((name, None)) => drop(write!(text, ", with `{name}`")),
            None => {}
        }
        text.push(')');
    }
    if let Some(host) = host(endpoint) {
        let _ = write!(text, " Host {host}");
    }
    if let Some(credentials) = credentials(endpoint) {
        let _ = write!(text, " by {credentials}");
    }
    text
}

fn listed(targets: &[Target]) -> String {
    targets.iter().map(target).collect::<Vec<_>>().join(", ")
}

fn target(target: &Target) -> String {
    let looked_up = lookup(target).map_or_else(|| url(target), |lookup| format!("{lookup} or {}", url(target)));
    if target.weight == 1 { looked_up } else { format!("{looked_up} x{}", target.weight) }
}

fn url(target: &Target) -> String {
    let url = &target.url;
    let scheme = if url.tls { "https" } else { "http" };
    format!("{scheme}://{}:{}{}", bracketed(&url.host), url.port, url.path)
}

fn lookup(target: &Target) -> Option<String> {
    match &target.lookup {
        Lookup::Host => None,
        Lookup::Etcd(key) => Some(format!("etcd {key}")),
        Lookup::Srv(name) => Some(format!("SRV {name}")),
        Lookup::Consul(service) => Some(format!("Consul {service}")),
    }
}

fn percent(share: u32) -> f64 {
    f64::from(share) / 100.0
}

fn host(endpoint: &Endpoint) -> Option<&str> {
    match endpoint.policy.host.as_ref()?.kind.as_ref()? {
        host::Kind::AsSent(_) => Some("as the client sent it"),
        host::Kind::Name(name) => Some(name),
    }
}

/// Secrets are references here.
fn credentials(endpoint: &Endpoint) -> Option<String> {
    Some(match endpoint.policy.credentials.as_ref()?.kind.as_ref()? {
        Kind::Basic(basic) if basic.password.is_empty() => format!("user {}, whose password settings name", basic.user),
        Kind::Basic(basic) => format!("user {}, {}", basic.user, basic.password),
        Kind::Bearer(token) => format!("token {token}"),
        Kind::ApiKey(key) => format!("{}: {}", key.header, key.value),
        Kind::Oauth2(oauth2) => format!("token of {}, {}", oauth2.token_url, oauth2.client_secret),
    })
}
