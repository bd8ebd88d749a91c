//! What Envoy answers by itself.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{DataSource, HeaderValue, HeaderValueOption, data_source::Specifier};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::{DirectResponseAction, Route, RouteMatch};
use microgw_faults::Fault;

use super::filters::unguarded;
use crate::assemble::names;

/// A fault that Envoy answers. The listener knows it by the route's name, and gives it its body: the table stays small.
pub fn refuse(matching: RouteMatch, fault: Fault, headers: &[(&str, &str)]) -> Route {
    Route { name: fault.name().to_owned(), ..direct(matching, fault.status().into(), None, headers) }
}

/// A reply that Envoy makes itself. With a body it is JSON.
pub fn direct(matching: RouteMatch, status: u32, body: Option<&str>, headers: &[(&str, &str)]) -> Route {
    let content_type = body.as_ref().map(|_| ("content-type", "application/json"));
    Route {
        r#match: Some(matching),
        typed_per_filter_config: HashMap::from([(names::EXT_AUTHZ.to_owned(), unguarded())]),
        response_headers_to_add: headers.iter().copied().chain(content_type).map(header).collect(),
        action: Some(Action::DirectResponse(DirectResponseAction {
            status,
            body: body.map(|body| DataSource {
                specifier: Some(Specifier::InlineString(body.to_owned())),
                ..Default::default()
            }),
            ..Default::default()
        })),
        ..Default::default()
    }
}

pub(super) fn header((name, value): (&str, &str)) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value: value.to_owned(), ..Default::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    }
}
