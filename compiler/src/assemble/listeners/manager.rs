//! What becomes of connections: how HTTP is spoken, and what holds for every request.

use envoy_types::pb::envoy::config::core::v3::http_protocol_options::HeadersWithUnderscoresAction;
use envoy_types::pb::envoy::config::core::v3::{Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, ForwardClientCertDetails, HcmAccessLogOptions, PathWithEscapedSlashesAction, RouteSpecifier,
    ServerHeaderTransformation,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{HttpConnectionManager, Rds};

use super::early_headers::early_mutation;
use super::filters::filters;
use crate::assemble::answers::Answers;
use crate::assemble::wire::{milliseconds, number, seconds, yes};
use crate::assemble::{access_log, ads, client_certificates, local_replies, names, tracing};
use crate::settings::{ServerHeader, Settings};

/// How long a connection that is to end still takes what a client sent before it heard of that; Envoy's own is 5 s, which is more than
/// some are told to be open. A second is more than a round trip (RFC 9113, section 6.8).
const GOODBYE_SECONDS: i64 = 1;
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Room for a JWT that says who calls: claims of the caller's and of what another server knows, each with a bound.
const ASSERTION_KB: u32 = 32;
/// For each plain header that says so, which has a bound as well.
const IDENTITY_HEADER_KB: u32 = 4;

/// What the service adds to a request counts towards Envoy's limit of what clients send, before credentials are taken out: without
/// room for it a token could be too long for its backend, and not for the gateway.
fn told_kb(settings: &Settings) -> u32 {
    let assertion = settings.backend_jwt.as_ref().map_or(0, |_| ASSERTION_KB);
    let headers = u32::try_from(settings.identity_headers.len()).unwrap_or(u32::MAX);
    headers.saturating_mul(IDENTITY_HEADER_KB).saturating_add(assertion)
}

/// With the table of routes, and a decision before each that is guarded.
pub fn guarded_manager(settings: &Settings, answers: &Answers, scheme: &str) -> HttpConnectionManager {
    let mut manager = HttpConnectionManager {
        route_specifier: Some(by_discovery(names::GATEWAY)),
        http_filters: filters(settings),
        ..connection_manager(settings, answers, scheme)
    };
    if settings.limits.bandwidth {
        manager.access_log.iter_mut().for_each(access_log::at_the_end_only);
        manager.access_log.push(access_log::bandwidth());
        manager.access_log_options =
            Some(HcmAccessLogOptions { access_log_flush_interval: seconds(1), ..Default::default() });
    }
    manager
}

/// The table of that name.
pub fn by_discovery(name: &str) -> RouteSpecifier {
    RouteSpecifier::Rds(Rds { config_source: Some(ads()), route_config_name: name.to_owned() })
}

/// Without routes and filters.
pub fn connection_manager(settings: &Settings, answers: &Answers, scheme: &str) -> HttpConnectionManager {
    let listeners = &settings.listeners;
    let connections = &listeners.connections;
    let (transformation, server_name) = match listeners.server_header.clone() {
        ServerHeader::Passed => (ServerHeaderTransformation::PassThrough, String::new()),
        ServerHeader::IfAbsent(name) => (ServerHeaderTransformation::AppendIfAbsent, name),
        ServerHeader::Always(name) => (ServerHeaderTransformation::Overwrite, name),
    };
    let shown = (scheme == names::HTTPS).then(|| client_certificates::shown(&settings.client_certificates)).flatten();
    HttpConnectionManager {
        stat_prefix: scheme.to_owned(),
        codec_type: if listeners.http2 { CodecType::Auto } else { CodecType::Http1 }.into(),
        tracing: settings.tracing.as_ref().map(tracing::tracing),
        access_log: settings
            .access_log
            .iter()
            .map(|log| access_log::file(log, settings.tracing.is_some(), settings.client_certificates.can_arrive()))
            .collect(),
        server_name,
        server_header_transformation: transformation.into(),
        use_remote_address: yes(),
        xff_num_trusted_hops: listeners.trusted_hops,
        forward_client_cert_details: shown
            .map_or(ForwardClientCertDetails::Sanitize, |_| ForwardClientCertDetails::SanitizeSet)
            .into(),
        set_current_client_cert_details: shown,
        early_header_mutation_extensions: vec![early_mutation(settings, scheme)],
        normalize_path: yes(),
        merge_slashes: true,
        path_with_escaped_slashes_action: PathWithEscapedSlashesAction::RejectRequest.into(),
        max_request_headers_kb: number(listeners.max_header_size.div_ceil(1024).max(1) + told_kb(settings)),
        request_headers_timeout: milliseconds(connections.head),
        request_timeout: milliseconds(connections.request),
        drain_timeout: seconds(GOODBYE_SECONDS),
        stream_idle_timeout: milliseconds(connections.stream_idle),
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: milliseconds(connections.idle),
            max_connection_duration: Some(connections.lifetime).filter(|most| *most > 0).and_then(milliseconds),
            max_headers_count: number(100),
            max_requests_per_connection: connections.max_requests.and_then(number),
            // `api_key` is a header name in many a definition.
            headers_with_underscores_action: HeadersWithUnderscoresAction::Allow.into(),
            ..Default::default()
        }),
        http_protocol_options: Some(Http1ProtocolOptions::default()),
        http2_protocol_options: Some(Http2ProtocolOptions {
            max_concurrent_streams: number(connections.max_streams),
            initial_stream_window_size: number(STREAM_WINDOW),
            initial_connection_window_size: number(CONNECTION_WINDOW),
            ..Default::default()
        }),
        local_reply_config: Some(local_replies::config(answers)),
        ..Default::default()
    }
}
