//! A Redis that is stopped, frozen and started again while requests come, through a real Envoy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use microgw_tests::backend::Backend;
use microgw_tests::gateway::Gateway;
use microgw_tests::project::{Project, definition, get};
use microgw_tests::redis::{RedisServer, redis_is_here};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

/// What one request saw, and how long that took.
struct Seen {
    status: u16,
    code: u64,
    retry_after: bool,
    took: Duration,
}

/// Requests to several paths, one after the other for each, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<Vec<Seen>>>,
}

const PATHS: [&str; 4] = ["/local", "/deny", "/allow", "/free"];

impl Load {
    fn start(gateway: &Gateway) -> Load {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let tasks = PATHS.map(|path| {
            let (client, url, stop) = (gateway.client.clone(), gateway.http(&format!("/shop{path}")), stop.clone());
            let answered = answered.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while !stop.load(Ordering::Relaxed) && seen.len() < 20_000 {
                    let started = Instant::now();
                    let answer = client.get(&url).send().await.expect("every request is answered");
                    let status = answer.status().as_u16();
                    let retry_after = answer.headers().contains_key("retry-after");
                    let body: Value = answer.json().await.unwrap_or_default();
                    let code = body["fault"]["code"].as_u64().unwrap_or_default();
                    seen.push(Seen { status, code, retry_after, took: started.elapsed() });
                    answered.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                seen
            })
        });
        Load { stop, answered, tasks: tasks.into() }
    }

    /// Waits until some hundred more are answered.
    async fn goes_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        let more = async || (self.answered.load(Ordering::Relaxed) > before + 400).then_some(());
        eventually("requests are answered", more).await;
    }

    async fn stop(self) -> Vec<Vec<Seen>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.push(task.await.expect("it ends"));
        }
        all
    }
}

async fn project(backend: &Backend) -> Project {
    let project = Project::new();
    let tier = |name: &str| {
        let mut operation = get(&json!([]));
        operation["get"]["x-wso2-throttling-tier"] = json!(name);
        operation
    };
    let paths = json!({
        "/local": tier("Local"), "/deny": tier("Deny"), "/allow": tier("Allow"), "/few": tier("Few"),
        "/some": tier("Some"), "/free": get(&json!([])),
    });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.write(
        "policies.yaml",
        "resourcePolicies:
  - Local: {count: 100000, unitTime: 1, timeUnit: day, shared: exact}
  - Deny: {count: 100000, unitTime: 1, timeUnit: day, shared: exact, onStoreFailure: deny}
  - Allow: {count: 100000, unitTime: 1, timeUnit: day, shared: exact, onStoreFailure: allow}
  - Few: {count: 20, unitTime: 1, timeUnit: day, shared: exact}
  - Some: {count: 200, unitTime: 1, timeUnit: day, shared: exact}
",
    );
    project.build().await;
    project
}

fn settings(server: &RedisServer) -> String {
    format!("--throttlingConfig.redis.url=redis://127.0.0.1:{}", server.port)
}

async fn reachable(gateway: &Gateway, wanted: bool) -> Value {
    gateway.status_where("the store is what it should be", |status| status["sharedLimits"]["reachable"] == wanted).await
}

/// Prints how it went, and fails where it did not go as it should.
fn judge(what: &str, lost: bool, seen: &[Vec<Seen>]) {
    for (path, seen) in PATHS.iter().zip(seen) {
        let longest = seen.iter().map(|seen| seen.took).max().unwrap_or_default();
        let passed = seen.iter().filter(|seen| seen.status == 200).count();
        println!("{what}: {path}: {passed} of {} passed, none took longer than {longest:?}", seen.len());
        assert!(longest < Duration::from_secs(2), "{what} {path}: {longest:?}");
        assert!(!seen.is_empty());
        for seen in seen {
            let denied = *path == "/deny" && lost && (seen.status, seen.code, seen.retry_after) == (503, 900_808, true);
            assert!(seen.status == 200 || denied, "{what} {path}: {} {}", seen.status, seen.code);
        }
        let denied = seen.len() - passed;
        assert!(*path != "/deny" || !lost || denied > 0, "{what}: nothing was denied");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_hangs_and_each_policy_does_as_it_says() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = project(&backend).await;
    let mut server = RedisServer::start().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&settings(&server)]).await;
    reachable(&gateway, true).await;

    let load = Load::start(&gateway);
    load.goes_on().await;
    judge("counted in Redis", false, &load.stop().await);

    // It accepts connections, and never answers.
    let load = Load::start(&gateway);
    server.freeze();
    let status = reachable(&gateway, false).await;
    assert_eq!(status["sharedLimits"]["kind"], "single");
    load.goes_on().await;
    let seen = load.stop().await;
    let frozen = Instant::now();
    server.thaw();
    reachable(&gateway, true).await;
    println!("thawed: counting in Redis again after {:?}", frozen.elapsed());
    judge("frozen", true, &seen);

    // It is gone.
    let load = Load::start(&gateway);
    server.stop();
    reachable(&gateway, false).await;
    load.goes_on().await;
    let seen = load.stop().await;
    judge("stopped", true, &seen);
    let load = Load::start(&gateway);
    let restarted = Instant::now();
    server.restart().await;
    reachable(&gateway, true).await;
    println!("restarted: counting in Redis again after {:?}", restarted.elapsed());
    // Those that were under way had asked before.
    load.goes_on().await;
    let seen = load.stop().await;
    // Until it is back some are denied.
    for (path, seen) in PATHS.iter().zip(&seen) {
        let last = seen.last().expect("some came");
        assert_eq!(last.status, 200, "{path}");
    }
    // What was admitted meanwhile is told.
    gateway.status_where("nothing is owed", |status| status["sharedLimits"]["debts"] == 0).await;
    let metrics = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    for name in ["local", "deny", "allow"] {
        let line = metrics
            .lines()
            .find(|line| line.starts_with(&format!("microgw_limit_fallbacks_total{{policy=\"{name}\"}}")));
        println!("{}", line.expect("it is counted"));
    }
    assert!(metrics.contains("microgw_limit_store_reachable 1"), "{metrics}");
    assert!(metrics.contains("microgw_limit_store_losses_total 2"), "{metrics}");
}

