//! The hosts of a cluster.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress, address};
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

pub fn host(url: &BackendUrl, address: Address) -> LbEndpoint {
    let bracketed = crate::url::bracketed(&url.host);
    let default_port = if url.tls { 443 } else { 80 };
    let hostname = if url.port == default_port { bracketed } else { format!("{bracketed}:{}", url.port) };
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Host {
            address: Some(address),
            // What `auto_host_rewrite` sends as `Host`.
            hostname,
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
