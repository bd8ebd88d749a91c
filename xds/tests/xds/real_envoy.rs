//! The same against the real thing. Without an Envoy these are skipped, visibly; on CI they fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ConfigSource, DataSource, HeaderValue, HeaderValueOption, Pipe, address,
    config_source, data_source,
};
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route, route_action,
    route_match,
};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_connection_manager, http_filter,
};
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatcher;
use envoy_types::pb::google::protobuf::Any;
use microgw_compiler::snapshot::{
    ApiSource, Fallback, Fallbacks, Generation, Resource, ResourceType, Resources, Snapshot,
};
use microgw_envoy::Binary;
use microgw_xds::{Candidate, Config, Dialect, Outcome, Probe, Publisher, Rejection, State, Xds};
use prost::{Message, Name};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::fixture::{PROJECT, Rules, key};

use super::DIALECT;

/// A regular expression for the API's paths, and whether its cluster is valid.
type Api = (&'static str, &'static str, bool);

fn envoy() -> Option<Binary> {
    let found = microgw_envoy::find(None);
    assert!(found.is_ok() || std::env::var_os("CI").is_none(), "CI needs Envoy: run `make envoy`");
    found.inspect_err(|error| eprintln!("SKIPPED: {error}")).ok()
}

struct Sockets(tempfile::TempDir);

impl Sockets {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

struct Health(PathBuf);

impl Probe for Health {
    fn sees<'a>(&'a self, generation: &'a Generation) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async move {
            let answer = get(&self.0, "/health").await;
            answer.is_ok_and(|answer| answer.contains(&format!("x-generation: {generation}\n")))
        })
    }
}

/// A gateway; ends when `stop` is dropped.
struct Serving {
    publisher: Publisher,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

fn serve(sockets: &Sockets, last_live: Option<Snapshot>) -> Serving {
    let health = Arc::new(Health(sockets.path("http.sock")));
    let publisher = Publisher::new(Config::new(PROJECT), Arc::new(Rules::default()), health, last_live);
    let xds = Xds::new([publisher.clone()]);
    let listener = UnixListener::bind(sockets.path("xds.sock")).unwrap();
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(async move { xds.serve(listener, async { drop(stopped.await) }).await.unwrap() });
    Serving { publisher, stop, server }
}

impl Serving {
    async fn end(self, sockets: &Sockets) {
        drop((self.stop, self.publisher));
        self.server.await.unwrap();
        std::fs::remove_file(sockets.path("xds.sock")).unwrap();
    }

    async fn until_live(&self, generation: &str) {
        let is_live = |live: &Generation| &*live.0 == generation;
        let mut publications = self.publisher.subscribe();
        publications.wait_for(|publication| publication.live.as_ref().is_some_and(is_live)).await.unwrap();
    }

