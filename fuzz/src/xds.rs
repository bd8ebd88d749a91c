//! What an Envoy may say over its stream, to the real server on a real socket: a stream always ends, says a bounded
//! amount, and does not disturb another Envoy's.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc;
use futures_util::{StreamExt as _, stream};
use hyper_util::rt::TokioIo;
use microgw_compiler::snapshot::{ApiKey, ApiSource, Generation, Resource, ResourceType, Resources, Snapshot};
use microgw_xds::{Config, Probe, Publisher, RuleSink, Xds};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "xds",
    run,
    reaches: &["nothing sent", "refused", "answered", "answered often"],
    dictionary: &[
        "petstore",
        "*",
        "routes",
        "identity",
        "http",
        "cluster",
        "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "type.googleapis.com/envoy.config.listener.v3.Listener",
        "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
    ],
    mutations: 150,
};

const PROJECT: &str = "petstore";
const NAMES: [&str; 6] = ["*", "cluster", "routes", "identity", "http", "other"];
const MAX_REQUESTS: usize = 24;
/// Nothing here waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

type Client = AggregatedDiscoveryServiceClient<Channel>;

/// What a stream says, in one of the two protocols.
enum Script {
    Delta(Vec<DeltaDiscoveryRequest>),
    StateOfTheWorld(Vec<DiscoveryRequest>),
}

// === impl Script ===

impl Script {
    fn read(data: &[u8]) -> Result<Script> {
        Ok(match data.split_first() {
            Some((b'd', bytes)) => Script::Delta(messages(bytes)),
            Some((b's', bytes)) => Script::StateOfTheWorld(messages(bytes)),
            _ => {
                let u = &mut Unstructured::new(data);
                if u.arbitrary()? {
                    Script::Delta((0..u.int_in_range(1..=12)?).map(|_| delta(u)).collect::<Result<_>>()?)
                } else {
                    Script::StateOfTheWorld((0..u.int_in_range(1..=12)?).map(|_| whole(u)).collect::<Result<_>>()?)
                }
            }
        })
    }

    fn len(&self) -> usize {
        match self {
            Script::Delta(requests) => requests.len(),
            Script::StateOfTheWorld(requests) => requests.len(),
        }
    }
}

/// Delimited messages, up to the first that is none.
fn messages<M: prost::Message + Default>(mut bytes: &[u8]) -> Vec<M> {
    let mut messages = Vec::new();
    while !bytes.is_empty() && messages.len() < MAX_REQUESTS {
        let Ok(message) = M::decode_length_delimited(&mut bytes) else { break };
        messages.push(message);
    }
    messages
}

fn node(u: &mut Unstructured<'_>) -> Result<Option<Node>> {
    let cluster = if u.ratio(1, 16)? { "other" } else { PROJECT };
    Ok(if u.ratio(1, 16)? { None } else { Some(named(cluster)) })
}

fn named(cluster: &str) -> Node {
    Node { id: "envoy".to_owned(), cluster: cluster.to_owned(), ..Node::default() }
}

fn type_url(u: &mut Unstructured<'_>) -> Result<String> {
    let url = if u.ratio(1, 16)? { "other" } else { u.choose(&ResourceType::ALL)?.type_url() };
    Ok(url.to_owned())
}

fn names(u: &mut Unstructured<'_>) -> Result<Vec<String>> {
    (0..u.int_in_range(0..=2)?).map(|_| u.choose(&NAMES).map(ToString::to_string)).collect()
}

/// Nonces are counted: this one may be of a response that was sent.
fn nonce(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(if u.arbitrary()? { String::new() } else { format!("{:x}", u.int_in_range(1..=6)?) })
}

fn refusal(u: &mut Unstructured<'_>) -> Result<Option<rpc::Status>> {
    let refused = u.ratio(1, 4)?;
    Ok(refused.then(|| rpc::Status { code: 13, message: "refused".to_owned(), ..rpc::Status::default() }))
}

fn delta(u: &mut Unstructured<'_>) -> Result<DeltaDiscoveryRequest> {
    let mut initial_resource_versions = HashMap::new();
    for name in names(u)? {
        initial_resource_versions.insert(name, (*u.choose(&["1", "2"])?).to_owned());
    }
    Ok(DeltaDiscoveryRequest {
        node: node(u)?,
        type_url: type_url(u)?,
        resource_names_subscribe: names(u)?,
        resource_names_unsubscribe: names(u)?,
        initial_resource_versions,
        response_nonce: nonce(u)?,
        error_detail: refusal(u)?,
        ..DeltaDiscoveryRequest::default()
    })
}

fn whole(u: &mut Unstructured<'_>) -> Result<DiscoveryRequest> {
    Ok(DiscoveryRequest {
        node: node(u)?,
        type_url: type_url(u)?,
        resource_names: names(u)?,
        version_info: (*u.choose(&["", "one", "two"])?).to_owned(),
        response_nonce: nonce(u)?,
        error_detail: refusal(u)?,
        ..DiscoveryRequest::default()
    })
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());

