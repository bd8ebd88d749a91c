//! A publisher on a socket, with rules and a probe that watch it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use microgw_compiler::snapshot::{
    ApiKey, ApiSource, Fallback, Fallbacks, Generation, Resource, ResourceType, Resources, Snapshot,
};
use microgw_xds::{Candidate, Config, Dialect, Outcome, Probe, Publication, Publisher, RuleSink, State, Xds};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::envoy::{Envoy, Held};

pub const PROJECT: &str = "petstore";

pub struct Gateway {
    pub publisher: Publisher,
    pub rules: Arc<Rules>,
    pub probe: Arc<Eyes>,
    pub socket: PathBuf,
    /// Of its Envoys.
    dialect: Dialect,
    _directory: tempfile::TempDir,
    shutdown: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl Gateway {
    pub fn start(dialect: Dialect) -> Gateway {
        Gateway::resume(dialect, None)
    }

    pub fn resume(dialect: Dialect, last_live: Option<Snapshot>) -> Gateway {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("xds.sock");
        let rules = Arc::new(Rules::default());
        let probe = Arc::new(Eyes::default());
        let mut config = Config::new(PROJECT);
        config.static_clusters.insert("service".into());
        let publisher = Publisher::new(config, Arc::clone(&rules) as _, Arc::clone(&probe) as _, last_live);
        let listener = UnixListener::bind(&socket).unwrap();
        let (shutdown, stopped) = oneshot::channel();
        let xds = Xds::new([publisher.clone()]);
        let server = tokio::spawn(async move {
            xds.serve(listener, async { _ = stopped.await }).await.unwrap();
        });
        Gateway { publisher, rules, probe, socket, dialect, _directory: directory, shutdown: Some(shutdown), server }
    }

    /// An Envoy that accepts everything.
    pub async fn envoy(&self) -> Envoy {
        let envoy = Envoy::new(&self.socket, Arc::clone(&self.rules), self.dialect);
        self.probe.watch(&envoy);
        envoy.connect(PROJECT).await;
        envoy
    }

    pub async fn publish(&self, generation: &str, apis: &[(&str, &str)]) -> Outcome {
        self.publisher.publish(candidate(generation, apis)).await
    }

    pub async fn until(&self, condition: impl Fn(&Publication) -> bool) -> Publication {
        self.publisher.subscribe().wait_for(condition).await.unwrap().clone()
    }

    pub async fn until_live(&self, generation: &str) -> Publication {
        self.until(|publication| publication.live.as_ref().is_some_and(|live| &*live.0 == generation)).await
    }

    pub fn state(&self) -> State {
        self.publisher.status().publication.state
    }

    /// Returns when every stream and the server itself have ended.
    pub async fn stop(mut self) {
        _ = self.shutdown.take().unwrap().send(());
        self.server.await.unwrap();
    }
}

/// Knows which generations are armed.
#[derive(Default)]
pub struct Rules {
    armed: Mutex<BTreeSet<String>>,
    /// Generations that cannot be armed.
    pub broken: Mutex<BTreeSet<String>>,
    pub log: Mutex<Vec<String>>,
}

impl Rules {
    pub fn armed(&self) -> Vec<String> {
        self.armed.lock().unwrap().iter().cloned().collect()
    }
}

impl RuleSink for Rules {
    fn load(&self, snapshot: &Snapshot) -> Result<(), String> {
        let generation = snapshot.generation.to_string();
        assert!(self.armed.lock().unwrap().insert(generation.clone()), "{generation} is armed already");
        self.log.lock().unwrap().push(format!("+{generation}"));
        if self.broken.lock().unwrap().contains(&generation) {
            Err("they contradict themselves".into())
        } else {
            Ok(())
        }
    }

