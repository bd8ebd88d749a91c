//! `healthCheck` and `slowStartInMillis`.

use microgw_tests::misbehaving::{Misbehaving, Mood};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::json;

use super::{Shop, fault, url};

#[tokio::test]
async fn targets_are_taken_out_and_in_by_their_answers() {
    if !envoy_is_here() {
        return;
    }
    let (a, b) = (Misbehaving::start("a").await, Misbehaving::start("b").await);
    let check = json!({ "path": "/well?deep=1", "intervalInMillis": 100, "timeoutInMillis": 100,
        "healthyThreshold": 1, "unhealthyThreshold": 2, "statusCodes": [200, 204] });
    let shop = Shop::with(
        &json!({ "urls": [url(&a), url(&b)], "advanceEndpointConfig": { "healthCheck": check, "slowStartInMillis": 200 } }),
        "",
    )
    .await;
    let requests = |backend: &Misbehaving| backend.seen().iter().filter(|seen| seen.path == "/shop/open").count();
    eventually("both serve", async || {
        assert_eq!(shop.get().await.status, 200);
        (requests(&a) > 0 && requests(&b) > 0).then_some(())
    })
    .await;
    let seen = a.seen().into_iter().find(|seen| seen.path == "/well?deep=1").expect("it is checked");
    assert_eq!((seen.method.as_str(), seen.host.as_str()), ("GET", a.address.to_string().as_str()));
    // It answers every check with 500 now, and everything else, were it asked.
    a.be(Mood::Status(500));
    eventually("it is left out", async || {
        let before = requests(&a);
        for _ in 0..6 {
            shop.get().await;
        }
        (requests(&a) == before).then_some(())
    })
    .await;
    // Whoever runs the gateway is told.
    let told = async |what: &str| {
        let line = format!("backend {} {what}", a.address);
        eventually("it is told", async || shop.gateway.log().contains(&line).then_some(())).await;
    };
    told("is left out: health checks fail").await;
    let before = requests(&a);
    for _ in 0..20 {
        assert_eq!(shop.get().await.status, 200);
    }
    assert_eq!(requests(&a), before);
    // Without any that is well nobody is asked.
    b.refuse().await;
    eventually("none is left", async || {
        let answer = shop.get().await;
        (answer.status == 503).then(|| assert_eq!(fault(&answer), (503, 101_503)))
    })
    .await;
    a.be(Mood::Well);
    eventually("the first is back", async || (shop.get().await.status == 200).then_some(())).await;
    told("is well by its health checks").await;
}
