//! Replies that Envoy makes itself, in the gateway's shape.

use envoy_types::pb::envoy::config::accesslog::v3::access_log_filter::FilterSpecifier;
use envoy_types::pb::envoy::config::accesslog::v3::{
    AccessLogFilter, ExtensionFilter, ResponseFlagFilter, extension_filter,
};
use envoy_types::pb::envoy::config::core::v3::substitution_format_string::Format;
use envoy_types::pb::envoy::config::core::v3::{DataSource, SubstitutionFormatString, data_source};
use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    LocalReplyConfig, ResponseMapper,
};

use super::routes::fault;
use super::wire::any;

/// JSON for the replies Envoy makes for want of a route. Selected by flag or details, never by status alone: a
/// decision of the service with the same status keeps its own body.
pub fn config() -> LocalReplyConfig {
    let not_found = FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter { flags: vec!["NR".to_owned()] });
    let expression = r#"response.code == 405 && response.code_details == "direct_response""#.to_owned();
    let not_allowed = FilterSpecifier::ExtensionFilter(ExtensionFilter {
        name: "envoy.access_loggers.extension_filters.cel".to_owned(),
        config_type: Some(extension_filter::ConfigType::TypedConfig(any(&ExpressionFilter {
            expression,
            ..Default::default()
        }))),
    });
    LocalReplyConfig {
        mappers: vec![
            mapper(not_found, &fault(404, "Not Found", "No matching resource found for given API Request")),
            mapper(not_allowed, &fault(405, "Method Not Allowed", "Method not allowed for given API resource")),
        ],
        ..Default::default()
    }
}

fn mapper(filter: FilterSpecifier, body: &str) -> ResponseMapper {
    ResponseMapper {
        filter: Some(AccessLogFilter { filter_specifier: Some(filter) }),
        body: Some(DataSource {
            specifier: Some(data_source::Specifier::InlineString(body.to_owned())),
            ..Default::default()
        }),
        body_format_override: Some(SubstitutionFormatString {
            content_type: "application/json".to_owned(),
            format: Some(Format::TextFormatSource(DataSource {
                specifier: Some(data_source::Specifier::InlineString("%LOCAL_REPLY_BODY%".to_owned())),
                ..Default::default()
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}
