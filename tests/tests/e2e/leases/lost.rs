//! A Redis that is away, wholly or in part, and one whose clock was put back.

use super::*;

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
    eventually("it is known that Redis is away", lost).await;
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
    let (project, _backend) = shop(&operations).await;
    let home = TempDir::new().unwrap();
    let config = project.config(&of_cluster(&cluster));
    let artifact = project.artifact().display().to_string();
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
