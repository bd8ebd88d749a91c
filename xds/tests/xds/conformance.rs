//! The protocol as it is documented, by hand: each request is written here, and each response is looked at whole. That
//! nothing is said is shown by the answer to a later question.

mod delta;
mod endpoints;
mod state_of_the_world;
mod transport;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::rpc;
use microgw_compiler::snapshot::{Generation, ResourceType, Snapshot};
use microgw_xds::{Config, Outcome, Probe, Publication, Publisher, RuleSink, Xds};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::envoy::{Client, channel, client};
use crate::fixture::{PROJECT, candidate, replacing};

/// How long anything that should happen may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// APIs of `g1`.
const FIRST: &[(&str, &str)] = &[("pets", "1"), ("users", "1")];
const REASON: &str = "it is not good";

/// Serves two projects.
struct Server {
    publisher: Publisher,
    other: Publisher,
    directory: tempfile::TempDir,
}

/// Has no rules, and sees everything.
struct Trusting;

/// A stream.
struct Talk<Q, R> {
    requests: mpsc::UnboundedSender<Q>,
    responses: Streaming<R>,
}

type DeltaTalk = Talk<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;
type StateTalk = Talk<DiscoveryRequest, DiscoveryResponse>;

// === impl Server ===

impl Server {
    /// With `g1` on offer: clusters `pets-1` and `users-1`, the secret `identity`, the listener `http`, `routes`.
    async fn start() -> Server {
        let directory = tempfile::tempdir().unwrap();
        let publish = |project| {
            Publisher::new(
                Config { static_clusters: ["service".into()].into(), ..Config::new(project) },
                Arc::new(Trusting),
                Arc::new(Trusting),
                None,
            )
        };
        let (publisher, other) = (publish(PROJECT), publish("bookstore"));
        let xds = Xds::new([publisher.clone(), other.clone()]);
        let listener = UnixListener::bind(directory.path().join("xds.sock")).unwrap();
        tokio::spawn(xds.serve(listener, std::future::pending()));
        let server = Server { publisher, other, directory };
        let outcome = server.publisher.publish(candidate("g1", FIRST)).await;
        assert!(matches!(outcome, Outcome::Pending { .. }), "{outcome:?}");
        server
    }

    async fn client(&self) -> Client {
        client(&self.directory.path().join("xds.sock")).await
    }

    async fn channel(&self) -> Channel {
        channel(&self.directory.path().join("xds.sock")).await
    }

    async fn delta(&self) -> DeltaTalk {
        let (requests, receiver) = mpsc::unbounded_channel();
        let receiver = UnboundedReceiverStream::new(receiver);
        let responses = self.client().await.delta_aggregated_resources(receiver).await.unwrap().into_inner();
        Talk { requests, responses }
    }

    async fn state_of_the_world(&self) -> StateTalk {
        let (requests, receiver) = mpsc::unbounded_channel();
        let receiver = UnboundedReceiverStream::new(receiver);
        let responses = self.client().await.stream_aggregated_resources(receiver).await.unwrap().into_inner();
        Talk { requests, responses }
    }

    /// Publishes after `g1`; to be awaited when all answers are given.
    fn publish(&self, generation: &'static str, apis: &'static [(&'static str, &'static str)]) -> JoinHandle<Outcome> {
        let publisher = self.publisher.clone();
        tokio::spawn(async move { publisher.publish(replacing(FIRST, generation, apis)).await })
    }

    async fn until_live(&self, generation: &str) {
        self.until(|publication| publication.live.as_ref().is_some_and(|live| &*live.0 == generation)).await;
    }

    async fn until_offered(&self, generation: &str) {
        self.until(|publication| publication.offered.as_ref().is_some_and(|offered| &*offered.0 == generation)).await;
    }

    async fn until(&self, condition: impl Fn(&Publication) -> bool) {
        let mut publications = self.publisher.subscribe();
        timeout(PATIENCE, publications.wait_for(condition)).await.expect("it comes to that").unwrap();
    }

    /// Waits until it is known that so many Envoys are connected.
    async fn envoys(&self, count: u64) {
        let all = async {
            while self.publisher.metrics().envoys != count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, all).await.expect("they are known");
    }
}

// === impl Talk ===

impl<Q, R> Talk<Q, R> {
    fn say(&self, request: Q) {
        self.requests.send(request).unwrap();
    }

    async fn hear(&mut self) -> R {
        timeout(PATIENCE, self.responses.message()).await.expect("there is a response").unwrap().unwrap()
    }
}

// === impl Trusting ===

impl RuleSink for Trusting {
    fn load(&self, _: &Snapshot) -> Result<(), String> {
        Ok(())
    }

    fn retire(&self, _: &Generation) {}
}

impl Probe for Trusting {
    fn sees<'a>(&'a self, _: &'a Generation) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async { true })
    }
}

fn node(id: &str, project: &str) -> Node {
    Node { id: id.to_owned(), cluster: project.to_owned(), ..Node::default() }
}

fn refusal() -> rpc::Status {
    rpc::Status { code: 13, message: REASON.to_owned(), details: Vec::new() }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn url(kind: ResourceType) -> String {
    kind.type_url().to_owned()
}
