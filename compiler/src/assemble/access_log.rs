//! What Envoy writes about each request.

use envoy_types::pb::envoy::config::accesslog::v3::{AccessLog, access_log};
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::FileAccessLog;
use envoy_types::pb::google::protobuf::Any;
use prost::{Message as _, Name as _};

use super::names;
use super::wire::{append, append_text_entry};
use crate::settings;

// Field numbers of what is encoded by hand.
const FORMAT_JSON: u32 = 2;
const FILE_LOG_FORMAT: u32 = 5;

/// One JSON line per request. No query string: it may hold a key.
pub fn file(log: &settings::AccessLog, traced: bool, certificates: bool) -> AccessLog {
    let route = |key: &str| format!("%METADATA(ROUTE:{}:{key})%", names::METADATA);
    let decision = |key: &str| format!("%DYNAMIC_METADATA({}:{key})%", names::EXT_AUTHZ);
    let mut fields: Vec<(&str, String)> = [
        ("time", "%START_TIME%"),
        ("method", "%REQ(:METHOD)%"),
        ("path", "%PATH(NQ)%"),
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
    fields.extend([names::API_KEY, names::VERSION_KEY].map(|key| (key, route(key))));
    fields.extend([names::REASON, names::KEY_TYPE].map(|key| (key, decision(key))));
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
