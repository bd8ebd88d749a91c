//! What limits cost Redis and others, whatever clients do.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use microgw_engine::limits::{Algorithm, Micros, OwnedCharge};
use microgw_extproc::limits::Exact;
use microgw_extproc::limits::store::{Credentials, Place, Script, Servers};
use microgw_tests::backend::Backend;
use microgw_tests::bodies::Bodies;
use microgw_tests::gateway::{Answer, Gateway};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::redis::{Cluster, RedisServer, redis_is_here};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::{DAY, charge, exact, one, place, remaining, store};

/// Calls of each command, by scripts, too.
async fn calls(server: &RedisServer) -> HashMap<String, u64> {
    let mut connection = server.client().connect().await.unwrap();
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
    let calls = |line: &str| {
        let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), numbers.split(',').next()?.parse().ok()?))
    };
    info.lines().filter_map(calls).collect()
}

async fn keys(server: &RedisServer, pattern: &str) -> Vec<String> {
    let mut connection = server.client().connect().await.unwrap();
    redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap()
}

fn at(server: &RedisServer) -> String {
    format!("--throttlingConfig.redis.url=redis://127.0.0.1:{}", server.port)
}

#[tokio::test]
async fn a_refusal_takes_few_calls_however_many_buckets_there_are() {
    if !redis_is_here() {
        return;
    }
    let server = RedisServer::start().await;
    let exact = exact(one(&server)).await;
    let sliding = Algorithm::Sliding { period: Micros(3_600_000_000), buckets: 1000 };
    let charges = [charge(1, 3, sliding)];
    for _ in 0..3 {
        exact.spend(&charges, None).await;
    }
    let before = calls(&server).await;
    let fates = exact.spend(&charges, None).await;
    assert!(!super::granted(&fates) && remaining(fates.first()) == 0, "{fates:?}");
    let after = calls(&server).await;
    let of = |calls: &HashMap<String, u64>, name: &str| calls.get(name).copied().unwrap_or(0);
    let taken: u64 = ["hget", "hmget", "hset", "hdel"].iter().map(|name| of(&after, name) - of(&before, name)).sum();
    assert!((1..10).contains(&taken), "{taken}");
}

#[tokio::test]
async fn in_a_cluster_nothing_is_given_back_twice() {
    if !redis_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path()).await;
    let seeds = cluster.nodes.iter().map(|node| ("127.0.0.1".to_owned(), node.port)).collect();
    let exact = exact(place(Servers::Cluster(seeds))).await;
    let algorithms = [
        DAY,
        Algorithm::Sliding { period: Micros(3_600_000_000), buckets: 60 },
        Algorithm::Burst { period: Micros(86_400_000_000), burst: 10 },
    ];
    for (key, algorithm) in algorithms.into_iter().enumerate() {
        let charges = [charge(key as u128 + 1, 10, algorithm)];
        for _ in 0..4 {
            exact.spend(&charges, None).await;
        }
        let fates = exact.spend(&charges, None).await;
        assert_eq!(remaining(fates.first()), 5);
        let free = [OwnedCharge { cost: 0, ..charges[0].clone() }];
        let left = async |exact: &Exact| remaining(exact.spend(&free, None).await.first());
        // As a connection does that asks again what was done already.
        for _ in 0..3 {
            exact.refund(&charges, &fates, None).await;
        }
        assert_eq!(left(&exact).await, 6, "{algorithm:?}: it is given back");
        let other = exact.spend(&charges, None).await;
        exact.refund(&charges, &other, None).await;
        assert_eq!(left(&exact).await, 6, "{algorithm:?}: and the other");
    }
}