    /// By type, the generation that Envoy last accepted.
    fn acked(&self) -> Vec<(String, String)> {
        let status = self.publisher.status();
        let types = status.envoys.into_iter().flat_map(|envoy| {
            assert_eq!(envoy.dialect, DIALECT);
            envoy.types
        });
        types.map(|one| (one.kind, one.acked.map_or(String::new(), |generation| generation.to_string()))).collect()
    }
}

#[tokio::test]
async fn a_restarted_gateway_says_nothing_that_envoy_knows() {
    let Some(envoy) = envoy() else { return };
    let sockets = Sockets(tempfile::tempdir().unwrap());
    let first = [("good", "/good/[^/]+", true), ("pets", "/pets/1", true)];
    let gateway = serve(&sockets, None);
    let _envoy = spawn(&envoy, &sockets);
    gateway.publisher.publish(candidate(&sockets, &[], "g1", &first)).await;
    gateway.until_live("g1").await;
    assert_eq!(gateway.acked(), ["Cluster", "Listener", "Route"].map(|kind| (kind.to_owned(), "g1".to_owned())));
    gateway.end(&sockets).await;
    assert!(get(&sockets.path("http.sock"), "/health").await.unwrap().starts_with("HTTP/1.1 200"));

    let gateway = serve(&sockets, Some(snapshot(&sockets, "g1", &first)));
    gateway.until_live("g1").await;
    assert_eq!(gateway.publisher.metrics().pushes, 0);
    let second = [first[0], ("pets", "/pets/2", true), ("more", "/more", true)];
    assert_eq!(gateway.publisher.publish(candidate(&sockets, &first, "g2", &second)).await, crate::fixture::live("g2"));
    gateway.end(&sockets).await;

    // One that knows nothing of what was live, and whose first offer is refused.
    let gateway = serve(&sockets, None);
    let bad = [first[0], ("pets", "/pets/(", true)];
    gateway.publisher.publish(candidate(&sockets, &[], "g3", &bad)).await;
    let mut publications = gateway.publisher.subscribe();
    let degraded = publications.wait_for(|publication| publication.state == State::Degraded).await.unwrap().clone();
    assert_eq!(degraded.faults.iter().map(|fault| fault.api.clone()).collect::<Vec<_>>(), [key("pets")]);
    assert!(get(&sockets.path("http.sock"), "/more").await.unwrap().starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn publishes_to_envoy() {
    let Some(envoy) = envoy() else { return };
    let sockets = Sockets(tempfile::tempdir().unwrap());
    let gateway = serve(&sockets, None);
    let publisher = &gateway.publisher;
    let _envoy = spawn(&envoy, &sockets);

    let good: Api = ("good", "/good/[^/]+", true);
    let first = [good, ("pets", "/pets/1", true)];
    publisher.publish(candidate(&sockets, &[], "g1", &first)).await;
    publisher.subscribe().wait_for(|publication| publication.live.is_some()).await.unwrap();
    assert!(get(&sockets.path("http.sock"), "/pets/1").await.unwrap().starts_with("HTTP/1.1 503"), "no backend");

    // Nothing but what is at fault falls back, and Envoy's text is kept.
    for (generation, api, text) in [
        ("g2", ("pets", "/pets/(", true), "missing )"),
        ("g3", ("pets", "/pets/2", false), "cluster provided LB specified"),
    ] {
        let outcome = publisher.publish(candidate(&sockets, &first, generation, &[good, api])).await;
        let Outcome::Degraded { faults, .. } = outcome else { panic!("{outcome:?}") };
        println!("{generation}: {}", faults[0].envoy_text);
        assert_eq!((&faults[0].api, faults.len()), (&key("pets"), 1));
        assert!(faults[0].envoy_text.contains(text), "{}", faults[0].envoy_text);
    }
    let outcome = publisher.publish(candidate(&sockets, &first, "g4\r\n", &first)).await;
    let Outcome::Rejected(Rejection::Refused { envoy_text }) = outcome else { panic!("{outcome:?}") };
    println!("g4: {envoy_text}");
    assert!(envoy_text.contains("VirtualHosts[0]") && !envoy_text.contains("safe_regex"), "{envoy_text}");
    let start = Instant::now();
    let outcome = publisher.publish(candidate(&sockets, &first, "g5", &[good, ("pets", "/pets/2", true)])).await;
    println!("g5 live in {:?}", start.elapsed());
    assert_eq!(outcome, crate::fixture::live("g5"));
    assert!(publisher.ready());
}

#[tokio::test]
async fn a_large_route_table_is_held_once() {
    let Some(envoy) = envoy() else { return };
    let sockets = Sockets(tempfile::tempdir().unwrap());
    let gateway = serve(&sockets, None);
    let publisher = &gateway.publisher;
    let mut large = snapshot(&sockets, "g1", &[("pets", "/pets/1", true)]);
    let routes = large.resources.get_mut(&ResourceType::Route).unwrap().get_mut("routes").unwrap();
    let mut table = RouteConfiguration::decode(&*routes.body).unwrap();
    let host = &mut table.virtual_hosts[0];
    host.routes = std::iter::repeat_n(host.routes.clone(), 90_000).flatten().collect();
    routes.body = table.encode_to_vec().into();
    let length = routes.body.len() as u64;
    drop(table);
    let reassemble = Arc::new(|_: &Fallbacks| Err(String::new()));
    let before = resident();
    publisher.publish(Candidate { snapshot: large, reassemble }).await;
    let _envoy = spawn(&envoy, &sockets);
    publisher.subscribe().wait_for(|publication| publication.live.is_some()).await.unwrap();
    let after = resident();
    println!("table {length}, resident {before} -> {after}");
    assert!(after < before + length / 2, "sending {length} bytes left {} more", after - before);
}

fn spawn(envoy: &Binary, sockets: &Sockets) -> Child {
    let api_type = match DIALECT {
        Dialect::Delta => "DELTA_GRPC",
        Dialect::StateOfTheWorld => "GRPC",
    };
    let bootstrap = format!(
        r"
node: {{id: envoy-1, cluster: {PROJECT}}}
dynamic_resources:
  ads_config:
    api_type: {api_type}
    transport_api_version: V3
    grpc_services:
    - envoy_grpc: {{cluster_name: xds, retry_policy: {{retry_back_off: {{base_interval: 0.1s, max_interval: 0.5s}}}}}}
  cds_config: {{ads: {{}}, resource_api_version: V3}}
  lds_config: {{ads: {{}}, resource_api_version: V3}}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: xds
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{pipe: {{path: {}}}}}}}}}]}}]
",
        sockets.path("xds.sock").display()
    );
    Command::new(envoy.path())
        .args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning", "--config-yaml", &bootstrap])
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn get(socket: &Path, path: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    // Not to the end of the stream: Envoy keeps it open for a second.
    let mut answer = String::new();
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
        answer.push_str(&line);
        answer.push('\n');
    }
    Ok(answer)
}

/// Bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

