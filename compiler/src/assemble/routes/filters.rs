//! What filters do for a route: the part of their configuration that is its own.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::route::v3::FilterConfig;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{CheckSettings, ExtAuthzPerRoute};
use envoy_types::pb::google::protobuf::Any;

use crate::assemble::names;
use crate::assemble::wire::any;

/// Envoy proper serves it: no question to the service. Not the filter's own `disabled`, for which the filter would be
/// made for each request, only to step aside.
pub fn unguarded() -> Any {
    any(&FilterConfig { disabled: true, ..Default::default() })
}

pub fn guarded(rule: &str) -> Any {
    let context_extensions = HashMap::from([(names::RULE_KEY.to_owned(), rule.to_owned())]);
    any(&ExtAuthzPerRoute {
        r#override: Some(Override::CheckSettings(CheckSettings { context_extensions, ..Default::default() })),
    })
}