/// Who is slower than requests wait, and faster than what nobody waits for, is lost as soon as it is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_is_not_connected_to_all_the_time() {
    if !redis_is_here() {
        return;
    }
    let server = RedisServer::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = server.port;
    let slow = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            tokio::spawn(pass(from_client, to_server, Duration::ZERO));
            tokio::spawn(pass(from_server, to_client, Duration::from_millis(10)));
        }
    });
    let place = place(Servers::One(("127.0.0.1".to_owned(), port)));
    let store = store(Place { timeout: Duration::from_millis(1), ..place }, Credentials::default()).await;
    let (started, script) = (Instant::now(), Script::new("return 1"));
    while store.state().losses < 6 {
        let _ = store.run(&script, &[store.key("x", &"y")], |_| {}).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // 50, 100, 200, 400 and 800 ms in between.
    assert!(started.elapsed() > Duration::from_millis(1500), "{:?}", started.elapsed());
    slow.abort();
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, pause: Duration) {
    let mut bytes = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        tokio::time::sleep(pause).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn names_that_clients_make_up_take_no_more_room_in_redis_than_here() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let (server, backend, project) = (RedisServer::start().await, Backend::start("shop").await, Project::new());
    let paths = json!({ "/open": get(&json!([])) });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.write(
        "policies.yaml",
        "customPolicies:\n  - Named: {key: \"$header.x-name\", count: 150, unitTime: 1, timeUnit: year, shared: exact, onStoreFailure: deny}\n",
    );
    project.build().await;
    let settings = [at(&server), "--throttlingConfig.maxCounters=100".to_owned()];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &settings).await;
    let ask = async |name: &str| gateway.get(&gateway.http("/shop/open"), &[("x-name", name)]).await;
    let mut admitted = 0;
    for number in 0..300 {
        admitted += u32::from(ask(&number.to_string()).await.status == 200);
    }
    // A hundred by themselves, and 150 of those who share.
    assert_eq!(admitted, 250);
    let counters = keys(&server, "microgw:limits:*").await.len();
    assert_eq!(counters, 101);
    assert_eq!(ask("0").await.status, 200, "the first have their own");
    assert_eq!(ask("new").await.code(), 900_806);
}

#[tokio::test]
async fn who_is_refused_by_a_limit_of_the_gateway_itself_costs_redis_nothing() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let (server, backend, project) = (RedisServer::start().await, Backend::start("shop").await, Project::new());
    let mut operation = get(&json!([]));
    operation["get"]["x-wso2-throttling-tier"] = json!("Own");
    let mut shop = definition("Shop", "/shop", backend.address, &json!({ "/open": operation }));
    shop["x-wso2-throttling-tier"] = json!("All");
    project.define("shop", &shop);
    project.write(
        "policies.yaml",
        "resourcePolicies:
  - Own: {count: 2, unitTime: 1, timeUnit: year}
  - All: {count: 100, unitTime: 1, timeUnit: year, shared: exact}
",
    );
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&at(&server)]).await;
    let ask = async || gateway.get(&gateway.http("/shop/open"), &[]).await;
    assert_eq!((ask().await.status, ask().await.status), (200, 200));
    let before = calls(&server).await;
    for _ in 0..20 {
        let answer = ask().await;
        assert_eq!((answer.status, answer.code()), (429, 900_802), "{answer:?}");
        // As far as this gateway knows.
        assert!(answer.header("ratelimit").contains("\"All\";r=98"), "{answer:?}");
    }
    let after = calls(&server).await;
    assert_eq!(before.get("hset"), after.get("hset"), "nothing is debited");
    assert_eq!(before.get("hmget"), after.get("hmget"), "nor looked at");
}

