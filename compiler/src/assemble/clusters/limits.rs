//! How much at a time: connections, and retries.

use envoy_types::pb::envoy::config::cluster::v3::CircuitBreakers;
use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::{Thresholds, thresholds::RetryBudget};
use envoy_types::pb::envoy::r#type::v3::Percent;
use microgw_proto::traffic::v1::EndpointPolicy;

use crate::assemble::wire::number;
use crate::settings::Backends;

/// The old product had no limit unless one was configured; Envoy's own defaults would answer 503 at 1,024 requests, and retry
/// three at a time.
const UNLIMITED: u32 = 1_000_000;
/// At a time. One that hangs must not take Envoy's memory, nor the files that it may open.
const COPIES: u32 = 1_000;

/// Those of an endpoint.
pub fn of(policy: &EndpointPolicy, backends: &Backends) -> CircuitBreakers {
    let connections = match policy.pool.as_ref().and_then(|pool| pool.max_connections) {
        None => backends.max_connections,
        Some(0) => None,
        own => own,
    };
    let budget = policy.retry.as_ref().map_or(0, |retry| retry.budget);
    let limits = if policy.mirror { of_mirror(connections) } else { limits(connections) };
    let thresholds = limits.thresholds.into_iter().map(|thresholds| Thresholds {
        retry_budget: (budget > 0).then(|| RetryBudget {
            budget_percent: Some(Percent { value: f64::from(budget) / 100.0 }),
            ..Default::default()
        }),
        ..thresholds
    });
    CircuitBreakers { thresholds: thresholds.collect(), ..limits }
}

/// What is above is dropped.
fn of_mirror(max_connections: Option<u32>) -> CircuitBreakers {
    let most = number(COPIES);
    let thresholds = Thresholds {
        max_connections: most,
        max_pending_requests: most,
        max_requests: most,
        max_retries: number(0),
        ..Default::default()
    };
    CircuitBreakers { thresholds: vec![thresholds], ..limits(max_connections) }
}

/// Connections to one target above the limit wait, and requests with them.
pub fn limits(max_connections: Option<u32>) -> CircuitBreakers {
    CircuitBreakers {
        thresholds: vec![Thresholds {
            max_connections: number(UNLIMITED),
            max_pending_requests: number(UNLIMITED),
            max_requests: number(UNLIMITED),
            max_retries: number(UNLIMITED),
            ..Default::default()
        }],
        per_host_thresholds: max_connections
            .map(|limit| Thresholds { max_connections: number(limit), ..Default::default() })
            .into_iter()
            .collect(),
    }
}
