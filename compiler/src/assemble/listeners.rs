//! The two listeners. Their bytes depend on the settings and the project's error templates alone, so that no change of
//! an API ever drains connections.

use std::sync::Arc;

use envoy_types::pb::envoy::config::common::mutation_rules::v3::header_mutation::{Action as Mutate, RemoveOnMatch};
use envoy_types::pb::envoy::config::common::mutation_rules::v3::{HeaderMutation as Mutation, HeaderMutationRules};
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::http_protocol_options::HeadersWithUnderscoresAction;
use envoy_types::pb::envoy::config::core::v3::{
    ApiVersion, GrpcService, HeaderValue, HeaderValueOption, Http1ProtocolOptions, Http2ProtocolOptions,
    HttpProtocolOptions, TransportSocket, TypedExtensionConfig,
};
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::Buffer;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{ExtAuthz, ext_authz::Services};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, ForwardClientCertDetails, HcmAccessLogOptions, PathWithEscapedSlashesAction, RouteSpecifier,
    ServerHeaderTransformation,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_filter,
};
use envoy_types::pb::envoy::extensions::http::early_header_mutation::header_mutation::v3::HeaderMutation;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};
use envoy_types::pb::envoy::r#type::v3::{HttpStatus, StatusCode};
use envoy_types::pb::google::protobuf::Any;
use prost::Message as _;

use super::answers::Answers;
use super::wire::{any, no, number, resource, seconds, yes};
use super::{access_log, ads, client_certificates, local_replies, names, oauth, tls, tracing};
use crate::path::push_escaped;
use crate::settings::{CertificateRequest, OAuthEndpoints, ServerHeader, Settings};
use crate::snapshot::{Resource, ResourceType};

/// All lookups of one decision share 2 s; Envoy waits a little longer, so that the service's own answer arrives.
const AUTHZ_TIMEOUT: envoy_types::pb::google::protobuf::Duration =
    envoy_types::pb::google::protobuf::Duration { seconds: 2, nanos: 250_000_000 };
/// Envoy's advice for proxies at the edge.
const CONNECTION_BUFFER: u32 = 32 * 1024;
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Some backends take the path, or the method, from these: it would be another than the one that was authorized.
const OVERRIDES: [&str; 5] =
    ["x-original-url", "x-rewrite-url", "x-http-method", "x-http-method-override", "x-method-override"];

/// Room for a JWT that says who calls: claims of the caller's and of what another server knows, each with a bound.
const ASSERTION_KB: u32 = 32;
/// For each plain header that says so, which has a bound as well.
const IDENTITY_HEADER_KB: u32 = 4;

const USER_AGENT: &str = "user-agent";
/// Envoy would trace a request for the sake of these.
const FORCED_TRACES: [&str; 2] = ["x-client-trace-id", "x-envoy-force-trace"];
/// W3C Trace Context.
const TRACE_CONTEXT: [&str; 2] = ["traceparent", "tracestate"];

/// What the service adds to a request counts towards Envoy's limit of what clients send, before credentials are taken out: without
/// room for it a token could be too long for its backend, and not for the gateway.
fn told_kb(settings: &Settings) -> u32 {
    let assertion = settings.backend_jwt.as_ref().map_or(0, |_| ASSERTION_KB);
    let headers = u32::try_from(settings.identity_headers.len()).unwrap_or(u32::MAX);
    headers.saturating_mul(IDENTITY_HEADER_KB).saturating_add(assertion)
}

/// The listener without TLS.
pub fn http(settings: &Settings, answers: &Answers) -> Resource {
    let manager = guarded_manager(settings, answers, names::HTTP);
    listener(settings, names::HTTP_LISTENER, settings.listeners.http_port, None, &manager, guarded_references())
}

/// The listener with TLS; its certificate arrives as a secret.
pub fn https(settings: &Settings, answers: &Answers) -> Resource {
    let request = &settings.client_certificates.request;
    let socket = tls::presented(&settings.listeners, request);
    let mut references = vec![(ResourceType::Secret, names::IDENTITY_SECRET.into())];
    if let CertificateRequest::Required(_) = request {
        references.push((ResourceType::Secret, names::CLIENT_AUTHORITIES_SECRET.into()));
    }
    references.extend(guarded_references());
    let manager = guarded_manager(settings, answers, names::HTTPS);
    listener(settings, names::HTTPS_LISTENER, settings.listeners.https_port, Some(socket), &manager, references)
}

