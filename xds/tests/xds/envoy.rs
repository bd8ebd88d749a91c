//! An Envoy as far as delta ADS goes: clusters first, then listeners, then what they refer to.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::rpc;
use microgw_compiler::snapshot::ResourceType;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};

use crate::fixture::{Gateway, Rules};

type Client = AggregatedDiscoveryServiceClient<tonic::transport::Channel>;
type Judge = Box<dyn Fn(&Update) -> Answer + Send>;

/// A response, readable.
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
    updates: watch::Sender<Vec<Update>>,
}

impl Update {
    pub fn contains(&self, text: &str) -> bool {
        self.changed.values().any(|body| body.contains(text))
    }
}

// === impl Envoy ===

impl Envoy {
    pub fn new(socket: &Path, rules: Arc<Rules>) -> Envoy {
        let held = Held {
            rules,
            judge: Mutex::new(Box::new(|_| Answer::Ack)),
            resources: Mutex::default(),
            updates: watch::Sender::default(),
        };
        Envoy { socket: socket.to_owned(), held: Arc::new(held), stream: Mutex::default() }
    }

    /// From now on, it judges updates like this.
    pub fn judge(&self, judge: impl Fn(&Update) -> Answer + Send + 'static) {
        *self.held.judge.lock().unwrap() = Box::new(judge);
    }

    /// Opens a stream, telling what it holds.
    pub async fn connect(&self, project: &str) {
        let mut client = client(&self.socket).await;
        let (sender, requests) = mpsc::unbounded_channel();
        let stream = Stream { held: Arc::clone(&self.held), requests: sender, project: project.to_owned() };
        stream.subscribe(ResourceType::Cluster, Vec::new());
        let requests = tokio_stream::wrappers::UnboundedReceiverStream::new(requests);
        let responses = client.delta_aggregated_resources(requests).await.unwrap().into_inner();
        *self.stream.lock().unwrap() = Some(tokio::spawn(stream.run(responses)));
    }

    /// The same Envoy, with what it holds, when another process serves it.
    pub fn moved_to(self, gateway: &Gateway) -> Envoy {
        let envoy = Envoy::new(&gateway.socket, Arc::clone(&gateway.rules));
        *envoy.held.resources.lock().unwrap() = self.held.resources.lock().unwrap().clone();
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

    fn apply(&self, response: &DeltaDiscoveryResponse, kind: ResourceType) {
        let mut resources = self.resources.lock().unwrap();
        let held = resources.entry(kind).or_default();
        for resource in &response.resources {
            let body = body(resource);
            if kind == ResourceType::Route {
                let generation = body.split(' ').next().unwrap().to_owned();
                assert!(self.rules.armed().contains(&generation), "routes of {generation} without their rules");
            }
            held.insert(resource.name.clone(), (resource.version.clone(), body));
        }
        for name in &response.removed_resources {
            held.remove(name);
        }
    }
}

struct Stream {
    held: Arc<Held>,
    requests: mpsc::UnboundedSender<DeltaDiscoveryRequest>,
    project: String,
}

impl Stream {
    async fn run(self, mut responses: Streaming<DeltaDiscoveryResponse>) -> Status {
        let mut subscribed = vec![ResourceType::Cluster];
        let mut subscribe = |kind, names: &[&str]| {
            if !subscribed.contains(&kind) {
                subscribed.push(kind);
                self.subscribe(kind, names.iter().map(|name| (*name).to_owned()).collect());
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
            let kind = ResourceType::from_type_url(&response.type_url).unwrap();
            let update = Update {
                kind,
                changed: response.resources.iter().map(|one| (one.name.clone(), body(one))).collect(),
                removed: response.removed_resources.clone(),
            };
            let answer = (self.held.judge.lock().unwrap())(&update);
            self.held.updates.send_modify(|updates| updates.push(update));
            let refusal = match answer {
                Answer::Silence => continue,
                Answer::Nack(text) => Some(rpc::Status { code: 13, message: text.to_owned(), details: Vec::new() }),
                Answer::Ack => {
                    self.held.apply(&response, kind);
                    None
                }
            };
            let accepted = refusal.is_none();
            self.send(DeltaDiscoveryRequest {
                type_url: response.type_url,
                response_nonce: response.nonce,
                error_detail: refusal,
                ..DeltaDiscoveryRequest::default()
            });
            match kind {
                ResourceType::Cluster if accepted => subscribe(ResourceType::Listener, &[]),
                ResourceType::Listener if accepted && !response.resources.is_empty() => {
                    subscribe(ResourceType::Secret, &["identity"]);
                    subscribe(ResourceType::Route, &["routes"]);
                }
                _ => {}
            }
        }
    }

    fn subscribe(&self, kind: ResourceType, names: Vec<String>) {
        let resources = self.held.resources.lock().unwrap();
        let versions: HashMap<String, String> = resources
            .get(&kind)
            .into_iter()
            .flatten()
            .map(|(name, (version, _))| (name.clone(), version.clone()))
            .collect();
        self.send(DeltaDiscoveryRequest {
            node: (kind == ResourceType::Cluster).then(|| Node {
                id: "envoy-1".to_owned(),
                cluster: self.project.clone(),
                ..Node::default()
            }),
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: names,
            initial_resource_versions: versions,
            ..DeltaDiscoveryRequest::default()
        });
    }

    fn send(&self, request: DeltaDiscoveryRequest) {
        // The server may have closed the stream: `run` sees that.
        _ = self.requests.send(request);
    }
}

pub async fn client(socket: &Path) -> Client {
    let channel = Endpoint::try_from(format!("unix:{}", socket.display())).unwrap().connect().await.unwrap();
    Client::new(channel).max_decoding_message_size(usize::MAX)
}

fn body(resource: &envoy_types::pb::envoy::service::discovery::v3::Resource) -> String {
    String::from_utf8(resource.resource.clone().unwrap().value).unwrap()
}
