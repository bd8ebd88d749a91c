//! The two listeners. Their bytes depend on the settings and the project's error templates alone, so that no change of
//! an API ever drains connections.

mod chains;
mod early_headers;
mod filters;
mod manager;

use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    RouteSpecifier, StripPortMode,
};
use prost::Message as _;

use self::chains::Chain;
pub use self::early_headers::forbidden as forbidden_headers;
use self::filters::unguarded_filters;
use self::manager::{by_discovery, connection_manager, guarded_manager};
use super::answers::Answers;
use super::wire::{any, no, number, resource};
use super::{CONNECTION_BUFFER, names, oauth};
use crate::settings::{CertificateRequest, Listeners, OAuthEndpoints, Settings};
use crate::snapshot::{Resource, ResourceType};

/// What tells a listener from the others.
struct Own<'a> {
    name: &'a str,
    port: u16,
    /// Behind balancers that tell of clients.
    balanced: bool,
    chains: Vec<Chain>,
}

/// The listener without TLS.
pub fn http(settings: &Settings, answers: &Answers) -> Resource {
    let listeners = &settings.listeners;
    let (mut manager, mut references) = (guarded_manager(settings, answers, names::HTTP), guarded_references());
    if listeners.https_redirect.is_some() {
        manager.route_specifier = Some(by_discovery(names::REDIRECT));
        // The port that was asked for is not the one that is led to.
        manager.strip_port_mode = Some(StripPortMode::StripAnyHostPort(true));
        references.push((ResourceType::Route, names::REDIRECT.into()));
        references.retain(|(_, name)| **name != *names::GATEWAY);
    }
    let (name, port, balanced) = (names::HTTP_LISTENER, listeners.http_port, listeners.balanced.http);
    listener(settings, Own { name, port, balanced, chains: vec![Chain::default()] }, &manager, references)
}

/// The listener with TLS.
pub fn https(settings: &Settings, answers: &Answers) -> Resource {
    let listeners = &settings.listeners;
    let request = &settings.client_certificates.request;
    let mut references = certificates(listeners);
    if let CertificateRequest::Required(_) = request {
        references.push((ResourceType::Secret, names::CLIENT_AUTHORITIES_SECRET.into()));
    }
    references.extend(guarded_references());
    let manager = guarded_manager(settings, answers, names::HTTPS);
    let (name, port, balanced) = (names::HTTPS_LISTENER, listeners.https_port, listeners.balanced.https);
    listener(settings, Own { name, port, balanced, chains: chains::with_tls(listeners, request) }, &manager, references)
}

/// The listener for the key manager's endpoints, with TLS as well. Nothing on it is guarded, and no API is on it: it has no way
/// to the table.
pub fn token(settings: &Settings, answers: &Answers, endpoints: &OAuthEndpoints, port: u16) -> Resource {
    let listeners = &settings.listeners;
    let manager = HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::RouteConfig(oauth::configuration(endpoints))),
        http_filters: unguarded_filters(settings),
        ..connection_manager(settings, answers, names::TOKEN)
    };
    let mut references = certificates(listeners);
    references.push((ResourceType::Cluster, names::KEY_MANAGER_CLUSTER.into()));
    let (name, balanced) = (names::TOKEN_LISTENER, listeners.balanced.token);
    let chains = chains::with_tls(listeners, &CertificateRequest::None);
    listener(settings, Own { name, port, balanced, chains }, &manager, references)
}

/// What is presented arrives as secrets.
fn certificates(listeners: &Listeners) -> Vec<(ResourceType, Arc<str>)> {
    let listed = (0..listeners.certificates.len()).map(|index| names::listed_secret(index).into());
    std::iter::once(names::IDENTITY_SECRET.into()).chain(listed).map(|name| (ResourceType::Secret, name)).collect()
}

fn guarded_references() -> Vec<(ResourceType, Arc<str>)> {
    vec![(ResourceType::Route, names::GATEWAY.into()), (ResourceType::Cluster, names::AUTHZ_CLUSTER.into())]
}

fn listener(
    settings: &Settings,
    own: Own<'_>,
    manager: &HttpConnectionManager,
    mut references: Vec<(ResourceType, Arc<str>)>,
) -> Resource {
    let manager = any(manager);
    let from = own.balanced.then(|| chains::peers(&settings.listeners));
    let listener = Listener {
        name: own.name.to_owned(),
        address: Some(super::clusters::tcp(settings.listeners.host.to_string(), own.port)),
        listener_filters: chains::listener_filters(own.balanced, own.chains.len() > 1),
        filter_chains: own.chains.into_iter().map(|chain| chain.encode(&manager, from.as_deref())).collect(),
        per_connection_buffer_limit_bytes: number(CONNECTION_BUFFER),
        bind_to_port: if settings.listeners.bind { None } else { no() },
        ..Default::default()
    };
    references.extend(settings.tracing.as_ref().map(|_| (ResourceType::Cluster, names::COLLECTOR_CLUSTER.into())));
    resource(listener.encode_to_vec(), references)
}
