use envoy_types::pb::envoy::config::route::v3::RetryPolicy;
use envoy_types::pb::google::protobuf::Duration;
use microgw_proto::bodies::v1::OperationBodies;
use microgw_proto::traffic::v1::{EndpointPolicy, OperationTraffic};

use super::*;
use crate::model::{Access, Method, Position};
use crate::path::PathTemplate;

fn operation(traffic: OperationTraffic) -> Operation {
    Operation {
        method: Method::Get,
        path: PathTemplate::parse("/a").unwrap(),
        operation_id: None,
        access: Access::Public,
        production: None,
        sandbox: None,
        traffic,
        limit: None,
        cost: None,
        contract: None,
        bodies: OperationBodies::default(),
        transforms: crate::model::Transforms::default(),
        interceptors: microgw_proto::interceptors::v1::OperationInterceptors::default(),
        source: Position { file: 0, line: 1, column: 1 },
    }
}

/// What becomes of an action whose endpoint has 60 s, and 2 s for an attempt.
fn applied(traffic: OperationTraffic) -> RouteAction {
    let retry_policy = Some(RetryPolicy { per_try_timeout: milliseconds(2_000), ..Default::default() });
    let mut action = RouteAction { timeout: milliseconds(60_000), retry_policy, ..Default::default() };
    apply(&operation(traffic), &mut action);
    action
}

fn times(action: &RouteAction) -> [Option<i64>; 3] {
    let whole =
        |time: &Option<Duration>| time.as_ref().map(|time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000);
    let per_try = action.retry_policy.as_ref().and_then(|retry| retry.per_try_timeout);
    [whole(&action.timeout), whole(&action.idle_timeout), whole(&per_try)]
}

#[test]
fn the_operation_has_the_last_word() {
    let silent = applied(OperationTraffic::default());
    assert_eq!(times(&silent), [Some(60_000), None, Some(2_000)]);
    let short = applied(OperationTraffic { timeout: Some(5_500), idle_timeout: Some(0), ..Default::default() });
    assert_eq!(times(&short), [Some(5_500), Some(0), Some(2_000)]);
    // What has no end is one attempt, as long as it takes.
    let stream = applied(OperationTraffic { timeout: Some(0), idle_timeout: Some(3_600_000), ..Default::default() });
    assert_eq!(times(&stream), [Some(0), Some(3_600_000), None]);
    // The times of a handshake are those of a request.
    let socket = applied(OperationTraffic { websocket: true, idle_timeout: Some(3_600_000), ..Default::default() });
    assert_eq!(times(&socket), [Some(60_000), Some(3_600_000), Some(2_000)]);
    assert!([silent, short, stream].iter().all(|action| action.upgrade_configs.is_empty()));
}

#[test]
fn only_what_is_declared_is_upgraded() {
    let socket = OperationTraffic { websocket: true, unbuffered: true, ..Default::default() };
    let upgrades = applied(socket.clone()).upgrade_configs;
    let upgrades: Vec<_> =
        upgrades.iter().map(|upgrade| (upgrade.upgrade_type.as_str(), upgrade.connect_config.is_some())).collect();
    assert_eq!(upgrades, [("websocket", false)]);
    assert!(unbuffered(&operation(socket.clone())).is_some());
    assert!(unbuffered(&operation(OperationTraffic::default())).is_none());
    // Over TLS the backend could choose HTTP/2 otherwise.
    let protocol = |traffic: &OperationTraffic, url: &str| {
        let mut endpoint =
            Endpoint { policy: EndpointPolicy::default(), ..Endpoint::of(vec![crate::url::parse(url).unwrap()]) };
        choose_protocol(&operation(traffic.clone()), &mut endpoint);
        endpoint.policy.protocol()
    };
    assert_eq!(protocol(&socket, "https://a.example"), Protocol::Http1);
    assert_eq!(protocol(&socket, "http://a.example"), Protocol::Auto);
    assert_eq!(protocol(&OperationTraffic::default(), "https://a.example"), Protocol::Auto);
}
