//! Endpoints as Envoy clusters. Equal endpoints are one cluster, whoever uses them.

mod assignment;
mod health;
mod hosts;
mod limits;
mod outlier;
mod protocol;
mod security;

use std::collections::HashMap;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, TransportSocketMatch,
};
use envoy_types::pb::envoy::config::core::v3::ConfigSource;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use microgw_proto::traffic::v1::{EndpointPolicy, Retry};
use prost::Message as _;

use self::hosts::host_is;
use self::security::Security;
use super::wire::{any, digest, hex, number, resource, seconds};
use super::{CONNECTION_BUFFER, ads, credentials, forward_proxy, names};
use crate::model::{BackendUrl, Endpoint, Lookup, Target};
use crate::settings::Backends;
use crate::snapshot::{Resource, ResourceType};

pub use self::assignment::{assignment, load_assignment};
pub use self::hosts::{Called, host, tcp};
pub use self::limits::limits;
pub use self::security::{conflict, secrets};

/// The cluster's name: a hash of all that it does. What routes do of an endpoint's policy, and the paths, are not in it.
pub fn name(endpoint: &Endpoint) -> String {
    let target = |target: &Target| {
        let BackendUrl { tls, host, port, .. } = &target.url;
        let (weight, lookup) = (target.weight, &target.lookup);
        match (weight, lookup) {
            (1, Lookup::Host) => format!("{tls}:{host}:{port}"),
            _ => format!("{tls}:{host}:{port}:{weight}:{lookup:?}"),
        }
    };
    let targets: Vec<String> = endpoint.targets.iter().map(target).collect();
    let policy = of_cluster(&endpoint.policy);
    let policy = (policy != EndpointPolicy::default()).then(|| policy.encode_to_vec());
    let parts: Vec<&[u8]> = targets.iter().map(String::as_bytes).chain(policy.as_deref()).collect();
    let id = hex(&digest(&parts));
    format!("backend-{}", id.get(..16).unwrap_or(&id))
}

/// A policy without what routes do.
fn of_cluster(policy: &EndpointPolicy) -> EndpointPolicy {
    let budget = policy.retry.as_ref().map_or(0, |retry| retry.budget);
    EndpointPolicy {
        host: None,
        timeout: None,
        retry: (budget > 0).then(|| Retry { budget, ..Retry::default() }),
        ..policy.clone()
    }
}

/// The cluster of an endpoint, under [`name`].
pub fn cluster(endpoint: &Endpoint, backends: &Backends) -> Resource {
    named(name(endpoint), endpoint, backends)
}

/// The same under another name.
pub fn named(name: String, endpoint: &Endpoint, backends: &Backends) -> Resource {
    let assignment = assignment::of(endpoint, backends);
    let (tls, tunnelled, fixed) = (assignment.tls(), assignment.tunnelled, assignment.is_fixed());
    let names = assignment.names();
    let policy = &endpoint.policy;
    let security = Security::of(policy, backends);
    let socket = |name: &&str| {
        let secured = tls.then(|| security.socket(name));
        if tunnelled { Some(forward_proxy::through(secured)) } else { secured }
    };
    let discovered = |name: &&str| {
        let secured = security.discovered(name);
        Some(if tunnelled { forward_proxy::through(Some(secured)) } else { secured })
    };
    let kind = if fixed { DiscoveryType::Static } else { DiscoveryType::Eds };
    let credentials = endpoint.policy.credentials.as_ref();
    let http_filters = credentials.map(credentials::filters).unwrap_or_default();
    let cluster = Cluster {
        name: name.clone(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        connect_timeout: seconds(5),
        // As of clients' connections: what is ahead of a reader is held here, or in the service, for each of them.
        per_connection_buffer_limit_bytes: number(CONNECTION_BUFFER),
        eds_cluster_config: (!fixed)
            .then(|| EdsClusterConfig { eds_config: Some(assignments()), ..Default::default() }),
        load_assignment: fixed.then(|| assignment::message(&name, &assignment, &[])),
        // Who is not there any more gets no new requests, whatever a health check says.
        ignore_health_on_host_removal: !fixed,
        circuit_breakers: Some(limits::of(policy, backends)),
        outlier_detection: outlier::detection(endpoint),
        health_checks: health::checks(policy, backends.health_events.as_deref()),
        common_lb_config: health::panic(policy),
        lb_config: health::slow_start(policy),
        typed_extension_protocol_options: HashMap::from([(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(),
            any(&HttpProtocolOptions { http_filters, ..protocol::options(endpoint, tls, backends) }),
        )]),
        transport_socket: if tls && assignment.names_others() {
            names.first().and_then(discovered)
        } else {
            names.first().and_then(socket)
        },
        transport_socket_matches: names
            .iter()
            .filter(|_| assignment.named)
            .map(|name| TransportSocketMatch {
                name: (*name).to_owned(),
                r#match: Some(host_is(name)),
                transport_socket: socket(name),
            })
            .collect(),
        ..Default::default()
    };
    let listener = tunnelled.then(|| (ResourceType::Listener, names::PROXY_LISTENER.into()));
    let secrets = tls.then(|| security.references()).into_iter().flatten();
    let endpoints = (!fixed).then(|| (ResourceType::Endpoint, name.into()));
    let injected = credentials.into_iter().flat_map(credentials::references);
    let references = endpoints.into_iter().chain(secrets).chain(listener).chain(injected);
    resource(cluster.encode_to_vec(), references.collect())
}

/// Where addresses come from: the gateway tells of them with the cluster. Ten thousand clusters take their time; if the gateway ends
/// in between, an Envoy that starts does not wait for the next one for ever.
fn assignments() -> ConfigSource {
    ConfigSource { initial_fetch_timeout: seconds(30), ..ads() }
}

#[cfg(test)]
mod tests;
