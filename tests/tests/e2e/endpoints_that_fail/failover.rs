//! `type: failover`: in order, and within one request.

use microgw_tests::load::{Load, tally};
use microgw_tests::misbehaving::{Misbehaving, Mood};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::json;

use super::{Shop, fault, url};

#[tokio::test]
async fn the_next_is_asked_within_the_request() {
    if !envoy_is_here() {
        return;
    }
    let backends = [Misbehaving::start("a").await, Misbehaving::start("b").await, Misbehaving::start("c").await];
    let [a, b, c] = &backends;
    let shop = Shop::with(&json!({ "type": "failover", "urls": [url(a), url(b), url(c)] }), "").await;
    let asked = || [a.requests(), b.requests(), c.requests()];
    for _ in 0..5 {
        assert_eq!(shop.get().await.json()["backend"], "a");
    }
    assert_eq!(asked(), [5, 0, 0]);
    for (turn, status) in [501, 502, 503, 504].into_iter().enumerate() {
        a.next([Mood::Status(status)]);
        assert_eq!(shop.get().await.json()["backend"], "b", "{status}");
        assert_eq!(asked(), [6 + 2 * turn, turn + 1, 0]);
        // It is asked first all the same.
        assert_eq!(shop.get().await.json()["backend"], "a");
    }
    // To the end of the list.
    a.next([Mood::Status(503)]);
    b.next([Mood::Reset]);
    assert_eq!(shop.get().await.json()["backend"], "c");
    assert_eq!(asked(), [14, 5, 1]);
}

#[tokio::test]
async fn all_that_fail_are_asked_in_order() {
    if !envoy_is_here() {
        return;
    }
    let (a, b) = (Misbehaving::start("a").await, Misbehaving::start("b").await);
    let shop = Shop::with(&json!({ "type": "failover", "urls": [url(&a), url(&b)] }), "").await;
    // Other statuses are answers.
    a.next([Mood::Status(500)]);
    assert_eq!((shop.get().await.status, b.requests()), (500, 0));
    // A POST that was answered is not done twice; one that reached nobody is tried on the next.
    a.next([Mood::Status(503)]);
    assert_eq!((shop.post("x").await.status, b.requests()), (503, 0));
    a.refuse().await;
    assert_eq!(shop.post("x").await.json()["backend"], "b");
    // As much as is kept to be sent again, and more.
    let kept = shop.post(vec![b'x'; 900 << 10]).await;
    assert_eq!(kept.status, 200, "{}", kept.body);
    b.refuse().await;
    let answer = shop.get().await;
    assert_eq!(fault(&answer), (503, 101_503), "{}", answer.body);
    b.accept().await;
    eventually("the second serves", async || (shop.get().await.status == 200).then_some(())).await;
    a.accept().await;
    eventually("the first is back", async || {
        let answer = shop.get().await;
        (answer.status == 200 && answer.json()["backend"] == "a").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_first_dies_under_load_and_nobody_notices() {
    if !envoy_is_here() {
        return;
    }
    let (a, b) = (Misbehaving::start("a").await, Misbehaving::start("b").await);
    let shop = Shop::with(&json!({ "type": "failover", "urls": [url(&a), url(&b)] }), "").await;
    let load = Load::start(&shop.gateway.client, &shop.gateway.http("/shop/open"), &[], 8);
    load.answers(100).await;
    assert_eq!(b.requests(), 0);
    a.refuse().await;
    load.answers(300).await;
    assert!(b.requests() > 0);
    a.accept().await;
    let before = a.requests();
    eventually("the first serves again", async || (a.requests() > before + 20).then_some(())).await;
    a.be(Mood::Status(503));
    load.answers(200).await;
    let seen = tally(&load.stop().await);
    assert!(seen.keys().all(|seen| seen.status == 200), "{seen:?}");
    // It is not asked by every request meanwhile.
    assert!(seen.values().sum::<usize>() > 500);
}
