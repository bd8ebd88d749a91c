//! The two listeners. Their bytes depend on the settings and the project's error templates alone, so that no change of
//! an API ever drains connections.

mod early_headers;
mod filters;
mod manager;

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::TransportSocket;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use prost::Message as _;

use self::filters::unguarded_filters;
use self::manager::{connection_manager, guarded_manager};
use super::answers::Answers;
use super::wire::{any, no, number, resource, seconds};
use super::{names, oauth, tls};
use crate::settings::{CertificateRequest, OAuthEndpoints, Settings};
use crate::snapshot::{Resource, ResourceType};

/// Envoy's advice for proxies at the edge.
const CONNECTION_BUFFER: u32 = 32 * 1024;

/// The listener without TLS.
pub fn http(settings: &Settings, answers: &Answers) -> Resource {
    let manager = guarded_manager(settings, answers, names::HTTP);
    listener(settings, names::HTTP_LISTENER, settings.listeners.http_port, None, &manager, guarded_references())
}

/// The listener with TLS; its certificate arrives as a secret.
pub fn https(settings: &Settings, answers: &Answers) -> Resource {
    let request = &settings.client_certificates.request;
    let socket = tls::presented(&settings.listeners, request);
    let mut references = vec![(ResourceType::Secret, names::IDENTITY_SECRET.into())];
    if let CertificateRequest::Required(_) = request {
        references.push((ResourceType::Secret, names::CLIENT_AUTHORITIES_SECRET.into()));
    }
    references.extend(guarded_references());
    let manager = guarded_manager(settings, answers, names::HTTPS);
    listener(settings, names::HTTPS_LISTENER, settings.listeners.https_port, Some(socket), &manager, references)
}

/// The listener for the key manager's endpoints, with TLS as well. Nothing on it is guarded, and no API is on it: it has no way
/// to the table.
pub fn token(settings: &Settings, answers: &Answers, endpoints: &OAuthEndpoints, port: u16) -> Resource {
    let socket = tls::presented(&settings.listeners, &CertificateRequest::None);
    let manager = HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::RouteConfig(oauth::configuration(endpoints))),
        http_filters: unguarded_filters(settings),
        ..connection_manager(settings, answers, names::TOKEN)
    };
    let references = vec![
        (ResourceType::Secret, names::IDENTITY_SECRET.into()),
        (ResourceType::Cluster, names::KEY_MANAGER_CLUSTER.into()),
    ];
    listener(settings, names::TOKEN_LISTENER, port, Some(socket), &manager, references)
}

fn guarded_references() -> Vec<(ResourceType, Arc<str>)> {
    vec![(ResourceType::Route, names::GATEWAY.into()), (ResourceType::Cluster, names::AUTHZ_CLUSTER.into())]
}

fn listener(
    settings: &Settings,
    name: &str,
    port: u16,
    tls: Option<TransportSocket>,
    manager: &HttpConnectionManager,
    mut references: Vec<(ResourceType, Arc<str>)>,
) -> Resource {
    let manager = any(manager);
    let listener = Listener {
        name: name.to_owned(),
        address: Some(super::clusters::tcp(settings.listeners.host.to_string(), port)),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "envoy.filters.network.http_connection_manager".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(manager)),
            }],
            transport_socket: tls,
            transport_socket_connect_timeout: seconds(10),
            ..Default::default()
        }],
        per_connection_buffer_limit_bytes: number(CONNECTION_BUFFER),
        bind_to_port: if settings.listeners.bind { None } else { no() },
        ..Default::default()
    };
    references.extend(settings.tracing.as_ref().map(|_| (ResourceType::Cluster, names::COLLECTOR_CLUSTER.into())));
    resource(listener.encode_to_vec(), references)
}
