//! Artifact and settings become a snapshot.

mod access_log;
mod answers;
mod client_certificates;
mod clusters;
mod compression;
mod credentials;
mod destination;
mod forward_proxy;
mod kept;
mod limits;
mod listeners;
mod local_replies;
pub mod names;
mod oauth;
mod overrides;
mod phases;
mod redirect;
mod resource_metadata;
mod routes;
mod rules;
mod secrets;
mod substitute;
mod table;
mod tls;
mod tracing;
mod tree;
mod validation;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{AggregatedConfigSource, ApiVersion, ConfigSource};

use microgw_proto::contracts::v1::Mode;
use microgw_proto::rules::v1::Phases;

use self::answers::Answers;
use self::routes::Routes;
use self::rules::Rules;
use self::wire::{digest, hex, resource};
use crate::model::{Api, Endpoint, Model, Operation};
use crate::settings::{CertificateRequest, Settings, Verification};
use crate::snapshot::{ApiKey, Assignment, Fallbacks, Generation, ResourceType, Resources, Snapshot};

pub use self::client_certificates::{unheard, untrusting};
pub use self::clusters::load_assignment;
pub use self::listeners::forbidden_headers;
pub use self::overrides::{overridden, references as secret_references};
pub use self::routes::key;
pub use self::substitute::substitute;

/// Why what the model says cannot be, with these settings.
pub fn conflict(model: &Model, settings: &Settings) -> Option<String> {
    let limits = || limits::conflict(model, settings);
    let endpoints = || overrides::conflict(model, settings);
    oauth::conflict(model, settings)
        .or_else(limits)
        .or_else(endpoints)
        .or_else(|| routes::edits::conflict(model, settings))
        .or_else(|| clusters::conflict(model, settings))
        .or_else(|| forward_proxy::conflict(model, settings))
        .or_else(|| redirect::conflict(model, settings))
        .or_else(|| validation::conflict(model, settings))
}

/// Bytes that Envoy holds of one connection before somebody reads them; its own advice for proxies at the edge.
const CONNECTION_BUFFER: u32 = 32 * 1024;

/// What a snapshot is made of.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub model: &'a Model,
    /// Hash of the artifact.
    pub artifact: &'a str,
    pub settings: &'a Settings,
    /// APIs that are not served with their own content, and the model (with its artifact's hash) they fall back to.
    pub fallbacks: &'a Fallbacks,
    pub previous: Option<(&'a Model, &'a str)>,
}

/// What of the messages of each operation the service looks at, with these settings: by API and operation, as the model has them.
pub fn looked_at(model: &Model, settings: &Settings) -> Vec<Vec<Option<Phases>>> {
    let (own, _) = overridden(model, settings);
    let mut rules = Rules::new(settings, &own, &Answers::new(&own.error_templates));
    let mut of_api = |api: &Api| api.operations.iter().map(|operation| rules.looks_at(api, operation)).collect();
    own.apis.iter().map(&mut of_api).collect()
}

/// What becomes of messages that are not as their contracts say, with these settings: by API and operation, requests first.
pub fn compared(model: &Model, settings: &Settings) -> Vec<Vec<[Mode; 2]>> {
    let modes = |operation: &Operation| {
        let contract = validation::contract(settings, operation);
        contract.map_or([Mode::Off; 2], |contract| [contract.request_mode(), contract.response_mode()])
    };
    model.apis.iter().map(|api| api.operations.iter().map(modes).collect()).collect()
}

