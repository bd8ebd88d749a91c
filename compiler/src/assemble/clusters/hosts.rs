//! The hosts of a cluster.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, Metadata, SocketAddress, address};
use envoy_types::pb::envoy::config::endpoint::v3::endpoint::HealthCheckConfig;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{Endpoint as Host, LbEndpoint};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};

use crate::model::BackendUrl;

/// What tells hosts of one endpoint apart: each has its own name in TLS.
pub fn host_is(host: &str) -> Struct {
    let name = Value { kind: Some(Kind::StringValue(host.to_owned())) };
    Struct { fields: HashMap::from([("host".to_owned(), name)]) }
}

/// By what name TLS knows a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// All hosts of the cluster have one.
    AsAll,
    /// The cluster has a socket for each of its names.
    ByName,
    /// By a name that the cluster does not have: Envoy takes the host's own, which has no port then.
    Otherwise,
}

pub fn host(url: &BackendUrl, address: Address, called: Called) -> LbEndpoint {
    let bracketed = crate::url::bracketed(&url.host);
    let default_port = if url.tls { 443 } else { 80 };
    let hostname = match called {
        Called::Otherwise => url.host.clone(),
        _ if url.port == default_port => bracketed,
        _ => format!("{bracketed}:{}", url.port),
    };
    LbEndpoint {
        metadata: (called == Called::ByName).then(|| Metadata {
            filter_metadata: HashMap::from([("envoy.transport_socket_match".to_owned(), host_is(&url.host))]),
            ..Default::default()
        }),
        host_identifier: Some(HostIdentifier::Endpoint(Host {
            address: Some(address),
            // What `auto_host_rewrite` and health checks send as `Host`.
            hostname: hostname.clone(),
            health_check_config: Some(HealthCheckConfig { hostname, ..Default::default() }),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// A TCP address.
pub fn tcp(address: String, port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address,
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}
