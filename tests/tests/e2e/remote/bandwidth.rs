//! Bytes that an Envoy on another host reports, over the connection on which it asks for decisions.

use microgw_tests::bodies::Bodies;
use microgw_tests::gateway::Answer;

use super::*;

#[tokio::test]
async fn bytes_that_pass_elsewhere_count() {
    if !envoy_is_here() {
        return;
    }
    let (backend, bodies) = (Backend::start("shop").await, Bodies::start().await);
    let site = Site::new(&backend).await;
    let tiered = |tier: &str| {
        let mut operation = json!({ "security": [], "responses": { "200": { "description": "done" } } });
        operation["x-wso2-throttling-tier"] = json!(tier);
        json!({ "post": operation })
    };
    let paths = json!({ "/both/bytes/{count}": tiered("Both"), "/long/bytes/{count}": tiered("Down") });
    site.project.define("shop", &definition("Shop", "/shop", bodies.address, &paths));
    site.project.write(
        "policies.yaml",
        "resourcePolicies:\n  - Both: {bandwidth: 1 MB, unitTime: 1, timeUnit: year}\n  \
         - Down: {bandwidth: 1 MB, unitTime: 1, timeUnit: year, direction: response}\n",
    );
    site.project.build().await;
    let measured = "--throttlingConfig.bandwidth=true".to_owned();
    let mut gateway = site.serve(&[site.tls_settings(), vec![measured]].concat());
    let envoy = site.secured_envoy("edge", &["--server-name", NAME]).await;
    gateway.wait_until_live().await;
    gateway.live.http = Some(envoy.addresses().await.0);
    let post = |path: &str, count: usize| gateway.client.post(gateway.http(&format!("/shop/{path}/bytes/{count}")));
    eventually("it serves", async || post("both", 0).send().await.ok()).await;
    let refused = async |path: &str| {
        eventually("it is used up", async || {
            Some(Answer::of(post(path, 0)).await).filter(|answer| answer.status == 429 && answer.code() == 900_802)
        })
        .await
    };

    let answer = Answer::of(post("both", 100_000).body(vec![0; 200_000])).await;
    assert_eq!((answer.status, answer.body.len()), (200, 100_000));
    eventually("what was used is counted, all of it", async || {
        Answer::of(post("both", 0)).await.header("ratelimit").starts_with("\"Both\";r=700000;t=").then_some(())
    })
    .await;
    // The last one may be as long as it likes.
    assert_eq!(Answer::of(post("both", 2_000_000)).await.body.len(), 2_000_000);
    assert!(refused("both").await.header("ratelimit").starts_with("\"Both\";r=0;t="));

    // One that lasts is counted on the way.
    let mut response = post("long", 500_000_000).send().await.unwrap();
    let mut taken = 0;
    while taken < 2_000_000 {
        taken += response.chunk().await.unwrap().unwrap().len();
    }
    refused("long").await;
}
