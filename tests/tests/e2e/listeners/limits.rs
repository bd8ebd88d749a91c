//! How long connections and requests may take, how much they may be, and how many. Each setting stands alone: what ends is its work.

use std::net::SocketAddr;

use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Gateway, client};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::raw::exchange;
use microgw_tests::tls::anonymous;
use microgw_tests::{envoy_is_here, eventually, http2};
use serde_json::json;

const GET: &[u8] = b"GET /shop/open HTTP/1.1\r\nhost: gateway\r\n\r\n";
const HALF_A_HEAD: &[u8] = b"GET /shop/open HTTP/1.1\r\nhost: ga";
const HALF_A_BODY: &[u8] = b"GET /shop/held HTTP/1.1\r\nhost: gateway\r\ncontent-length: 9\r\n\r\nabc";
const HELD: &[u8] = b"GET /shop/held HTTP/1.1\r\nhost: gateway\r\n\r\n";

/// All that comes until the other side ends the connection.
async fn to_the_end(address: SocketAddr, bytes: &[u8]) -> String {
    String::from_utf8_lossy(&exchange(address, bytes, |_| false).await).into_owned()
}

/// A request to `/shop/held` that has arrived at the backend.
async fn held(backend: &Backend, address: SocketAddr) -> tokio::task::JoinHandle<String> {
    let before = backend.requests();
    let task = tokio::spawn(async move { to_the_end(address, HELD).await });
    eventually("it is held", async || (backend.requests() > before).then_some(())).await;
    task
}

struct Site {
    backend: Backend,
    gateway: Gateway,
    http: SocketAddr,
    _project: Project,
}

// === impl Site ===

impl Site {
    async fn with(settings: &[&str]) -> Site {
        let (backend, project) = (Backend::start("shop").await, Project::new());
        let paths = json!({ "/open": get(&json!([])), "/held": get(&json!([])) });
        project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
        project.build().await;
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", settings).await;
        let http = gateway.live.http.unwrap();
        Site { backend, gateway, http, _project: project }
    }
}