/// The listener for the key manager's endpoints, with TLS as well. Nothing on it is guarded, and no API is on it: it has no way
/// to the table.
pub fn token(settings: &Settings, answers: &Answers, endpoints: &OAuthEndpoints, port: u16) -> Resource {
    let socket = tls::presented(&settings.listeners, &CertificateRequest::None);
    let manager = HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::RouteConfig(oauth::configuration(endpoints))),
        http_filters: unguarded_filters(settings),
        ..connection_manager(settings, answers, names::TOKEN)
    };
    let references = vec![
        (ResourceType::Secret, names::IDENTITY_SECRET.into()),
        (ResourceType::Cluster, names::KEY_MANAGER_CLUSTER.into()),
    ];
    listener(settings, names::TOKEN_LISTENER, port, Some(socket), &manager, references)
}

fn guarded_references() -> Vec<(ResourceType, Arc<str>)> {
    vec![(ResourceType::Route, names::GATEWAY.into()), (ResourceType::Cluster, names::AUTHZ_CLUSTER.into())]
}

fn listener(
    settings: &Settings,
    name: &str,
    port: u16,
    tls: Option<TransportSocket>,
    manager: &HttpConnectionManager,
    mut references: Vec<(ResourceType, Arc<str>)>,
) -> Resource {
    let manager = any(manager);
    let listener = Listener {
        name: name.to_owned(),
        address: Some(super::clusters::tcp(settings.listeners.host.to_string(), port)),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "envoy.filters.network.http_connection_manager".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(manager)),
            }],
            transport_socket: tls,
            transport_socket_connect_timeout: seconds(10),
            ..Default::default()
        }],
        per_connection_buffer_limit_bytes: number(CONNECTION_BUFFER),
        bind_to_port: if settings.listeners.bind { None } else { no() },
        ..Default::default()
    };
    references.extend(settings.tracing.as_ref().map(|_| (ResourceType::Cluster, names::COLLECTOR_CLUSTER.into())));
    resource(listener.encode_to_vec(), references)
}

/// With the table of routes, and a decision before each that is guarded.
fn guarded_manager(settings: &Settings, answers: &Answers, scheme: &str) -> HttpConnectionManager {
    let mut manager = HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(ads()),
            route_config_name: names::GATEWAY.to_owned(),
        })),
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

/// Without routes and filters.
fn connection_manager(settings: &Settings, answers: &Answers, scheme: &str) -> HttpConnectionManager {
    let listeners = &settings.listeners;
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
        request_headers_timeout: seconds(10),
        stream_idle_timeout: seconds(300),
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: seconds(3600),
            max_headers_count: number(100),
            max_requests_per_connection: if listeners.keep_alive { None } else { number(1) },
            // `api_key` is a header name in many a definition.
            headers_with_underscores_action: HeadersWithUnderscoresAction::Allow.into(),
            ..Default::default()
        }),
        http_protocol_options: Some(Http1ProtocolOptions::default()),
        http2_protocol_options: Some(Http2ProtocolOptions {
            max_concurrent_streams: number(100),
            initial_stream_window_size: number(STREAM_WINDOW),
            initial_connection_window_size: number(CONNECTION_WINDOW),
            ..Default::default()
        }),
        local_reply_config: Some(local_replies::config(answers)),
        ..Default::default()
    }
}

fn filters(settings: &Settings) -> Vec<HttpFilter> {
    let decision = http_filter(names::EXT_AUTHZ, any(&ext_authz()));
    std::iter::once(decision).chain(unguarded_filters(settings)).collect()
}

