//! How endpoints call their backends, in words.

use std::fmt::Write as _;

use microgw_compiler::model::{Model, Operation};
use microgw_proto::traffic::v1::{Balance, EndpointPolicy, Protocol};
use serde_json::{Value, json};

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
            breaker.volume, breaker.window, breaker.reset
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
