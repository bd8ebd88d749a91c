//! Endpoints as Envoy clusters. Equal endpoints are one cluster, whoever uses them.

mod assignment;
mod hosts;
mod protocol;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, TransportSocketMatch,
};
use envoy_types::pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::google::protobuf::UInt32Value;
use microgw_proto::traffic::v1::EndpointPolicy;
use prost::Message as _;

use self::hosts::host_is;
use super::wire::{any, digest, hex, number, resource, seconds};
use super::{forward_proxy, names, tls};
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
    let tunnelled = backends.proxy.is_some() && forward_proxy::leads_to(endpoint);
    let fixed = tunnelled || endpoint.urls().all(|url| url.host.parse::<IpAddr>().is_ok());
    let tls = endpoint.targets.first().is_some_and(|target| target.url.tls);
    let names: BTreeSet<&str> = endpoint.urls().map(|url| url.host.as_str()).collect();
    let socket = |name: &&str| {
        let secured = tls.then(|| tls::to_backend(name, backends));
        if tunnelled { Some(forward_proxy::through(secured)) } else { secured }
    };
    let each = tls && names.len() > 1;
    let kind = if fixed { DiscoveryType::Static } else { DiscoveryType::StrictDns };
    let address = |url: &BackendUrl| {
        if tunnelled { forward_proxy::entry(&url.host, url.port) } else { tcp(url.host.clone(), url.port) }
    };
    let called = if each { Called::ByName } else { Called::AsAll };
    let hosts = endpoint.targets.iter().map(|Target { url, weight, .. }| LbEndpoint {
        load_balancing_weight: (*weight != 1).then_some(UInt32Value { value: *weight }),
        ..host(url, address(url), called)
    });
    let cluster = Cluster {
        name: name.clone(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        connect_timeout: seconds(5),
        dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: name,
            endpoints: vec![LocalityLbEndpoints { lb_endpoints: hosts.collect(), ..Default::default() }],
            ..Default::default()
        }),
        circuit_breakers: Some(limits(backends.max_connections)),
        typed_extension_protocol_options: HashMap::from([(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(),
            any(&protocol::options(tls, backends)),
        )]),
        transport_socket: names.first().and_then(socket),
        transport_socket_matches: names
            .iter()
            .filter(|_| each)
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
    resource(cluster.encode_to_vec(), secrets.chain(listener).collect())
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
