//! An Envoy as far as ADS goes: clusters first, then listeners, then what they refer to.

mod speech;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc;
use microgw_compiler::snapshot::ResourceType;
use microgw_xds::Dialect;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use self::speech::Speech;
use crate::fixture::{Gateway, Rules};

pub type Client = AggregatedDiscoveryServiceClient<Channel>;
type Judge = Box<dyn Fn(&Update) -> Answer + Send>;

/// A response, readable: whatever the dialect, what is different from what the Envoy has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub kind: ResourceType,
    /// Name and body.
    pub changed: BTreeMap<String, String>,
    pub removed: Vec<String>,
}

pub enum Answer {
    Ack,
    Nack(&'static str),
    Silence,
}

pub struct Envoy {
    socket: PathBuf,
    dialect: Dialect,
    pub held: Arc<Held>,
    stream: Mutex<Option<JoinHandle<Status>>>,
}

/// By type and name: version and body.
type Resources = BTreeMap<ResourceType, BTreeMap<String, (String, String)>>;

/// What outlives a stream.
pub struct Held {
    rules: Arc<Rules>,
    judge: Mutex<Judge>,
    resources: Mutex<Resources>,
    /// Of the last response of each type that was accepted; state of the world only.
    versions: Mutex<BTreeMap<ResourceType, String>>,
    updates: watch::Sender<Vec<Update>>,
}

impl Update {
    pub fn contains(&self, text: &str) -> bool {
        self.changed.values().any(|body| body.contains(text))
    }
}

// === impl Envoy ===

impl Envoy {
    pub fn new(socket: &Path, rules: Arc<Rules>, dialect: Dialect) -> Envoy {
        let held = Held {
            rules,
            judge: Mutex::new(Box::new(|_| Answer::Ack)),
            resources: Mutex::default(),
            versions: Mutex::default(),
            updates: watch::Sender::default(),
        };
        Envoy { socket: socket.to_owned(), dialect, held: Arc::new(held), stream: Mutex::default() }
    }

    /// From now on, it judges updates like this.
    pub fn judge(&self, judge: impl Fn(&Update) -> Answer + Send + 'static) {
        *self.held.judge.lock().unwrap() = Box::new(judge);
    }

    /// Opens a stream, telling what it holds.
    pub async fn connect(&self, project: &str) {
        let stream = match self.dialect {
            Dialect::Delta => self.open::<DeltaDiscoveryRequest>(project).await,
            Dialect::StateOfTheWorld => self.open::<DiscoveryRequest>(project).await,
        };
        *self.stream.lock().unwrap() = Some(stream);
    }

    async fn open<S: Speech>(&self, project: &str) -> JoinHandle<Status> {
        let mut client = client(&self.socket).await;
        let (requests, receiver) = mpsc::unbounded_channel();
        let stream = Stream { held: Arc::clone(&self.held), requests, project: project.to_owned() };
        stream.subscribe(ResourceType::Cluster, &[]);
        let receiver = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver);
        let responses = S::open(&mut client, receiver).await;
        tokio::spawn(stream.run(responses))
    }

    /// The same Envoy, with what it holds, when another process serves it.
    pub fn moved_to(self, gateway: &Gateway) -> Envoy {
        let envoy = Envoy::new(&gateway.socket, Arc::clone(&gateway.rules), self.dialect);
        envoy.held.resources.lock().unwrap().clone_from(&self.held.resources.lock().unwrap());
        envoy.held.versions.lock().unwrap().clone_from(&self.held.versions.lock().unwrap());
        gateway.probe.watch(&envoy);
        envoy
    }

    pub fn disconnect(&self) {
        self.stream.lock().unwrap().take().unwrap().abort();
    }

    /// How the server ended the stream.
    pub async fn closed(&self) -> Status {
        let stream = self.stream.lock().unwrap().take().unwrap();
        stream.await.unwrap()
    }

    /// Waits for an update, past or future.
    pub async fn update(&self, condition: impl Fn(&Update) -> bool) -> Update {
        let mut updates = self.held.updates.subscribe();
        let updates = updates.wait_for(|updates| updates.iter().any(&condition)).await.unwrap();
        updates.iter().find(|update| condition(update)).unwrap().clone()
    }

    /// All updates so far, forgotten thereby.
    pub fn updates(&self) -> Vec<Update> {
        self.held.updates.send_replace(Vec::new())
    }

