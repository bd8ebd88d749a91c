//! `protocol`: which HTTP is spoken with backends.

use microgw_tests::envoy_is_here;
use microgw_tests::gateway::replace;
use microgw_tests::load::{Load, tally};
use microgw_tests::misbehaving::{Misbehaving, Mood, Speaks};
use microgw_tests::tls::Identity;
use serde_json::{Value, json};

use super::{Shop, url};

#[tokio::test]
async fn http2_in_the_clear_and_a_backend_that_says_goodbye() {
    if !envoy_is_here() {
        return;
    }
    let backend = Misbehaving::start_http2("shop").await;
    let shop = Shop::with(&json!({ "urls": [url(&backend)], "protocol": "http2" }), "").await;
    assert_eq!(shop.get().await.status, 200);
    assert_eq!(backend.seen()[0].version, 2);
    // GOAWAY under load: what is under way is answered, and the rest goes over another connection.
    let load = Load::start(&shop.gateway.client, &shop.gateway.http("/shop/open"), &[], 4);
    load.answers(50).await;
    for _ in 0..10 {
        backend.next([Mood::WellAndGone]);
        load.answers(20).await;
    }
    let seen = tally(&load.stop().await);
    assert!(seen.keys().all(|seen| seen.status == 200), "{seen:?}");
}

#[tokio::test]
async fn over_tls_it_is_agreed_on_or_told() {
    if !envoy_is_here() {
        return;
    }
    let ca = Identity::authority("ca");
    let backend = Misbehaving::start_tls("shop", Speaks::Both, &ca.issue("localhost"), None).await;
    let only_1 = Misbehaving::start_tls("old", Speaks::Http1, &ca.issue("localhost"), None).await;
    let versions = async |backend: &Misbehaving, protocol: Option<&str>, settings: &str| {
        let mut endpoint = json!({ "urls": [format!("https://localhost:{}/shop", backend.address.port())] });
        if let Some(protocol) = protocol {
            endpoint["protocol"] = Value::from(protocol);
        }
        let project = Shop::project(&endpoint).await;
        replace(&project.directory().join("ca.pem"), ca.certificate_pem().as_bytes());
        let config = project.config(&format!("[listenerConfig]\ntrustStorePath = 'ca.pem'\n{settings}"));
        let gateway =
            microgw_tests::gateway::Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
        let before = backend.requests();
        let status = gateway.get(&gateway.http("/shop/open"), &[]).await.status;
        (status, backend.seen().get(before).map(|seen| seen.version))
    };
    assert_eq!(versions(&backend, None, "").await, (200, Some(2)));
    assert_eq!(versions(&backend, Some("auto"), "[httpClients]\nenableHttp2 = false").await, (200, Some(1)));
    assert_eq!(versions(&backend, Some("http1"), "").await, (200, Some(1)));
    assert_eq!(versions(&backend, Some("http2"), "[httpClients]\nenableHttp2 = false").await, (200, Some(2)));
    assert_eq!(versions(&only_1, None, "").await, (200, Some(1)));
}
