//! What Envoy writes about each request.

use envoy_types::pb::envoy::config::accesslog::v3::access_log_filter::FilterSpecifier;
use envoy_types::pb::envoy::config::accesslog::v3::{
    AccessLog, AccessLogFilter, LogTypeFilter, MetadataFilter, access_log,
};
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::{ApiVersion, GrpcService};
use envoy_types::pb::envoy::data::accesslog::v3::AccessLogType;
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::FileAccessLog;
use envoy_types::pb::envoy::extensions::access_loggers::grpc::v3::{
    CommonGrpcAccessLogConfig, HttpGrpcAccessLogConfig,
};
use envoy_types::pb::envoy::r#type::matcher::v3::metadata_matcher::{PathSegment, path_segment};
use envoy_types::pb::envoy::r#type::matcher::v3::{MetadataMatcher, ValueMatcher, value_matcher};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message as _, Name as _};

use super::names;
use super::wire::{any, append, append_text_entry, no, number};
use crate::settings;

// Field numbers of what is encoded by hand.
const FORMAT_JSON: u32 = 2;
const FILE_LOG_FORMAT: u32 = 5;

/// The path that was asked for, without the query. What is refused before the first filter has none but its own. `most`: how much of
/// it, as `:256`.
pub fn asked_path(most: &str) -> String {
    let operator = |command: &str, parameter: &str| format!(r#"{{"command":"{command}","param":"{parameter}"}}"#);
    let (asked, own) = (operator("FILTER_STATE", &format!("{}:PLAIN", names::ASKED_PATH)), operator("PATH", "NQ:PATH"));
    format!(r#"%COALESCE({{"operators":[{asked},{own}]}}){most}%"#)
}

/// One JSON line per request. No query string: it may hold a key.
pub fn file(log: &settings::AccessLog, traced: bool, certificates: bool) -> AccessLog {
    let route = |key: &str| format!("%METADATA(ROUTE:{}:{key})%", names::METADATA);
    let decision = |key: &str| format!("%DYNAMIC_METADATA({}:{key})%", names::EXT_AUTHZ);
    let mut fields: Vec<(&str, String)> = [
        ("time", "%START_TIME%"),
        ("method", "%REQ(:METHOD)%"),
        ("protocol", "%PROTOCOL%"),
        ("status", "%RESPONSE_CODE%"),
        ("details", "%RESPONSE_CODE_DETAILS%"),
        ("flags", "%RESPONSE_FLAGS%"),
        ("operation", "%ROUTE_NAME%"),
        ("client", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        ("received", "%BYTES_RECEIVED%"),
        ("sent", "%BYTES_SENT%"),
        ("duration_ms", "%DURATION%"),
        ("upstream", "%UPSTREAM_HOST%"),
        ("request_id", "%REQ(X-REQUEST-ID)%"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    fields.push(("path", asked_path("")));
    fields.extend([names::API_KEY, names::VERSION_KEY].map(|key| (key, route(key))));
    fields.extend([names::REASON, names::EXCEEDED, names::DENIED_BY, names::KEY_TYPE].map(|key| (key, decision(key))));
    if log.caller {
        fields.extend([names::CALLER, names::CLIENT_ID, names::KEY_ID].map(|key| (key, decision(key))));
        if certificates {
            fields.push((names::CERTIFICATE, decision(names::CERTIFICATE)));
        }
    }
    if traced {
        fields.push(("trace_id", "%TRACE_ID%".to_owned()));
    }
    fields.sort_unstable();
    // `google.protobuf.Struct` is a hash map in the generated types; its order would change the listener's bytes.
    let mut line = Vec::new();
    for (name, value) in fields {
        append_text_entry(&mut line, name, &value);
    }
    let mut format = Vec::new();
    append(&mut format, FORMAT_JSON, &line);
    let mut file = FileAccessLog { path: log.path.clone(), ..Default::default() }.encode_to_vec();
    append(&mut file, FILE_LOG_FORMAT, &format);
    AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        config_type: Some(access_log::ConfigType::TypedConfig(Any {
            type_url: FileAccessLog::type_url(),
            value: file,
        })),
        ..Default::default()
    }
}

/// What bodies took, told to the service that decides, of requests whose decision says that they owe something for it. Each at
/// once: what has not arrived has not been counted.
pub fn bandwidth() -> AccessLog {
    let service = GrpcService {
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
            cluster_name: names::AUTHZ_CLUSTER.to_owned(),
            ..Default::default()
        })),
        ..Default::default()
    };
    let config = HttpGrpcAccessLogConfig {
        common_config: Some(CommonGrpcAccessLogConfig {
            log_name: names::GATEWAY.to_owned(),
            grpc_service: Some(service),
            transport_api_version: ApiVersion::V3.into(),
            buffer_size_bytes: number(0),
            ..Default::default()
        }),
        ..Default::default()
    };
    let key = PathSegment { segment: Some(path_segment::Segment::Key(names::OWED.to_owned())) };
    let owed = MetadataMatcher {
        filter: names::EXT_AUTHZ.to_owned(),
        path: vec![key],
        value: Some(ValueMatcher { match_pattern: Some(value_matcher::MatchPattern::PresentMatch(true)) }),
        invert: false,
    };
    let owing = MetadataFilter { matcher: Some(owed), match_if_key_not_found: no() };
    AccessLog {
        name: "envoy.access_loggers.http_grpc".to_owned(),
        config_type: Some(access_log::ConfigType::TypedConfig(any(&config))),
        filter: Some(AccessLogFilter { filter_specifier: Some(FilterSpecifier::MetadataFilter(owing)) }),
    }
}

/// One line for each request, though Envoy reports on the way, too.
pub fn at_the_end_only(log: &mut AccessLog) {
    let end = LogTypeFilter { types: vec![AccessLogType::DownstreamEnd.into()], exclude: false };
    log.filter = Some(AccessLogFilter { filter_specifier: Some(FilterSpecifier::LogTypeFilter(end)) });
}
