//! What was used of shared limits is still used after a publish, and after a gateway has started again.

use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::Gateway;
use microgw_tests::project::{Project, definition, get};
use microgw_tests::redis::{RedisServer, redis_is_here};
use nix::sys::signal::Signal;
use serde_json::json;

/// What is left after one more.
async fn one_more(gateway: &Gateway, path: &str) -> u64 {
    let answer = gateway.get(&gateway.http(path), &[]).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    let left = answer.header("ratelimit").split(";r=").nth(1).and_then(|rest| rest.split(';').next()?.parse().ok());
    left.unwrap_or_else(|| panic!("{answer:?}"))
}

#[tokio::test]
async fn a_publish_and_a_new_start_forget_nothing() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let (server, backend, project) = (RedisServer::start().await, Backend::start("shop").await, Project::new());
    // The leased one has up to two that are spare.
    let define = |names: [&str; 2], counts: [u32; 2], more: Option<&str>| {
        let mut paths = json!({});
        for (name, path) in names.iter().zip(["/exact", "/leased"]) {
            paths[path] = get(&json!([]));
            paths[path]["get"]["x-wso2-throttling-tier"] = json!(name);
        }
        if let Some(path) = more {
            paths[path] = get(&json!([]));
        }
        project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
        let [exact, leased] = [0, 1].map(|index| (names[index], counts[index]));
        let policy = |(name, count): (&str, u32), mode: &str| {
            format!("  - {name}: {{count: {count}, unitTime: 1, timeUnit: year, shared: {mode}}}\n")
        };
        let policies = ["resourcePolicies:\n", &policy(exact, "exact"), &policy(leased, "leased")].concat();
        project.write("policies.yaml", &policies);
    };
    define(["Exact", "Leased"], [20, 200], None);
    project.build().await;
    let place = format!("--throttlingConfig.redis.url=redis://127.0.0.1:{}", server.port);
    // Generous: machines that test are busy.
    let settings = [place.as_str(), "--throttlingConfig.redis.timeout=1000"];
    let start = async || {
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &settings).await;
        gateway.status_where("Redis is there", |status| status["sharedLimits"]["reachable"] == true).await;
        gateway
    };
    let mut gateway = start().await;
    let draw = async |gateway: &Gateway, path: &str, times: u64| {
        for _ in 1..times {
            one_more(gateway, path).await;
        }
        one_more(gateway, path).await
    };
    assert_eq!((draw(&gateway, "/shop/exact", 5).await, draw(&gateway, "/shop/leased", 100).await), (15, 100));

    // The same operations, with policies of other names and quotas, beside one that is new.
    define(["Precise", "Rented"], [30, 150], Some("/fresh"));
    project.build().await;
    gateway.signal(Signal::SIGHUP);
    let before = gateway.live.generation.clone();
    assert_ne!(gateway.wait_until_live().await.generation, before);
    assert_eq!(gateway.get(&gateway.http("/shop/fresh"), &[]).await.status, 200);
    assert_eq!((draw(&gateway, "/shop/exact", 5).await, draw(&gateway, "/shop/leased", 20).await), (20, 30));

    // What is spare goes back.
    assert!(gateway.stop().await.success());
    let gateway = start().await;
    assert_eq!((draw(&gateway, "/shop/exact", 1).await, draw(&gateway, "/shop/leased", 1).await), (19, 29));
    assert_eq!((draw(&gateway, "/shop/exact", 19).await, draw(&gateway, "/shop/leased", 29).await), (0, 0));
    for (path, policy) in [("/shop/exact", "Precise"), ("/shop/leased", "Rented")] {
        let answer = gateway.get(&gateway.http(path), &[]).await;
        assert_eq!((answer.status, answer.code()), (429, 900_802), "{answer:?}");
        assert_eq!(answer.json()["fault"]["policy"], policy);
    }
}