#[tokio::test]
async fn connections_without_a_request_and_heads_that_do_not_come() {
    if !envoy_is_here() {
        return;
    }
    let site = Site::with(&["--listenerConfig.idleTimeout=500", "--listenerConfig.requestHeaderTimeout=600"]).await;
    let answered = to_the_end(site.http, GET).await;
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    assert_eq!(to_the_end(site.http, b"").await, "");
    let begun = to_the_end(site.http, HALF_A_HEAD).await;
    assert!(begun.starts_with("HTTP/1.1 408"), "{begun}");
    // A request that is on its way is none of both.
    let held = held(&site.backend, site.http).await;
    assert_eq!(to_the_end(site.http, b"").await, "");
    assert!(to_the_end(site.http, HALF_A_HEAD).await.starts_with("HTTP/1.1 408"));
    site.backend.release();
    assert!(held.await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn requests_that_do_not_come_to_an_end() {
    if !envoy_is_here() {
        return;
    }
    let site = Site::with(&["--listenerConfig.requestTimeout=600"]).await;
    // What a backend takes is not counted.
    let request = tokio::spawn(client().get(site.gateway.http("/shop/held")).send());
    eventually("it is held", async || (site.backend.requests() > 0).then_some(())).await;
    let begun = to_the_end(site.http, HALF_A_BODY).await;
    assert!(begun.starts_with("HTTP/1.1 408") && begun.contains("\"code\""), "{begun}");
    site.backend.release();
    assert_eq!(request.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn requests_and_responses_that_stand_still() {
    if !envoy_is_here() {
        return;
    }
    let site = Site::with(&["--listenerConfig.streamIdleTimeout=600"]).await;
    let begun = to_the_end(site.http, HALF_A_BODY).await;
    assert!(begun.starts_with("HTTP/1.1 408") && begun.contains("\"code\""), "{begun}");
    let unanswered = site.gateway.get(&site.gateway.http("/shop/held"), &[]).await;
    assert_eq!(unanswered.status, 504, "{}", unanswered.body);
    assert_eq!(site.gateway.get(&site.gateway.http("/shop/open"), &[]).await.status, 200);
}

#[tokio::test]
async fn old_connections_take_no_more_requests() {
    if !envoy_is_here() {
        return;
    }
    let site = Site::with(&["--listenerConfig.maxConnectionAge=500"]).await;
    let held = held(&site.backend, site.http).await;
    // It would stay for an hour otherwise.
    let answered = to_the_end(site.http, GET).await;
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    site.backend.release();
    // A request that was on its way is answered all the same, and is the last.
    let answered = held.await.unwrap().to_lowercase();
    assert!(answered.starts_with("http/1.1 200") && answered.contains("connection: close"), "{answered}");
}

#[tokio::test]
async fn a_connection_takes_so_many_requests() {
    if !envoy_is_here() {
        return;
    }
    let site = Site::with(&["--listenerConfig.maxRequestsPerConnection=2", "--http2.enable=false"]).await;
    // Pipelined: they are answered one after the other, the third on no connection.
    let answers = to_the_end(site.http, &GET.repeat(3)).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert_eq!(answers.to_lowercase().matches("connection: close").count(), 1, "{answers}");
    assert_eq!(site.backend.requests(), 2);
    // HTTP/2 is neither offered nor understood.
    let answer = client().get(site.gateway.https("/shop/open")).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_11, 200));
    let before = site.backend.requests();
    assert_eq!(http2::get(site.http, b"gateway", b"/shop/open").await.status, 0);
    assert_eq!(site.backend.requests(), before);
}

#[tokio::test]
async fn a_connection_of_http2_takes_so_many_at_a_time() {
    if !envoy_is_here() {
        return;
    }
    let site = Site::with(&["--http2.maxConcurrentStreams=3"]).await;
    let answer = client().get(site.gateway.https("/shop/open")).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    assert_eq!(http2::answered(site.http, b"/shop/open", 3).await, 3);
    // Who does not care loses the connection.
    assert!(http2::answered(site.http, b"/shop/open", 4).await < 4);
    let before = site.backend.requests();
    // Who does waits for a place.
    let polite = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let held = std::array::from_fn::<_, 5, _>(|_| tokio::spawn(polite.get(site.gateway.http("/shop/held")).send()));
    eventually("three are held", async || (site.backend.requests() >= before + 3).then_some(())).await;
    assert_eq!(site.gateway.get(&site.gateway.http("/shop/open"), &[]).await.status, 200);
    assert_eq!(site.backend.requests(), before + 4);
    site.backend.release();
    for held in held {
        assert_eq!(held.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(site.backend.requests(), before + 6);
}

#[tokio::test]
async fn what_is_too_long_is_refused() {
    if !envoy_is_here() {
        return;
    }
    let limits = ["maxHeaderSize=2048", "maxUriLength=300", "maxEntityBodySize=1000"];
    let limits = limits.map(|limit| format!("--listenerConfig.{limit}"));
    let site = Site::with(&limits.each_ref().map(String::as_str)).await;
    let gateway = &site.gateway;
    for (length, status) in [(1500, 200), (3000, 431)] {
        let head = gateway.get(&gateway.http("/shop/open"), &[("x-long", &"x".repeat(length))]).await;
        assert_eq!(head.status, status, "{length}");
    }
    for (length, status) in [(300, 200), (301, 414)] {
        let path = format!("{:x<length$}", "/shop/open?");
        assert_eq!(gateway.get(&gateway.http(&path), &[]).await.status, status, "{length}");
    }
    let body = async |client: &reqwest::Client, length: usize| {
        let request = client.get(gateway.https("/shop/open")).body(vec![b'x'; length]);
        request.send().await.unwrap().status().as_u16()
    };
    let http1 = anonymous(false).build().unwrap();
    assert_eq!((body(&http1, 1000).await, body(&http1, 1001).await), (200, 413));
    // Of HTTP/2 the last frame is not counted, which has 16 KiB at most.
    assert_eq!((body(&gateway.client, 1000).await, body(&gateway.client, 1001 + 16 * 1024).await), (200, 413));
    assert_eq!(site.backend.requests(), 4);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    if !envoy_is_here() {
        return;
    }
    let site = Site::with(&[]).await;
    let last = b"GET /nothing HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n";
    let answers = to_the_end(site.http, &[&GET.repeat(30)[..], last].concat()).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 30);
    assert!(answers.rfind("HTTP/1.1 200") < answers.find("HTTP/1.1 404"), "{answers}");
}
