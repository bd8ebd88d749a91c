//! What both dialects have in common: streams, nodes, projects, and what is not a request at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::protobuf::Any;
use microgw_compiler::snapshot::ResourceType::Cluster;
use microgw_xds::{Dialect, Outcome};
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::client::Grpc;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::{PATIENCE, Server, StateTalk, node, owned, url};
use crate::fixture::{PROJECT, candidate};

const SERVICE: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService";

fn path(dialect: Dialect) -> http::uri::PathAndQuery {
    let method = match dialect {
        Dialect::Delta => "DeltaAggregatedResources",
        Dialect::StateOfTheWorld => "StreamAggregatedResources",
    };
    format!("{SERVICE}/{method}").parse().unwrap()
}

/// How a stream of these messages ends.
async fn end_of<M: Message + Default + 'static>(server: &Server, dialect: Dialect, messages: Vec<M>) -> Status {
    let (requests, receiver) = mpsc::unbounded_channel();
    for message in messages {
        requests.send(message).unwrap();
    }
    let mut client = Grpc::new(server.channel().await);
    client.ready().await.unwrap();
    let requests = Request::new(UnboundedReceiverStream::new(receiver));
    let codec = ProstCodec::<M, Any>::default();
    let mut responses = match client.streaming(requests, path(dialect), codec).await {
        Ok(responses) => responses.into_inner(),
        Err(status) => return status,
    };
    loop {
        match timeout(PATIENCE, responses.message()).await.expect("it ends") {
            Ok(Some(_)) => {}
            Ok(None) => return Status::ok(""),
            Err(status) => return status,
        }
    }
}

fn delta(node: Option<Node>, names: Vec<String>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node,
        type_url: url(Cluster),
        resource_names_subscribe: names,
        ..DeltaDiscoveryRequest::default()
    }
}

fn state(node: Option<Node>, names: Vec<String>) -> DiscoveryRequest {
    DiscoveryRequest { node, type_url: url(Cluster), resource_names: names, ..DiscoveryRequest::default() }
}

/// How it ends in each dialect when this is the first request.
async fn ends(server: &Server, node: Option<Node>, names: &[String]) -> [Code; 2] {
    let in_delta = end_of(server, Dialect::Delta, vec![delta(node.clone(), names.to_vec())]).await;
    let whole = end_of(server, Dialect::StateOfTheWorld, vec![state(node, names.to_vec())]).await;
    [in_delta.code(), whole.code()]
}

#[tokio::test]
async fn a_first_request_says_whose_it_is() {
    let server = Server::start().await;
    assert_eq!(ends(&server, None, &[]).await, [Code::InvalidArgument; 2]);
    assert_eq!(ends(&server, Some(node("envoy-1", "nowhere")), &[]).await, [Code::NotFound; 2]);
    assert_eq!(ends(&server, Some(node("envoy-1", "")), &[]).await, [Code::NotFound; 2]);
    assert_eq!(server.publisher.status().envoys, []);
}

#[tokio::test]
async fn what_is_no_request_ends_the_stream_and_nothing_else() {
    let server = Server::start().await;
    let mut talk = server.state_of_the_world().await;
    talk.say(state(Some(node("bystander", PROJECT)), Vec::new()));
    let clusters = talk.hear().await;
    for dialect in Dialect::ALL {
        // Field 2 is a node in one, a node or text in the other; this is neither.
        let garbage = Any { type_url: "envoy".to_owned(), value: vec![0xff; 100] };
        assert_eq!(end_of(&server, dialect, vec![garbage]).await.code(), Code::Internal, "{dialect:?}");
        // Longer than any Envoy has reason to be.
        let long = Any { type_url: "x".repeat(33 * 1024 * 1024), value: Vec::new() };
        assert_eq!(end_of(&server, dialect, vec![long]).await.code(), Code::OutOfRange, "{dialect:?}");
    }
    let untyped =
        DeltaDiscoveryRequest { type_url: String::new(), ..delta(Some(node("envoy-1", PROJECT)), Vec::new()) };
    assert_eq!(end_of(&server, Dialect::Delta, vec![untyped]).await.code(), Code::InvalidArgument);
    let untyped = DiscoveryRequest { type_url: String::new(), ..state(Some(node("envoy-1", PROJECT)), Vec::new()) };
    assert_eq!(end_of(&server, Dialect::StateOfTheWorld, vec![untyped]).await.code(), Code::InvalidArgument);
    let names: Vec<String> = (0..=200_000).map(|index| index.to_string()).collect();
    assert_eq!(ends(&server, Some(node("envoy-1", PROJECT)), &names).await, [Code::ResourceExhausted; 2]);
    server.envoys(1).await;
    is_served(talk, clusters).await;
}

