//! Targets that fail, and are left alone for a while: circuit breakers, as outlier detection.

use envoy_types::pb::envoy::config::cluster::v3::OutlierDetection;
use envoy_types::pb::envoy::config::common::matcher::v3::match_predicate::{MatchSet, Rule};
use envoy_types::pb::envoy::config::common::matcher::v3::{HttpHeadersMatch, MatchPredicate};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options;
use microgw_proto::traffic::v1::{Balance, CircuitBreaker};

use crate::assemble::routes::{FAILURES_OF_FAILOVER, header_is};
use crate::assemble::wire::{milliseconds, number};
use crate::model::Endpoint;

/// For how long a circuit is open, where nothing is said.
const RESET: u32 = 1_000;
/// Of failover, where no breaker is declared: what cannot be reached is not tried first by each request.
static FAILOVER: CircuitBreaker =
    CircuitBreaker { volume: 5, window: 1_000, threshold: 10_000, reset: 10_000, statuses: Vec::new() };

/// What the cluster of an endpoint takes for a failing target.
pub fn detection(endpoint: &Endpoint) -> Option<OutlierDetection> {
    let policy = &endpoint.policy;
    let failover = || (policy.balance() == Balance::Failover || endpoint.has_ranks()).then_some(&FAILOVER);
    let breaker = policy.circuit_breaker.as_ref().or_else(failover)?;
    let reset = if breaker.reset == 0 { RESET } else { breaker.reset };
    let by_share = breaker.threshold < 10_000;
    Some(OutlierDetection {
        // Failures are counted in windows of this length, and circuits close at their ends alone.
        interval: milliseconds(breaker.window.min(reset)),
        base_ejection_time: milliseconds(reset),
        // Envoy would double it with each time.
        max_ejection_time: milliseconds(reset),
        max_ejection_percent: number(100),
        // Nothing but failures since the last success: a circuit need not wait for the window's end.
        consecutive_5xx: number(breaker.volume.max(1)),
        enforcing_consecutive_5xx: number(100),
        // Above a share is, in whole percents, at the next one.
        failure_percentage_threshold: number((breaker.threshold / 100 + 1).min(100)),
        failure_percentage_request_volume: number(breaker.volume.max(1)),
        failure_percentage_minimum_hosts: number(1),
        enforcing_failure_percentage: number(if by_share { 100 } else { 0 }),
        enforcing_success_rate: number(0),
        enforcing_consecutive_gateway_failure: number(0),
        ..Default::default()
    })
}

/// Which responses are failures: those that were declared, and no other.
pub fn failures(endpoint: &Endpoint) -> Option<http_protocol_options::OutlierDetection> {
    let statuses = match &endpoint.policy.circuit_breaker {
        Some(breaker) => breaker.statuses.as_slice(),
        None if endpoint.policy.balance() == Balance::Failover => FAILURES_OF_FAILOVER,
        // A response is a response.
        None if endpoint.has_ranks() => &[],
        None => return None,
    };
    let mut rules: Vec<MatchPredicate> = statuses.iter().map(|status| is(*status)).collect();
    let matcher = match (rules.len(), rules.pop()) {
        (_, None) => predicate(Rule::NotMatch(Box::new(predicate(Rule::AnyMatch(true))))),
        (1, Some(only)) => only,
        (_, Some(last)) => {
            rules.push(last);
            predicate(Rule::OrMatch(MatchSet { rules }))
        }
    };
    Some(http_protocol_options::OutlierDetection { error_matcher: Some(matcher) })
}

fn is(status: u32) -> MatchPredicate {
    let headers = vec![header_is(":status", &status.to_string())];
    predicate(Rule::HttpResponseHeadersMatch(HttpHeadersMatch { headers }))
}

fn predicate(rule: Rule) -> MatchPredicate {
    MatchPredicate { rule: Some(rule) }
}
