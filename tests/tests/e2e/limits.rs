//! Quotas of APIs and operations, of subscriptions and applications, and of those who say nothing of themselves.

mod bandwidth;
mod callers;
mod conditions;
mod denied;
mod levels;

use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::Gateway;
use microgw_tests::project::{Project, definition, get};
use nix::sys::signal::Signal;
use serde_json::json;

#[tokio::test]
async fn a_tier_of_an_operation_limits_it_exactly() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = Project::new();
    let mut limited = get(&json!([]));
    limited["get"]["x-wso2-throttling-tier"] = json!("ThreePerDay");
    let paths = json!({ "/limited": limited, "/free": get(&json!([])) });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.write("policies.yaml", "resourcePolicies:\n  - ThreePerDay: {count: 3, unitTime: 1, timeUnit: day}\n");
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    for _ in 0..3 {
        assert_eq!(gateway.get(&gateway.http("/shop/limited"), &[]).await.status, 200);
    }
    let answer = gateway.get(&gateway.http("/shop/limited"), &[]).await;
    assert_eq!((answer.status, answer.code()), (429, 900_802));
    assert_eq!(gateway.get(&gateway.http("/shop/free"), &[]).await.status, 200);
}

/// An artifact that is replaced on SIGHUP, with another operation, another quota and other names of policies.
#[tokio::test]
async fn counters_survive_a_publish_and_are_told_of() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = Project::new();
    let write = |policy: &str, count: u32, more: &[&str]| {
        let mut limited = get(&json!([]));
        limited["get"]["x-wso2-throttling-tier"] = json!(policy);
        let mut paths = json!({ "/limited": limited });
        for path in more {
            paths[*path] = get(&json!([]));
        }
        project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
        let policies = format!("resourcePolicies:\n  - {policy}: {{count: {count}, unitTime: 1, timeUnit: year}}\n");
        project.write("policies.yaml", &policies);
    };
    write("Few", 3, &[]);
    project.build().await;
    let settings = ["--throttlingConfig.maxCounters=1000"];
    let mut gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &settings).await;
    let first = gateway.live.generation.clone();
    let answers = async |gateway: &Gateway, times: usize| {
        let mut answers = Vec::new();
        for _ in 0..times {
            answers.push(gateway.get(&gateway.http("/shop/limited"), &[]).await.status);
        }
        answers
    };
    assert_eq!(answers(&gateway, 2).await, [200, 200]);

    write("Some", 4, &["/fresh"]);
    project.build().await;
    gateway.signal(Signal::SIGHUP);
    assert_ne!(gateway.wait_until_live().await.generation, first);
    assert_eq!(answers(&gateway, 3).await, [200, 200, 429]);

    let page = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    assert!(page.contains("microgw_limit_refusals_total{level=\"resource\",policy=\"Some\"} 1\n"), "{page}");
    assert!(
        page.contains("microgw_limit_counters 1\n") && page.contains("microgw_limit_overflows_total 0\n"),
        "{page}"
    );
    assert_eq!(gateway.status().await["limitCounters"], json!({ "held": 1, "overflows": 0 }));
}
