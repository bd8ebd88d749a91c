use std::sync::Arc;

use microgw_compiler::snapshot::ResourceType::{self, Cluster, Listener, Route, Secret};
use microgw_xds::Dialect;
use tonic::Code;

use crate::envoy::Envoy;
use crate::fixture::Gateway;

use super::DIALECT;

#[tokio::test(start_paused = true)]
async fn an_unknown_project_is_not_found() {
    let gateway = Gateway::start(DIALECT);
    let envoy = Envoy::new(&gateway.socket, Arc::clone(&gateway.rules), DIALECT);
    envoy.connect("bookstore").await;
    let status = envoy.closed().await;
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(gateway.publisher.status().envoys, []);
}

#[tokio::test(start_paused = true)]
async fn shutting_down_closes_the_streams() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    gateway.stop().await;
    assert_eq!(envoy.closed().await.code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn an_envoy_that_comes_later_gets_what_is_live() {
    let gateway = Gateway::start(DIALECT);
    let _first = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    let second = gateway.envoy().await;
    let routes = second.update(|update| update.kind == ResourceType::Route).await;
    assert!(routes.contains("g1"));
    // Secrets and routes are asked for when the listener has come.
    let order: Vec<_> = second.updates().into_iter().map(|update| update.kind).collect();
    assert_eq!(order, [Cluster, Listener, Secret, Route]);
}

#[tokio::test(start_paused = true)]
async fn a_large_route_table_arrives_whole() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    let names: Vec<String> = (0..20_000).map(|index| format!("api-with-a-rather-long-name-{index}")).collect();
    let apis: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "1")).collect();
    let outcome = gateway.publish("g1", &apis).await;
    assert_eq!(outcome, crate::fixture::live("g1"));
    let routes = envoy.update(|update| update.kind == ResourceType::Route).await;
    assert_eq!(routes.changed["routes"].split(' ').count(), 20_001);
    assert_eq!(envoy.names(ResourceType::Cluster).len(), 20_000);
}

#[tokio::test(start_paused = true)]
async fn status_and_metrics_tell_the_dialect() {
    let gateway = Gateway::start(DIALECT);
    let _envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    let status = gateway.publisher.status();
    assert_eq!(status.envoys.iter().map(|envoy| envoy.dialect).collect::<Vec<_>>(), [DIALECT]);
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["envoys"][0]["dialect"], DIALECT.as_str());
    assert_eq!(json["envoys"][0]["peer"], serde_json::Value::Null);
    let metrics = gateway.publisher.metrics();
    assert_eq!((metrics.envoys, metrics.state_of_the_world), (1, u64::from(DIALECT == Dialect::StateOfTheWorld)));
    assert_eq!((metrics.pushes, metrics.acks, metrics.nacks), (4, 4, 0));
}