/// Of bytes, which no request waits for.
#[tokio::test]
async fn bytes_count_for_all_gateways() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let (server, bodies, project) = (RedisServer::start().await, Bodies::start().await, Project::new());
    let operation = json!({ "post": {
        "security": [], "x-wso2-throttling-tier": "Exact", "responses": { "200": { "description": "done" } },
    } });
    project.define("shop", &definition("Shop", "/shop", bodies.address, &json!({ "/bytes/{count}": operation })));
    project.write(
        "policies.yaml",
        "resourcePolicies:\n  - Exact: {bandwidth: 1 MB, unitTime: 1, timeUnit: year, shared: exact}\n",
    );
    project.build().await;
    let artifact = project.directory().join("shop/target/shop.mgw").display().to_string();
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let settings = [at(&server), "--throttlingConfig.bandwidth=true".to_owned()];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let first = Gateway::run(directories[0].path(), &artifact, &settings).await;
    let second = Gateway::run(directories[1].path(), &artifact, &settings).await;
    let post = async |gateway: &Gateway, count: usize| {
        Answer::of(gateway.client.post(gateway.http(&format!("/shop/bytes/{count}")))).await
    };
    assert_eq!(post(&first, 300_000).await.status, 200);
    assert_eq!(post(&second, 0).await.status, 200, "some are left");
    // Neither has used them up by itself.
    assert_eq!(post(&second, 800_000).await.status, 200);
    for gateway in [&first, &second] {
        eventually("they are used up", async || {
            let answer = post(gateway, 0).await;
            (answer.status == 429 && answer.code() == 900_802).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_gateway_that_starts_without_redis_knows_that_there_were_others() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let (mut server, backend, project) = (RedisServer::start().await, Backend::start("shop").await, Project::new());
    let mut operation = get(&json!([]));
    operation["get"]["x-wso2-throttling-tier"] = json!("Few");
    project.define("shop", &definition("Shop", "/shop", backend.address, &json!({ "/few": operation })));
    project.write(
        "policies.yaml",
        "resourcePolicies:\n  - Few: {count: 21, unitTime: 1, timeUnit: year, shared: exact}\n",
    );
    project.build().await;
    let artifact = project.directory().join("shop/target/shop.mgw").display().to_string();
    let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [first, second, other] = &directories;
    let place = at(&server);
    let mut gateways = Vec::new();
    for directory in [first, second] {
        gateways.push(Gateway::run(directory.path(), &artifact, &[&place]).await);
    }
    for gateway in &gateways {
        gateway.status_where("both are known", |status| status["sharedLimits"]["gateways"] == 2).await;
    }
    // Both stop, one after the other.
    for gateway in &mut gateways {
        gateway.stop().await;
    }
    assert_eq!(keys(&server, "microgw:gateways:*").await, Vec::<String>::new(), "both have left");
    server.stop();
    for (directory, more, part) in [(first, None, 10), (second, None, 10), (other, Some("4"), 5)] {
        let more = more.map(|count| format!("--throttlingConfig.redis.gateways={count}"));
        let settings: Vec<&str> = std::iter::once(&*place).chain(more.as_deref()).collect();
        let gateway = Gateway::run(directory.path(), &artifact, &settings).await;
        let told = "limits: Redis cannot be reached: ";
        eventually("it is logged why not", async || gateway.log().contains(told).then_some(())).await;
        let mut admitted = 0;
        while gateway.get(&gateway.http("/shop/few"), &[]).await.status == 200 {
            admitted += 1;
        }
        assert_eq!(admitted, part, "{settings:?}");
    }
}

/// Requests come until Envoy has drained: others count on this gateway so long, and its leases are there.
#[tokio::test]
async fn a_gateway_leaves_when_envoy_has_drained() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let (server, backend, project) = (RedisServer::start().await, Backend::start("shop").await, Project::new());
    let mut operation = get(&json!([]));
    operation["get"]["x-wso2-throttling-tier"] = json!("Many");
    let paths = json!({ "/held": operation, "/open": operation });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.write(
        "policies.yaml",
        "resourcePolicies:\n  - Many: {count: 100000, unitTime: 1, timeUnit: year, shared: leased}\n",
    );
    project.build().await;
    let settings = [at(&server), "--envoyConfig.drainTimeout=20000".to_owned()];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &settings).await;
    gateway.status_where("it is known", |status| status["sharedLimits"]["gateways"] == 1).await;
    let held = tokio::spawn(gateway.client.get(gateway.http("/shop/held")).send());
    eventually("it has arrived", async || (backend.requests() == 1).then_some(())).await;
    gateway.signal(nix::sys::signal::Signal::SIGTERM);
    let open = gateway.http("/shop/open");
    eventually("it drains", async || {
        let answer = gateway.client.get(&open).send().await.ok()?;
        assert_eq!(answer.status(), 200);
        answer.headers().get("connection").is_some_and(|value| value == "close").then_some(())
    })
    .await;
    // It says so for longer than a gateway that is silent is counted.
    let there = async || keys(&server, "microgw:gateways:*").await.len();
    assert_eq!(there().await, 1);
    backend.release();
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
    assert!(gateway.child.wait().await.unwrap().success());
    assert_eq!(there().await, 0);
}
