//! How endpoints call their backends, in words.

use std::fmt::Write as _;

use microgw_compiler::model::{Model, Operation};
use microgw_proto::traffic::v1::{Balance, EndpointPolicy, Protocol};
use serde_json::{Value, json};

/// For how long a circuit is open, where nothing is said.
const RESET: u32 = 1_000;

/// A line for each environment that says something of its own.
pub fn of_operation(text: &mut String, model: &Model, operation: &Operation) {
    for (environment, id) in [("", operation.production), ("sandbox ", operation.sandbox)] {
        let policy = id.and_then(|id| model.endpoint(id)).map(|endpoint| words(&endpoint.policy)).unwrap_or_default();
        if !policy.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "          {environment}{}", policy.join("; "));
        }
    }
}

pub fn of_operation_as_json(model: &Model, operation: &Operation) -> Value {
    let policy = |id| model.endpoint(id).map(|endpoint| words(&endpoint.policy));
    json!({ "production": operation.production.and_then(policy), "sandbox": operation.sandbox.and_then(policy) })
}

fn words(policy: &EndpointPolicy) -> Vec<String> {
    let mut words = Vec::new();
    if policy.balance() == Balance::Failover {
        words.push("failover".to_owned());
    }
    match policy.timeout {
        None => {}
        Some(0) => words.push("no timeout".to_owned()),
        Some(timeout) => words.push(format!("timeout {timeout} ms")),
    }
    if let Some(retry) = policy.retry.as_ref() {
        if retry.count > 0 {
            let on = if retry.statuses.is_empty() { String::new() } else { format!(" on {}", list(&retry.statuses)) };
            let all = if retry.non_idempotent { ", of POST and PATCH, too" } else { "" };
            words.push(format!("up to {} retries{on}{all}", retry.count));
            if retry.interval > 0 {
                let grows = if retry.back_off > 100 { ", doubled each time" } else { "" };
                let most =
                    if retry.max_interval > 0 { format!(", at most {} ms", retry.max_interval) } else { String::new() };
                words.push(format!("waits of up to {} ms{grows}{most}", retry.interval));
            }
            if retry.budget > 0 {
                words.push(format!("retries at most {} % of the requests under way", f64::from(retry.budget) / 100.0));
            }
        }
        if retry.per_try_timeout > 0 {
            words.push(format!("{} ms for each try", retry.per_try_timeout));
        }
    }
    if let Some(breaker) = &policy.circuit_breaker {
        let on = if breaker.statuses.is_empty() {
            String::new()
        } else {
            format!(", {} among them", list(&breaker.statuses))
        };
        let share = f64::from(breaker.threshold) / 100.0;
        words.push(format!(
            "breaker: above {share} % failures of {} requests in {} ms{on}, open for {} ms",
            breaker.volume.max(1),
            breaker.window,
            if breaker.reset == 0 { RESET } else { breaker.reset }
        ));
    }
    if let Some(pool) = &policy.pool {
        words.extend(match pool.max_connections {
            None => None,
            Some(0) => Some("any number of connections".to_owned()),
            Some(connections) => Some(format!("{connections} connections")),
        });
        words.extend(pool.max_streams.map(|streams| format!("{streams} streams a connection")));
    }
    if let Some(check) = &policy.health_check {
        words.push(format!("asked for {} every {} ms", check.path, check.interval));
    }
    if policy.slow_start > 0 {
        words.push(format!("slow start {} ms", policy.slow_start));
    }
    match policy.protocol() {
        Protocol::Auto => {}
        Protocol::Http1 => words.push("HTTP/1.1".to_owned()),
        Protocol::Http2 => words.push("HTTP/2".to_owned()),
    }
    if !policy.tls_profile.is_empty() {
        words.push(format!("TLS profile {}", policy.tls_profile));
    }
    if !policy.server_name.is_empty() {
        words.push(format!("as {}", policy.server_name));
    }
    words
}

fn list(statuses: &[u32]) -> String {
    statuses.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use microgw_proto::traffic::v1::{CircuitBreaker, Retry};

    use super::*;

    #[test]
    fn what_is_left_out_has_its_default() {
        let breaker = CircuitBreaker { volume: 0, window: 60_000, threshold: 0, reset: 0, statuses: Vec::new() };
        let policy = EndpointPolicy { circuit_breaker: Some(breaker), ..Default::default() };
        assert_eq!(words(&policy), ["breaker: above 0 % failures of 1 requests in 60000 ms, open for 1000 ms"]);
    }

    #[test]
    fn how_long_retries_wait_and_how_many_there_are() {
        let retry =
            Retry { count: 2, interval: 50, back_off: 200, max_interval: 500, budget: 2_050, ..Default::default() };
        let policy = |retry: Retry| EndpointPolicy { retry: Some(retry), ..Default::default() };
        assert_eq!(
            words(&policy(retry)),
            [
                "up to 2 retries",
                "waits of up to 50 ms, doubled each time, at most 500 ms",
                "retries at most 20.5 % of the requests under way"
            ]
        );
        let even = Retry { count: 1, interval: 50, back_off: 100, ..Default::default() };
        assert_eq!(words(&policy(even)), ["up to 1 retries", "waits of up to 50 ms"]);
    }
}
