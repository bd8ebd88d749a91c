//! Incremental ADS.

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest as Request, DeltaDiscoveryResponse};
use microgw_compiler::snapshot::ResourceType::{self, Cluster, Listener, Route, Secret};
use microgw_xds::Outcome;

use super::{DeltaTalk, FIRST, REASON, Server, node, owned, refusal, url};
use crate::fixture::PROJECT;

fn about(kind: ResourceType) -> Request {
    Request { type_url: url(kind), ..Request::default() }
}

fn subscribe(kind: ResourceType, names: &[&str]) -> Request {
    Request { resource_names_subscribe: owned(names), ..about(kind) }
}

fn unsubscribe(kind: ResourceType, names: &[&str]) -> Request {
    Request { resource_names_unsubscribe: owned(names), ..about(kind) }
}

fn ack(response: &DeltaDiscoveryResponse) -> Request {
    Request { type_url: response.type_url.clone(), response_nonce: response.nonce.clone(), ..Request::default() }
}

fn nack(response: &DeltaDiscoveryResponse) -> Request {
    Request { error_detail: Some(refusal()), ..ack(response) }
}

/// With the node, as the first one of a stream.
fn first(request: Request) -> Request {
    Request { node: Some(node("envoy-1", PROJECT)), ..request }
}

fn holding(request: Request, versions: &[(&str, &str)]) -> Request {
    let versions = versions.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned()));
    Request { initial_resource_versions: versions.collect(), ..request }
}

impl DeltaTalk {
    /// Hears of a type, in these words: `name=version` of what is sent, and what is gone.
    #[track_caller]
    fn hears(
        &mut self,
        kind: ResourceType,
        sent: &[&str],
        removed: &[&str],
    ) -> impl Future<Output = DeltaDiscoveryResponse> {
        let (sent, removed) = (owned(sent), owned(removed));
        async move {
            let response = self.hear().await;
            let found = response.resources.iter().map(|one| {
                let any = one.resource.as_ref().unwrap();
                assert_eq!((&any.type_url, any.value.as_slice()), (&url(kind), one.version.as_bytes()));
                format!("{}@{}", one.name, one.version)
            });
            assert_eq!((found.collect::<Vec<_>>(), &response.removed_resources), (sent, &removed));
            assert_eq!(response.type_url, url(kind));
            assert!(!response.nonce.is_empty() && !response.system_version_info.is_empty());
            response
        }
    }

    /// Nothing was said about anything that came before.
    async fn hears_nothing(&mut self) {
        self.say(subscribe(Secret, &["nobody-asks-for-this"]));
        let response = self.hears(Secret, &[], &["nobody-asks-for-this"]).await;
        self.say(ack(&response));
    }
}

const CLUSTERS: &[&str] = &["pets-1@pets=1", "users-1@users=1"];
const ROUTES: &str = "routes@g1 pets=1 users=1";

/// Knows the clusters.
async fn talk(server: &Server) -> DeltaTalk {
    let mut talk = server.delta().await;
    talk.say(first(about(Cluster)));
    let clusters = talk.hears(Cluster, CLUSTERS, &[]).await;
    talk.say(ack(&clusters));
    talk
}

