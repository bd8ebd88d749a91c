//! Which connections a listener takes, and what it presents to them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use envoy_types::pb::envoy::config::core::v3::{CidrRange, TransportSocket};
use envoy_types::pb::envoy::config::listener::v3::{
    Filter, FilterChain, FilterChainMatch, ListenerFilter, filter, listener_filter,
};
use envoy_types::pb::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::google::protobuf::Any;

use crate::assemble::wire::{any, number, seconds};
use crate::assemble::{names, tls};
use crate::settings::{CertificateRequest, Listeners};

/// Connections of one kind.
#[derive(Default)]
pub struct Chain {
    /// That clients ask for; empty: any other, or none.
    server_names: Vec<String>,
    /// `None`: in the clear.
    socket: Option<TransportSocket>,
}

/// One for each certificate that is for some names, and one for all others.
pub fn with_tls(listeners: &Listeners, request: &CertificateRequest) -> Vec<Chain> {
    let listed = listeners.certificates.iter().enumerate().map(|(index, listed)| Chain {
        server_names: listed.server_names.clone(),
        socket: Some(tls::presented(listeners, request, &names::listed_secret(index))),
    });
    let others = tls::presented(listeners, request, names::IDENTITY_SECRET);
    listed.chain([Chain { server_names: Vec::new(), socket: Some(others) }]).collect()
}

/// What looks at a connection first.
pub fn listener_filters(balanced: bool, by_name: bool) -> Vec<ListenerFilter> {
    let filter = |name: &str, config: Any| ListenerFilter {
        name: name.to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    };
    let balancer = balanced.then(|| filter("envoy.filters.listener.proxy_protocol", any(&ProxyProtocol::default())));
    let inspector = by_name.then(|| filter("envoy.filters.listener.tls_inspector", any(&TlsInspector::default())));
    balancer.into_iter().chain(inspector).collect()
}

/// Where connections may come from behind balancers: from these, and from this host, for the gateway looks at its own listeners.
pub fn peers(listeners: &Listeners) -> Vec<CidrRange> {
    let whole = |address: IpAddr| (address, if address.is_ipv4() { 32 } else { 128 });
    let loopback = [(Ipv4Addr::LOCALHOST.into(), 8), whole(Ipv6Addr::LOCALHOST.into())];
    let own = Some(listeners.host).filter(|host| !host.is_loopback() && !host.is_unspecified()).map(whole);
    let all = loopback.into_iter().chain(own).chain(listeners.balanced.from.iter().copied());
    let mut ranges: Vec<_> = all.map(|(address, bits)| (first(address, bits), bits)).collect();
    ranges.sort_unstable();
    // Envoy takes no range twice, and what is within another adds nothing.
    ranges.dedup_by(|(address, bits), (outer, wider)| bits >= wider && first(*address, *wider) == *outer);
    ranges
        .into_iter()
        .map(|(address, bits)| CidrRange { address_prefix: address.to_string(), prefix_len: number(bits.into()) })
        .collect()
}

/// The lowest address of those that begin with the same bits.
fn first(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let rest = u32::MAX.checked_shr(bits.into()).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & !rest).into()
        }
        IpAddr::V6(address) => {
            let rest = u128::MAX.checked_shr(bits.into()).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & !rest).into()
        }
    }
}

// === impl Chain ===

impl Chain {
    /// With `from` only for connections that come from there, whatever a balancer says of them.
    pub fn encode(self, manager: &Any, from: Option<&[CidrRange]>) -> FilterChain {
        let is_particular = !self.server_names.is_empty() || from.is_some();
        FilterChain {
            name: self.server_names.first().cloned().unwrap_or_default(),
            filter_chain_match: is_particular.then(|| FilterChainMatch {
                server_names: self.server_names,
                direct_source_prefix_ranges: from.unwrap_or_default().to_vec(),
                ..Default::default()
            }),
            filters: vec![Filter {
                name: "envoy.filters.network.http_connection_manager".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(manager.clone())),
            }],
            transport_socket: self.socket,
            transport_socket_connect_timeout: seconds(10),
            ..Default::default()
        }
    }
}
