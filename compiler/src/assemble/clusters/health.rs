//! Targets that are asked whether they are well, and those that come back.

use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    CommonLbConfig, LbConfig, RoundRobinLbConfig, SlowStartConfig,
};
use envoy_types::pb::envoy::config::core::v3::health_check::{HealthChecker, HttpHealthCheck, TlsOptions};
use envoy_types::pb::envoy::config::core::v3::{HealthCheck, TypedExtensionConfig};
use envoy_types::pb::envoy::extensions::health_check::event_sinks::file::v3::HealthCheckEventFileSink;
use envoy_types::pb::envoy::r#type::v3::{CodecClientType, Int64Range, Percent};
use microgw_proto::traffic::v1::{EndpointPolicy, Protocol, StatusRange};

use crate::assemble::wire::{any, milliseconds, number};

/// Statuses that HTTP has, the end excluded.
const ALL: Int64Range = Int64Range { start: 100, end: 600 };

/// None, or one. What each target is called in it stands with the target. `events`: where changes are written.
pub fn checks(policy: &EndpointPolicy, events: Option<&str>) -> Vec<HealthCheck> {
    let Some(check) = &policy.health_check else { return Vec::new() };
    let range = |range: &StatusRange| Int64Range { start: range.from.into(), end: i64::from(range.to) + 1 };
    let http2 = policy.protocol() == Protocol::Http2;
    let codec = if http2 { CodecClientType::Http2 } else { CodecClientType::Http1 };
    let http = HttpHealthCheck {
        path: check.path.clone(),
        expected_statuses: check.statuses.iter().map(range).collect(),
        // Otherwise one bad answer would be enough, whatever is declared.
        retriable_statuses: vec![ALL],
        codec_client_type: codec.into(),
        ..Default::default()
    };
    vec![HealthCheck {
        timeout: milliseconds(check.timeout),
        interval: milliseconds(check.interval),
        // Envoy would ask once a minute until a request comes.
        no_traffic_interval: milliseconds(check.interval),
        unhealthy_threshold: number(check.unhealthy),
        healthy_threshold: number(check.healthy),
        // Over TLS; what requests agree on by themselves, checks do not.
        tls_options: http2.then(|| TlsOptions { alpn_protocols: vec!["h2".to_owned()] }),
        event_logger: events.map(sink).into_iter().collect(),
        health_checker: Some(HealthChecker::HttpHealthCheck(http)),
        ..Default::default()
    }]
}

fn sink(path: &str) -> TypedExtensionConfig {
    let sink = HealthCheckEventFileSink { event_log_path: path.to_owned() };
    TypedExtensionConfig { name: "envoy.health_check.event_sinks.file".to_owned(), typed_config: Some(any(&sink)) }
}

/// With a breaker or health checks a target that is out gets nothing, be it the last one: Envoy would ask all of them once half
/// are out.
pub fn panic(policy: &EndpointPolicy) -> Option<CommonLbConfig> {
    (policy.circuit_breaker.is_some() || policy.health_check.is_some())
        .then(|| CommonLbConfig { healthy_panic_threshold: Some(Percent { value: 0.0 }), ..Default::default() })
}

pub fn slow_start(policy: &EndpointPolicy) -> Option<LbConfig> {
    let window = Some(policy.slow_start).filter(|window| *window > 0)?;
    let slow_start = SlowStartConfig { slow_start_window: milliseconds(window), ..Default::default() };
    Some(LbConfig::RoundRobinLbConfig(RoundRobinLbConfig { slow_start_config: Some(slow_start) }))
}
