//! How an endpoint's backends are called: `advanceEndpointConfig`, `tls` and `protocol` of an endpoint object.

use microgw_proto::traffic::v1::{CircuitBreaker, EndpointPolicy, HealthCheck, Pool, Protocol, Retry, StatusRange};

use crate::compile::Report;
use crate::definition::shape::{Shape, member, one_of};
use crate::diagnostic::Code;
use crate::source::Value;
use crate::{traffic, url};

/// Those of an endpoint object that are read here.
pub(super) const KEYS: [&str; 3] = ["advanceEndpointConfig", "tls", "protocol"];

const MOST: i64 = i32::MAX as i64;
const MILLISECONDS: Shape = Shape::Integer(0, MOST);
const AT_LEAST_ONE: Shape = Shape::Integer(1, MOST);
const COUNT: Shape = Shape::Integer(0, MOST);
/// What is no success.
const FAILURES: Shape = Shape::Statuses(traffic::LEAST_FAILURE as i64);
const PAUSE: Shape = Shape::Integer(1, traffic::MAX_CHECK_PAUSE as i64);
const IN_A_ROW: Shape = Shape::Integer(1, traffic::MAX_CHECKS as i64);
/// -1: the gateway's setting, or no limit.
const LIMIT: Shape = Shape::Integer(-1, MOST);
const PER_TRY: &str = "perTryTimeoutInMillis";
const PROTOCOLS: &[&str] = &["auto", "http1", "http2"];

const ADVANCED: Shape = Shape::Object(&[
    ("timeoutInMillis", MILLISECONDS),
    (
        "retryConfig",
        Shape::Object(&[
            ("count", Shape::Integer(0, traffic::MAX_RETRIES as i64)),
            ("intervalInMillis", MILLISECONDS),
            ("backOffFactor", Shape::Number(0.0, 1000.0)),
            ("maxWaitIntervalInMillis", MILLISECONDS),
            ("statusCodes", FAILURES),
            (PER_TRY, MILLISECONDS),
            ("budgetPercent", Shape::Number(0.01, 100.0)),
            ("nonIdempotent", Shape::Boolean),
        ]),
    ),
    (
        "circuitBreaker",
        Shape::Object(&[
            (
                "rollingWindow",
                Shape::Object(&[
                    ("requestVolumeThreshold", COUNT),
                    ("timeWindowInMillis", AT_LEAST_ONE),
                    ("bucketSizeInMillis", AT_LEAST_ONE),
                ]),
            ),
            ("failureThreshold", Shape::Number(0.0, 1.0)),
            ("resetTimeInMillis", MILLISECONDS),
            ("statusCodes", FAILURES),
        ]),
    ),
    (
        "poolConfig",
        Shape::Object(&[
            ("maxActiveConnections", LIMIT),
            ("maxIdleConnections", LIMIT),
            ("waitTimeInMillis", LIMIT),
            ("maxActiveStreamsPerConnection", LIMIT),
        ]),
    ),
    (
        "healthCheck",
        Shape::Object(&[
            ("path", Shape::Text),
            ("intervalInMillis", PAUSE),
            ("timeoutInMillis", PAUSE),
            ("healthyThreshold", IN_A_ROW),
            ("unhealthyThreshold", IN_A_ROW),
            ("statusCodes", Shape::Statuses(100)),
        ]),
    ),
    ("slowStartInMillis", MILLISECONDS),
]);
const TLS: Shape = Shape::Object(&[("profile", Shape::Text), ("serverName", Shape::Text)]);

/// An object whose shape was checked, or nothing.
#[derive(Clone, Copy)]
struct Fields<'d>(Option<Value<'d>>);

/// What `endpoint` says; what is wrong is reported.
/// `encrypted`: it has a URL with TLS.
pub(super) fn read(report: &mut Report, endpoint: Value<'_>, encrypted: bool) -> EndpointPolicy {
    let mut policy = EndpointPolicy::default();
    if let Some(at) = endpoint.get("protocol")
        && let Some(word) = one_of(report, "protocol", at, PROTOCOLS)
    {
        let protocol = match word {
            "http1" => Protocol::Http1,
            "http2" => Protocol::Http2,
            _ => Protocol::Auto,
        };
        policy.protocol = protocol.into();
    }
    if let Some(at) = endpoint.get("tls")
        && TLS.check(report, "tls", at)
    {
        tls(report, at, encrypted, &mut policy);
    }
    if let Some(at) = endpoint.get("advanceEndpointConfig")
        && ADVANCED.check(report, "advanceEndpointConfig", at)
    {
        let advanced = Fields(Some(at));
        policy.timeout = advanced.number("timeoutInMillis");
        policy.retry = retry(report, advanced.part("retryConfig"));
        let per_try = policy.retry.as_ref().map_or(0, |retry| retry.per_try_timeout);
        if let (Some(whole @ 1..), Some(value)) = (policy.timeout, advanced.part("retryConfig").at(PER_TRY))
            && per_try >= whole
        {
            let message = format!("`{PER_TRY}` has no effect: all attempts together have {whole} ms");
            report.advise(Code::WithoutEffect, value, message, "make it shorter, or `timeoutInMillis` longer");
        }
        policy.circuit_breaker = circuit_breaker(report, advanced.part("circuitBreaker"));
        let multiplexed = match policy.protocol() {
            Protocol::Auto => encrypted,
            Protocol::Http1 => false,
            Protocol::Http2 => true,
        };
        policy.pool = pool(report, advanced.part("poolConfig"), multiplexed);
        policy.health_check = health_check(report, advanced.part("healthCheck"));
        policy.slow_start = advanced.number("slowStartInMillis").unwrap_or_default();
    }
    policy
}

