use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::cluster::v3::OutlierDetection;
use envoy_types::pb::envoy::config::common::matcher::v3::match_predicate::Rule;
use microgw_proto::traffic::v1::{Balance, CircuitBreaker, HealthCheck, Pool, Protocol, Retry};

use super::*;
use crate::settings::{TlsIdentity, TlsProfile, TrustStore};
use crate::snapshot::ResourceType;

fn endpoint(policy: EndpointPolicy) -> Endpoint {
    let urls = ["https://one.example", "https://two.example"].map(|url| crate::url::parse(url).unwrap());
    Endpoint { policy, ..Endpoint::of(urls.to_vec()) }
}

fn made(policy: EndpointPolicy, backends: &Backends) -> (Cluster, Resource) {
    let resource = cluster(&endpoint(policy), backends);
    (Cluster::decode(&*resource.body).unwrap(), resource)
}

fn breaker(breaker: CircuitBreaker) -> EndpointPolicy {
    EndpointPolicy { circuit_breaker: Some(breaker), ..EndpointPolicy::default() }
}

fn detected(policy: &EndpointPolicy) -> OutlierDetection {
    outlier::detection(&endpoint(policy.clone())).unwrap()
}

fn secrets_of(resource: &Resource) -> Vec<&str> {
    let secrets = resource.references.iter().filter(|(kind, _)| *kind == ResourceType::Secret);
    secrets.map(|(_, name)| &**name).collect()
}

fn value(number: Option<envoy_types::pb::google::protobuf::UInt32Value>) -> Option<u32> {
    number.map(|number| number.value)
}

#[test]
fn what_routes_do_is_not_in_a_clusters_name() {
    let named = |policy| name(&endpoint(policy));
    let plain = named(EndpointPolicy::default());
    let retry = |retry| EndpointPolicy { retry: Some(retry), timeout: Some(5), ..EndpointPolicy::default() };
    assert_eq!(named(retry(Retry { count: 3, ..Retry::default() })), plain);
    let others = [
        retry(Retry { budget: 2_000, ..Retry::default() }),
        breaker(CircuitBreaker { volume: 1, ..CircuitBreaker::default() }),
        breaker(CircuitBreaker { volume: 2, ..CircuitBreaker::default() }),
        EndpointPolicy {
            pool: Some(Pool { max_connections: Some(1), max_streams: None }),
            ..EndpointPolicy::default()
        },
        EndpointPolicy { health_check: Some(HealthCheck::default()), ..EndpointPolicy::default() },
        EndpointPolicy { balance: Balance::Failover.into(), ..EndpointPolicy::default() },
        EndpointPolicy { protocol: Protocol::Http2.into(), ..EndpointPolicy::default() },
        EndpointPolicy { tls_profile: "a".to_owned(), ..EndpointPolicy::default() },
        EndpointPolicy { server_name: "a".to_owned(), ..EndpointPolicy::default() },
        EndpointPolicy { slow_start: 1, ..EndpointPolicy::default() },
    ];
    let mut names: BTreeSet<String> = others.into_iter().map(named).collect();
    assert_eq!(names.len(), 10);
    assert!(names.insert(plain));
}

#[test]
fn a_breaker_holds_for_the_only_target() {
    let declared = CircuitBreaker { volume: 20, window: 10_000, threshold: 5_000, reset: 4_000, statuses: vec![503] };
    let OutlierDetection {
        interval,
        base_ejection_time,
        max_ejection_time,
        max_ejection_percent,
        consecutive_5xx,
        failure_percentage_threshold,
        failure_percentage_request_volume,
        failure_percentage_minimum_hosts,
        enforcing_failure_percentage,
        enforcing_success_rate,
        ..
    } = detected(&breaker(declared.clone()));
    assert_eq!([interval, base_ejection_time, max_ejection_time].map(|time| time.unwrap().seconds), [4, 4, 4]);
    let numbers = [
        max_ejection_percent,
        consecutive_5xx,
        failure_percentage_threshold,
        failure_percentage_request_volume,
        failure_percentage_minimum_hosts,
        enforcing_failure_percentage,
        enforcing_success_rate,
    ];
    assert_eq!(numbers.map(value), [100, 20, 51, 20, 1, 100, 0].map(Some));
    let (made, _) = made(breaker(declared.clone()), &Backends::default());
    assert_eq!(made.common_lb_config.unwrap().healthy_panic_threshold.unwrap().value.to_bits(), 0);
    // Without a time of its own it is open for a second; nothing at all is never enough.
    let short = detected(&breaker(CircuitBreaker { reset: 0, volume: 0, ..declared }));
    assert_eq!((short.interval.unwrap().seconds, value(short.consecutive_5xx)), (1, Some(1)));
}