#[tokio::test]
async fn two_gateways_and_one_that_is_started_again_share_one_quota() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = project(&backend).await;
    let server = RedisServer::start().await;
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let artifact = project.directory().join("shop/target/shop.mgw");
    let artifact = artifact.to_str().unwrap();
    let settings = settings(&server);
    let mut first = Gateway::run(directories[0].path(), artifact, &[&settings]).await;
    let second = Gateway::run(directories[1].path(), artifact, &[&settings]).await;
    first.status_where("both are known", |status| status["sharedLimits"]["gateways"] == 2).await;
    let mut admitted = 0;
    for _ in 0..6 {
        for gateway in [&first, &second] {
            admitted += u64::from(gateway.get(&gateway.http("/shop/few"), &[]).await.status == 200);
        }
    }
    assert_eq!(admitted, 12);
    first.stop().await;
    second.status_where("it is alone", |status| status["sharedLimits"]["gateways"] == 1).await;
    let first = Gateway::run(directories[0].path(), artifact, &[&settings]).await;
    for _ in 0..10 {
        for gateway in [&first, &second] {
            let answer = gateway.get(&gateway.http("/shop/few"), &[]).await;
            if answer.status == 200 {
                admitted += 1;
            } else {
                assert_eq!((answer.status, answer.code()), (429, 900_802));
            }
        }
    }
    println!("{admitted} of 20 admitted by two gateways, one of them started again");
    assert_eq!(admitted, 20);
}

#[tokio::test]
async fn what_was_admitted_without_redis_is_not_forgotten() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = project(&backend).await;
    let mut server = RedisServer::start().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&settings(&server)]).await;
    reachable(&gateway, true).await;
    let ask = async || gateway.get(&gateway.http("/shop/few"), &[]).await.status;
    for _ in 0..5 {
        assert_eq!(ask().await, 200);
    }
    server.stop();
    reachable(&gateway, false).await;
    for _ in 0..10 {
        assert_eq!(ask().await, 200);
    }
    // Five were in Redis, which has forgotten them; ten are told.
    server.restart().await;
    reachable(&gateway, true).await;
    gateway.status_where("nothing is owed", |status| status["sharedLimits"]["debts"] == 0).await;
    let mut admitted = 0;
    while ask().await == 200 {
        admitted += 1;
    }
    println!("{admitted} more after 5 in Redis, which lost them, and 10 without");
    // The gateway knows of its 15, and goes by that until Redis surely knows of the 10.
    assert!((5..=10).contains(&admitted), "{admitted}");
    // Alone it is never more than the quota: what it had admitted itself counts.
    server.stop();
    reachable(&gateway, false).await;
    assert_eq!(ask().await, 429);
}

/// It answers some, and others not, from one moment to the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_alone_never_admits_more_whatever_redis_does() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = project(&backend).await;
    let server = RedisServer::start().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&settings(&server)]).await;
    reachable(&gateway, true).await;
    let ask = async |requests: usize| {
        let mut admitted = 0;
        for _ in 0..requests {
            admitted += usize::from(gateway.get(&gateway.http("/shop/some"), &[]).await.status == 200);
        }
        admitted
    };
    let flicker = async {
        loop {
            server.freeze();
            tokio::time::sleep(Duration::from_millis(50)).await;
            server.thaw();
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    };
    let requests = futures_util::future::join_all((0..12).map(|_| ask(60)));
    let admitted: usize = tokio::select! {
        admitted = requests => admitted.iter().sum(),
        () = flicker => 0,
    };
    server.thaw();
    reachable(&gateway, true).await;
    gateway.status_where("nothing is owed", |status| status["sharedLimits"]["debts"] == 0).await;
    let more = ask(20).await;
    println!("{admitted} of 200 admitted while Redis came and went, and {more} then");
    assert!(admitted > 100 && admitted + more <= 200, "{admitted} and {more}");
}
