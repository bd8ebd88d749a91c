//! What Envoy writes about each request.

use envoy_types::pb::envoy::config::accesslog::v3::{AccessLog, access_log};
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::FileAccessLog;
use envoy_types::pb::google::protobuf::Any;
use prost::{Message as _, Name as _};

use super::wire::{append, append_entry};

// Field numbers of what is encoded by hand.
const STRUCT_FIELDS: u32 = 1;
const VALUE_STRING: u32 = 3;
const FORMAT_JSON: u32 = 2;
const FILE_LOG_FORMAT: u32 = 5;

/// One JSON line per request. No query string: it may hold a key.
pub fn file(path: &str) -> AccessLog {
    let fields = [
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
    ];
    let mut fields = fields.to_vec();
    fields.sort_unstable();
    // `google.protobuf.Struct` is a hash map in the generated types; its order would change the listener's bytes.
    let mut line = Vec::new();
    for (name, value) in fields {
        let mut string = Vec::new();
        append(&mut string, VALUE_STRING, value.as_bytes());
        append_entry(&mut line, STRUCT_FIELDS, name, &string);
    }
    let mut format = Vec::new();
    append(&mut format, FORMAT_JSON, &line);
    let mut file = FileAccessLog { path: path.to_owned(), ..Default::default() }.encode_to_vec();
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
