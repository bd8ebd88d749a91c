//! `poolConfig`, and what `[httpClients.poolConfig]` says where it is silent.

use microgw_tests::misbehaving::{Misbehaving, Mood};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::json;

use super::{Shop, url};

/// How many of ten requests at a time reach a backend that answers none.
async fn at_a_time(endpoint: &serde_json::Value, settings: &str, backend: &Misbehaving, expected: usize) {
    backend.be(Mood::Hang);
    let shop = Shop::with(endpoint, settings).await;
    let before = backend.requests();
    let ask = || tokio::spawn(shop.gateway.client.get(shop.gateway.http("/shop/open")).send());
    let asking: Vec<_> = (0..10).map(|_| ask()).collect();
    eventually("they arrive", async || (backend.requests() - before >= expected).then_some(())).await;
    // The others wait: Envoy has had its turn many times by now.
    for _ in 0..50 {
        assert_eq!(shop.gateway.get(&shop.gateway.http("/health"), &[]).await.status, 200);
    }
    assert_eq!(backend.requests() - before, expected);
    asking.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn connections_of_an_endpoint_and_of_all() {
    if !envoy_is_here() {
        return;
    }
    let backend = Misbehaving::start("shop").await;
    let endpoint = |pool: serde_json::Value| json!({ "urls": [url(&backend)], "advanceEndpointConfig": { "timeoutInMillis": 60_000, "poolConfig": pool } });
    let global = "[httpClients.poolConfig]\nmaxActiveConnections = 2";
    at_a_time(&endpoint(json!({})), global, &backend, 2).await;
    at_a_time(&endpoint(json!({ "maxActiveConnections": 0 })), global, &backend, 2).await;
    at_a_time(&endpoint(json!({ "maxActiveConnections": 3 })), global, &backend, 3).await;
    at_a_time(&endpoint(json!({ "maxActiveConnections": -1 })), global, &backend, 10).await;
}

#[tokio::test]
async fn streams_of_a_connection() {
    if !envoy_is_here() {
        return;
    }
    let backend = Misbehaving::start_http2("shop").await;
    let pool = json!({ "maxActiveConnections": 2, "maxActiveStreamsPerConnection": 3 });
    let endpoint = json!({ "urls": [url(&backend)], "protocol": "http2",
        "advanceEndpointConfig": { "timeoutInMillis": 60_000, "poolConfig": pool } });
    at_a_time(&endpoint, "", &backend, 6).await;
}