    fn retire(&self, generation: &Generation) {
        assert!(self.armed.lock().unwrap().remove(&*generation.0), "{generation} is not armed");
        self.log.lock().unwrap().push(format!("-{generation}"));
    }
}

/// Sees the generation that some Envoy's routes carry, unless blind.
#[derive(Default)]
pub struct Eyes {
    envoys: Mutex<Vec<Arc<Held>>>,
    pub blind: Mutex<bool>,
}

impl Eyes {
    pub fn watch(&self, envoy: &Envoy) {
        self.envoys.lock().unwrap().push(Arc::clone(&envoy.held));
    }
}

impl Probe for Eyes {
    fn sees<'a>(&'a self, generation: &'a Generation) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async {
            let envoys = self.envoys.lock().unwrap();
            !*self.blind.lock().unwrap() && envoys.iter().any(|envoy| envoy.serves() == Some(generation.to_string()))
        })
    }
}

/// APIs with their content. Each has a cluster of its own; all share the listener and the route table.
pub fn snapshot(generation: &str, apis: &[(&str, &str)]) -> Snapshot {
    let clusters: BTreeMap<_, _> = apis
        .iter()
        .map(|(name, content)| (format!("{name}-{content}").into(), resource(&format!("{name}={content}"), &[])))
        .collect();
    let mut references: Vec<(ResourceType, Arc<str>)> =
        clusters.keys().map(|name| (ResourceType::Cluster, Arc::clone(name))).collect();
    references.push((ResourceType::Cluster, "service".into()));
    let table: Vec<String> = apis.iter().map(|(name, content)| format!("{name}={content}")).collect();
    let routes = resource(&format!("{generation} {}", table.join(" ")), &references);
    let listener =
        resource("listener", &[(ResourceType::Route, "routes".into()), (ResourceType::Secret, "identity".into())]);
    let resources = Resources::from([
        (ResourceType::Cluster, clusters),
        (ResourceType::Secret, BTreeMap::from([("identity".into(), resource("key", &[]))])),
        (ResourceType::Listener, BTreeMap::from([("http".into(), listener)])),
        (ResourceType::Route, BTreeMap::from([("routes".into(), routes)])),
    ]);
    let sources = apis.iter().zip(1..).map(|((name, content), line)| ApiSource {
        key: key(name),
        location: format!("api_definitions/{name}.yaml:{line}:1"),
        content: (*content).into(),
    });
    Snapshot {
        generation: Generation(generation.into()),
        resources,
        assignments: BTreeMap::new(),
        rules: Arc::default(),
        sources: sources.collect(),
    }
}

pub fn key(api: &str) -> ApiKey {
    ApiKey(format!("{api}:v1").into())
}

fn resource(body: &str, references: &[(ResourceType, Arc<str>)]) -> Resource {
    Resource { version: body.into(), body: body.as_bytes().into(), references: references.into() }
}

/// With nothing to fall back to.
pub fn candidate(generation: &str, apis: &[(&str, &str)]) -> Candidate {
    replacing(&[], generation, apis)
}

/// A fallback's content is that of `previous`, or `503`.
pub fn replacing(previous: &[(&str, &str)], generation: &str, apis: &[(&str, &str)]) -> Candidate {
    let own = |apis: &[(&str, &str)]| -> Vec<(String, String)> {
        apis.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
    };
    let (previous, next, generation) = (own(previous), own(apis), generation.to_owned());
    let first = snapshot(&generation, apis);
    let reassemble = move |fallbacks: &Fallbacks| {
        let content = |name: &str, content: &str| match fallbacks.get(&key(name)) {
            None => content.to_owned(),
            Some(Fallback::Unavailable) => "503".to_owned(),
            Some(Fallback::Previous) => previous.iter().find(|(other, _)| other == name).unwrap().1.clone(),
        };
        let apis: Vec<(String, String)> = next.iter().map(|(name, own)| (name.clone(), content(name, own))).collect();
        let apis: Vec<(&str, &str)> = apis.iter().map(|(name, content)| (&**name, &**content)).collect();
        let in_fallback: Vec<String> = fallbacks.keys().map(ToString::to_string).collect();
        Ok(snapshot(&format!("{generation}-without-{}", in_fallback.join("-")), &apis))
    };
    Candidate { snapshot: first, reassemble: Arc::new(reassemble) }
}

pub fn live(generation: &str) -> Outcome {
    Outcome::Live { generation: Generation(generation.into()) }
}
