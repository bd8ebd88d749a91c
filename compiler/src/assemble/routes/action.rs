//! Where a route sends requests, and how.

use envoy_types::pb::envoy::config::route::v3::RouteAction;
use envoy_types::pb::envoy::config::route::v3::route_action::{ClusterSpecifier, HostRewriteSpecifier};
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;

use microgw_proto::traffic::v1::host;

use super::matching::regex;
use super::retry;
use crate::assemble::rules::Ruled;
use crate::assemble::wire::{milliseconds, yes};
use crate::model::{Api, Endpoint, Operation};
use crate::path::push_escaped;

/// `timeoutInMillis` where none is declared, as in the old product.
const RESPONSE_TIMEOUT: u32 = 60_000;

/// `rule`: what decides about its requests.
pub fn route_action(
    api: &Api,
    operation: &Operation,
    rule: Option<&Ruled>,
    endpoint: &Endpoint,
    cluster: &str,
) -> RouteAction {
    let backend_path = endpoint.targets.first().map_or("", |target| target.url.path.as_str());
    let mut action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        host_rewrite_specifier: host(endpoint),
        // 0: none, for Envoy too.
        timeout: milliseconds(endpoint.policy.timeout.unwrap_or(RESPONSE_TIMEOUT)),
        retry_policy: retry::policy(endpoint, operation.method, rule),
        ..Default::default()
    };
    if backend_path == api.base_path {
        return action;
    }
    // Envoy replaces as much of the path as was matched.
    if operation.path.is_concrete() && !rule.is_some_and(|rule| rule.rewrites) {
        action.prefix_rewrite = format!("{backend_path}{}", operation.path.concrete());
    } else {
        let mut pattern = "^".to_owned();
        push_escaped(&mut pattern, &api.base_path);
        action.regex_rewrite = Some(RegexMatchAndSubstitute {
            pattern: Some(regex(pattern)),
            substitution: backend_path.replace('\\', "\\\\"),
        });
    }
    action
}

/// What backends get as `Host`: without a word, the target's own.
fn host(endpoint: &Endpoint) -> Option<HostRewriteSpecifier> {
    match endpoint.policy.host.as_ref().and_then(|host| host.kind.as_ref()) {
        None => yes().map(HostRewriteSpecifier::AutoHostRewrite),
        Some(host::Kind::AsSent(_)) => None,
        Some(host::Kind::Name(name)) => Some(HostRewriteSpecifier::HostRewriteLiteral(name.clone())),
    }
}
