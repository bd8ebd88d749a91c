//! Endpoints of clusters, in both dialects: told when they change, in no publish.

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use microgw_compiler::snapshot::ResourceType::{self, Cluster, Endpoint, Listener, Route, Secret};
use microgw_compiler::snapshot::{Resource, Snapshot};
use microgw_xds::{Candidate, Config, EnvoyStatus, Located, Outcome, Publisher, Rejection, State, Xds};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{DeltaTalk, PATIENCE, REASON, StateTalk, Talk, Trusting, node, owned, refusal, url};
use crate::envoy::client;
use crate::fixture::{PROJECT, snapshot};

/// Its clusters are `pets-1` and `users-1`, and have their endpoints elsewhere.
struct Server {
    publisher: Publisher,
    located: Located,
    directory: tempfile::TempDir,
}

fn resource(body: &str) -> Resource {
    Resource { version: body.into(), body: body.as_bytes().into(), references: Arc::default() }
}

fn candidate(generation: &str) -> Candidate {
    let make = |generation: &str| -> Snapshot {
        let mut snapshot = snapshot(generation, &[("pets", "1"), ("users", "1")]);
        for (name, cluster) in snapshot.resources.get_mut(&Cluster).unwrap() {
            cluster.references = [(Endpoint, Arc::clone(name))].into();
        }
        snapshot
    };
    let generation = generation.to_owned();
    Candidate { snapshot: make(&generation), reassemble: Arc::new(move |_| Ok(make(&generation))) }
}

impl Server {
    async fn start() -> Server {
        let directory = tempfile::tempdir().unwrap();
        let located = Located::default();
        let config =
            Config { static_clusters: ["service".into()].into(), located: located.clone(), ..Config::new(PROJECT) };
        let publisher = Publisher::new(config, Arc::new(Trusting), Arc::new(Trusting), None);
        let listener = UnixListener::bind(directory.path().join("xds.sock")).unwrap();
        tokio::spawn(Xds::new([publisher.clone()]).serve(listener, std::future::pending()));
        let server = Server { publisher, located, directory };
        server.locate(&[("pets-1", "pets at 1"), ("users-1", "users at 1")]);
        let outcome = server.publisher.publish(candidate("g1")).await;
        assert!(matches!(outcome, Outcome::Pending { .. }), "{outcome:?}");
        server
    }

    fn locate(&self, endpoints: &[(&str, &str)]) {
        let endpoints = endpoints.iter().map(|(name, body)| (Arc::from(*name), resource(body)));
        self.located.replace(Arc::new(endpoints.collect::<BTreeMap<_, _>>()));
    }

    async fn delta(&self) -> DeltaTalk {
        let (requests, receiver) = mpsc::unbounded_channel();
        let mut client = client(&self.directory.path().join("xds.sock")).await;
        let receiver = UnboundedReceiverStream::new(receiver);
        Talk { requests, responses: client.delta_aggregated_resources(receiver).await.unwrap().into_inner() }
    }

    async fn state_of_the_world(&self) -> StateTalk {
        let (requests, receiver) = mpsc::unbounded_channel();
        let mut client = client(&self.directory.path().join("xds.sock")).await;
        let receiver = UnboundedReceiverStream::new(receiver);
        Talk { requests, responses: client.stream_aggregated_resources(receiver).await.unwrap().into_inner() }
    }

    async fn until(&self, condition: impl Fn(&[EnvoyStatus]) -> bool) {
        let all = async {
            while !condition(&self.publisher.status().envoys) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, all).await.expect("it comes to that");
    }
}

const ALL: [(ResourceType, &[&str]); 5] = [
    (Cluster, &[]),
    (Endpoint, &["pets-1", "users-1"]),
    (Secret, &["identity"]),
    (Listener, &[]),
    (Route, &["routes"]),
];

fn asks(kind: ResourceType, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: (kind == Cluster).then(|| node("envoy-1", PROJECT)),
        type_url: url(kind),
        resource_names_subscribe: owned(names),
        ..Default::default()
    }
}

