//! Limits of mode `leased`: three gateways with Envoys of their own, one Redis.

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

// === impl Setting ===

impl Setting {
    /// `policy`: of the one operation.
    async fn new(policy: &str) -> Setting {
        Setting::of(&[("limited", policy)]).await
    }

    /// Operations by name, each with a policy.
    async fn of(operations: &[(&str, &str)]) -> Setting {
        let (redis, backend, project) = (RedisServer::start().await, Backend::start("shop").await, Project::new());
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
        Setting { redis, project, _backend: backend }
    }

    async fn gateway(&self, directory: &Path, settings: &[&str]) -> Gateway {
        let place = format!("--throttlingConfig.redis.url=redis://127.0.0.1:{}", self.redis.port);
        let artifact = self.project.artifact().display().to_string();
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

    /// Nothing is admitted any more, for longer than what is idle takes to come back.
    async fn is_exhausted(&self) {
        let (mut last, mut since) = (self.admitted(), Instant::now());
        eventually("the limit is exhausted", async || {
            if self.admitted() != last {
                (last, since) = (self.admitted(), Instant::now());
            }
            (since.elapsed() > Duration::from_secs(4)).then_some(())
        })
        .await;
    }
}

async fn leases(gateway: &Gateway) -> serde_json::Value {
    gateway.status().await["sharedLimits"]["leases"].clone()
}

/// Generous: machines that test are busy, and it is not failures that are looked at.
const PATIENT: &str = "--throttlingConfig.redis.timeout=1000";
const PAUSE: Duration = Duration::from_millis(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_admit_what_there_is_and_never_more() {
    const N: u64 = 1000;
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let setting = Setting::new(&format!("count: {N}, unitTime: 1, timeUnit: day, shared: leased")).await;
    let homes: Vec<TempDir> = (0..3).map(|_| TempDir::new().unwrap()).collect();
    let mut gateways = Vec::new();
    for home in &homes {
        gateways.push(setting.gateway(home.path(), &[PATIENT]).await);
    }
    let seen = Arc::new(Seen::default());
    let mut clients = Vec::new();
    for (gateway, weight) in gateways.iter().zip([14, 5, 1]) {
        clients.push(Clients::start(gateway, weight, PAUSE, &seen));
    }
    seen.reaches(300).await;
    let (mut killed, lost) = (gateways.remove(1), clients.remove(1));
    killed.child.kill().await.unwrap();
    seen.reaches(600).await;
    let in_flight = 5;
    // By now nobody listens there.
    lost.stop().await;
    let again = setting.gateway(homes[1].path(), &[PATIENT]).await;
    clients.push(Clients::start(&again, 5, PAUSE, &seen));
    // One in good order, too: what it has goes back.
    let mut stopped = gateways.remove(0);
    clients.remove(0).stop().await;
    let before = leases(&stopped).await;
    stopped.stop().await;
    gateways.push(setting.gateway(homes[0].path(), &[PATIENT]).await);
    clients.push(Clients::start(gateways.last().unwrap(), 14, PAUSE, &seen));
    seen.is_exhausted().await;
    for clients in clients {
        clients.stop().await;
    }
    let admitted = seen.admitted();
    println!("three gateways, 70/25/5, one killed, two restarted: {admitted} of {N} admitted; {seen:?}");
    println!("leases of the first before it stopped: {before}");
    for gateway in gateways.iter().chain([&again]) {
        println!("leases now: {}", leases(gateway).await);
    }
    assert!(admitted <= N, "{admitted} of {N}");
    // What the killed one had spare, and what it had answered when its clients were gone.
    let least = N - N / 100 - N / 100 - in_flight;
    assert!(admitted >= least, "{admitted}, and not {least} at least");
    let page = gateways[0].get(&gateways[0].admin("/metrics"), &[]).await.body;
    assert!(page.contains("microgw_limit_lease_units_total{outcome=\"taken\"}"), "{page}");
    assert!(page.contains("microgw_limit_lease_undershoot_ratio"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn window_after_window_no_more_and_hardly_less() {
    const N: u64 = 200;
    const SECONDS: u64 = 5;
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let policy = format!("count: {N}, unitTime: {SECONDS}, timeUnit: sec, shared: leased, onStoreFailure: deny");
    let setting = Setting::new(&policy).await;
    let homes: Vec<TempDir> = (0..3).map(|_| TempDir::new().unwrap()).collect();
    let mut gateways = Vec::new();
    for home in &homes {
        gateways.push(setting.gateway(home.path(), &[PATIENT]).await);
    }
    let seen = Arc::new(Seen::default());
    let window = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / SECONDS;
    let next = |from: u64| eventually("the next window", async move || (window() > from).then(window));
    // Redis and we have one clock.
    next(window()).await;
    let mut clients = Vec::new();
    for (gateway, weight) in gateways.iter().zip([14, 5, 1]) {
        clients.push(Clients::start(gateway, weight, PAUSE, &seen));
    }
    let (mut at, mut before) = (window(), 0);
    let first = at;
    for _ in 0..4 {
        seen.reaches(before + N / 2).await;
        let now = next(at).await;
        let admitted = seen.admitted() - before;
        println!("window {}: {admitted} of {N}", at - first);
        (before, at) = (seen.admitted(), now);
    }
    for clients in clients {
        clients.stop().await;
    }
    let (admitted, windows) = (seen.admitted(), window() - first + 1);
    println!("{admitted} in {windows} windows of {N}, the last of them not whole; {seen:?}");
    assert!(admitted <= N * windows, "{admitted} in {windows} windows");
    assert!(admitted >= (N - N / 100) * (windows - 1), "{admitted} in {windows} windows");
    assert_eq!(seen.unanswered.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_stopped_frozen_and_started_anew_under_load() {
    const N: u64 = 1500;
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let mut setting = Setting::new(&format!("count: {N}, unitTime: 1, timeUnit: day, shared: leased")).await;
    let homes: Vec<TempDir> = (0..3).map(|_| TempDir::new().unwrap()).collect();
    let mut gateways = Vec::new();
    for home in &homes {
        gateways.push(setting.gateway(home.path(), &[]).await);
    }
    for gateway in &gateways {
        gateway.status_where("it knows of three gateways", |status| status["sharedLimits"]["gateways"] == 3).await;
    }
    let seen = Arc::new(Seen::default());
    let clients: Vec<Clients> = gateways.iter().map(|gateway| Clients::start(gateway, 3, 2 * PAUSE, &seen)).collect();
    let reachable = async |gateways: &[Gateway], wanted: bool| {
        for gateway in gateways {
            gateway
                .status_where("it is seen in the status", |status| status["sharedLimits"]["reachable"] == wanted)
                .await;
        }
    };
    seen.reaches(150).await;
    setting.redis.freeze();
    reachable(&gateways, false).await;
    let frozen = seen.admitted();
    seen.reaches(frozen + 60).await;
    setting.redis.thaw();
    reachable(&gateways, true).await;
    let thawed = seen.admitted();
    seen.reaches(thawed + 60).await;
    // It loses its memory; gateways tell it anew.
    setting.redis.stop();
    reachable(&gateways, false).await;
    let stopped = seen.admitted();
    seen.reaches(stopped + 60).await;
    setting.redis.restart().await;
    reachable(&gateways, true).await;
    let restarted = seen.admitted();
    seen.is_exhausted().await;
    for clients in clients {
        clients.stop().await;
    }
    let admitted = seen.admitted();
    println!(
        "frozen at {frozen}, thawed at {thawed}, stopped at {stopped}, back at {restarted}: {admitted} of {N} admitted; {seen:?}"
    );
    // Each gateway had a third of its own while there was nobody to ask, and told of it afterwards. What was under way when
    // Redis came back is known to all a moment later.
    assert!(admitted <= N + N / 10, "{admitted} of {N}");
    assert!(admitted >= N - N / 100, "{admitted} of {N}");
    assert_eq!(seen.unavailable.load(Ordering::Relaxed), 0, "{seen:?}");
    assert_eq!(seen.unanswered.load(Ordering::Relaxed), 0, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sliding_windows_and_bursts_are_leased_too() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let sliding = "count: 100, unitTime: 4, timeUnit: sec, window: sliding, buckets: 8, shared: leased";
    let burst = "count: 200, unitTime: 4, timeUnit: sec, window: burst, burst: 20, shared: leased";
    let setting = Setting::of(&[("sliding", sliding), ("burst", burst)]).await;
    let homes: Vec<TempDir> = (0..2).map(|_| TempDir::new().unwrap()).collect();
    let mut gateways = Vec::new();
    for home in &homes {
        gateways.push(setting.gateway(home.path(), &[PATIENT]).await);
    }
    let seen: [Arc<Seen>; 2] = Default::default();
    let (started, mut clients) = (Instant::now(), Vec::new());
    for (gateway, weight) in gateways.iter().zip([4, 1]) {
        for (operation, seen) in ["sliding", "burst"].iter().zip(&seen) {
            clients.push(Clients::of(operation, gateway, weight, PAUSE, seen));
        }
    }
    // Two periods of the one, four of the other.
    seen[0].reaches(300).await;
    seen[1].reaches(400).await;
    for clients in clients {
        clients.stop().await;
    }
    let passed = started.elapsed().as_millis();
    let [sliding, burst] = seen.each_ref().map(|seen| u128::from(seen.admitted()));
    println!("in {passed} ms: sliding {sliding}, burst {burst}; {seen:?}");
    assert!(sliding <= 100 * (passed / 4000 + 1), "{sliding} in {passed} ms");
    assert!(burst <= 20 + 1 + passed / 20, "{burst} in {passed} ms");
    for seen in &seen {
        assert_eq!(seen.unavailable.load(Ordering::Relaxed), 0);
    }
    for gateway in &gateways {
        let page = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
        let alone = page.lines().filter(|line| line.starts_with("microgw_limit_fallbacks_total"));
        assert!(alone.clone().count() > 0 && alone.clone().all(|line| line.ends_with(" 0")), "{page}");
        println!("leases: {}", leases(gateway).await);
    }
}

/// From the first request on: not only once the gateway knows that there is no store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_to_be_denied_without_redis_is_and_draws_on_nothing_else() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let (redis, backend, project) = (RedisServer::start().await, Backend::start("shop").await, Project::new());
    let (mut paths, mut here) = (json!({}), get(&json!([])));
    // Nothing of it is spare: each request asks.
    here["get"]["x-wso2-throttling-tier"] = json!("Denies");
    paths["/limited"] = here;
    paths["/free"] = get(&json!([]));
    let mut shop = definition("Shop", "/shop", backend.address, &paths);
    shop["x-wso2-throttling-tier"] = json!("Here");
    project.define("shop", &shop);
    let denies = "{count: 50, unitTime: 1, timeUnit: day, shared: leased, onStoreFailure: deny}";
    let here = "{count: 3, unitTime: 1, timeUnit: day}";
    project.write("policies.yaml", &format!("resourcePolicies:\n  - Denies: {denies}\n  - Here: {here}\n"));
    project.build().await;
    let setting = Setting { redis, project, _backend: backend };
    let home = TempDir::new().unwrap();
    let gateway = setting.gateway(home.path(), &[]).await;
    let status = async |path: &str| gateway.get(&gateway.http(path), &[]).await.status;
    gateway.status_where("Redis is there", |status| status["sharedLimits"]["reachable"] == true).await;
    setting.redis.freeze();
    let lost = async || {
        assert_eq!(status("/shop/limited").await, 503);
        (gateway.status().await["sharedLimits"]["losses"] == 1).then_some(())
    };
    microgw_tests::eventually("it is known that Redis is away", lost).await;
    assert_eq!(status("/shop/limited").await, 503);
    setting.redis.thaw();
    gateway.status_where("Redis is back", |status| status["sharedLimits"]["reachable"] == true).await;
    // What is counted here was left alone.
    for wanted in [200, 200, 200, 429] {
        assert_eq!(status("/shop/limited").await, wanted);
    }
    assert_eq!(status("/shop/free").await, 429);
}

/// Of a cluster it is one node that is missing, and nobody knows before somebody asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_to_be_denied_without_its_node_of_a_cluster_is() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let cluster = Cluster::start(directory.path()).await;
    let denies = "count: 50, unitTime: 1, timeUnit: day, shared: leased, onStoreFailure: deny";
    let names: Vec<String> = (0..6).map(|number| format!("limited{number}")).collect();
    let operations: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), denies)).collect();
    let setting = Setting::of(&operations).await;
    let home = TempDir::new().unwrap();
    let nodes: Vec<String> = cluster.nodes.iter().map(|node| format!("\"redis://127.0.0.1:{}\"", node.port)).collect();
    let text = format!(
        "[throttlingConfig.redis]\ntimeout = 1000\n\n[throttlingConfig.redis.cluster]\nnodes = [{}]\n",
        nodes.join(", ")
    );
    let config = setting.project.config(&text);
    let artifact = setting.project.artifact().display().to_string();
    let gateway = Gateway::run(home.path(), &artifact, &[&config]).await;
    gateway.status_where("Redis is there", |status| status["sharedLimits"]["reachable"] == true).await;
    let all = async || {
        let mut seen = Vec::new();
        for name in &names {
            seen.push(gateway.get(&gateway.http(&format!("/shop/{name}")), &[]).await.status);
        }
        seen
    };
    assert_eq!(all().await, [200; 6]);
    for node in &cluster.nodes {
        node.freeze();
    }
    assert_eq!(all().await, [503; 6], "of each the first that is asked about");
    for node in &cluster.nodes {
        node.thaw();
    }
}

/// By a whole window: what was taken in what is yet to come again does not count in what is now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_whose_clock_was_put_back_is_believed() {
    const DAY: u64 = 24 * 3600 * 1_000_000;
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let setting = Setting::new("count: 3, unitTime: 1, timeUnit: day, shared: leased, onStoreFailure: deny").await;
    let home = TempDir::new().unwrap();
    let gateway = setting.gateway(home.path(), &[PATIENT]).await;
    gateway.status_where("Redis is there", |status| status["sharedLimits"]["reachable"] == true).await;
    let status = async || gateway.get(&gateway.http("/shop/limited"), &[]).await.status;
    assert_eq!(status().await, 200);
    let mut redis = setting.redis.client().connect().await.unwrap();
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("*leases*").query_async(&mut redis).await.unwrap();
    let [key] = keys.as_slice() else { panic!("{keys:?}") };
    let now: u64 = ::redis::cmd("HGET").arg(key).arg("t").query_async(&mut redis).await.unwrap();
    // As it was two days later.
    let (then, start) = (now + 2 * DAY, now / DAY * DAY + 2 * DAY);
    let mut set = ::redis::cmd("HSET");
    set.arg(key).arg("t").arg(then).arg(format!("s:{start}")).arg(3);
    set.exec_async(&mut redis).await.unwrap();
    for wanted in [200, 200, 429] {
        assert_eq!(status().await, wanted);
    }
}