#[test]
fn declared_statuses_alone_are_failures() {
    let rule = |statuses: &[u32]| {
        let policy = breaker(CircuitBreaker { statuses: statuses.to_vec(), ..CircuitBreaker::default() });
        outlier::failures(&endpoint(policy)).unwrap().error_matcher.unwrap().rule.unwrap()
    };
    assert!(matches!(rule(&[]), Rule::NotMatch(all) if all.rule == Some(Rule::AnyMatch(true))));
    assert!(matches!(rule(&[503]), Rule::HttpResponseHeadersMatch(_)));
    assert!(matches!(rule(&[500, 503]), Rule::OrMatch(set) if set.rules.len() == 2));
    assert_eq!(outlier::failures(&endpoint(EndpointPolicy::default())), None);
    // Records of DNS have priorities: those of one that cannot be reached make way for the next, whatever they answer.
    let url = crate::url::parse("http://a.test").unwrap();
    let srv = Target { lookup: Lookup::Srv("_http._tcp.test".to_owned()), ..Target::of(url) };
    let srv = Endpoint { targets: vec![srv], ..Endpoint::default() };
    let matcher = outlier::failures(&srv).unwrap().error_matcher.unwrap().rule.unwrap();
    assert!(matches!(matcher, Rule::NotMatch(_)) && outlier::detection(&srv).is_some());
}

#[test]
fn failover_is_by_priority_and_never_leaves_nobody() {
    let policy = EndpointPolicy { balance: Balance::Failover.into(), ..EndpointPolicy::default() };
    let detection = detected(&policy);
    assert_eq!(value(detection.enforcing_failure_percentage), Some(0));
    let (made, _) = made(policy, &Backends::default());
    // All of them are asked once all are out.
    assert_eq!(made.common_lb_config, None);
}

#[test]
fn the_settings_count_where_the_endpoint_says_nothing() {
    let backends = Backends { max_connections: Some(7), ..Backends::default() };
    let limit = |own: Option<u32>| {
        let pool = Some(Pool { max_connections: own, max_streams: None });
        let limits = limits::of(&EndpointPolicy { pool, ..EndpointPolicy::default() }, &backends);
        limits.per_host_thresholds.first().and_then(|thresholds| value(thresholds.max_connections))
    };
    assert_eq!([limit(None), limit(Some(3)), limit(Some(0))], [Some(7), Some(3), None]);
    let retries = limits::of(&EndpointPolicy::default(), &backends).thresholds[0].max_retries;
    assert!(value(retries) > Some(1_000), "Envoy's own is three at a time");
}

#[test]
fn a_profile_has_secrets_of_its_own() {
    let policy = EndpointPolicy { tls_profile: "partner".to_owned(), ..EndpointPolicy::default() };
    let identity = TlsIdentity { certificate_chain: "chain".to_owned(), private_key: "key".to_owned() };
    let profile = TlsProfile {
        name: "partner".to_owned(),
        trust: Some(TrustStore("authorities".to_owned())),
        identity: Some(identity.clone()),
        tls: crate::settings::TlsRange::default(),
    };
    let backends = Backends { identity: Some(identity), profiles: vec![profile], ..Backends::default() };
    let (_, resource) = made(policy.clone(), &backends);
    assert_eq!(secrets_of(&resource), ["backend-trust/partner", "backend-identity/partner"]);
    let endpoint = endpoint(policy.clone());
    let secrets = secrets([&endpoint].into_iter(), &backends);
    assert_eq!(
        secrets.keys().map(|name| &**name).collect::<Vec<_>>(),
        ["backend-identity/partner", "backend-trust/partner"]
    );
    // One that nobody defined: what it needs is nowhere, and nothing is offered.
    let (_, resource) = made(policy, &Backends::default());
    assert_eq!(secrets_of(&resource), ["backend-trust/partner"]);
    // One name for all targets is one socket.
    let policy = EndpointPolicy { server_name: "shop.example".to_owned(), ..EndpointPolicy::default() };
    let (one, _) = made(policy, &Backends::default());
    assert!(one.transport_socket_matches.is_empty() && one.transport_socket.is_some());
}