    pub fn names(&self, kind: ResourceType) -> Vec<String> {
        self.held.resources.lock().unwrap().get(&kind).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }
}

impl Held {
    /// The generation in the route table.
    pub fn serves(&self) -> Option<String> {
        let resources = self.resources.lock().unwrap();
        let (_, body) = resources.get(&ResourceType::Route)?.get("routes")?;
        body.split(' ').next().map(str::to_owned)
    }

    fn apply(&self, news: &News) {
        let mut resources = self.resources.lock().unwrap();
        let held = resources.entry(news.kind).or_default();
        for (name, (version, body)) in &news.changed {
            if news.kind == ResourceType::Route {
                let generation = body.split(' ').next().unwrap().to_owned();
                assert!(self.rules.armed().contains(&generation), "routes of {generation} without their rules");
            }
            held.insert(name.clone(), (version.clone(), body.clone()));
        }
        for name in &news.removed {
            held.remove(name);
        }
        self.versions.lock().unwrap().insert(news.kind, news.version.clone());
    }
}

/// What a response means to this Envoy.
struct News {
    kind: ResourceType,
    nonce: String,
    version: String,
    /// Version and body.
    changed: BTreeMap<String, (String, String)>,
    removed: Vec<String>,
}

struct Stream<S> {
    held: Arc<Held>,
    requests: mpsc::UnboundedSender<S>,
    project: String,
}

impl<S: Speech> Stream<S> {
    async fn run(self, mut responses: Streaming<S::Response>) -> Status {
        let mut subscribed = BTreeMap::from([(ResourceType::Cluster, &[][..])]);
        let mut subscribe = |kind, names: &'static [&'static str]| {
            if subscribed.insert(kind, names).is_none() {
                self.subscribe(kind, names);
            }
        };
        // What a surviving Envoy holds, it is subscribed to.
        if self.held.serves().is_some() {
            subscribe(ResourceType::Listener, &[]);
            subscribe(ResourceType::Secret, &["identity"]);
            subscribe(ResourceType::Route, &["routes"]);
        }
        loop {
            let response = match responses.next().await {
                Some(Ok(response)) => response,
                Some(Err(status)) => return status,
                None => return Status::ok(""),
            };
            let news = S::read(response, &self.held);
            let update = Update {
                kind: news.kind,
                changed: news.changed.iter().map(|(name, (_, body))| (name.clone(), body.clone())).collect(),
                removed: news.removed.clone(),
            };
            let answer = (self.held.judge.lock().unwrap())(&update);
            self.held.updates.send_modify(|updates| updates.push(update));
            let refusal = match answer {
                Answer::Silence => continue,
                Answer::Nack(text) => Some(rpc::Status { code: 13, message: text.to_owned(), details: Vec::new() }),
                Answer::Ack => {
                    self.held.apply(&news);
                    None
                }
            };
            let accepted = refusal.is_none();
            let names = match news.kind {
                ResourceType::Cluster | ResourceType::Endpoint | ResourceType::Listener => &[][..],
                ResourceType::Secret => &["identity"],
                ResourceType::Route => &["routes"],
            };
            self.send(S::answer(&news, refusal, names, &self.held));
            match news.kind {
                ResourceType::Cluster if accepted => subscribe(ResourceType::Listener, &[]),
                ResourceType::Listener if accepted && !news.changed.is_empty() => {
                    subscribe(ResourceType::Secret, &["identity"]);
                    subscribe(ResourceType::Route, &["routes"]);
                }
                _ => {}
            }
        }
    }

    fn subscribe(&self, kind: ResourceType, names: &[&str]) {
        let node = (kind == ResourceType::Cluster).then(|| Node {
            id: "envoy-1".to_owned(),
            cluster: self.project.clone(),
            ..Node::default()
        });
        self.send(S::subscribe(kind, names, node, &self.held));
    }

    fn send(&self, request: S) {
        // The server may have closed the stream: `run` sees that.
        _ = self.requests.send(request);
    }
}

pub async fn channel(socket: &Path) -> Channel {
    Endpoint::try_from(format!("unix:{}", socket.display())).unwrap().connect().await.unwrap()
}

pub async fn client(socket: &Path) -> Client {
    Client::new(channel(socket).await).max_decoding_message_size(usize::MAX)
}