#[tokio::test]
async fn other_services_are_not_served() {
    let server = Server::start().await;
    let mut client = Grpc::new(server.channel().await);
    client.ready().await.unwrap();
    let path = "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters".parse().unwrap();
    let requests = Request::new(tokio_stream::empty::<DiscoveryRequest>());
    let refused = client.streaming(requests, path, ProstCodec::<DiscoveryRequest, Any>::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_says_nothing_is_closed() {
    let server = Server::start().await;
    for dialect in Dialect::ALL {
        assert_eq!(end_of::<Any>(&server, dialect, Vec::new()).await.code(), Code::DeadlineExceeded);
    }
}

#[tokio::test]
async fn streams_of_one_node_are_two_envoys() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.delta().await, server.state_of_the_world().await);
    one.say(delta(Some(node("envoy-1", PROJECT)), Vec::new()));
    two.say(state(Some(node("envoy-1", PROJECT)), Vec::new()));
    assert_eq!(one.hear().await.resources.len(), 2);
    let clusters = two.hear().await;
    let status = server.publisher.status();
    let known: Vec<_> = status.envoys.iter().map(|envoy| (&*envoy.id, envoy.dialect)).collect();
    assert!(known.contains(&("envoy-1", Dialect::Delta)) && known.contains(&("envoy-1", Dialect::StateOfTheWorld)));
    // One goes, and the other is still served.
    drop(one);
    server.envoys(1).await;
    assert_eq!(server.publisher.metrics().state_of_the_world, 1);
    is_served(two, clusters).await;
}

/// One that was told the clusters.
async fn is_served(mut talk: StateTalk, clusters: DiscoveryResponse) {
    let request = state(None, owned(&["*", "pets-1"]));
    talk.say(DiscoveryRequest { response_nonce: clusters.nonce, version_info: clusters.version_info, ..request });
    assert_eq!(talk.hear().await.resources.len(), 2);
}

#[tokio::test]
async fn each_project_has_its_own() {
    let server = Server::start().await;
    let outcome = server.other.publish(candidate("b1", &[("books", "1")])).await;
    assert!(matches!(outcome, Outcome::Pending { .. }));
    let (mut one, mut two) = (server.delta().await, server.state_of_the_world().await);
    one.say(delta(Some(node("envoy-1", "bookstore")), Vec::new()));
    two.say(state(Some(node("envoy-2", "bookstore")), Vec::new()));
    assert_eq!(one.hear().await.resources[0].name, "books-1");
    assert_eq!(two.hear().await.resources[0].value, b"books=1");
    // Of a project that it is not of, it hears nothing even by name.
    let mut three = server.delta().await;
    three.say(delta(Some(node("envoy-3", "bookstore")), owned(&["pets-1"])));
    let response = three.hear().await;
    assert_eq!((response.resources.len(), &*response.removed_resources), (0, &["pets-1".to_owned()][..]));
    assert_eq!((server.publisher.metrics().envoys, server.other.metrics().envoys), (0, 3));
}

#[tokio::test]
async fn too_many_envoys_are_turned_away() {
    let server = Server::start().await;
    let mut open = Vec::new();
    for index in 0..256 {
        let talk = server.delta().await;
        talk.say(delta(Some(node(&format!("envoy-{index}"), PROJECT)), Vec::new()));
        server.envoys(index + 1).await;
        open.push(talk);
    }
    assert_eq!(ends(&server, Some(node("envoy-256", PROJECT)), &[]).await, [Code::ResourceExhausted; 2]);
}

/// Requests without end, none of the answers to which is waited for.
#[tokio::test]
async fn a_flood_is_not_read_and_does_not_drown_the_others() {
    let server = Server::start().await;
    let names: Vec<String> = (0..1_000).map(|index| format!("name-{index}")).collect();
    let sent = Arc::new(AtomicU64::new(0));
    let mut client = server.client().await;
    let (requests, receiver) = mpsc::channel(1);
    let mut delta_responses =
        client.delta_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let flood = tokio::spawn({
        let (sent, names) = (sent.clone(), names.clone());
        async move {
            let mut first = Some(node("flood", PROJECT));
            while requests.send(delta(first.take(), names.clone())).await.is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    // One answer is in flight, and no other comes before it is answered.
    assert_eq!(delta_responses.message().await.unwrap().unwrap().removed_resources.len(), 1_000);
    let mut others = Vec::new();
    for index in 0..20 {
        let mut talk = server.state_of_the_world().await;
        talk.say(state(Some(node(&format!("envoy-{index}"), PROJECT)), Vec::new()));
        assert_eq!(talk.hear().await.resources.len(), 2);
        others.push(talk);
    }
    assert_eq!(server.publisher.metrics().pushes, 21);
    flood.abort();
    // At 500 a second, and some that wait in the connection.
    let sent = sent.load(Ordering::Relaxed);
    println!("{sent} requests were taken");
    assert!(sent < 100_000, "{sent} requests were taken");
}
