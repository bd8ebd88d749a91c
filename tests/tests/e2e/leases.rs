//! Limits of mode `leased`: several gateways with Envoys of their own, one Redis.

mod admitted;
mod bytes;
mod lost;
mod places;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use microgw_tests::backend::Backend;
use microgw_tests::gateway::Gateway;
use microgw_tests::project::{Project, definition, get};
use microgw_tests::redis::{Cluster, RedisServer, redis_is_here};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// What clients have seen.
#[derive(Debug, Default)]
struct Seen {
    admitted: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
    /// No answer: may have been admitted.
    unanswered: AtomicU64,
    /// Milliseconds.
    slowest: AtomicU64,
}

struct Setting {
    redis: RedisServer,
    project: Project,
    _backend: Backend,
}

/// Some clients of one gateway, until they are stopped.
struct Clients {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Operations by name, each with a policy.
async fn shop(operations: &[(&str, &str)]) -> (Project, Backend) {
    let (backend, project) = (Backend::start("shop").await, Project::new());
    let (mut paths, mut policies) = (json!({}), "resourcePolicies:\n".to_owned());
    for (name, policy) in operations {
        let mut limited = get(&json!([]));
        limited["get"]["x-wso2-throttling-tier"] = json!(name);
        paths[format!("/{name}")] = limited;
        policies.extend(["  - ", *name, ": {", *policy, "}\n"]);
    }
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.write("policies.yaml", &policies);
    project.build().await;
    (project, backend)
}

fn at(redis: &RedisServer) -> String {
    format!("--throttlingConfig.redis.url=redis://127.0.0.1:{}", redis.port)
}

/// A gateway in each of them, which has found Redis.
async fn at_each(homes: &[TempDir], project: &Project, settings: &[&str]) -> Vec<Gateway> {
    let (artifact, mut gateways) = (project.artifact().display().to_string(), Vec::new());
    for home in homes {
        let gateway = Gateway::run(home.path(), &artifact, settings).await;
        gateway.status_where("Redis is there", |status| status["sharedLimits"]["reachable"] == true).await;
        gateways.push(gateway);
    }
    gateways
}

/// Where the nodes of a cluster are, as settings.
fn of_cluster(cluster: &Cluster) -> String {
    let nodes: Vec<String> = cluster.nodes.iter().map(|node| format!("\"redis://127.0.0.1:{}\"", node.port)).collect();
    format!(
        "[throttlingConfig.redis]\ntimeout = 1000\n\n[throttlingConfig.redis.cluster]\nnodes = [{}]\n",
        nodes.join(", ")
    )
}

// === impl Setting ===

impl Setting {
    /// `policy`: of the one operation.
    async fn new(policy: &str) -> Setting {
        Setting::of(&[("limited", policy)]).await
    }

    async fn of(operations: &[(&str, &str)]) -> Setting {
        let redis = RedisServer::start().await;
        let (project, backend) = shop(operations).await;
        Setting { redis, project, _backend: backend }
    }

    async fn gateway(&self, directory: &Path, settings: &[&str]) -> Gateway {
        let (place, artifact) = (at(&self.redis), self.project.artifact().display().to_string());
        let settings: Vec<&str> = std::iter::once(&*place).chain(settings.iter().copied()).collect();
        Gateway::run(directory, &artifact, &settings).await
    }
}

// === impl Clients ===

impl Clients {
    fn start(gateway: &Gateway, clients: usize, pause: Duration, seen: &Arc<Seen>) -> Clients {
        Clients::of("limited", gateway, clients, pause, seen)
    }

    fn of(operation: &str, gateway: &Gateway, clients: usize, pause: Duration, seen: &Arc<Seen>) -> Clients {
        let stop = Arc::new(AtomicBool::new(false));
        let one = |_| {
            let (client, url) = (gateway.client.clone(), gateway.http(&format!("/shop/{operation}")));
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(seen));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    let answer = client.get(&url).send().await;
                    let counter = match answer.map(|answer| answer.status().as_u16()) {
                        Ok(200) => &seen.admitted,
                        Ok(429) => &seen.refused,
                        Ok(_) => &seen.unavailable,
                        Err(_) => &seen.unanswered,
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                    let took = u64::try_from(started.elapsed().as_millis()).unwrap();
                    seen.slowest.fetch_max(took, Ordering::Relaxed);
                    tokio::time::sleep(pause).await;
                }
            })
        };
        let tasks = (0..clients).map(one).collect();
        Clients { stop, tasks }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

impl Seen {
    fn admitted(&self) -> u64 {
        self.admitted.load(Ordering::Relaxed)
    }

    async fn reaches(&self, admitted: u64) {
        eventually("so many are admitted", async || (self.admitted() >= admitted).then_some(())).await;
    }

    /// Some were told that there is no store.
    async fn misses_some(&self) {
        let missed = async || (self.unavailable.load(Ordering::Relaxed) > 0).then_some(());
        eventually("Redis is missed", missed).await;
    }

    async fn is_exhausted(self: &Arc<Seen>) {
        exhausted(std::slice::from_ref(self)).await;
    }
}

/// Nothing is admitted any more, for longer than what is idle takes to come back.
async fn exhausted(seen: &[Arc<Seen>]) {
    let admitted = || seen.iter().map(|seen| seen.admitted()).sum::<u64>();
    let (mut last, mut since) = (admitted(), Instant::now());
    eventually("the limit is exhausted", async || {
        if admitted() != last {
            (last, since) = (admitted(), Instant::now());
        }
        (since.elapsed() > Duration::from_secs(4)).then_some(())
    })
    .await;
}

async fn leases(gateway: &Gateway) -> serde_json::Value {
    gateway.status().await["sharedLimits"]["leases"].clone()
}

/// Generous: machines that test are busy, and it is not failures that are looked at.
const PATIENT: &str = "--throttlingConfig.redis.timeout=1000";
const PAUSE: Duration = Duration::from_millis(10);
