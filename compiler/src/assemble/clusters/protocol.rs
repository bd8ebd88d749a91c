//! How HTTP is spoken with backends.

use envoy_types::pb::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as CommonOptions,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config,
};
use microgw_proto::traffic::v1::{EndpointPolicy, Protocol};

use super::outlier;
use crate::assemble::wire::{number, seconds};
use crate::model::Endpoint;
use crate::settings::Backends;

/// Bytes of one response that are on their way, and of all on a connection: clients that do not read hold up nobody else's.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 256 * STREAM_WINDOW;

pub fn options(endpoint: &Endpoint, tls: bool, backends: &Backends) -> HttpProtocolOptions {
    HttpProtocolOptions {
        common_http_protocol_options: Some(CommonOptions {
            idle_timeout: seconds(60),
            max_response_headers_kb: backends.max_response_header.and_then(|bytes| number(bytes.div_ceil(1024))),
            ..Default::default()
        }),
        upstream_protocol_options: Some(protocol(&endpoint.policy, tls, backends)),
        outlier_detection: outlier::failures(endpoint),
        ..Default::default()
    }
}

/// What the endpoint says; otherwise HTTP/1.1 in the clear, and over TLS what the backend prefers, unless that is switched off.
fn protocol(policy: &EndpointPolicy, tls: bool, backends: &Backends) -> UpstreamProtocolOptions {
    let streams = policy.pool.as_ref().and_then(|pool| pool.max_streams).or(backends.max_streams);
    let http2 = || Http2ProtocolOptions {
        max_concurrent_streams: streams.and_then(number),
        initial_stream_window_size: number(STREAM_WINDOW),
        initial_connection_window_size: number(CONNECTION_WINDOW),
        ..Default::default()
    };
    let explicit =
        |config| UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(config) });
    match policy.protocol() {
        Protocol::Auto if tls && backends.http2 => UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
            http_protocol_options: Some(Http1ProtocolOptions::default()),
            http2_protocol_options: Some(http2()),
            ..Default::default()
        }),
        Protocol::Auto | Protocol::Http1 => {
            explicit(explicit_http_config::ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default()))
        }
        Protocol::Http2 => explicit(explicit_http_config::ProtocolConfig::Http2ProtocolOptions(http2())),
    }
}
