//! `circuitBreaker`: with a single backend, too.

use microgw_tests::misbehaving::{Misbehaving, Mood};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

use super::{Shop, fault, url};

fn endpoint(backend: &Misbehaving, volume: u32, window: u32, threshold: f64, reset: u32) -> Value {
    json!({ "urls": [url(backend)], "advanceEndpointConfig": { "circuitBreaker": {
        "rollingWindow": { "requestVolumeThreshold": volume, "timeWindowInMillis": window },
        "failureThreshold": threshold, "resetTimeInMillis": reset, "statusCodes": [418, 503],
    } } })
}

/// Waits for an answer that the backend does not know of.
async fn is_open(shop: &Shop, backend: &Misbehaving) {
    eventually("the circuit is open", async || {
        let before = backend.requests();
        let answer = shop.get().await;
        (backend.requests() == before).then(|| assert_eq!(fault(&answer), (503, 101_503), "{}", answer.body))
    })
    .await;
}

#[tokio::test]
async fn failures_in_a_row_open_the_circuit_at_once_and_it_closes_again() {
    if !envoy_is_here() {
        return;
    }
    let backend = Misbehaving::start("shop").await;
    let shop = Shop::with(&endpoint(&backend, 4, 2_000, 0.5, 2_000), "").await;
    // Statuses that are not listed are no failures.
    backend.be(Mood::Status(500));
    for _ in 0..12 {
        assert_eq!(shop.get().await.status, 500);
    }
    for failing in [Mood::Status(418), Mood::Reset] {
        backend.be(failing);
        let before = backend.requests();
        for _ in 0..4 {
            assert_ne!(shop.get().await.status, 200);
        }
        // Envoy's threads tell each other: a request or two may be on its way meanwhile. One that has just closed opens again
        // at the end of the window at the latest.
        is_open(&shop, &backend).await;
        assert!(backend.requests() <= before + 8 || failing != Mood::Status(418), "{failing:?}");
        // Nothing but answers of our own from now on.
        let sent = backend.requests();
        for _ in 0..20 {
            let answer = shop.get().await;
            assert_eq!(fault(&answer), (503, 101_503), "{failing:?}: {}", answer.body);
        }
        assert_eq!(backend.requests(), sent, "{failing:?}");
        backend.be(Mood::Well);
        eventually("it closes", async || (shop.get().await.status == 200).then_some(())).await;
        for _ in 0..10 {
            assert_eq!(shop.get().await.status, 200);
        }
    }
}

#[tokio::test]
async fn a_share_of_failures_opens_it_at_the_end_of_a_window() {
    if !envoy_is_here() {
        return;
    }
    let backend = Misbehaving::start("shop").await;
    let shop = Shop::with(&endpoint(&backend, 10, 1_000, 0.5, 1_000), "").await;
    // A quarter fails, for three windows: that is not enough.
    let started = std::time::Instant::now();
    while started.elapsed() < std::time::Duration::from_millis(3_200) {
        backend.next([Mood::Status(418), Mood::Well, Mood::Well, Mood::Well]);
        for _ in 0..4 {
            shop.get().await;
        }
    }
    let sent = backend.requests();
    assert_eq!((shop.get().await.status, backend.requests()), (200, sent + 1));
    // Three quarters are.
    let mut turn = 0;
    eventually("the circuit is open", async || {
        turn += 1;
        backend.be(if turn % 4 == 0 { Mood::Well } else { Mood::Status(418) });
        let before = backend.requests();
        let answer = shop.get().await;
        (backend.requests() == before).then(|| assert_eq!(fault(&answer), (503, 101_503), "{}", answer.body))
    })
    .await;
    backend.be(Mood::Well);
    eventually("it closes", async || (shop.get().await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn connections_that_fail_open_it_too() {
    if !envoy_is_here() {
        return;
    }
    let backend = Misbehaving::start("shop").await;
    let shop = Shop::with(&endpoint(&backend, 3, 5_000, 0.5, 1_000), "").await;
    assert_eq!(shop.get().await.status, 200);
    backend.refuse().await;
    for _ in 0..3 {
        assert_eq!(fault(&shop.get().await), (503, 101_503));
    }
    // It is back, and left alone for the time.
    backend.accept().await;
    is_open(&shop, &backend).await;
    eventually("it closes", async || (shop.get().await.status == 200).then_some(())).await;
}