/// Hears what is said of a type: `name@version`, or what is gone, `-name`.
async fn hears(talk: &mut DeltaTalk, kind: ResourceType) -> (Vec<String>, DeltaDiscoveryRequest) {
    let response = talk.hear().await;
    assert_eq!(response.type_url, url(kind));
    let sent = response.resources.iter().map(|one| format!("{}@{}", one.name, one.version));
    let gone = response.removed_resources.iter().map(|name| format!("-{name}"));
    let ack = DeltaDiscoveryRequest { type_url: url(kind), response_nonce: response.nonce, ..Default::default() };
    (sent.chain(gone).collect(), ack)
}

/// Knows everything.
async fn settled(server: &Server) -> DeltaTalk {
    let mut talk = server.delta().await;
    for (kind, names) in ALL {
        talk.say(asks(kind, names));
    }
    for (kind, _) in ALL {
        let (sent, ack) = hears(&mut talk, kind).await;
        if kind == Endpoint {
            assert_eq!(sent, ["pets-1@pets at 1", "users-1@users at 1"]);
        }
        talk.say(ack);
    }
    server.until(|envoys| envoys.iter().any(|envoy| envoy.types.len() == ALL.len())).await;
    talk
}

#[tokio::test]
async fn delta_one_that_changes_is_told_alone_and_nothing_is_published() {
    let server = Server::start().await;
    let mut talk = settled(&server).await;
    server.publisher.subscribe().wait_for(|publication| publication.live.is_some()).await.unwrap();
    server.locate(&[("pets-1", "pets at 2"), ("users-1", "users at 1")]);
    let (sent, ack) = hears(&mut talk, Endpoint).await;
    assert_eq!(sent, ["pets-1@pets at 2"]);
    talk.say(ack);
    server.locate(&[("pets-1", "pets at 3"), ("users-1", "users at 3")]);
    let (sent, ack) = hears(&mut talk, Endpoint).await;
    assert_eq!(sent, ["pets-1@pets at 3", "users-1@users at 3"]);
    talk.say(ack);
    server.until(|_| server.publisher.metrics().acks == ALL.len() as u64 + 2).await;
    let status = server.publisher.status();
    assert_eq!(
        (status.publication.state, status.publication.live.map(|live| live.to_string())),
        (State::Live, Some("g1".to_owned()))
    );
}

#[tokio::test]
async fn delta_one_that_is_refused_stays_as_it_was_and_no_publish_fails() {
    let server = Server::start().await;
    let mut talk = settled(&server).await;
    server.locate(&[("pets-1", "pets at nowhere"), ("users-1", "users at 1")]);
    let (_, answer) = hears(&mut talk, Endpoint).await;
    talk.say(DeltaDiscoveryRequest { error_detail: Some(refusal()), ..answer });
    server.until(|envoys| !envoys[0].refused_endpoints.is_empty()).await;
    let status = server.publisher.status();
    let refused = &status.envoys[0].refused_endpoints[0];
    assert_eq!((refused.cluster.as_str(), refused.refusal.as_str()), ("pets-1", REASON));
    assert_eq!((status.metrics.nacks, status.metrics.by_type[Endpoint as usize].nacks), (1, 1));
    // What is published next is judged by itself.
    let publisher = server.publisher.clone();
    let publishing = tokio::spawn(async move { publisher.publish(candidate("g2")).await });
    let (sent, ack) = hears(&mut talk, Route).await;
    assert_eq!(sent, ["routes@g2 pets=1 users=1"]);
    talk.say(ack);
    assert!(matches!(publishing.await.unwrap(), Outcome::Live { .. }));
    // Other addresses are tried.
    server.locate(&[("pets-1", "pets at 2"), ("users-1", "users at 1")]);
    let (sent, ack) = hears(&mut talk, Endpoint).await;
    assert_eq!(sent, ["pets-1@pets at 2"]);
    talk.say(ack);
    server.until(|envoys| envoys[0].refused_endpoints.is_empty()).await;
}