/// Makes the snapshot. Total: whatever the model holds was checked when it was compiled or loaded.
pub fn assemble(input: Input<'_>) -> Snapshot {
    let generation = generation(input);
    let (own, _) = overridden(input.model, input.settings);
    let before = input.previous.map(|(model, artifact)| (overridden(model, input.settings).0, artifact));
    let previous = before.as_ref().map(|(model, artifact)| (&**model, *artifact));
    let input = Input { model: &own, previous, ..input };
    let answers = Answers::new(&input.model.error_templates);
    let mut routes = Routes { described: input.settings.tells_of_requests(), ..Routes::default() };
    let substituted;
    let model = if input.fallbacks.is_empty() {
        input.model
    } else {
        substituted = substitute(input.model, input.fallbacks, input.previous.map(|(model, _)| model));
        &substituted
    };
    routes.told = limits::told(model, input.settings);
    routes.compression = input.settings.compression.as_ref();
    let mut rules = Rules::new(input.settings, model, &answers);
    for api in &model.apis {
        routes.api(model, api, &mut rules);
    }
    let served: BTreeSet<ApiKey> = model.apis.iter().map(key).collect();
    for api in input.model.apis.iter().filter(|api| !served.contains(&key(api))) {
        routes.unavailable(input.model, api);
    }
    routes.built_in(model, input.settings, &generation);
    let sources = std::mem::take(&mut routes.sources);
    let backends = &input.settings.backends;
    let tls = routes.clusters.values().flat_map(Endpoint::urls).any(|url| url.tls);
    let mut clusters = routes
        .clusters
        .iter()
        .map(|(name, endpoint)| (name.clone(), clusters::cluster(endpoint, backends)))
        .collect::<BTreeMap<_, _>>();
    let token_servers = credentials::token_servers(routes.clusters.values(), backends);
    let tokens_over_tls = token_servers.values().any(|server| server.tls);
    let oauth = input.settings.oauth.as_ref();
    let assignments = routes
        .clusters
        .iter()
        .filter_map(|(name, endpoint)| {
            let assignment = clusters::assignment(endpoint, backends)?;
            Some((name.clone(), Assignment { apis: routes.users(name), ..assignment }.into()))
        })
        .chain(
            oauth.and_then(|oauth| {
                Some((names::KEY_MANAGER_CLUSTER.into(), oauth::assignment(oauth, backends)?.into()))
            }),
        )
        .chain(
            token_servers.iter().filter_map(|(name, server)| Some((name.clone(), server.assignment.clone()?.into()))),
        )
        .collect();
    clusters.extend(token_servers.into_iter().map(|(name, server)| (name, server.cluster)));
    let profiles = clusters::secrets(routes.clusters.values(), backends);
    let collector = input.settings.tracing.as_ref();
    clusters
        .extend(collector.map(|settings| (names::COLLECTOR_CLUSTER.into(), tracing::cluster(settings, &backends.tls))));
    clusters.extend(oauth.map(|oauth| (names::KEY_MANAGER_CLUSTER.into(), oauth::cluster(oauth, backends))));
    let verified = tls && backends.verification != Verification::Nothing
        || collector.is_some_and(|settings| settings.collector.tls)
        || oauth.is_some_and(|oauth| oauth.key_manager.tls)
        || tokens_over_tls;
    let credentials = credentials::secrets(routes.clusters.values(), &input.settings.secrets);
    let withheld = client_certificates::withheld(&input.settings.client_certificates);
    let (table, references) = routes.encode(withheld, input.settings.listeners.max_uri_length);

    let mut resources = Resources::new();
    let mut listeners = BTreeMap::from([
        (names::HTTP_LISTENER.into(), listeners::http(input.settings, &answers)),
        (names::HTTPS_LISTENER.into(), listeners::https(input.settings, &answers)),
    ]);
    if let Some((oauth, port)) = oauth.and_then(|oauth| Some((oauth, oauth.port?))) {
        listeners.insert(names::TOKEN_LISTENER.into(), listeners::token(input.settings, &answers, oauth, port));
    }
    if let Some(proxy) = &backends.proxy {
        clusters.insert(names::PROXY_CLUSTER.into(), forward_proxy::cluster(proxy));
        listeners.insert(names::PROXY_LISTENER.into(), forward_proxy::listener(proxy));
    }
    let mut secrets = secrets::presented(&input.settings.listeners);
    secrets.extend(backends.proxy.as_ref().and_then(forward_proxy::login));
    if let Some(store) = backends.trust.as_ref().filter(|_| verified) {
        secrets.insert(names::BACKEND_TRUST_SECRET.into(), secrets::trust(names::BACKEND_TRUST_SECRET, store));
    }
    secrets.extend(profiles);
    secrets.extend(collector.into_iter().flat_map(tracing::header_secrets));
    secrets.extend(credentials);
    if let Some(identity) = backends.identity.as_ref().filter(|_| tls) {
        let secret = secrets::identity(names::BACKEND_IDENTITY_SECRET, identity);
        secrets.insert(names::BACKEND_IDENTITY_SECRET.into(), secret);
    }
    if let CertificateRequest::Required(authorities) = &input.settings.client_certificates.request {
        let secret = secrets::trust(names::CLIENT_AUTHORITIES_SECRET, authorities);
        secrets.insert(names::CLIENT_AUTHORITIES_SECRET.into(), secret);
    }
    resources.insert(ResourceType::Cluster, clusters);
    resources.insert(ResourceType::Secret, secrets);
    resources.insert(ResourceType::Listener, listeners);
    let mut tables = BTreeMap::from([(names::GATEWAY.into(), resource(table, references))]);
    if let Some(port) = input.settings.listeners.https_redirect {
        tables.insert(names::REDIRECT.into(), redirect::configuration(input.settings, port, &generation));
    }
    resources.insert(ResourceType::Route, tables);
    let rules = Arc::new(rules.finish(&generation));
    Snapshot { generation: Generation(generation.into()), resources, assignments, rules, sources }
}

/// Hash of the artifact and of the settings without their secrets (whose `Debug` hides them), so that two gateways
/// that behave differently never report one generation.
fn generation(input: Input<'_>) -> String {
    let settings = format!("{:?}", input.settings);
    let version = env!("CARGO_PKG_VERSION");
    let mut parts = vec![version.as_bytes(), input.artifact.as_bytes(), settings.as_bytes()];
    let fallbacks = format!("{:?}", input.fallbacks);
    if !input.fallbacks.is_empty() {
        parts.push(fallbacks.as_bytes());
        parts.extend(input.previous.map(|(_, artifact)| artifact.as_bytes()));
    }
    let id = hex(&digest(&parts));
    id.get(..16).unwrap_or(&id).to_owned()
}

/// A short hash for what is too long, or too secret, to show.
pub fn fingerprint(bytes: &[u8]) -> String {
    hex(&digest(&[bytes]))
}

fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    }
}

#[cfg(test)]
mod fallback_tests;
#[cfg(test)]
mod forward_proxy_tests;
#[cfg(test)]
mod hosts_tests;
#[cfg(test)]
mod listeners_tests;
#[cfg(test)]
mod telemetry_tests;
#[cfg(test)]
mod tests;
