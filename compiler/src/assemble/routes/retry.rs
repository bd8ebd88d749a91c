//! What is tried again, where, and when.

use envoy_types::pb::envoy::config::route::v3::RetryPolicy;
use envoy_types::pb::envoy::config::route::v3::retry_policy::{
    RetryBackOff, RetryHostPredicate, RetryPriority, retry_host_predicate, retry_priority,
};
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use microgw_proto::traffic::v1::{Balance, Protocol, Retry};

use crate::assemble::rules::Ruled;
use crate::assemble::wire::{any, milliseconds, number};
use crate::model::{Endpoint, Method};

/// What the next target of a failover is asked after, beside connections that fail.
pub const FAILURES_OF_FAILOVER: &[u32] = &[501, 502, 503, 504];
/// Attempts in one priority of SRV records before the next.
const RETRIES_OF_RANKS: u32 = 2;
/// Envoy's least.
const AT_ONCE: u32 = 1;
/// `maxWaitIntervalInMillis` where none is declared, as in the old product.
const LONGEST_WAIT: u32 = 60_000;

/// Bytes of a request's body that are kept to be sent again: of a longer one there is one attempt.
pub const BODY: u64 = 1 << 20;
/// What no backend has begun with, whatever the method. A server of HTTP/2 that goes away says what it has not looked at (RFC 9113,
/// section 6.8).
const UNSEEN: &str = "refused-stream,reset-before-request";
const UNSEEN_RETRIES: u32 = 2;

/// Of a route for `method`. A request whose effect would be another one the second time is tried again only if no backend has begun
/// with it, unless the endpoint says otherwise. `rule`: what may give it another method, or passes its body on.
pub fn policy(endpoint: &Endpoint, method: Method, rule: Option<&Ruled>) -> Option<RetryPolicy> {
    let declared = endpoint.policy.retry.clone().unwrap_or_default();
    let others = u32::try_from(endpoint.targets.len()).unwrap_or(u32::MAX).saturating_sub(1);
    // Records of DNS say after the build how many there are: two of a priority, and one of the next.
    let ranked = endpoint.has_ranks();
    let retries = declared.count.max(others).max(if ranked { RETRIES_OF_RANKS } else { 0 });
    let per_try_timeout = (declared.per_try_timeout > 0).then(|| milliseconds(declared.per_try_timeout)).flatten();
    if retries == 0 {
        let unseen = may_speak_http2(endpoint) && !rule.is_some_and(passes_bodies_on);
        return (unseen || per_try_timeout.is_some()).then(|| RetryPolicy {
            retry_on: if unseen { UNSEEN.to_owned() } else { String::new() },
            num_retries: if unseen { number(UNSEEN_RETRIES) } else { None },
            per_try_timeout,
            ..Default::default()
        });
    }
    let failover = endpoint.policy.balance() == Balance::Failover;
    let repeatable = is_idempotent(method) && !rule.is_some_and(|rule| rule.remade) || declared.non_idempotent;
    let mut statuses = Vec::new();
    if repeatable {
        statuses.extend(declared.statuses.iter().filter(|_| declared.count > 0));
        statuses.extend(FAILURES_OF_FAILOVER.iter().filter(|_| failover));
        statuses.sort_unstable();
        statuses.dedup();
    }
    let mut conditions = vec!["connect-failure", "refused-stream", "reset-before-request"];
    conditions.extend(repeatable.then_some("reset"));
    conditions.extend((!statuses.is_empty()).then_some("retriable-status-codes"));
    Some(RetryPolicy {
        retry_on: conditions.join(","),
        num_retries: number(retries),
        retriable_status_codes: statuses,
        per_try_timeout,
        retry_back_off: Some(back_off(&declared)),
        retry_priority: (failover || ranked).then(|| RetryPriority {
            name: "envoy.retry_priorities.previous_priorities".to_owned(),
            config_type: Some(retry_priority::ConfigType::TypedConfig(any(&PreviousPrioritiesConfig {
                update_frequency: if failover { 1 } else { RETRIES_OF_RANKS.cast_signed() },
            }))),
        }),
        retry_host_predicate: ((others > 0 || ranked) && !failover)
            .then(|| RetryHostPredicate {
                name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
                config_type: Some(retry_host_predicate::ConfigType::TypedConfig(any(&PreviousHostsPredicate {}))),
            })
            .into_iter()
            .collect(),
        host_selection_retry_max_attempts: 5,
        ..Default::default()
    })
}

/// Whether a backend may be sent all of a request again.
pub fn may_repeat(policy: &RetryPolicy) -> bool {
    !policy.retry_on.is_empty() && policy.retry_on != UNSEEN
}

/// What Envoy keeps to be sent again it sends twice where trailers follow a body that the service has passed on.
fn passes_bodies_on(rule: &Ruled) -> bool {
    rule.phases.as_ref().is_some_and(|phases| phases.request_body || phases.max_request_body > 0)
}

/// Whether what comes to an endpoint may be sent again.
pub fn is_retried(endpoint: &Endpoint) -> bool {
    policy(endpoint, Method::Get, None).as_ref().is_some_and(may_repeat)
}

fn may_speak_http2(endpoint: &Endpoint) -> bool {
    match endpoint.policy.protocol() {
        Protocol::Http2 => true,
        Protocol::Auto => endpoint.urls().any(|url| url.tls),
        Protocol::Http1 => false,
    }
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: Method) -> bool {
    match method {
        Method::Delete | Method::Get | Method::Head | Method::Options | Method::Put => true,
        Method::Patch | Method::Post => false,
    }
}

/// Envoy waits for a random time below the interval, which it doubles each time, up to the longest.
fn back_off(retry: &Retry) -> RetryBackOff {
    let longest = if retry.max_interval == 0 { LONGEST_WAIT } else { retry.max_interval };
    let first = retry.interval.clamp(AT_ONCE, longest);
    let grows = retry.interval > 0 && retry.back_off > 100;
    RetryBackOff { base_interval: milliseconds(first), max_interval: milliseconds(if grows { longest } else { first }) }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
