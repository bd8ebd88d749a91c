//! `retryConfig`: what is tried again, and how often the backend is asked.

use microgw_tests::envoy_is_here;
use microgw_tests::gateway::Answer;
use microgw_tests::misbehaving::{Misbehaving, Mood};
use serde_json::{Value, json};

use super::{Shop, fault, url};

fn endpoint(backends: &[&Misbehaving], retry: &Value) -> Value {
    let urls: Vec<String> = backends.iter().map(|backend| url(backend)).collect();
    json!({ "urls": urls, "advanceEndpointConfig": { "timeoutInMillis": 30_000, "retryConfig": retry } })
}

#[tokio::test]
async fn listed_statuses_are_tried_again_and_the_last_is_returned_as_it_is() {
    if !envoy_is_here() {
        return;
    }
    let backend = Misbehaving::start("shop").await;
    let retry = json!({ "count": 2, "intervalInMillis": 5, "backOffFactor": 2, "statusCodes": [429, 503] });
    let shop = Shop::with(&endpoint(&[&backend], &retry), "").await;
    backend.next([Mood::Status(503), Mood::Status(429)]);
    assert_eq!((shop.get().await.status, backend.requests()), (200, 3));
    // After the last attempt the status is the backend's, with its body.
    backend.be(Mood::Status(503));
    let answer = shop.get().await;
    assert_eq!((answer.status, answer.json()["backend"].as_str(), backend.requests()), (503, Some("shop"), 6));
    // Others are not tried again.
    backend.be(Mood::Status(502));
    assert_eq!((shop.get().await.status, backend.requests()), (502, 7));
    // A connection that ends without an answer is.
    backend.be(Mood::Well);
    backend.next([Mood::Reset, Mood::Reset]);
    assert_eq!((shop.get().await.status, backend.requests()), (200, 10));
    // Clients have no say in it.
    backend.be(Mood::Status(500));
    let ask = shop.gateway.client.get(shop.gateway.http("/shop/open"));
    let ask = ask.header("x-envoy-retry-on", "5xx").header("x-envoy-max-retries", "10");
    assert_eq!((Answer::of(ask).await.status, backend.requests()), (500, 11));
    backend.be(Mood::Hang);
    let ask = shop.gateway.client.get(shop.gateway.http("/shop/open"));
    backend.next([Mood::Well]);
    assert_eq!(Answer::of(ask.header("x-envoy-upstream-rq-timeout-ms", "0")).await.status, 200);
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_not_done_twice() {
    if !envoy_is_here() {
        return;
    }
    let backend = Misbehaving::start("shop").await;
    let mut retry = json!({ "count": 2, "statusCodes": [503] });
    let shop = Shop::with(&endpoint(&[&backend], &retry), "").await;
    backend.next([Mood::Status(503)]);
    assert_eq!((shop.post("one").await.status, backend.requests()), (503, 1));
    backend.next([Mood::Reset]);
    assert_eq!((fault(&shop.post("two").await), backend.requests()), ((502, 101_503), 2));
    // PUT may be repeated.
    backend.next([Mood::Status(503), Mood::Reset]);
    let put = shop.gateway.client.put(shop.gateway.http("/shop/open")).body("three");
    assert_eq!((Answer::of(put).await.status, backend.requests()), (200, 5));
    drop(shop);
    // Unless it is asked for; the body goes along.
    retry["nonIdempotent"] = true.into();
    let shop = Shop::with(&endpoint(&[&backend], &retry), "").await;
    backend.next([Mood::Status(503), Mood::Reset]);
    assert_eq!((shop.post("four").await.status, backend.requests()), (200, 8));
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_tried_on_the_next_url() {
    if !envoy_is_here() {
        return;
    }
    let (gone, here) = (Misbehaving::start("gone").await, Misbehaving::start("here").await);
    let shop = Shop::with(&json!({ "urls": [url(&gone), url(&here)] }), "").await;
    gone.refuse().await;
    for _ in 0..4 {
        // Nobody has seen it: a POST, too.
        assert_eq!(shop.post("once").await.status, 200);
        assert_eq!(shop.get().await.status, 200);
    }
    // A response is a response.
    here.be(Mood::Status(503));
    let before = here.requests();
    assert_eq!((shop.get().await.status, here.requests()), (503, before + 1));
}

#[tokio::test]
async fn a_try_has_its_own_time() {
    if !envoy_is_here() {
        return;
    }
    let backend = Misbehaving::start("shop").await;
    let retry = json!({ "count": 1, "perTryTimeoutInMillis": 400 });
    let shop = Shop::with(&endpoint(&[&backend], &retry), "").await;
    backend.next([Mood::Hang]);
    assert_eq!((shop.get().await.status, backend.requests()), (200, 2));
    backend.be(Mood::Hang);
    let answer = shop.get().await;
    assert_eq!((fault(&answer), backend.requests()), ((504, 101_504), 4), "{}", answer.body);
    // An attempt has its time without retries, too.
    drop(shop);
    let shop = Shop::with(&endpoint(&[&backend], &json!({ "perTryTimeoutInMillis": 300 })), "").await;
    assert_eq!((fault(&shop.get().await), backend.requests()), ((504, 101_504), 5));
}

const CLIENTS: usize = 20;

#[tokio::test]
async fn retries_under_way_have_a_budget() {
    if !envoy_is_here() {
        return;
    }
    let backend = Misbehaving::start("shop").await;
    backend.be(Mood::Status(503));
    let asked = async |budget: Option<f64>| {
        let mut retry = json!({ "count": 1, "intervalInMillis": 2_000, "statusCodes": [503] });
        if let Some(budget) = budget {
            retry["budgetPercent"] = budget.into();
        }
        let shop = Shop::with(&endpoint(&[&backend], &retry), "").await;
        let before = backend.requests();
        let ask = || shop.gateway.client.get(shop.gateway.http("/shop/open")).send();
        for answer in futures_util::future::join_all((0..CLIENTS).map(|_| ask())).await {
            assert_eq!(answer.unwrap().status(), 503);
        }
        backend.requests() - before
    };
    assert_eq!(asked(None).await, 2 * CLIENTS);
    // Three are always allowed.
    let within = asked(Some(1.0)).await;
    assert!((CLIENTS + 3..CLIENTS + 10).contains(&within), "{within}");
}