#[tokio::test]
async fn delta_an_envoy_that_comes_back_is_told_what_changed_meanwhile() {
    let server = Server::start().await;
    drop(settled(&server).await);
    server.locate(&[("pets-1", "pets at 1"), ("users-1", "users at 2")]);
    let mut talk = server.delta().await;
    talk.say(DeltaDiscoveryRequest {
        initial_resource_versions: [("pets-1", "pets=1"), ("users-1", "users=1")]
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .into(),
        ..asks(Cluster, &[])
    });
    talk.say(DeltaDiscoveryRequest {
        initial_resource_versions: [("pets-1", "pets at 1"), ("users-1", "users at 1")]
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .into(),
        ..asks(Endpoint, &["pets-1", "users-1"])
    });
    let (sent, _) = hears(&mut talk, Endpoint).await;
    assert_eq!(sent, ["users-1@users at 2"]);
}

#[tokio::test]
async fn a_cluster_that_nobody_looks_for_is_not_offered() {
    let server = Server::start().await;
    server.locate(&[("pets-1", "pets at 1")]);
    let outcome = server.publisher.publish(candidate("g2")).await;
    let Outcome::Rejected(Rejection::Inconsistent(missing)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((missing.target_kind, &*missing.target), (Endpoint, "users-1"));
}

#[tokio::test]
async fn state_of_the_world_one_that_changes_is_told_alone() {
    let server = Server::start().await;
    let mut talk = server.state_of_the_world().await;
    let ask = |kind: ResourceType, names: &[&str]| DiscoveryRequest {
        node: (kind == Cluster).then(|| node("envoy-1", PROJECT)),
        type_url: url(kind),
        resource_names: owned(names),
        ..Default::default()
    };
    for (kind, names) in ALL {
        talk.say(ask(kind, names));
    }
    let mut nonces = BTreeMap::new();
    for (kind, names) in ALL {
        let response = talk.hear().await;
        assert_eq!(response.type_url, url(kind));
        let answer = DiscoveryRequest {
            response_nonce: response.nonce.clone(),
            version_info: response.version_info.clone(),
            ..ask(kind, names)
        };
        talk.say(answer.clone());
        nonces.insert(kind, answer);
    }
    server.locate(&[("pets-1", "pets at 2"), ("users-1", "users at 1")]);
    let response = talk.hear().await;
    assert_eq!(response.type_url, url(Endpoint));
    let sent: Vec<_> = response.resources.iter().map(|any| String::from_utf8_lossy(&any.value).into_owned()).collect();
    assert_eq!(sent, ["pets at 2"]);
    // It stays with what it had.
    let before = nonces[&Endpoint].clone();
    talk.say(DiscoveryRequest { response_nonce: response.nonce, error_detail: Some(refusal()), ..before });
    server.until(|envoys| envoys.iter().any(|envoy| !envoy.refused_endpoints.is_empty())).await;
    server.locate(&[("pets-1", "pets at 2"), ("users-1", "users at 2")]);
    let response = talk.hear().await;
    let sent: Vec<_> = response.resources.iter().map(|any| String::from_utf8_lossy(&any.value).into_owned()).collect();
    assert_eq!(sent, ["users at 2"]);
}

#[tokio::test]
async fn one_of_ten_thousand_is_told_alone() {
    let server = Server::start().await;
    let mut talk = settled(&server).await;
    let all = |moved: usize| {
        let of =
            |number: usize| (Arc::from(format!("c{number}")), resource(if number == moved { "there" } else { "here" }));
        let others = ["pets-1", "users-1"].map(|name| (Arc::from(name), resource("anywhere")));
        Arc::new((0..10_000).map(of).chain(others).collect::<BTreeMap<_, _>>())
    };
    server.located.replace(all(10_000));
    let (_, ack) = hears(&mut talk, Endpoint).await;
    talk.say(ack);
    let names: Vec<String> = (0..10_000).map(|number| format!("c{number}")).collect();
    talk.say(DeltaDiscoveryRequest { resource_names_subscribe: names, type_url: url(Endpoint), ..Default::default() });
    let (sent, ack) = hears(&mut talk, Endpoint).await;
    assert_eq!(sent.len(), 10_000);
    talk.say(ack);
    let moved = all(7777);
    let started = std::time::Instant::now();
    server.located.replace(moved);
    let (sent, _) = hears(&mut talk, Endpoint).await;
    // No machine is too slow for it; how long it took is only told.
    println!("told after {:?}", started.elapsed());
    assert_eq!(sent, ["c7777@there"]);
}
