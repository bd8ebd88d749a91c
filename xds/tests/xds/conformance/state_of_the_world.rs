//! ADS that is told everything each time.

use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest as Request, DiscoveryResponse};
use microgw_compiler::snapshot::ResourceType::{self, Cluster, Listener, Route, Secret};
use microgw_xds::Outcome;

use super::{REASON, Server, StateTalk, node, owned, refusal, url};
use crate::fixture::PROJECT;

fn about(kind: ResourceType, names: &[&str]) -> Request {
    Request { type_url: url(kind), resource_names: owned(names), ..Request::default() }
}

/// With the node, as the first one of a stream.
fn first(request: Request) -> Request {
    Request { node: Some(node("envoy-1", PROJECT)), ..request }
}

/// As an answer to a response, or after it.
fn ack(response: &DiscoveryResponse, names: &[&str]) -> Request {
    Request {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        version_info: response.version_info.clone(),
        resource_names: owned(names),
        ..Request::default()
    }
}

/// `before` is the version that it stays with.
fn nack(response: &DiscoveryResponse, before: &str, names: &[&str]) -> Request {
    Request { version_info: before.to_owned(), error_detail: Some(refusal()), ..ack(response, names) }
}

/// On a new stream, with what was accepted on the last one.
fn again(response: &DiscoveryResponse, names: &[&str]) -> Request {
    Request { response_nonce: String::new(), ..ack(response, names) }
}

impl StateTalk {
    /// Hears of a type, in these words: the bodies.
    fn hears(&mut self, kind: ResourceType, sent: &[&str]) -> impl Future<Output = DiscoveryResponse> {
        let sent = owned(sent);
        async move {
            let response = self.hear().await;
            let found = response.resources.iter().map(|any| {
                assert_eq!(any.type_url, url(kind));
                String::from_utf8(any.value.clone()).unwrap()
            });
            assert_eq!((response.type_url.clone(), found.collect::<Vec<_>>()), (url(kind), sent));
            assert!(!response.nonce.is_empty() && !response.version_info.is_empty());
            response
        }
    }

    /// Nothing was said about anything that came before. Needs a listener that was not asked about, and all clusters
    /// accepted.
    async fn hears_nothing(&mut self) {
        self.say(about(Listener, &["nobody-asks-for-this"]));
        let response = self.hears(Listener, &[]).await;
        self.say(ack(&response, &[]));
    }
}

const CLUSTERS: &[&str] = &["pets=1", "users=1"];
const ROUTES: &str = "g1 pets=1 users=1";

/// Knows the clusters, by this response.
async fn talk(server: &Server) -> (StateTalk, DiscoveryResponse) {
    let mut talk = server.state_of_the_world().await;
    talk.say(first(about(Cluster, &[])));
    let clusters = talk.hears(Cluster, CLUSTERS).await;
    talk.say(ack(&clusters, &[]));
    (talk, clusters)
}

/// Knows everything; `g1` is live. Clusters, listeners, secrets, routes.
async fn settled(server: &Server) -> (StateTalk, [DiscoveryResponse; 4]) {
    let (mut talk, clusters) = talk(server).await;
    talk.say(about(Listener, &[]));
    let listeners = talk.hears(Listener, &["listener"]).await;
    talk.say(ack(&listeners, &[]));
    talk.say(about(Secret, &["identity"]));
    let secrets = talk.hears(Secret, &["key"]).await;
    talk.say(ack(&secrets, &["identity"]));
    talk.say(about(Route, &["routes"]));
    let routes = talk.hears(Route, &[ROUTES]).await;
    talk.say(ack(&routes, &["routes"]));
    server.until_live("g1").await;
    (talk, [clusters, listeners, secrets, routes])
}

#[tokio::test]
async fn types_come_in_order_each_when_the_one_before_is_accepted() {
    let server = Server::start().await;
    let mut talk = server.state_of_the_world().await;
    talk.say(first(about(Cluster, &[])));
    talk.say(about(Route, &["routes"]));
    talk.say(about(Listener, &[]));
    talk.say(about(Secret, &["identity"]));
    for (kind, sent, names) in [
        (Cluster, CLUSTERS, &[][..]),
        (Secret, &["key"], &["identity"]),
        (Listener, &["listener"], &[]),
        (Route, &[ROUTES], &["routes"]),
    ] {
        let response = talk.hears(kind, sent).await;
        talk.say(ack(&response, names));
    }
    server.until_live("g1").await;
}