#[tokio::test]
async fn types_come_in_order_each_when_the_one_before_is_accepted() {
    let server = Server::start().await;
    let mut talk = server.delta().await;
    talk.say(first(about(Cluster)));
    // Asked for in another order.
    talk.say(subscribe(Route, &["routes"]));
    talk.say(about(Listener));
    talk.say(subscribe(Secret, &["identity"]));
    for (kind, sent) in
        [(Cluster, CLUSTERS), (Secret, &["identity@key"]), (Listener, &["http@listener"]), (Route, &[ROUTES])]
    {
        let response = talk.hears(kind, sent, &[]).await;
        talk.say(ack(&response));
    }
    server.until_live("g1").await;
    talk.hears_nothing().await;
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_removed_and_sent_when_it_does() {
    let server = Server::start().await;
    let mut talk = server.delta().await;
    talk.say(first(subscribe(Cluster, &["pets-2", "users-1"])));
    let response = talk.hears(Cluster, &["users-1@users=1"], &[]).await;
    talk.say(ack(&response));
    let response = talk.hears(Cluster, &[], &["pets-2"]).await;
    talk.say(ack(&response));
    drop(server.publish("g2", &[("pets", "2"), ("users", "1")]));
    talk.hears(Cluster, &["pets-2@pets=2"], &[]).await;
}

#[tokio::test]
async fn what_is_unsubscribed_is_not_sent() {
    let server = Server::start().await;
    let mut talk = server.delta().await;
    talk.say(first(subscribe(Cluster, &["pets-1", "users-1", "pets-2", "users-2"])));
    let response = talk.hears(Cluster, CLUSTERS, &[]).await;
    talk.say(ack(&response));
    let response = talk.hears(Cluster, &[], &["pets-2", "users-2"]).await;
    talk.say(ack(&response));
    // One that it never had, too: that is no fault.
    talk.say(unsubscribe(Cluster, &["users-2", "orders-7"]));
    talk.hears_nothing().await;
    drop(server.publish("g2", &[("pets", "2"), ("users", "2")]));
    let response = talk.hears(Cluster, &["pets-2@pets=2"], &[]).await;
    talk.say(ack(&response));
    talk.hears_nothing().await;
    // In one request with what takes its place.
    talk.say(Request { resource_names_unsubscribe: owned(&["pets-2"]), ..subscribe(Cluster, &["users-2"]) });
    let response = talk.hears(Cluster, &["users-2@users=2"], &[]).await;
    talk.say(ack(&response));
    talk.hears_nothing().await;
}

#[tokio::test]
async fn a_wildcard_is_nothing_said_or_a_star() {
    let server = Server::start().await;
    for wildcard in [about(Cluster), subscribe(Cluster, &["*"]), subscribe(Cluster, &["*", "pets-1"])] {
        let mut talk = server.delta().await;
        talk.say(first(wildcard));
        let response = talk.hears(Cluster, CLUSTERS, &[]).await;
        talk.say(ack(&response));
        talk.hears_nothing().await;
    }
}

#[tokio::test]
async fn a_wildcard_goes_on_beside_a_name_and_ends_by_a_star() {
    let server = Server::start().await;
    let mut talk = talk(&server).await;
    // Known already, and asked for all the same.
    talk.say(subscribe(Cluster, &["pets-1"]));
    let response = talk.hears(Cluster, &["pets-1@pets=1"], &[]).await;
    talk.say(ack(&response));
    // No longer by name: does the wildcard have it?
    talk.say(unsubscribe(Cluster, &["pets-1"]));
    let response = talk.hears(Cluster, &["pets-1@pets=1"], &[]).await;
    talk.say(ack(&response));
    talk.say(unsubscribe(Cluster, &["orders-7"]));
    let response = talk.hears(Cluster, &[], &["orders-7"]).await;
    talk.say(ack(&response));

    talk.say(Request { resource_names_unsubscribe: owned(&["*"]), ..subscribe(Cluster, &["pets-2"]) });
    let response = talk.hears(Cluster, &[], &["pets-2"]).await;
    talk.say(ack(&response));
    // Nothing said is no wildcard any more.
    talk.say(about(Cluster));
    talk.hears_nothing().await;
    drop(server.publish("g2", &[("pets", "2"), ("users", "2")]));
    let response = talk.hears(Cluster, &["pets-2@pets=2"], &[]).await;
    talk.say(ack(&response));
    talk.hears_nothing().await;
}

#[tokio::test]
async fn what_is_refused_is_set_right_and_told() {
    let server = Server::start().await;
    let mut talk = talk(&server).await;
    for (kind, names, sent) in
        [(Listener, &[][..], "http@listener"), (Secret, &["identity"], "identity@key"), (Route, &["routes"], ROUTES)]
    {
        talk.say(subscribe(kind, names));
        let response = talk.hears(kind, &[sent], &[]).await;
        talk.say(ack(&response));
    }
    server.until_live("g1").await;

    let outcome = server.publish("g2", &[("pets", "2"), ("users", "1")]);
    let response = talk.hears(Cluster, &["pets-2@pets=2"], &[]).await;
    talk.say(nack(&response));
    // It may have been applied in part: first it is told what served before.
    let response = talk.hears(Cluster, &[], &["pets-2"]).await;
    assert_eq!(response.system_version_info, "g1");
    talk.say(ack(&response));
    // Then comes the search for the fault, which is soon found.
    let response = talk.hears(Route, &["routes@g2-without-pets:v1 pets=1 users=1"], &[]).await;
    talk.say(ack(&response));
    let Outcome::Degraded { faults, .. } = outcome.await.unwrap() else { panic!("not found") };
    assert_eq!((&*faults[0].envoy_text, faults.len()), (REASON, 1));
    talk.hears_nothing().await;
    let metrics = server.publisher.metrics();
    assert_eq!((metrics.nacks, metrics.envoys), (1, 1));
}

#[tokio::test]
async fn an_envoy_that_comes_back_hears_only_what_is_different() {
    let server = Server::start().await;
    let mut talk = server.delta().await;
    let versions = [("pets-1", "pets=1"), ("users-1", "users=0"), ("orders-1", "orders=1")];
    talk.say(first(holding(about(Cluster), &versions)));
    talk.say(holding(about(Listener), &[("http", "listener")]));
    talk.say(holding(subscribe(Secret, &["identity"]), &[("identity", "key")]));
    talk.say(holding(subscribe(Route, &["routes"]), &[("routes", "g1 pets=1 users=1")]));
    let response = talk.hears(Cluster, &["users-1@users=1"], &[]).await;
    talk.say(ack(&response));
    let response = talk.hears(Cluster, &[], &["orders-1"]).await;
    talk.say(ack(&response));
    server.until_live("g1").await;
    talk.hears_nothing().await;
}

#[tokio::test]
async fn an_envoy_that_left_with_a_refusal_hears_all_of_it_again() {
    let server = Server::start().await;
    let mut before = server.delta().await;
    before.say(first(about(Cluster)));
    let response = before.hears(Cluster, CLUSTERS, &[]).await;
    before.say(nack(&response));
    while server.publisher.metrics().nacks == 0 {
        tokio::task::yield_now().await;
    }
    drop(before);
    server.envoys(0).await;
    drop(server.publish("g1", FIRST));
    server.until_offered("g1").await;
    for _ in 0..2 {
        // As long as nothing was accepted.
        let mut talk = server.delta().await;
        talk.say(first(holding(about(Cluster), &[("pets-1", "pets=1"), ("users-1", "users=1")])));
        talk.hears(Cluster, CLUSTERS, &[]).await;
        drop(talk);
        server.envoys(0).await;
    }
}

#[tokio::test]
async fn an_envoy_that_comes_back_knows_for_the_names_that_it_asks_for() {
    let server = Server::start().await;
    let mut talk = server.delta().await;
    // It lists a version for one of the two.
    let request = subscribe(Cluster, &["pets-1", "users-1"]);
    talk.say(first(holding(request, &[("pets-1", "pets=1")])));
    let response = talk.hears(Cluster, &["users-1@users=1"], &[]).await;
    talk.say(ack(&response));
    // Later on such a list means nothing.
    talk.say(holding(subscribe(Cluster, &["users-1"]), &[("users-1", "users=1")]));
    talk.hears(Cluster, &["users-1@users=1"], &[]).await;
}

#[tokio::test]
async fn answers_out_of_order_do_not_count_and_wishes_do() {
    let server = Server::start().await;
    let mut talk = server.delta().await;
    talk.say(first(subscribe(Cluster, &["pets-1"])));
    let before = talk.hears(Cluster, &["pets-1@pets=1"], &[]).await;
    talk.say(ack(&before));
    talk.say(subscribe(Cluster, &["users-1"]));
    let now = talk.hears(Cluster, &["users-1@users=1"], &[]).await;
    // Answers to what was answered, to what never was, and a wish that comes along.
    talk.say(nack(&before));
    talk.say(Request { response_nonce: "77".to_owned(), ..nack(&before) });
    talk.say(Request { resource_names_subscribe: owned(&["orders-1"]), ..ack(&before) });
    talk.say(subscribe(Cluster, &["pets-1"]));
    talk.say(ack(&now));
    let response = talk.hears(Cluster, &["pets-1@pets=1"], &[]).await;
    talk.say(ack(&response));
    let response = talk.hears(Cluster, &[], &["orders-1"]).await;
    talk.say(ack(&response));
    talk.say(ack(&response));
    talk.hears_nothing().await;
    let metrics = server.publisher.metrics();
    assert_eq!((metrics.nacks, metrics.pushes), (0, 5));
    // The last answer may still be on its way.
    assert!([4, 5].contains(&metrics.acks), "{metrics:?}");
}

#[tokio::test]
async fn types_that_are_not_served_are_ignored() {
    let server = Server::start().await;
    let mut talk = server.delta().await;
    let scopes = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration".to_owned();
    talk.say(first(Request { type_url: scopes, ..subscribe(Cluster, &["pets-1"]) }));
    talk.say(Request { type_url: "no type".to_owned(), ..about(Cluster) });
    talk.hears_nothing().await;
}

#[tokio::test]
async fn the_node_of_the_first_request_counts() {
    let server = Server::start().await;
    let mut talk = talk(&server).await;
    talk.say(Request { node: Some(node("somebody-else", "bookstore")), ..subscribe(Route, &["routes"]) });
    talk.hears(Route, &[ROUTES], &[]).await;
    let envoys = server.publisher.status().envoys;
    assert_eq!(envoys.iter().map(|envoy| &*envoy.id).collect::<Vec<_>>(), ["envoy-1"]);
    assert_eq!(server.other.metrics().envoys, 0);
}
