use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use microgw_compiler::snapshot::ResourceType::{self, Cluster, Listener, Route, Secret};
use tonic::Code;

use crate::envoy::{Envoy, client};
use crate::fixture::{Gateway, PROJECT};

#[tokio::test(start_paused = true)]
async fn an_unknown_project_is_not_found() {
    let gateway = Gateway::start();
    let envoy = Envoy::new(&gateway.socket, Arc::clone(&gateway.rules));
    envoy.connect("bookstore").await;
    let status = envoy.closed().await;
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(gateway.publisher.status().envoys, []);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_says_nothing_is_closed() {
    let gateway = Gateway::start();
    let silence = tokio_stream::pending::<DeltaDiscoveryRequest>();
    let mut stream = client(&gateway.socket).await.delta_aggregated_resources(silence).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_node_is_refused() {
    let gateway = Gateway::start();
    let anonymous = tokio_stream::iter([DeltaDiscoveryRequest::default()]);
    let mut stream = client(&gateway.socket).await.delta_aggregated_resources(anonymous).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn state_of_the_world_is_unimplemented() {
    let gateway = Gateway::start();
    let requests = tokio_stream::pending::<DiscoveryRequest>();
    let refused = client(&gateway.socket).await.stream_aggregated_resources(requests).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test(start_paused = true)]
async fn too_many_envoys_are_turned_away() {
    let gateway = Gateway::start();
    let mut open = Vec::new();
    for index in 0..257 {
        let node = Node { id: format!("envoy-{index}"), cluster: PROJECT.to_owned(), ..Node::default() };
        let first = DeltaDiscoveryRequest { node: Some(node), ..DeltaDiscoveryRequest::default() };
        let requests = tokio_stream::StreamExt::chain(tokio_stream::iter([first]), tokio_stream::pending());
        open.push(client(&gateway.socket).await.delta_aggregated_resources(requests).await.unwrap().into_inner());
        while gateway.publisher.metrics().envoys < (index + 1).min(256) {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(open.last_mut().unwrap().message().await.unwrap_err().code(), Code::ResourceExhausted);
}

#[tokio::test(start_paused = true)]
async fn shutting_down_closes_the_streams() {
    let gateway = Gateway::start();
    let envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    gateway.stop().await;
    assert_eq!(envoy.closed().await.code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn an_envoy_that_comes_later_gets_what_is_live() {
    let gateway = Gateway::start();
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
    let gateway = Gateway::start();
    let envoy = gateway.envoy().await;
    let names: Vec<String> = (0..20_000).map(|index| format!("api-with-a-rather-long-name-{index}")).collect();
    let apis: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "1")).collect();
    let outcome = gateway.publish("g1", &apis).await;
    assert_eq!(outcome, crate::fixture::live("g1"));
    let routes = envoy.update(|update| update.kind == ResourceType::Route).await;
    assert_eq!(routes.changed["routes"].split(' ').count(), 20_001);
    assert_eq!(envoy.names(ResourceType::Cluster).len(), 20_000);
}
