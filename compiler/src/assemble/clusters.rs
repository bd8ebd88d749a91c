//! Endpoints as Envoy clusters. Equal endpoints are one cluster, whoever uses them.

mod assignment;
mod hosts;
mod protocol;

use std::collections::HashMap;

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, TransportSocketMatch,
};
use envoy_types::pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster};
use envoy_types::pb::envoy::config::core::v3::ConfigSource;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use microgw_proto::traffic::v1::EndpointPolicy;
use prost::Message as _;

use self::hosts::host_is;
use super::wire::{any, digest, hex, number, resource, seconds};
use super::{ads, credentials, forward_proxy, names, tls};
use crate::model::{BackendUrl, Endpoint, Lookup, Target};
use crate::settings::{Backends, Verification};
use crate::snapshot::{Resource, ResourceType};

pub use self::assignment::{assignment, load_assignment};
pub use self::hosts::{Called, host, tcp};

/// The old product had no limit unless one was configured; Envoy's own default would answer 503 at 1,024.
const UNLIMITED: u32 = 1_000_000;

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
    let policy = EndpointPolicy { host: None, ..endpoint.policy.clone() };
    let policy = (policy != EndpointPolicy::default()).then(|| policy.encode_to_vec());
    let parts: Vec<&[u8]> = targets.iter().map(String::as_bytes).chain(policy.as_deref()).collect();
    let id = hex(&digest(&parts));
    format!("backend-{}", id.get(..16).unwrap_or(&id))
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
    let socket = |name: &&str| {
        let secured = tls.then(|| tls::to_backend(name, backends));
        if tunnelled { Some(forward_proxy::through(secured)) } else { secured }
    };
    let discovered = |name: &&str| {
        let secured = tls::to_discovered(name, backends);
        Some(if tunnelled { forward_proxy::through(Some(secured)) } else { secured })
    };
    let kind = if fixed { DiscoveryType::Static } else { DiscoveryType::Eds };
    let credentials = endpoint.policy.credentials.as_ref();
    let http_filters = credentials.map(credentials::filters).unwrap_or_default();
    let cluster = Cluster {
        name: name.clone(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        connect_timeout: seconds(5),
        eds_cluster_config: (!fixed)
            .then(|| EdsClusterConfig { eds_config: Some(assignments()), ..Default::default() }),
        load_assignment: fixed.then(|| assignment::message(&name, &assignment, &[])),
        // Who is not there any more gets no new requests, whatever a health check says.
        ignore_health_on_host_removal: !fixed,
        circuit_breakers: Some(limits(backends.max_connections)),
        typed_extension_protocol_options: HashMap::from([(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(),
            any(&HttpProtocolOptions { http_filters, ..protocol::options(tls, backends) }),
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
    let trust = tls && backends.verification != Verification::Nothing;
    let secrets = [
        trust.then_some(names::BACKEND_TRUST_SECRET),
        (tls && backends.identity.is_some()).then_some(names::BACKEND_IDENTITY_SECRET),
    ];
    let listener = tunnelled.then(|| (ResourceType::Listener, names::PROXY_LISTENER.into()));
    let secrets = secrets.into_iter().flatten().map(|name| (ResourceType::Secret, name.into()));
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

/// Connections above the limit wait, and requests with them.
pub fn limits(max_connections: Option<u32>) -> CircuitBreakers {
    CircuitBreakers {
        thresholds: vec![Thresholds {
            max_connections: number(max_connections.unwrap_or(UNLIMITED)),
            max_pending_requests: number(UNLIMITED),
            max_requests: number(UNLIMITED),
            ..Default::default()
        }],
        ..Default::default()
    }
}
