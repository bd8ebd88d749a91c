//! Backends behind a forward proxy. Each connection to one enters an internal listener of Envoy, which has the proxy open
//! a tunnel (CONNECT) to the backend by its name: Envoy resolves the proxy's name only, and TLS is between Envoy and the
//! backend. Envoy's `http_11_proxy` socket would ask for the backend by an address, which it would have to know.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, DnsLookupFamily};
use envoy_types::pb::envoy::config::core::v3::envoy_internal_address::AddressNameSpecifier;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::core::v3::{
    Address, EnvoyInternalAddress, HeaderValue, HeaderValueOption, TransportSocket, TypedExtensionConfig, address,
};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint as Host, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::config::listener::v3::listener::{InternalListenerConfig, ListenerSpecifier};
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::{
    ClusterSpecifier, TunnelingConfig,
};
use envoy_types::pb::envoy::extensions::formatter::generic_secret::v3::GenericSecret;
use envoy_types::pb::envoy::extensions::transport_sockets::internal_upstream::v3::InternalUpstreamTransport;
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use prost::Message as _;

use super::clusters::{self, tcp};
use super::wire::{any, resource, seconds};
use super::{names, secrets, tls};
use crate::model::{Api, BackendUrl, Endpoint, EndpointId, Model, Operation};
use crate::settings::{Proxy, Settings};
use crate::snapshot::{Resource, ResourceType};

/// Whether an endpoint is reached over the proxy: not if it is on this host, which is another one for the proxy.
pub fn leads_to(endpoint: &Endpoint) -> bool {
    !endpoint.urls().all(is_here)
}

fn is_here(url: &BackendUrl) -> bool {
    match url.host.parse::<IpAddr>() {
        // What asks for no address in particular gets one of this host.
        Ok(address) => address.to_canonical().is_loopback() || address.is_unspecified(),
        Err(_) => url.host == "localhost",
    }
}

/// What cannot be reached over the proxy as it is declared.
pub fn conflict(model: &Model, settings: &Settings) -> Option<String> {
    settings.backends.proxy.as_ref()?;
    let of_operation = |api: &Api, operation: &Operation| {
        let mirrors = operation.traffic.mirrors.iter().filter_map(|mirror| mirror.endpoint.checked_sub(1));
        let ids = [operation.production, operation.sandbox].into_iter().flatten().chain(mirrors.map(EndpointId));
        let why =
            ids.filter_map(|id| model.endpoint(id)).filter(|endpoint| leads_to(endpoint)).find_map(unreachable)?;
        let (place, name, version) = (model.locate(operation.source), &api.name, &api.version);
        Some(format!("{place}: an endpoint of {name} {version} {why}, and `httpClients.proxy` is enabled"))
    };
    model.apis.iter().find_map(|api| api.operations.iter().find_map(|operation| of_operation(api, operation)))
}

fn unreachable(endpoint: &Endpoint) -> Option<&'static str> {
    // Envoy checks from its main thread, where no tunnel begins: every check would fail.
    if endpoint.policy.health_check.is_some() {
        return Some("has a health check, which does not pass a forward proxy");
    }
    endpoint
        .urls()
        .any(is_here)
        .then_some("has URLs on this host and elsewhere, which cannot both be reached: make it two")
}

/// The entry of the tunnel to `port` of `host`.
pub fn entry(host: &str, port: u16) -> Address {
    Address {
        address: Some(address::Address::EnvoyInternalAddress(EnvoyInternalAddress {
            endpoint_id: format!("{}:{port}", crate::url::bracketed(host)),
            address_name_specifier: Some(AddressNameSpecifier::ServerListenerName(names::PROXY_LISTENER.to_owned())),
        })),
    }
}

/// `inner`, or nothing, over the tunnel.
pub fn through(inner: Option<TransportSocket>) -> TransportSocket {
    let plain = || TransportSocket {
        name: "envoy.transport_sockets.raw_buffer".to_owned(),
        config_type: Some(ConfigType::TypedConfig(any(&RawBuffer {}))),
    };
    let socket =
        InternalUpstreamTransport { transport_socket: Some(inner.unwrap_or_else(plain)), ..Default::default() };
    TransportSocket {
        name: "envoy.transport_sockets.internal_upstream".to_owned(),
        config_type: Some(ConfigType::TypedConfig(any(&socket))),
    }
}

/// By which the proxy knows the gateway: a secret.
pub fn login(proxy: &Proxy) -> Option<(Arc<str>, Resource)> {
    let login = proxy.login.as_ref()?;
    Some((names::PROXY_SECRET.into(), secrets::generic(names::PROXY_SECRET, &login.value)))
}

/// Where tunnels begin. What logs in is put in when one is made: the listener has the secret's name only.
pub fn listener(proxy: &Proxy) -> Resource {
    let login = proxy.login.as_ref();
    let header = login.map(|login| HeaderValueOption {
        header: Some(HeaderValue {
            key: login.name.clone(),
            value: format!("%SECRET({})%", names::PROXY_SECRET),
            ..Default::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    });
    let formatter = login.map(|_| {
        let secret_configs = HashMap::from([(names::PROXY_SECRET.to_owned(), tls::secret(names::PROXY_SECRET))]);
        TypedExtensionConfig {
            name: "envoy.formatter.generic_secret".to_owned(),
            typed_config: Some(any(&GenericSecret { secret_configs })),
        }
    });
    let tunnel = TcpProxy {
        stat_prefix: names::PROXY_LISTENER.to_owned(),
        cluster_specifier: Some(ClusterSpecifier::Cluster(names::PROXY_CLUSTER.to_owned())),
        tunneling_config: Some(TunnelingConfig {
            // The `endpoint_id` of the address that was connected to.
            hostname: "%DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID%".to_owned(),
            headers_to_add: header.into_iter().collect(),
            formatters: formatter.into_iter().collect(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let listener = Listener {
        name: names::PROXY_LISTENER.to_owned(),
        listener_specifier: Some(ListenerSpecifier::InternalListener(InternalListenerConfig {})),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "envoy.filters.network.tcp_proxy".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(any(&tunnel))),
            }],
            ..Default::default()
        }],
        // They are no clients.
        ignore_global_conn_limit: true,
        ..Default::default()
    };
    let secret = login.map(|_| (ResourceType::Secret, names::PROXY_SECRET.into()));
    let references = [(ResourceType::Cluster, names::PROXY_CLUSTER.into())].into_iter().chain(secret);
    resource(listener.encode_to_vec(), references.collect())
}

/// The proxy itself.
pub fn cluster(proxy: &Proxy) -> Resource {
    let fixed = proxy.host.parse::<IpAddr>().is_ok();
    let kind = if fixed { DiscoveryType::Static } else { DiscoveryType::StrictDns };
    let host = LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Host {
            address: Some(tcp(proxy.host.clone(), proxy.port)),
            ..Default::default()
        })),
        ..Default::default()
    };
    let cluster = Cluster {
        name: names::PROXY_CLUSTER.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        connect_timeout: seconds(5),
        dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: names::PROXY_CLUSTER.to_owned(),
            endpoints: vec![LocalityLbEndpoints { lb_endpoints: vec![host], ..Default::default() }],
            ..Default::default()
        }),
        circuit_breakers: Some(clusters::limits(None)),
        ..Default::default()
    };
    resource(cluster.encode_to_vec(), Vec::new())
}
