//! Replies that Envoy makes itself, in the gateway's words.
//!
//! Selected by response flag, by response-code details or by the route that made them, never by status alone: a denial
//! of the engine with the same status keeps its own body.

use envoy_types::pb::envoy::config::accesslog::v3::access_log_filter::FilterSpecifier;
use envoy_types::pb::envoy::config::accesslog::v3::{
    AccessLogFilter, AndFilter, ExtensionFilter, HeaderFilter, ResponseFlagFilter, extension_filter,
};
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::substitution_format_string::Format;
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, HeaderValue, HeaderValueOption, SubstitutionFormatString, data_source,
};
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    LocalReplyConfig, ResponseMapper,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};
use microgw_faults::{Fault, Form, NAMES_PROBLEM};

use super::answers::Answers;
use super::wire::{any, number};

/// How a reply of Envoy is recognised.
enum Sign {
    /// Any of these response flags.
    Flags(&'static [&'static str]),
    /// An expression over the response's code and details.
    Response(&'static str),
    /// The route that refuses has the fault's name.
    Route,
}

/// The first that fits counts; those that a client can provoke at will come first.
const REPLIES: &[(Fault, Sign)] = &[
    (Fault::NotFound, Sign::Flags(&["NR"])),
    (Fault::MethodNotAllowed, Sign::Route),
    (Fault::BadPath, Sign::Route),
    (Fault::UriTooLong, Sign::Route),
    (Fault::BadHost, Sign::Route),
    (Fault::ApiUnavailable, Sign::Route),
    (Fault::NoProductionEndpoint, Sign::Route),
    (Fault::BackendUnavailable, Sign::Flags(&["UF", "UH", "UO", "NC"])),
    (Fault::BackendFailed, Sign::Flags(&["UC", "UR", "LR", "UPE"])),
    (Fault::BackendTimeout, Sign::Flags(&["UT", "UMSDR"])),
    (Fault::BackendTimeout, Sign::Response("response.code_details == 'stream_idle_timeout' && response.code == 504")),
    // Envoy's own status is 401, which would be about the client.
    (Fault::BackendUnavailable, Sign::Response("response.code_details.contains('failed_to_inject_credential')")),
    // The first target has failed, and there is too much to send to the next.
    (
        Fault::BackendUnavailable,
        Sign::Response("response.code_details.contains('request_payload_exceeded_retry_buffer_limit')"),
    ),
    (Fault::NoDecision, Sign::Response("response.code_details == 'ext_authz_error'")),
    (Fault::NoDecision, Sign::Response("response.code_details.startsWith('ext_proc_error')")),
    (Fault::PayloadTooLarge, Sign::Response("response.code_details == 'request_payload_too_large'")),
    (Fault::HeadersTooLarge, Sign::Response("response.code_details.startsWith('http') && response.code == 431")),
    (
        Fault::RequestTimeout,
        Sign::Response(
            "response.code_details in ['request_header_timeout', 'stream_idle_timeout', 'request_overall_timeout']",
        ),
    ),
    (Fault::BadPath, Sign::Response("response.code_details == 'path_normalization_failed'")),
    (Fault::UpgradeRequired, Sign::Response("response.code_details == 'low_version'")),
    (Fault::UpgradeRefused, Sign::Response("response.code_details == 'upgrade_failed'")),
    (Fault::NotImplemented, Sign::Response("response.code_details.startsWith('http') && response.code == 501")),
    (Fault::Overloaded, Sign::Response("response.code_details.startsWith('overload')")),
    // Whatever else Envoy may say.
    (
        Fault::BadRequest,
        Sign::Response("response.code_details != 'direct_response' && response.code >= 400 && response.code < 500"),
    ),
    (Fault::Internal, Sign::Response("response.code_details != 'direct_response' && response.code >= 500")),
];
/// The engine's own words, and a backend's that were kept.
const DENIED: &str = "response.code_details in ['ext_authz_denied', 'microgw_refused', 'microgw_kept']";

pub fn config(answers: &Answers) -> LocalReplyConfig {
    let denied = ResponseMapper { filter: Some(filter(response(DENIED))), ..Default::default() };
    let replies = REPLIES.iter().flat_map(|(fault, sign)| {
        // Most particular first: the form without a condition fits everybody.
        [Form::Text, Form::Problem, Form::Fault].map(|form| mapper(*fault, sign, form, answers))
    });
    LocalReplyConfig { mappers: std::iter::once(denied).chain(replies).collect(), ..Default::default() }
}

fn mapper(fault: Fault, sign: &Sign, form: Form, answers: &Answers) -> ResponseMapper {
    let sign = match sign {
        Sign::Flags(flags) => FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter {
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
        }),
        Sign::Response(expression) => response(expression),
        Sign::Route => response(&format!("xds.route_name == '{fault}'")),
    };
    let asked = match form {
        Form::Fault => None,
        Form::Problem => Some(header("accept", NAMES_PROBLEM)),
        Form::Text => Some(header("content-type", r"application/grpc(?:[+;].*)?")),
    };
    let condition = match asked {
        None => sign,
        Some(asked) => FilterSpecifier::AndFilter(AndFilter { filters: vec![filter(asked), filter(sign)] }),
    };
    let (content_type, body) = answers.body(fault, form);
    let headers = [("cache-control", Some("no-store")), ("retry-after", fault.retry_after())];
    ResponseMapper {
        filter: Some(filter(condition)),
        status_code: number(fault.status().into()),
        headers_to_add: headers.into_iter().filter_map(|(name, value)| Some(set(name, value?))).collect(),
        body: Some(inline(&body)),
        // The body is no format of Envoy's: only this is.
        body_format_override: Some(SubstitutionFormatString {
            content_type: content_type.to_owned(),
            format: Some(Format::TextFormatSource(inline("%LOCAL_REPLY_BODY%"))),
            ..Default::default()
        }),
    }
}

fn filter(specifier: FilterSpecifier) -> AccessLogFilter {
    AccessLogFilter { filter_specifier: Some(specifier) }
}

fn response(expression: &str) -> FilterSpecifier {
    let config = any(&ExpressionFilter { expression: expression.to_owned(), ..Default::default() });
    FilterSpecifier::ExtensionFilter(ExtensionFilter {
        name: "envoy.access_loggers.extension_filters.cel".to_owned(),
        config_type: Some(extension_filter::ConfigType::TypedConfig(config)),
    })
}

fn header(name: &str, regex: &str) -> FilterSpecifier {
    let pattern = MatchPattern::SafeRegex(RegexMatcher { regex: regex.to_owned(), ..Default::default() });
    FilterSpecifier::HeaderFilter(HeaderFilter {
        header: Some(HeaderMatcher {
            name: name.to_owned(),
            header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
                match_pattern: Some(pattern),
                ..Default::default()
            })),
            ..Default::default()
        }),
    })
}

fn set(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value: value.to_owned(), ..Default::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    }
}

fn inline(text: &str) -> DataSource {
    DataSource { specifier: Some(data_source::Specifier::InlineString(text.to_owned())), ..Default::default() }
}