pub fn run(data: &[u8]) -> Reached {
    let Ok(script) = Script::read(data) else { return "nothing sent" };
    RUNTIME.block_on(async {
        let server = Server::start();
        let mut client = server.client().await;
        let said = script.len();
        let heard = match script {
            Script::Delta(requests) => listen(client.delta_aggregated_resources(stream::iter(requests)).await).await,
            Script::StateOfTheWorld(requests) => {
                listen(client.stream_aggregated_resources(stream::iter(requests)).await).await
            }
        };
        let Ok(heard) = heard else {
            server.still_serves().await;
            server.stop().await;
            return "refused";
        };
        // Each request may ask for what each type has; a response is one type.
        assert!(heard <= (said + 1) * 2 * ResourceType::ALL.len(), "{heard} responses to {said} requests");
        server.still_serves().await;
        server.stop().await;
        match heard {
            _ if said == 0 => "nothing sent",
            0..=2 => "answered",
            _ => "answered often",
        }
    })
}

/// Counts responses until the stream ends, as it must: everything was said.
async fn listen<M>(
    stream: std::result::Result<tonic::Response<Streaming<M>>, tonic::Status>,
) -> std::result::Result<usize, Code> {
    let mut stream = stream.map_err(|status| status.code())?.into_inner();
    let mut heard = 0;
    loop {
        let next = timeout(PATIENCE, stream.message()).await.expect("the stream does not end");
        match next {
            Ok(Some(_)) => heard += 1,
            Ok(None) => return Ok(heard),
            Err(status) => {
                assert!(!matches!(status.code(), Code::Unknown | Code::Internal), "{status}");
                return Err(status.code());
            }
        }
    }
}

/// One publisher on a socket, with a snapshot that was live before.
struct Server {
    socket: PathBuf,
    stop: oneshot::Sender<()>,
    running: tokio::task::JoinHandle<()>,
    _publisher: Publisher,
}

// === impl Server ===

impl Server {
    fn start() -> Server {
        static DIRECTORY: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let socket = DIRECTORY.path().join(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
        let listener = UnixListener::bind(&socket).unwrap();
        let publisher = Publisher::new(Config::new(PROJECT), Arc::new(Nobody), Arc::new(Nobody), Some(snapshot()));
        let xds = Xds::new([publisher.clone()]);
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            xds.serve(listener, async { _ = stopped.await }).await.unwrap();
        });
        Server { socket, stop, running, _publisher: publisher }
    }

    async fn client(&self) -> Client {
        let socket = self.socket.clone();
        let connect = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        Client::new(Endpoint::from_static("http://xds").connect_with_connector(connect).await.unwrap())
    }

    /// An Envoy that begins as Envoys do is sent its clusters.
    async fn still_serves(&self) {
        let first = DeltaDiscoveryRequest {
            node: Some(named(PROJECT)),
            type_url: ResourceType::Cluster.type_url().to_owned(),
            ..DeltaDiscoveryRequest::default()
        };
        let requests = stream::iter([first]).chain(stream::pending());
        let mut stream = self.client().await.delta_aggregated_resources(requests).await.unwrap().into_inner();
        let response = timeout(PATIENCE, stream.message()).await.expect("the server is silent").unwrap().unwrap();
        assert!(!response.resources.is_empty());
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        timeout(PATIENCE, self.running).await.expect("the server does not stop").unwrap();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Takes all rules, and sees nothing.
struct Nobody;

impl RuleSink for Nobody {
    fn load(&self, _: &Snapshot) -> std::result::Result<(), String> {
        Ok(())
    }
    fn retire(&self, _: &Generation) {}
}

impl Probe for Nobody {
    fn sees<'a>(&'a self, _: &'a Generation) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(std::future::ready(false))
    }
}

fn snapshot() -> Snapshot {
    let resource = |references: &[(ResourceType, Arc<str>)]| Resource {
        version: "1".into(),
        body: b"body".as_slice().into(),
        references: references.into(),
    };
    let one = |name: &str, resource| BTreeMap::from([(Arc::from(name), resource)]);
    let listener = [(ResourceType::Route, "routes".into()), (ResourceType::Secret, "identity".into())];
    Snapshot {
        generation: Generation("one".into()),
        resources: Resources::from([
            (ResourceType::Cluster, one("cluster", resource(&[]))),
            (ResourceType::Secret, one("identity", resource(&[]))),
            (ResourceType::Listener, one("http", resource(&listener))),
            (ResourceType::Route, one("routes", resource(&[(ResourceType::Cluster, "cluster".into())]))),
        ]),
        assignments: BTreeMap::new(),
        rules: Arc::default(),
        sources: vec![ApiSource {
            key: ApiKey("pets:1".into()),
            location: "api_definitions/pets.yaml:1:1".to_owned(),
            content: "1".into(),
        }],
    }
}
