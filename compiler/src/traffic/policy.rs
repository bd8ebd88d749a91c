//! Of an endpoint, beside its targets.

use std::net::IpAddr;

use microgw_proto::traffic::v1::{
    Balance, CircuitBreaker, EndpointPolicy, HealthCheck, Pool, Protocol, Retry, StatusRange,
};

use crate::model::Endpoint;
use crate::url;

/// What shares are of.
pub const WHOLE: u32 = 10_000;
/// Of one request.
pub const MAX_RETRIES: u32 = 100;
/// In a row, until a target counts as well, or ill.
pub const MAX_CHECKS: u32 = 1_000;
/// Milliseconds between two checks, or of one: a day.
pub const MAX_CHECK_PAUSE: u32 = 86_400_000;
/// A response with a lower status is no failure, and is neither tried again nor held against its backend.
pub const LEAST_FAILURE: u32 = 400;
/// Milliseconds, and counts: what fits Envoy's durations with room.
const MOST: u32 = i32::MAX as u32;

/// `Host` and credentials are the destination's.
pub fn is_sound(endpoint: &Endpoint) -> bool {
    let EndpointPolicy {
        balance,
        credentials: _,
        tls_profile,
        protocol,
        host: _,
        timeout,
        retry,
        circuit_breaker,
        pool,
        health_check,
        slow_start,
        server_name,
        mirror,
    } = &endpoint.policy;
    let encrypted = endpoint.urls().any(|url| url.tls);
    let of_tls = [tls_profile, server_name].iter().all(|name| name.is_empty()) || encrypted;
    Balance::try_from(*balance).is_ok()
        && (tls_profile.is_empty() || is_profile_name(tls_profile))
        && Protocol::try_from(*protocol).is_ok()
        && timeout.is_none_or(|timeout| timeout <= MOST)
        && retry.as_ref().is_none_or(retry_is_sound)
        && circuit_breaker.as_ref().is_none_or(breaker_is_sound)
        && pool.as_ref().is_none_or(pool_is_sound)
        && health_check.as_ref().is_none_or(health_check_is_sound)
        && *slow_start <= MOST
        && (server_name.is_empty() || is_host(server_name))
        && of_tls
        && !mirror
}

/// A name that settings can give a TLS profile.
pub fn is_profile_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

/// What stands in the first line of a request.
pub fn is_health_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= 1024 && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

fn is_host(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
        || url::parse(&format!("https://{name}"))
            .is_ok_and(|url| url.host == name && url.port == 443 && url.path.is_empty())
}

fn retry_is_sound(retry: &Retry) -> bool {
    let Retry { count, interval, back_off, max_interval, statuses, per_try_timeout, budget, non_idempotent: _ } = retry;
    [interval, max_interval, per_try_timeout].iter().all(|number| **number <= MOST)
        && *count <= MAX_RETRIES
        && *back_off <= 100_000
        && *budget <= WHOLE
        && statuses.iter().all(|status| is_failure(*status))
}

fn breaker_is_sound(breaker: &CircuitBreaker) -> bool {
    let CircuitBreaker { volume, window, threshold, reset, statuses } = breaker;
    [volume, window, reset].iter().all(|number| **number <= MOST)
        && *window > 0
        && *threshold < WHOLE
        && statuses.iter().all(|status| is_failure(*status))
}

fn pool_is_sound(pool: &Pool) -> bool {
    let Pool { max_connections, max_streams } = pool;
    max_connections.is_none_or(|number| number <= MOST) && max_streams.is_none_or(|number| (1..=MOST).contains(&number))
}

fn health_check_is_sound(check: &HealthCheck) -> bool {
    let HealthCheck { path, interval, timeout, healthy, unhealthy, statuses } = check;
    is_health_path(path)
        && [interval, timeout].iter().all(|number| (1..=MAX_CHECK_PAUSE).contains(*number))
        && [healthy, unhealthy].iter().all(|number| (1..=MAX_CHECKS).contains(*number))
        && timeout <= interval
        && statuses.iter().all(|StatusRange { from, to }| from <= to && is_status(*from) && is_status(*to))
}

fn is_failure(status: u32) -> bool {
    status >= LEAST_FAILURE && is_status(status)
}

fn is_status(status: u32) -> bool {
    (100..600).contains(&status)
}