fn tls(report: &mut Report, at: Value<'_>, encrypted: bool, policy: &mut EndpointPolicy) {
    if !encrypted {
        report.say(Code::BadValue, at, "`tls` is for `https` URLs, and this endpoint has none");
        return;
    }
    let fields = Fields(Some(at));
    if let Some(value) = fields.at("profile") {
        let name = value.text();
        if traffic::is_profile_name(name) {
            name.clone_into(&mut policy.tls_profile);
        } else {
            let message = format!("`{name}` is no name of a TLS profile: letters, digits, `-` and `_`, at most 64");
            report.say(Code::BadValue, value, message);
        }
    }
    if let Some(value) = fields.at("serverName") {
        match server_name(value.text()) {
            Some(name) => policy.server_name = name,
            None => report.say(Code::BadValue, value, "`serverName` must be the name of a host, or an IP address"),
        }
    }
}

/// In lower case, as hosts of URLs are.
fn server_name(written: &str) -> Option<String> {
    let url = url::parse(&format!("https://{}", url::bracketed(written))).ok()?;
    (url.port == 443 && url.path.is_empty() && url.host.eq_ignore_ascii_case(written)).then_some(url.host)
}

fn retry(report: &mut Report, fields: Fields<'_>) -> Option<Retry> {
    let at = fields.0?;
    let count = fields.number("count").unwrap_or_default();
    let retry = Retry {
        count,
        interval: fields.number("intervalInMillis").unwrap_or_default(),
        back_off: fields.hundredths("backOffFactor").unwrap_or_default(),
        max_interval: fields.number("maxWaitIntervalInMillis").unwrap_or_default(),
        statuses: fields.statuses("statusCodes"),
        per_try_timeout: fields.number(PER_TRY).unwrap_or_default(),
        budget: fields.hundredths("budgetPercent").unwrap_or_default(),
        non_idempotent: fields.at("nonIdempotent").is_some_and(|value| value.text() == "true"),
    };
    if count == 0 && !retry.statuses.is_empty() {
        let message = "`statusCodes` without `count`: nothing is tried again";
        report.advise(Code::WithoutEffect, at, message, "say how often in `count`");
    }
    if let Some(value) = fields.at("maxWaitIntervalInMillis")
        && (1..retry.interval).contains(&retry.max_interval)
    {
        let message =
            format!("no wait is longer than {} ms: `intervalInMillis` is {}", retry.max_interval, retry.interval);
        report.advise(Code::WithoutEffect, value, message, "make `maxWaitIntervalInMillis` as long at least");
    }
    if let Some(value) = fields.at("backOffFactor")
        && !matches!(retry.back_off, 0 | 100 | 200)
    {
        let message = format!("Envoy doubles each wait: `backOffFactor` {} is taken for 2", value.text());
        report.advise(Code::WithoutEffect, value, message, "write 2, or 1 for waits that do not grow");
    }
    Some(retry)
}

fn circuit_breaker(report: &mut Report, fields: Fields<'_>) -> Option<CircuitBreaker> {
    const VOLUME: u32 = 10;
    const WINDOW: u32 = 60_000;
    let at = fields.0?;
    let window = fields.part("rollingWindow");
    let length = window.number("timeWindowInMillis").unwrap_or(WINDOW);
    if let (Some(value), Some(bucket)) = (window.at("bucketSizeInMillis"), window.number("bucketSizeInMillis")) {
        if bucket > length {
            report.say(Code::BadValue, value, "`bucketSizeInMillis` must not be longer than `timeWindowInMillis`");
        } else {
            let message = "`bucketSizeInMillis` has no effect: Envoy counts each window by itself, not in parts";
            report.advise(Code::WithoutEffect, value, message, "leave it out");
        }
    }
    let breaker = CircuitBreaker {
        volume: window.number("requestVolumeThreshold").unwrap_or(VOLUME),
        window: length,
        threshold: fields.ten_thousandths("failureThreshold").unwrap_or_default(),
        reset: fields.number("resetTimeInMillis").unwrap_or_default(),
        statuses: fields.statuses("statusCodes"),
    };
    if breaker.threshold >= traffic::WHOLE {
        let message = "a circuit breaker with `failureThreshold` 1 never opens: no share of failures is above it";
        report.advise(Code::WithoutEffect, at, message, "write the share above which it opens, such as 0.5");
        return None;
    }
    Some(breaker)
}

