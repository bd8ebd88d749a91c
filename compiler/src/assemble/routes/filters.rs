//! What filters do for a route: the part of their configuration that is its own.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::config::route::v3::FilterConfig;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{
    BufferSettings, CheckSettings, ExtAuthzPerRoute,
};
use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::{BodySendMode, HeaderSendMode};
use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::{
    ExtProcOverrides, ExtProcPerRoute, ProcessingMode, ext_proc_per_route,
};
use envoy_types::pb::google::protobuf::Any;
use microgw_proto::rules::v1::Phases;

use crate::assemble::names;
use crate::assemble::rules::Ruled;
use crate::assemble::wire::any;

/// Of one route, by the filter's name.
pub type Filters = HashMap<String, Any>;

/// Envoy proper serves it: no question to the service. Not the filter's own `disabled`, for which the filter would be
/// made for each request, only to step aside.
pub fn unguarded() -> Any {
    any(&FilterConfig { disabled: true, ..Default::default() })
}

/// The service is asked once, by one of the two filters. The only place that puts ext_authz aside where there is a rule.
pub fn guarded(ruled: &Ruled) -> Filters {
    let Some(phases) = &ruled.phases else {
        return HashMap::from([(names::EXT_AUTHZ.to_owned(), head_only(&ruled.id, ruled.looks_for_body))]);
    };
    let processing = FilterConfig { config: Some(processing(&ruled.id, phases)), ..Default::default() };
    HashMap::from([(names::EXT_AUTHZ.to_owned(), unguarded()), (names::EXT_PROC.to_owned(), any(&processing))])
}

/// `looks_for_body`: its first byte comes along. No header tells that there is one: Envoy takes `transfer-encoding` out, and HTTP/2
/// needs none.
fn head_only(rule: &str, looks_for_body: bool) -> Any {
    let context_extensions = HashMap::from([(names::RULE_KEY.to_owned(), rule.to_owned())]);
    let first_byte = BufferSettings { max_request_bytes: 1, allow_partial_message: true, ..Default::default() };
    let with_request_body = looks_for_body.then_some(first_byte);
    let settings = CheckSettings { context_extensions, with_request_body, ..Default::default() };
    any(&ExtAuthzPerRoute { r#override: Some(Override::CheckSettings(settings)) })
}

/// Bodies that are looked at are the service's to pass on: it bounds them, and answers in its own words those that are too long. In
/// Envoy's own buffers they would be bounded by those of connections.
fn processing(rule: &str, phases: &Phases) -> Any {
    let send = |send| if send { HeaderSendMode::Send } else { HeaderSendMode::Skip }.into();
    let body = |send| if send { BodySendMode::FullDuplexStreamed } else { BodySendMode::None }.into();
    // What is counted comes the same way: it goes on as it came.
    let request_body = phases.request_body || phases.max_request_body > 0;
    let response_body = phases.response_body || phases.response_copied || phases.max_response_body > 0;
    let processing_mode = ProcessingMode {
        request_header_mode: HeaderSendMode::Send.into(),
        response_header_mode: send(phases.response_head),
        request_body_mode: body(request_body),
        response_body_mode: body(response_body),
        request_trailer_mode: send(request_body),
        response_trailer_mode: send(response_body),
    };
    let rule = HeaderValue { key: names::RULE_METADATA.to_owned(), value: rule.to_owned(), ..Default::default() };
    any(&ExtProcPerRoute {
        r#override: Some(ext_proc_per_route::Override::Overrides(ExtProcOverrides {
            processing_mode: Some(processing_mode),
            grpc_initial_metadata: vec![rule],
            ..Default::default()
        })),
    })
}
