//! Requests for the same that come at the same time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use microgw_tests::gateway::Answer;
use microgw_tests::misbehaving::{Misbehaving, Mood};
use microgw_tests::{envoy_is_here, eventually};
use tokio::task::JoinHandle;

use super::*;

/// Clients of one test.
const CLIENTS: usize = 50;

impl Shop {
    /// A request on its way.
    fn asking(self: &Arc<Self>, path: &'static str, headers: &'static [(&str, &str)]) -> JoinHandle<Answer> {
        let shop = Arc::clone(self);
        tokio::spawn(async move { shop.get(path, headers).await })
    }

    /// Until so many wait for the response to another.
    async fn waiting(&self, requests: usize) {
        let line = format!("microgw_response_cache_waiting {requests}\n");
        eventually("requests wait", async || {
            let metrics = self.gateway.get(&self.gateway.admin("/metrics"), &[]).await.body;
            metrics.contains(&line).then_some(())
        })
        .await;
    }

    /// Until the backend has so many before it.
    async fn seen(&self, requests: usize) {
        eventually("the backend is asked", async || (self.backend.seen() == requests).then_some(())).await;
    }
}

async fn all(asking: Vec<JoinHandle<Answer>>, body: &str) {
    for one in asking {
        let answer = one.await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{answer:?}");
    }
}

#[tokio::test]
async fn one_asks_the_backend_for_all_who_ask_the_same() {
    if !envoy_is_here() {
        return;
    }
    let shop = Arc::new(Shop::open().await);
    shop.says("once", &[("cache-control", "max-age=600")]);
    let gate = shop.backend.hold();
    let mut asking: Vec<_> = (1..CLIENTS).map(|_| shop.asking("/shop/items", &[])).collect();
    shop.waiting(CLIENTS - 2).await;
    // Whoever wants it anew does not wait, and neither does whoever asks something else.
    asking.push(shop.asking("/shop/items", &[("cache-control", "no-cache")]));
    asking.push(shop.asking("/shop/items?other", &[]));
    shop.seen(3).await;
    // Who has it already is told that.
    let known = shop.asking("/shop/items", &[("if-none-match", "*")]);
    shop.waiting(CLIENTS - 1).await;
    // Longer than Envoy waits for a decision.
    let began = Instant::now();
    eventually("time passes", async || (began.elapsed() > Duration::from_secs(3)).then_some(())).await;
    gate.let_through(3);
    all(asking, "once").await;
    assert_eq!((known.await.unwrap().status, shop.backend.seen()), (200, 3));
}

#[tokio::test]
async fn what_is_for_one_client_alone_is_asked_for_side_by_side() {
    if !envoy_is_here() {
        return;
    }
    let shop = Arc::new(Shop::open().await);
    for (path, headers) in [
        ("/shop/items/1", &[("cache-control", "no-store")][..]),
        ("/shop/items/2", &[("set-cookie", "a=b")]),
        ("/shop/items/3", &[("cache-control", "max-age=600"), ("vary", "User-Agent")]),
    ] {
        shop.says("mine", headers);
        let gate = shop.backend.hold();
        let mut asking = vec![shop.asking(path, &[("user-agent", "first")])];
        shop.seen(1).await;
        asking.extend((1..CLIENTS).map(|_| shop.asking(path, &[])));
        shop.waiting(CLIENTS - 1).await;
        gate.let_through(1);
        // All of them are before the backend, and none is answered.
        shop.seen(CLIENTS).await;
        gate.let_through(CLIENTS);
        all(asking, "mine").await;
        shop.backend.take();
    }
}

#[tokio::test]
async fn a_client_that_goes_takes_nobody_along() {
    if !envoy_is_here() {
        return;
    }
    let shop = Arc::new(Shop::open().await);
    shop.says("for all", &[("cache-control", "max-age=600")]);
    let gate = shop.backend.hold();
    let first = shop.asking("/shop/items", &[]);
    shop.seen(1).await;
    let asking: Vec<_> = (0..5).map(|_| shop.asking("/shop/items", &[])).collect();
    let leaves = shop.asking("/shop/items", &[]);
    shop.waiting(6).await;
    // One that waits, and the one that they wait for.
    leaves.abort();
    shop.waiting(5).await;
    first.abort();
    // The next one asks, and the others wait for that.
    shop.seen(2).await;
    shop.waiting(4).await;
    gate.let_through(6);
    all(asking, "for all").await;
    assert_eq!(shop.backend.seen(), 2);
}

#[tokio::test]
async fn a_backend_that_fails_is_asked_by_each() {
    if !envoy_is_here() {
        return;
    }
    let mut shop = Shop::open().await;
    let backend = Misbehaving::start("a").await;
    shop.project.define("shop", &api(backend.address, &paths()));
    shop.project.build().await;
    let artifact = shop.project.artifact();
    shop.gateway.publish(&artifact, &std::fs::read(&artifact).unwrap()).await;
    let shop = Arc::new(shop);
    for (mood, path) in [(Mood::Reset, "/shop/items/1"), (Mood::Status(503), "/shop/items/2")] {
        backend.next([Mood::Hang]);
        backend.be(mood);
        let before = backend.requests();
        let first = shop.asking(path, &[]);
        eventually("the backend is asked", async || (backend.requests() > before).then_some(())).await;
        let asking: Vec<_> = (0..3).map(|_| shop.asking(path, &[])).collect();
        shop.waiting(3).await;
        // The next one asks, fails, and the others ask as well.
        first.abort();
        for one in asking {
            let answer = one.await.unwrap();
            assert!(answer.status >= 500, "{mood:?} {answer:?}");
        }
        assert!(backend.requests() - before >= 4, "{mood:?}");
        shop.waiting(0).await;
    }
}