fn pool(report: &mut Report, fields: Fields<'_>, multiplexed: bool) -> Option<Pool> {
    fields.0?;
    for (key, instead) in [
        ("maxIdleConnections", "idle connections are closed after a minute, however many there are"),
        ("waitTimeInMillis", "requests wait for a connection as long as they may take: `timeoutInMillis`"),
    ] {
        if let Some(value) = fields.at(key).filter(|value| value.text() != "-1") {
            let message = format!("`{key}` has no effect: Envoy has no such limit");
            report.advise(Code::WithoutEffect, value, message, instead);
        }
    }
    let connections = match fields.at("maxActiveConnections").map(Value::text) {
        None | Some("0") => None,
        Some("-1") => Some(0),
        Some(_) => fields.number("maxActiveConnections"),
    };
    let mut streams = None;
    if let Some(value) = fields.at("maxActiveStreamsPerConnection").filter(|value| value.text() != "-1") {
        streams = fields.number("maxActiveStreamsPerConnection").filter(|streams| *streams > 0);
        if streams.is_none() {
            let message = "`maxActiveStreamsPerConnection` is 0: nothing would reach a backend";
            report.advise(Code::BadValue, value, message, "-1: as `httpClients.poolConfig` has it");
        } else if !multiplexed {
            let message = "`maxActiveStreamsPerConnection` has no effect: these backends are spoken to by HTTP/1.1";
            report.advise(Code::WithoutEffect, value, message, "write `protocol: http2` if they speak HTTP/2");
        }
    }
    (connections.is_some() || streams.is_some())
        .then_some(Pool { max_connections: connections, max_streams: streams.filter(|_| multiplexed) })
}

fn health_check(report: &mut Report, fields: Fields<'_>) -> Option<HealthCheck> {
    let at = fields.0?;
    let Some(path) = fields.at("path") else {
        report.advise(Code::BadValue, at, "`healthCheck` has no `path`", "name what each backend is asked for");
        return None;
    };
    if !traffic::is_health_path(path.text()) {
        let message = "`path` must begin with `/`, and be as it stands in a request: ASCII, without spaces and `#`";
        report.say(Code::BadValue, path, message);
        return None;
    }
    let or = |key: &str, default: u32| fields.number(key).unwrap_or(default);
    let interval = or("intervalInMillis", 10_000);
    let timeout = or("timeoutInMillis", interval.min(5_000));
    if let Some(value) = fields.at("timeoutInMillis").filter(|_| timeout > interval) {
        let message = format!("`timeoutInMillis` is longer than the {interval} ms between two checks");
        report.advise(Code::BadValue, value, message, "a check must have an end before the next one");
        return None;
    }
    Some(HealthCheck {
        path: path.text().to_owned(),
        interval,
        timeout,
        healthy: or("healthyThreshold", 2),
        unhealthy: or("unhealthyThreshold", 3),
        statuses: fields
            .statuses("statusCodes")
            .into_iter()
            .map(|status| StatusRange { from: status, to: status })
            .collect(),
    })
}

// === impl Fields ===

impl<'d> Fields<'d> {
    fn at(self, key: &str) -> Option<Value<'d>> {
        member(self.0?, key)
    }

    fn part(self, key: &str) -> Fields<'d> {
        Fields(self.at(key))
    }

    fn number(self, key: &str) -> Option<u32> {
        self.at(key)?.text().parse().ok()
    }

    fn hundredths(self, key: &str) -> Option<u32> {
        self.scaled(key, 100.0)
    }

    fn ten_thousandths(self, key: &str) -> Option<u32> {
        self.scaled(key, 10_000.0)
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // its range was checked
    fn scaled(self, key: &str, by: f64) -> Option<u32> {
        self.at(key)?.text().parse::<f64>().ok().map(|number| (number * by).round() as u32)
    }

    /// Each once, in their order.
    fn statuses(self, key: &str) -> Vec<u32> {
        let items = self.at(key).into_iter().flat_map(Value::items);
        let statuses: std::collections::BTreeSet<u32> = items.filter_map(|item| item.text().parse().ok()).collect();
        statuses.into_iter().collect()
    }
}
