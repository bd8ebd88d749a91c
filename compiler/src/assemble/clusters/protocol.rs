//! How HTTP is spoken with backends.

use envoy_types::pb::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as CommonOptions,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config,
};

use crate::assemble::wire::{number, seconds};
use crate::settings::Backends;

pub fn options(tls: bool, backends: &Backends) -> HttpProtocolOptions {
    HttpProtocolOptions {
        common_http_protocol_options: Some(CommonOptions {
            idle_timeout: seconds(60),
            max_response_headers_kb: backends.max_response_header.and_then(|bytes| number(bytes.div_ceil(1024))),
            ..Default::default()
        }),
        upstream_protocol_options: Some(protocol(tls, backends)),
        ..Default::default()
    }
}

/// HTTP/1.1 in the clear; over TLS what the backend prefers, unless that is switched off.
fn protocol(tls: bool, backends: &Backends) -> UpstreamProtocolOptions {
    if tls && backends.http2 {
        return UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
            http_protocol_options: Some(Http1ProtocolOptions::default()),
            http2_protocol_options: Some(Http2ProtocolOptions {
                max_concurrent_streams: backends.max_streams.and_then(number),
                ..Default::default()
            }),
            ..Default::default()
        });
    }
    UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
        protocol_config: Some(explicit_http_config::ProtocolConfig::HttpProtocolOptions(
            Http1ProtocolOptions::default(),
        )),
    })
}
