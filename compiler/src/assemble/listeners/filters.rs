//! The filters that requests pass, in their order. What is for some routes only is disabled here and enabled there; decisions are
//! the other way round.

use envoy_types::pb::envoy::config::common::mutation_rules::v3::HeaderMutationRules;
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::substitution_format_string::Format;
use envoy_types::pb::envoy::config::core::v3::{
    ApiVersion, DataSource, GrpcService, SubstitutionFormatString, data_source,
};
use envoy_types::pb::envoy::extensions::filters::common::set_filter_state::v3::{FilterStateValue, filter_state_value};
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::Buffer;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::Cors;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{ExtAuthz, ext_authz::Services};
use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::metadata_options::MetadataNamespaces;
use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::{
    ExternalProcessor, MetadataOptions, ProcessingMode,
};
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::HeaderMutation;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::set_filter_state::v3::Config as SetFilterState;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{HttpFilter, http_filter};
use envoy_types::pb::envoy::r#type::v3::{HttpStatus, StatusCode};
use envoy_types::pb::google::protobuf::Any;

use crate::assemble::wire::{any, number, yes};
use crate::assemble::{compression, names};
use crate::settings::Settings;

/// All lookups of one decision share 2 s; Envoy waits a little longer, so that the service's own answer arrives.
const AUTHZ_TIMEOUT: envoy_types::pb::google::protobuf::Duration =
    envoy_types::pb::google::protobuf::Duration { seconds: 2, nanos: 250_000_000 };
/// As long as the service may have it wait, which says so: for the programs of a request (30 s), for a response that another request has
/// brought on its way (`caching.maxResponseWait`, 60 s), for the programs that this goes through (30 s), and for lookups.
const LONGEST_WAIT: envoy_types::pb::google::protobuf::Duration =
    envoy_types::pb::google::protobuf::Duration { seconds: 125, nanos: 0 };

pub fn filters(settings: &Settings) -> Vec<HttpFilter> {
    // First: browsers of other origins may read refusals as well.
    let cors = HttpFilter { disabled: true, ..http_filter(names::CORS, any(&Cors {})) };
    // Before decisions, so that refusals pass it.
    let edits = HttpFilter { disabled: true, ..http_filter(names::HEADER_MUTATION, any(&HeaderMutation::default())) };
    let decision = http_filter(names::EXT_AUTHZ, any(&ext_authz()));
    // Nearer to backends than compression: what it looks at is as it came.
    let processing = HttpFilter { disabled: true, ..http_filter(names::EXT_PROC, any(&ext_proc(settings))) };
    let compressors = settings.compression.iter().flat_map(compression::filters);
    let compressors = compressors.map(|(name, config)| http_filter(&name, config));
    asked_path(settings)
        .into_iter()
        .chain([cors, edits, decision])
        .chain(compressors)
        .chain([processing])
        .chain(last_filters(settings))
        .collect()
}

/// Where nothing is decided.
pub fn unguarded_filters(settings: &Settings) -> Vec<HttpFilter> {
    asked_path(settings).into_iter().chain(last_filters(settings)).collect()
}

/// Before anything changes it. Without the query, which may hold a key; and whatever a client says the path was before.
fn asked_path(settings: &Settings) -> Option<HttpFilter> {
    if settings.access_log.is_none() && settings.tracing.is_none() {
        return None;
    }
    let value = SubstitutionFormatString {
        format: Some(Format::TextFormatSource(DataSource {
            specifier: Some(data_source::Specifier::InlineString("%PATH(NQ:PATH)%".to_owned())),
            ..Default::default()
        })),
        ..Default::default()
    };
    let path = FilterStateValue {
        key: Some(filter_state_value::Key::ObjectKey(names::ASKED_PATH.to_owned())),
        factory_key: "envoy.string".to_owned(),
        value: Some(filter_state_value::Value::FormatString(value)),
        ..Default::default()
    };
    let config = SetFilterState { on_request_headers: vec![path], ..Default::default() };
    Some(http_filter(names::SET_FILTER_STATE, any(&config)))
}

fn http_filter(name: &str, config: Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

fn last_filters(settings: &Settings) -> Vec<HttpFilter> {
    let mut filters = Vec::new();
    if let Some(limit) = settings.listeners.max_body_size {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        filters.push(http_filter(names::BUFFER, any(&Buffer { max_request_bytes: number(limit) })));
    }
    let router = Router { suppress_envoy_headers: true, ..Default::default() };
    filters.push(http_filter("envoy.filters.http.router", any(&router)));
    filters
}

fn service() -> GrpcService {
    GrpcService {
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
            cluster_name: names::AUTHZ_CLUSTER.to_owned(),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// Takes the place of ext_authz on routes whose rules look at bodies or responses, and is enabled there. What it looks at, each
/// route says.
fn ext_proc(settings: &Settings) -> ExternalProcessor {
    // Who tells of another's certificate is known by the connection.
    let peer = settings.client_certificates.header.as_ref().map(|_| "source.address".to_owned());
    ExternalProcessor {
        grpc_service: Some(service()),
        processing_mode: Some(ProcessingMode::default()),
        request_attributes: peer.into_iter().collect(),
        // Replies of Envoy's own are no backend's.
        response_attributes: vec!["response.code_details".to_owned()],
        message_timeout: Some(AUTHZ_TIMEOUT),
        max_message_timeout: Some(LONGEST_WAIT),
        status_on_error: Some(HttpStatus { code: StatusCode::ServiceUnavailable.into() }),
        mutation_rules: Some(HeaderMutationRules { allow_all_routing: yes(), ..Default::default() }),
        // What decisions say of themselves is where access logs look for it, whichever filter asked.
        metadata_options: Some(MetadataOptions {
            receiving_namespaces: Some(MetadataNamespaces {
                untyped: vec![names::EXT_AUTHZ.to_owned()],
                ..Default::default()
            }),
            ..Default::default()
        }),
        // Of bodies that are looked at the service knows how long they are.
        allow_content_length_header: true,
        ..Default::default()
    }
}

/// Enabled here and disabled per route, never the reverse: a route that says nothing is refused.
fn ext_authz() -> ExtAuthz {
    ExtAuthz {
        transport_api_version: ApiVersion::V3.into(),
        services: Some(Services::GrpcService(GrpcService { timeout: Some(AUTHZ_TIMEOUT), ..service() })),
        // A dead service must not look like a denial.
        status_on_error: Some(HttpStatus { code: StatusCode::ServiceUnavailable.into() }),
        validate_mutations: true,
        // The engine picks the environment by a header: the route is matched again.
        clear_route_cache: true,
        decoder_header_mutation_rules: Some(HeaderMutationRules { allow_all_routing: yes(), ..Default::default() }),
        ..Default::default()
    }
}