#[tokio::test]
async fn clusters_are_always_told_whole_and_what_is_missing_is_gone() {
    let server = Server::start().await;
    let (mut talk, _) = settled(&server).await;
    let outcome = server.publish("g2", &[("pets", "2"), ("users", "1")]);
    // What served stays until the time of requests under way is up.
    let response = talk.hears(Cluster, &["pets=1", "pets=2", "users=1"]).await;
    talk.say(ack(&response, &[]));
    let response = talk.hears(Route, &["g2 pets=2 users=1"]).await;
    talk.say(ack(&response, &["routes"]));
    assert!(matches!(outcome.await.unwrap(), Outcome::Live { .. }));

    let mut fresh = server.state_of_the_world().await;
    fresh.say(first(about(Cluster, &["pets-2", "users-1"])));
    let response = fresh.hears(Cluster, &["pets=2", "users=1"]).await;
    fresh.say(ack(&response, &["pets-2", "users-1"]));
    // No longer of interest: not told, and missing in what is told next.
    fresh.say(ack(&response, &["pets-2"]));
    fresh.say(ack(&response, &["pets-2", "nope"]));
    fresh.hears(Cluster, &["pets=2"]).await;
}

#[tokio::test]
async fn a_wildcard_is_nothing_said_or_a_star_until_a_name_is_said() {
    let server = Server::start().await;
    for names in [&[][..], &["*"], &["*", "pets-1"]] {
        let mut talk = server.state_of_the_world().await;
        talk.say(first(about(Cluster, names)));
        let response = talk.hears(Cluster, CLUSTERS).await;
        talk.say(ack(&response, names));
        talk.hears_nothing().await;
    }
    let (mut talk, clusters) = talk(&server).await;
    // The wildcard goes on, with a name that must be answered.
    talk.say(ack(&clusters, &["*", "pets-1"]));
    let clusters = talk.hears(Cluster, CLUSTERS).await;
    talk.say(ack(&clusters, &["*", "pets-1"]));
    // The wildcard ends.
    talk.say(ack(&clusters, &["pets-1"]));
    drop(server.publish("g2", &[("pets", "2"), ("users", "2")]));
    server.until_offered("g2").await;
    talk.say(ack(&clusters, &["pets-1", "pets-2"]));
    let clusters = talk.hears(Cluster, &["pets=1", "pets=2"]).await;
    talk.say(ack(&clusters, &["pets-1", "pets-2"]));
    // No names: nothing, and not everything as at first.
    talk.say(ack(&clusters, &[]));
    talk.hears_nothing().await;
    talk.say(ack(&clusters, &["*"]));
    talk.hears(Cluster, &["pets=1", "pets=2", "users=1", "users=2"]).await;
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_answered_when_it_does() {
    let server = Server::start().await;
    let (mut talk, _) = talk(&server).await;
    talk.say(about(Route, &["routes", "others"]));
    let routes = talk.hears(Route, &[ROUTES]).await;
    talk.say(ack(&routes, &["routes", "others"]));
    talk.say(about(Secret, &["nobody"]));
    talk.hears_nothing().await;
    // Only what is newly named is answered.
    talk.say(ack(&routes, &["others"]));
    talk.say(ack(&routes, &["others", "routes"]));
    talk.hears(Route, &[ROUTES]).await;
}

#[tokio::test]
async fn what_is_refused_is_set_right_and_told() {
    let server = Server::start().await;
    let (mut talk, [clusters, ..]) = settled(&server).await;
    let outcome = server.publish("g2", &[("pets", "2"), ("users", "1")]);
    let response = talk.hears(Cluster, &["pets=1", "pets=2", "users=1"]).await;
    assert_ne!(response.version_info, clusters.version_info);
    talk.say(nack(&response, &clusters.version_info, &[]));
    // It may have been applied in part: first it is told what served before, by the version that it had.
    let response = talk.hears(Cluster, CLUSTERS).await;
    assert_eq!(response.version_info, clusters.version_info);
    talk.say(ack(&response, &[]));
    let response = talk.hears(Route, &["g2-without-pets:v1 pets=1 users=1"]).await;
    talk.say(ack(&response, &["routes"]));
    let Outcome::Degraded { faults, .. } = outcome.await.unwrap() else { panic!("not found") };
    assert_eq!((&*faults[0].envoy_text, faults.len()), (REASON, 1));
    let metrics = server.publisher.metrics();
    assert_eq!((metrics.nacks, metrics.envoys, metrics.state_of_the_world), (1, 1, 1));
}

#[tokio::test]
async fn an_envoy_that_comes_back_with_its_versions_hears_only_what_is_different() {
    let server = Server::start().await;
    let (talk, [clusters, listeners, secrets, routes]) = settled(&server).await;
    drop(talk);
    server.envoys(0).await;
    let back = async |routes: Request| {
        let talk = server.state_of_the_world().await;
        talk.say(first(again(&clusters, &[])));
        talk.say(again(&listeners, &[]));
        talk.say(again(&secrets, &["identity"]));
        talk.say(routes);
        talk
    };
    back(again(&routes, &["routes"])).await.hears_nothing().await;
    // What it names beside and is not there makes no difference, and a version that nobody knows does.
    back(again(&routes, &["routes", "others"])).await.hears_nothing().await;
    let unknown = Request { version_info: "7".to_owned(), ..about(Route, &["routes"]) };
    back(unknown).await.hears(Route, &[ROUTES]).await;
}

#[tokio::test]
async fn a_version_of_before_is_told_what_is_now() {
    let server = Server::start().await;
    let (mut talk, [clusters, ..]) = settled(&server).await;
    let outcome = server.publish("g2", &[("pets", "2"), ("users", "1")]);
    let response = talk.hears(Cluster, &["pets=1", "pets=2", "users=1"]).await;
    talk.say(ack(&response, &[]));
    let response = talk.hears(Route, &["g2 pets=2 users=1"]).await;
    talk.say(ack(&response, &["routes"]));
    outcome.await.unwrap();
    let mut behind = server.state_of_the_world().await;
    behind.say(first(again(&clusters, &[])));
    behind.hears(Cluster, &["pets=1", "pets=2", "users=1"]).await;
}

#[tokio::test]
async fn what_follows_a_stale_nonce_is_ignored() {
    let server = Server::start().await;
    let (mut talk, [before, ..]) = settled(&server).await;
    drop(server.publish("g2", &[("pets", "2"), ("users", "1")]));
    let now = talk.hears(Cluster, &["pets=1", "pets=2", "users=1"]).await;
    // Wishes and refusals that crossed the response, and a nonce that never was.
    talk.say(ack(&before, &["pets-1", "nope"]));
    talk.say(nack(&before, &before.version_info, &[]));
    talk.say(Request { response_nonce: "77".to_owned(), ..nack(&now, "", &[]) });
    talk.say(Request { response_nonce: String::new(), ..about(Cluster, &["nope"]) });
    talk.say(ack(&now, &[]));
    let routes = talk.hears(Route, &["g2 pets=2 users=1"]).await;
    // The same answer twice is none the second time, and a refusal after it neither.
    talk.say(ack(&now, &[]));
    talk.say(nack(&now, &before.version_info, &[]));
    talk.say(ack(&routes, &["routes"]));
    server.until_live("g2").await;
    let metrics = server.publisher.metrics();
    assert_eq!((metrics.nacks, metrics.pushes, metrics.acks), (0, 6, 6));
}

#[tokio::test]
async fn an_answer_that_repeats_another_version_is_a_refusal() {
    let server = Server::start().await;
    let (mut talk, [before, ..]) = settled(&server).await;
    drop(server.publish("g2", &[("pets", "2"), ("users", "1")]));
    let now = talk.hears(Cluster, &["pets=1", "pets=2", "users=1"]).await;
    talk.say(Request { version_info: before.version_info.clone(), ..ack(&now, &[]) });
    talk.hears(Cluster, CLUSTERS).await;
    assert_eq!(server.publisher.metrics().nacks, 1);
}

#[tokio::test]
async fn types_that_are_not_served_are_ignored() {
    let server = Server::start().await;
    let mut talk = server.state_of_the_world().await;
    let scopes = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration".to_owned();
    talk.say(first(Request { type_url: scopes, ..about(Cluster, &["pets-1"]) }));
    talk.say(Request { type_url: "no type".to_owned(), ..about(Cluster, &[]) });
    talk.hears_nothing().await;
}

#[tokio::test]
async fn the_node_of_the_first_request_counts() {
    let server = Server::start().await;
    let (mut talk, _) = talk(&server).await;
    talk.say(Request { node: Some(node("somebody-else", "bookstore")), ..about(Route, &["routes"]) });
    talk.hears(Route, &[ROUTES]).await;
    let envoys = server.publisher.status().envoys;
    assert_eq!(envoys.iter().map(|envoy| &*envoy.id).collect::<Vec<_>>(), ["envoy-1"]);
    assert_eq!(server.other.metrics().envoys, 0);
}
