//! Endpoints as Envoy clusters. Equal endpoints are one cluster, whoever uses them.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, DnsLookupFamily};
use envoy_types::pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster};
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::core::v3::{
    Address, Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as CommonOptions, SocketAddress,
    TransportSocket, address,
};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint as Host, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SdsSecretConfig, SubjectAltNameMatcher, TlsParameters,
    UpstreamTlsContext, subject_alt_name_matcher::SanType, tls_parameters::TlsProtocol,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use prost::Message as _;

use super::wire::{any, digest, hex, number, resource, seconds};
use super::{ads, names};
use crate::model::{BackendUrl, Endpoint};
use crate::snapshot::{Resource, ResourceType};

/// The old product had no limit unless one was configured; Envoy's own default would answer 503 at 1,024.
const UNLIMITED: u32 = 1_000_000;

/// The cluster's name: a hash of what it connects to.
pub fn name(endpoint: &Endpoint) -> String {
    let urls: Vec<String> = endpoint.urls.iter().map(|url| format!("{}:{}:{}", url.tls, url.host, url.port)).collect();
    let parts: Vec<&[u8]> = urls.iter().map(String::as_bytes).collect();
    let id = hex(&digest(&parts));
    format!("backend-{}", id.get(..16).unwrap_or(&id))
}

/// The cluster of an endpoint, under [`name`].
pub fn cluster(endpoint: &Endpoint) -> Resource {
    let name = name(endpoint);
    let fixed = endpoint.urls.iter().all(|url| url.host.parse::<IpAddr>().is_ok());
    let tls = endpoint.urls.first().is_some_and(|url| url.tls);
    let kind = if fixed { DiscoveryType::Static } else { DiscoveryType::StrictDns };
    let hosts = endpoint.urls.iter().map(host).collect();
    let protocol = HttpProtocolOptions {
        common_http_protocol_options: Some(CommonOptions { idle_timeout: seconds(60), ..Default::default() }),
        upstream_protocol_options: Some(protocol(tls)),
        ..Default::default()
    };
    let cluster = Cluster {
        name: name.clone(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        connect_timeout: seconds(5),
        dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: name,
            endpoints: vec![LocalityLbEndpoints { lb_endpoints: hosts, ..Default::default() }],
            ..Default::default()
        }),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![Thresholds {
                max_connections: number(UNLIMITED),
                max_pending_requests: number(UNLIMITED),
                max_requests: number(UNLIMITED),
                ..Default::default()
            }],
            ..Default::default()
        }),
        typed_extension_protocol_options: HashMap::from([(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(),
            any(&protocol),
        )]),
        transport_socket: tls.then(|| verified_tls(&endpoint.urls)),
        ..Default::default()
    };
    let trust = tls.then(|| (ResourceType::Secret, names::BACKEND_TRUST_SECRET.into()));
    resource(cluster.encode_to_vec(), trust.into_iter().collect())
}

fn host(url: &BackendUrl) -> LbEndpoint {
    let bracketed = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let default_port = if url.tls { 443 } else { 80 };
    let hostname = if url.port == default_port { bracketed } else { format!("{bracketed}:{}", url.port) };
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Host {
            address: Some(tcp(url.host.clone(), url.port)),
            // What `auto_host_rewrite` sends as `Host`.
            hostname,
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// HTTP/1.1 in the clear; what the backend prefers over TLS.
fn protocol(tls: bool) -> UpstreamProtocolOptions {
    if tls {
        return UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
            http_protocol_options: Some(Http1ProtocolOptions::default()),
            http2_protocol_options: Some(Http2ProtocolOptions::default()),
            ..Default::default()
        });
    }
    UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
        protocol_config: Some(explicit_http_config::ProtocolConfig::HttpProtocolOptions(
            Http1ProtocolOptions::default(),
        )),
    })
}

/// TLS with the backend's name in SNI; its certificate must chain to a trusted authority, which arrives as a secret, and
/// be for one of the endpoint's hosts. (Envoy's `system_root_certs` does not go with a check of names.)
fn verified_tls(urls: &[BackendUrl]) -> TransportSocket {
    let hosts: BTreeSet<&str> = urls.iter().map(|url| url.host.as_str()).collect();
    let subjects = hosts.into_iter().map(|host| SubjectAltNameMatcher {
        san_type: if host.parse::<IpAddr>().is_ok() { SanType::IpAddress } else { SanType::Dns }.into(),
        matcher: Some(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(host.to_owned())),
            ..Default::default()
        }),
        ..Default::default()
    });
    let tls = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(TlsParameters {
                tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
                ..Default::default()
            }),
            validation_context_type: Some(ValidationContextType::CombinedValidationContext(
                CombinedCertificateValidationContext {
                    default_validation_context: Some(CertificateValidationContext {
                        match_typed_subject_alt_names: subjects.collect(),
                        ..Default::default()
                    }),
                    validation_context_sds_secret_config: Some(SdsSecretConfig {
                        name: names::BACKEND_TRUST_SECRET.to_owned(),
                        sds_config: Some(ads()),
                    }),
                    ..Default::default()
                },
            )),
            ..Default::default()
        }),
        auto_host_sni: true,
        ..Default::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(ConfigType::TypedConfig(any(&tls))),
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