fn candidate(sockets: &Sockets, previous: &[Api], generation: &str, apis: &[Api]) -> Candidate {
    let (previous, next, name) = (previous.to_vec(), apis.to_vec(), generation.to_owned());
    let directory = sockets.path("");
    let reassemble = move |fallbacks: &Fallbacks| {
        let content = |api: &Api| match fallbacks.get(&key(api.0)) {
            None => *api,
            Some(Fallback::Unavailable) => (api.0, "/unavailable", true),
            Some(Fallback::Previous) => *previous.iter().find(|other| other.0 == api.0).unwrap(),
        };
        let apis: Vec<Api> = next.iter().map(content).collect();
        Ok(assemble(&directory, &format!("{name}-without-{}", fallbacks.len()), &apis))
    };
    Candidate { snapshot: snapshot(sockets, generation, apis), reassemble: Arc::new(reassemble) }
}

fn snapshot(sockets: &Sockets, generation: &str, apis: &[Api]) -> Snapshot {
    assemble(&sockets.path(""), generation, apis)
}

fn assemble(directory: &Path, generation: &str, apis: &[Api]) -> Snapshot {
    let clusters: BTreeMap<_, _> = apis.iter().map(|api| (api.0.into(), resource(&backend(api)))).collect();
    let routes = resource(&routes(generation, apis));
    let listener = resource(&listener(&directory.join("http.sock")));
    let sources = apis.iter().map(|api| ApiSource {
        key: key(api.0),
        location: format!("{}.yaml:1:1", api.0),
        content: format!("{api:?}").into(),
    });
    Snapshot {
        generation: Generation(generation.into()),
        resources: Resources::from([
            (ResourceType::Cluster, clusters),
            (ResourceType::Listener, BTreeMap::from([("http".into(), listener)])),
            (ResourceType::Route, BTreeMap::from([("routes".into(), routes)])),
        ]),
        assignments: BTreeMap::new(),
        rules: Arc::default(),
        sources: sources.collect(),
    }
}

fn resource(message: &impl Message) -> Resource {
    let body = message.encode_to_vec();
    Resource { version: format!("{body:?}").into(), body: body.into(), references: Arc::default() }
}

fn backend((name, _, valid): &Api) -> Cluster {
    // Only a cluster type that brings its own load balancer can have this policy.
    let policy = if *valid { cluster::LbPolicy::RoundRobin } else { cluster::LbPolicy::ClusterProvided };
    Cluster {
        name: (*name).to_owned(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Static.into())),
        lb_policy: policy.into(),
        ..Cluster::default()
    }
}

fn listener(socket: &Path) -> Listener {
    let ads = ConfigSource {
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        resource_api_version: 2,
        ..ConfigSource::default()
    };
    let router = HttpFilter {
        name: "router".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(any(&Router::default()))),
        ..HttpFilter::default()
    };
    let manager = HttpConnectionManager {
        stat_prefix: "http".to_owned(),
        route_specifier: Some(http_connection_manager::RouteSpecifier::Rds(Rds {
            config_source: Some(ads),
            route_config_name: "routes".to_owned(),
        })),
        http_filters: vec![router],
        ..HttpConnectionManager::default()
    };
    let connection =
        Filter { name: "http".to_owned(), config_type: Some(filter::ConfigType::TypedConfig(any(&manager))) };
    let pipe = Pipe { path: socket.display().to_string(), mode: 0 };
    Listener {
        name: "http".to_owned(),
        address: Some(Address { address: Some(address::Address::Pipe(pipe)) }),
        filter_chains: vec![FilterChain { filters: vec![connection], ..FilterChain::default() }],
        ..Listener::default()
    }
}

fn routes(generation: &str, apis: &[Api]) -> RouteConfiguration {
    let body =
        DataSource { specifier: Some(data_source::Specifier::InlineString("up".to_owned())), ..DataSource::default() };
    let health = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(route_match::PathSpecifier::Path("/health".to_owned())),
            ..RouteMatch::default()
        }),
        action: Some(route::Action::DirectResponse(DirectResponseAction {
            status: 200,
            body: Some(body),
            ..DirectResponseAction::default()
        })),
        response_headers_to_add: vec![HeaderValueOption {
            header: Some(HeaderValue {
                key: "x-generation".to_owned(),
                value: generation.to_owned(),
                ..HeaderValue::default()
            }),
            ..HeaderValueOption::default()
        }],
        ..Route::default()
    };
    let operations = apis.iter().map(|(name, regex, _)| Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(route_match::PathSpecifier::SafeRegex(RegexMatcher {
                regex: (*regex).to_owned(),
                ..RegexMatcher::default()
            })),
            ..RouteMatch::default()
        }),
        action: Some(route::Action::Route(RouteAction {
            cluster_specifier: Some(route_action::ClusterSpecifier::Cluster((*name).to_owned())),
            ..RouteAction::default()
        })),
        ..Route::default()
    });
    RouteConfiguration {
        name: "routes".to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: "all".to_owned(),
            domains: vec!["*".to_owned()],
            routes: std::iter::once(health).chain(operations).collect(),
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    }
}

fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}
