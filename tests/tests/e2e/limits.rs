//! Quotas of APIs and operations, of subscriptions and applications, and of those who say nothing of themselves.

mod bandwidth;
mod conditions;
mod levels;

use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::Gateway;
use microgw_tests::project::{Project, definition, get};
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
