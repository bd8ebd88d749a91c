use microgw_proto::traffic::v1::EndpointPolicy;

use super::*;
use crate::model::BackendUrl;
use microgw_proto::rules::v1::Phases;

fn retried(urls: usize, balance: Balance, retry: impl Into<Option<Retry>>, method: Method) -> Option<RetryPolicy> {
    let policy = EndpointPolicy { balance: balance.into(), retry: retry.into(), ..EndpointPolicy::default() };
    super::policy(&Endpoint { policy, ..Endpoint::of((0..urls).map(url).collect()) }, method, None)
}

fn url(number: usize) -> BackendUrl {
    crate::url::parse(&format!("http://10.0.0.{number}")).unwrap()
}

fn retry(count: u32) -> Retry {
    Retry { count, statuses: vec![429, 503], ..Retry::default() }
}

const SAFE: &str = "connect-failure,refused-stream,reset-before-request";

#[test]
fn one_url_is_tried_once_unless_it_is_asked_for() {
    assert_eq!(retried(1, Balance::RoundRobin, None, Method::Get), None);
    assert_eq!(retried(1, Balance::RoundRobin, retry(0), Method::Get), None);
    let get = retried(1, Balance::RoundRobin, retry(2), Method::Get).unwrap();
    assert_eq!(get.num_retries.map(|number| number.value), Some(2));
    assert_eq!(get.retry_on, format!("{SAFE},reset,retriable-status-codes"));
    assert_eq!(get.retriable_status_codes, [429, 503]);
    assert!(get.retry_host_predicate.is_empty() && get.retry_priority.is_none());
    // An attempt has its time without retries, too.
    let timed = Retry { per_try_timeout: 1_500, ..Retry::default() };
    let timed = retried(1, Balance::RoundRobin, timed, Method::Post).unwrap();
    assert_eq!((timed.per_try_timeout.map(|time| time.nanos), timed.retry_on.as_str()), (Some(500_000_000), ""));
}

#[test]
fn what_may_have_had_an_effect_is_not_repeated() {
    for method in [Method::Post, Method::Patch] {
        let policy = retried(1, Balance::RoundRobin, retry(2), method).unwrap();
        assert_eq!((policy.retry_on.as_str(), policy.retriable_status_codes.len()), (SAFE, 0));
        let asked = Retry { non_idempotent: true, ..retry(2) };
        let policy = retried(1, Balance::RoundRobin, asked, method).unwrap();
        assert_eq!(policy.retriable_status_codes, [429, 503]);
    }
    for method in [Method::Put, Method::Delete, Method::Head, Method::Options] {
        assert_eq!(retried(1, Balance::RoundRobin, retry(1), method).unwrap().retriable_status_codes, [429, 503]);
    }
}

#[test]
fn a_request_that_may_be_another_by_then_is_like_one_with_an_effect() {
    let remade = Ruled { id: String::new(), phases: None, looks_for_body: false, remade: true, rewrites: false };
    let retried = |policy: Retry| {
        let policy = EndpointPolicy { retry: Some(policy), ..EndpointPolicy::default() };
        super::policy(&Endpoint { policy, ..Endpoint::of(vec![url(0)]) }, Method::Get, Some(&remade)).unwrap()
    };
    assert_eq!((retried(retry(2)).retry_on.as_str(), retried(retry(2)).retriable_status_codes.len()), (SAFE, 0));
    assert_eq!(retried(Retry { non_idempotent: true, ..retry(2) }).retriable_status_codes, [429, 503]);
}

#[test]
fn what_a_backend_of_http2_has_not_looked_at_is_sent_again() {
    let of = |protocol: Protocol, tls: bool| {
        let mut endpoint = Endpoint::of(vec![BackendUrl { tls, ..url(0) }]);
        endpoint.policy.set_protocol(protocol);
        let bodies = Phases { request_body: true, ..Phases::default() };
        let looked_at =
            Ruled { id: String::new(), phases: Some(bodies), looks_for_body: false, remade: false, rewrites: false };
        assert_eq!(super::policy(&endpoint, Method::Post, Some(&looked_at)), None);
        super::policy(&endpoint, Method::Post, None)
    };
    for (protocol, tls) in [(Protocol::Http2, false), (Protocol::Auto, true)] {
        let policy = of(protocol, tls).unwrap();
        assert_eq!((policy.retry_on.as_str(), super::may_repeat(&policy)), (super::UNSEEN, false));
    }
    assert!(of(Protocol::Auto, false).is_none() && of(Protocol::Http1, true).is_none());
}

#[test]
fn several_urls_have_their_turn() {
    let balanced = retried(3, Balance::RoundRobin, None, Method::Get).unwrap();
    assert_eq!(balanced.num_retries.map(|number| number.value), Some(2));
    // A response is a response.
    assert_eq!((balanced.retry_on, balanced.retriable_status_codes.len()), (format!("{SAFE},reset"), 0));
    assert_eq!(balanced.retry_host_predicate.len(), 1);
    let failover = retried(3, Balance::Failover, retry(1), Method::Get).unwrap();
    assert_eq!(failover.num_retries.map(|number| number.value), Some(2));
    assert_eq!(failover.retriable_status_codes, [429, 501, 502, 503, 504]);
    assert!(failover.retry_priority.is_some() && failover.retry_host_predicate.is_empty());
    assert_eq!(retried(3, Balance::Failover, None, Method::Post).unwrap().retry_on, SAFE);
}

#[test]
fn waits_are_as_long_as_they_may_be() {
    let waits = |interval, back_off, max_interval| {
        let RetryBackOff { base_interval, max_interval } =
            super::back_off(&Retry { interval, back_off, max_interval, ..Retry::default() });
        [base_interval, max_interval]
            .map(|time| time.unwrap())
            .map(|time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000)
    };
    // Envoy refuses a longest wait below the first.
    assert_eq!(waits(0, 0, 0), [1, 1]);
    assert_eq!(waits(100, 100, 0), [100, 100]);
    assert_eq!(waits(100, 200, 0), [100, 60_000]);
    assert_eq!(waits(100, 150, 400), [100, 400]);
    assert_eq!(waits(5_000, 200, 400), [400, 400]);
}

#[test]
fn records_of_a_service_are_tried_twice_in_a_priority_and_once_in_the_next() {
    let url = crate::url::parse("http://a.test").unwrap();
    let target = crate::model::Target {
        lookup: crate::model::Lookup::Srv("_http._tcp.test".to_owned()),
        ..crate::model::Target::of(url)
    };
    let policy = super::policy(&Endpoint { targets: vec![target], ..Endpoint::default() }, Method::Post, None).unwrap();
    assert_eq!((policy.num_retries.map(|number| number.value), policy.retry_on.as_str()), (Some(2), SAFE));
    assert!(policy.retry_priority.is_some() && policy.retry_host_predicate.len() == 1);
}