fn http_filter(name: &str, config: Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

fn unguarded_filters(settings: &Settings) -> Vec<HttpFilter> {
    let mut filters = Vec::new();
    if let Some(limit) = settings.listeners.max_body_size {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        filters.push(http_filter("envoy.filters.http.buffer", any(&Buffer { max_request_bytes: number(limit) })));
    }
    let router = Router { suppress_envoy_headers: true, ..Default::default() };
    filters.push(http_filter("envoy.filters.http.router", any(&router)));
    filters
}

/// Enabled here and disabled per route, never the reverse: a route that says nothing is refused.
fn ext_authz() -> ExtAuthz {
    ExtAuthz {
        transport_api_version: ApiVersion::V3.into(),
        services: Some(Services::GrpcService(GrpcService {
            target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
                cluster_name: names::AUTHZ_CLUSTER.to_owned(),
                ..Default::default()
            })),
            timeout: Some(AUTHZ_TIMEOUT),
            ..Default::default()
        })),
        // A dead service must not look like a denial.
        status_on_error: Some(HttpStatus { code: StatusCode::ServiceUnavailable.into() }),
        validate_mutations: true,
        // The engine picks the environment by a header: the route is matched again.
        clear_route_cache: true,
        decoder_header_mutation_rules: Some(HeaderMutationRules { allow_all_routing: yes(), ..Default::default() }),
        ..Default::default()
    }
}

/// Before routing: clients cannot send what only the gateway may say, and each listener leaves its mark.
fn early_mutation(settings: &Settings, scheme: &str) -> TypedExtensionConfig {
    let forbidden = StringMatcher {
        match_pattern: Some(MatchPattern::SafeRegex(RegexMatcher {
            regex: forbidden_headers(settings),
            ..Default::default()
        })),
        ..Default::default()
    };
    let mut mutations = vec![Mutate::RemoveOnMatch(RemoveOnMatch { key_matcher: Some(forbidden) })];
    mutations.push(set(names::LISTENER_HEADER, scheme));
    match settings.user_agent.as_deref() {
        None => {}
        Some("") => mutations.push(Mutate::Remove(USER_AGENT.to_owned())),
        Some(name) => mutations.push(set(USER_AGENT, name)),
    }
    let mutations = mutations.into_iter().map(|action| Mutation { action: Some(action) }).collect();
    TypedExtensionConfig {
        name: "envoy.http.early_header_mutation.header_mutation".to_owned(),
        typed_config: Some(any(&HeaderMutation { mutations })),
    }
}

fn set(header: &str, value: &str) -> Mutate {
    Mutate::Append(HeaderValueOption {
        header: Some(HeaderValue { key: header.to_owned(), value: value.to_owned(), ..Default::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    })
}

/// The headers that clients may not send, as one expression for the whole name: the gateway's own, those that are
/// configured, those by which some backends serve another path or method than was routed, and, where the gateway begins
/// traces, those that say which trace a request belongs to and whether it costs one. In each `_` counts as `-`: to CGI, WSGI
/// and their kin, and so to many backends, the two are one header.
fn forbidden_headers(settings: &Settings) -> String {
    let mut regex = String::new();
    let forced: &[&str] = if settings.tracing.is_some() { &FORCED_TRACES } else { &[] };
    let untrusted = settings.tracing.as_ref().is_some_and(|tracing| !tracing.trust_clients);
    let context: &[&str] = if untrusted { &TRACE_CONTEXT } else { &[] };
    let strip = settings.credentials.strip.iter().map(String::as_str);
    let certificate = Some(settings.client_certificates.forbidden_header.as_str()).filter(|name| !name.is_empty());
    let names = OVERRIDES
        .into_iter()
        .chain([names::CLIENT_CERTIFICATE_HEADER])
        .chain(strip)
        .chain(certificate)
        .chain(forced.iter().chain(context).copied());
    for (name, rest) in [(names::INTERNAL_PREFIX, ".*")].into_iter().chain(names.map(|name| (name, ""))) {
        push_name(&mut regex, name, None);
        regex.push_str(rest);
    }
    // The header of proxies is judged later, under its very name.
    let proxies = settings.client_certificates.header.as_ref().map_or("", |header| header.name.as_str());
    for unlike in 0..proxies.matches(SEPARATORS).count() {
        push_name(&mut regex, proxies, Some(unlike));
    }
    regex
}

const SEPARATORS: [char; 2] = ['-', '_'];

/// Another alternative: the name in either spelling; with `unlike` not in its own, that separator being the other one.
fn push_name(regex: &mut String, name: &str, unlike: Option<usize>) {
    if !regex.is_empty() {
        regex.push('|');
    }
    let mut separators = name.matches(SEPARATORS);
    for (index, part) in name.split(SEPARATORS).enumerate() {
        if index > 0 {
            let own = separators.next();
            let other = if own == Some("-") { "_" } else { "-" };
            regex.push_str(if unlike == Some(index - 1) { other } else { "[-_]" });
        }
        push_escaped(regex, part);
    }
}
