//! Where a route sends requests, and how.

use envoy_types::pb::envoy::config::route::v3::retry_policy::{RetryHostPredicate, retry_host_predicate};
use envoy_types::pb::envoy::config::route::v3::route_action::{ClusterSpecifier, HostRewriteSpecifier};
use envoy_types::pb::envoy::config::route::v3::{RetryPolicy, RouteAction};
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;

use microgw_proto::traffic::v1::host;

use super::matching::regex;
use crate::assemble::wire::{any, number, seconds, yes};
use crate::model::{Api, Endpoint, Operation};
use crate::path::push_escaped;

/// `timeoutInMillis` where none is declared, as in the old product.
const RESPONSE_TIMEOUT_SECONDS: i64 = 60;

pub fn route_action(api: &Api, operation: &Operation, endpoint: &Endpoint, cluster: &str) -> RouteAction {
    let backend_path = endpoint.targets.first().map_or("", |target| target.url.path.as_str());
    let mut action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        host_rewrite_specifier: host(endpoint),
        timeout: seconds(RESPONSE_TIMEOUT_SECONDS),
        retry_policy: next_host(endpoint),
        ..Default::default()
    };
    if backend_path == api.base_path {
        return action;
    }
    if operation.path.is_concrete() {
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

/// Several URLs: a connection that cannot be made is tried on the others, each once.
fn next_host(endpoint: &Endpoint) -> Option<RetryPolicy> {
    let others = u32::try_from(endpoint.targets.len()).ok()?.checked_sub(1).filter(|others| *others > 0)?;
    Some(RetryPolicy {
        retry_on: "connect-failure".to_owned(),
        num_retries: number(others),
        retry_host_predicate: vec![RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(retry_host_predicate::ConfigType::TypedConfig(any(&PreviousHostsPredicate {}))),
        }],
        host_selection_retry_max_attempts: 5,
        ..Default::default()
    })
}
