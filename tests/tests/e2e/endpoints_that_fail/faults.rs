//! What clients are told when a backend fails.

use microgw_tests::envoy_is_here;
use microgw_tests::gateway::Answer;
use microgw_tests::misbehaving::{Misbehaving, Mood};
use serde_json::json;

use super::{Shop, fault, url};

#[tokio::test]
async fn each_failure_has_a_status_and_a_code() {
    if !envoy_is_here() {
        return;
    }
    let backend = Misbehaving::start("shop").await;
    let shop =
        Shop::with(&json!({ "urls": [url(&backend)], "advanceEndpointConfig": { "timeoutInMillis": 700 } }), "").await;
    for mood in [Mood::Hang, Mood::SlowHead] {
        backend.be(mood);
        let answer = shop.get().await;
        assert_eq!(fault(&answer), (504, 101_504), "{mood:?}: {}", answer.body);
    }
    backend.be(Mood::Reset);
    let answer = shop.get().await;
    assert_eq!(fault(&answer), (502, 101_503), "{}", answer.body);
    // What a backend says itself is passed on.
    backend.be(Mood::Status(500));
    assert_eq!(shop.get().await.status, 500);
    // A body that has begun cannot become a fault: it ends before its length, and the client knows.
    for mood in [Mood::SlowBody, Mood::ResetInBody] {
        backend.be(mood);
        let response = shop.gateway.client.get(shop.gateway.http("/shop/open")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.text().await.is_err(), "{mood:?}");
    }
    backend.refuse().await;
    let answer = shop.get().await;
    assert_eq!(fault(&answer), (503, 101_503), "{}", answer.body);
    let problem = shop.gateway.client.get(shop.gateway.http("/shop/open")).header("accept", "application/problem+json");
    assert_eq!(Answer::of(problem).await.json()["code"], 101_503);
}

#[tokio::test]
async fn a_timeout_of_0_is_none() {
    if !envoy_is_here() {
        return;
    }
    let backend = Misbehaving::start("shop").await;
    let timeout = |milliseconds: u32| json!({ "urls": [url(&backend)], "advanceEndpointConfig": { "timeoutInMillis": milliseconds } });
    let project = Shop::project(&timeout(0)).await;
    let shown =
        microgw_tests::gateway::command(project.directory(), &["inspect", "shop/target/shop.mgw", "--envoy"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(r#""timeout": "0s""#), "{shown}");
}
