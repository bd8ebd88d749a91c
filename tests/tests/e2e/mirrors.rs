//! Copies of requests: what a mirror gets, and that nobody notices how it is.

use std::net::SocketAddr;

use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Answer, Gateway, replace};
use microgw_tests::project::{Project, definition};
use microgw_tests::streaming::Streaming;
use microgw_tests::tls::Identity;
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};
use tokio::net::TcpListener;

fn shop(backend: SocketAddr, mirror: &Value) -> Value {
    let operation = json!({ "security": [{ "key": [] }, { "query_key": [] }], "responses": {} });
    let open = json!({ "security": [], "responses": {} });
    let mut shop = definition(
        "Shop",
        "/shop",
        backend,
        &json!({
            "/items/{id}": { "get": operation, "post": operation },
            "/open": { "get": open, "post": open },
        }),
    );
    shop["x-wso2-production-endpoints"] = json!({
        "urls": [format!("http://{backend}/behind")],
        "securityConfig": { "type": "basic", "username": "gateway", "password": "$env{MIRROR_TEST_PASSWORD}" },
    });
    shop.as_object_mut().unwrap().remove("servers");
    shop["x-microgw-mirror"] = mirror.clone();
    shop
}

async fn gateway(project: &Project, backend: SocketAddr, mirror: &Value, settings: &[&str]) -> Gateway {
    project.define("shop", &shop(backend, mirror));
    project.build().await;
    let environment = [("MIRROR_TEST_PASSWORD", "for the backend alone")];
    Gateway::run_with(project.directory(), "shop/target/shop.mgw", settings, &environment).await
}

#[tokio::test]
async fn a_mirror_gets_what_the_backend_gets() {
    if !envoy_is_here() {
        return;
    }
    let (backend, mirror) = (Backend::start("shop").await, Streaming::start().await);
    let project = Project::new();
    let gateway =
        gateway(&project, backend.address, &json!({ "url": format!("http://{}", mirror.address) }), &[]).await;
    let key = gateway.api_key().await;
    let answer = gateway.get(&gateway.http(&format!("/shop/items/7?key={key}&a=1")), &[("x-mine", "1")]).await;
    let told = answer.json();
    assert_eq!((answer.status, &told["backend"], &told["path"]), (200, &"shop".into(), &"/behind/items/7?a=1".into()));
    let seen = eventually("the copy arrives", async || mirror.seen().first().cloned()).await;
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", "/behind/items/7?a=1"));
    assert_eq!(seen.header("host"), Some(mirror.address.to_string().as_str()));
    // Nothing but its own name that the backend does not get, and no credential.
    assert!(!format!("{seen:?}").contains(&key));
    let theirs = told["headers"].as_object().unwrap();
    // By which the backend knows the gateway is for the backend.
    assert!(theirs["authorization"].as_str().unwrap().starts_with("Basic "));
    assert_eq!(seen.header("authorization"), None);
    let others = seen.headers.keys().filter(|name| !theirs.contains_key(name.as_str()));
    let others: Vec<_> = others.map(hyper::header::HeaderName::as_str).collect();
    // Envoy's own word for what it sends by itself.
    assert_eq!(others, ["x-envoy-internal"], "{theirs:?}");
    // What is refused is not copied.
    assert_eq!(gateway.get(&gateway.http("/shop/items/8"), &[]).await.status, 401);
    assert_eq!(gateway.get(&gateway.http("/shop/open"), &[]).await.status, 200);
    let last = eventually("the next arrives", async || mirror.seen().get(1).cloned()).await;
    assert_eq!(last.path, "/behind/open");
}

#[tokio::test]
async fn how_a_mirror_is_is_nobodys_affair() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    // One refuses connections, the other accepts them and never says a word.
    let refusing = { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let project = Project::new();
    let mirrors = json!([
        { "url": format!("http://{refusing}") },
        { "url": format!("http://{}", hanging.local_addr().unwrap()) },
    ]);
    let gateway = gateway(&project, backend.address, &mirrors, &[]).await;
    for _ in 0..20 {
        let answer = gateway.get(&gateway.http("/shop/open"), &[]).await;
        assert_eq!((answer.status, &answer.json()["backend"]), (200, &"shop".into()));
    }
    let (stream, _) = hanging.accept().await.unwrap();
    drop(stream);
}

/// Mirrors read as slowly as they like, or not at all.
#[tokio::test]
async fn bodies_are_copied_and_hold_nobody_up() {
    const LONGEST: usize = 256 * 1024;
    if !envoy_is_here() {
        return;
    }
    let (backend, mirror) = (Streaming::start().await, Streaming::start().await);
    // Accepts, and reads nothing.
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = |address: SocketAddr| json!({ "url": format!("http://{address}") });
    let mirrors = json!([url(mirror.address), url(hanging.local_addr().unwrap())]);
    let project = Project::new();
    let gateway = gateway(&project, backend.address, &mirrors, &[]).await;
    let post = async |body: reqwest::Body| Answer::of(gateway.client.post(gateway.http("/shop/open")).body(body)).await;
    // The last is more than there is room for on the way to the one that hangs.
    let lengths = [0, 1, LONGEST, LONGEST + 1, 30_000_000];
    for length in lengths {
        let answer = post(vec![b'x'; length].into()).await;
        assert_eq!((answer.status, answer.json()["body"].as_u64()), (200, Some(length as u64)));
    }
    // Nobody says how long this one is.
    let head = "POST /shop/open HTTP/1.1\r\nhost: gateway\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n2710\r\n";
    let answer = gateway.raw(format!("{head}{}\r\n0\r\n\r\n", "x".repeat(10_000)).as_bytes()).await;
    assert!(answer.status == 200 && answer.body.contains("10000"), "{answer:?}");
    assert_eq!(post("end".into()).await.status, 200);
    // Copies are no queue: they may arrive in any order.
    let arrived = async || {
        let bodies = mirror.seen().iter().map(|seen| seen.body).collect::<Option<std::collections::BTreeSet<_>>>()?;
        bodies.contains(&3).then_some(bodies)
    };
    let bodies = eventually("the last arrives", arrived).await;
    assert_eq!(bodies.into_iter().collect::<Vec<_>>(), [0, 1, 3, LONGEST]);
}

#[tokio::test]
async fn a_mirror_is_met_by_its_own_tls_profile() {
    if !envoy_is_here() {
        return;
    }
    let (backend, ca) = (Backend::start("shop").await, Identity::authority("ca"));
    let identity = ca.issue("mirror.test");
    let (known, unknown) = (Streaming::start_tls(&identity).await, Streaming::start_tls(&identity).await);
    let mirror =
        |address: SocketAddr, tls: Value| json!({ "endpoint": { "urls": [format!("https://{address}")], "tls": tls } });
    let mirrors = json!([
        mirror(known.address, json!({ "profile": "mirror", "serverName": "mirror.test" })),
        // Nobody vouches for this one.
        mirror(unknown.address, json!({ "serverName": "mirror.test" })),
    ]);
    let project = Project::new();
    replace(&project.directory().join("ca.crt"), ca.certificate_pem().as_bytes());
    let config = project.config("[[httpClients.tlsProfiles]]\nname = 'mirror'\ntrustStorePath = 'ca.crt'\n");
    let gateway = gateway(&project, backend.address, &mirrors, &[&config]).await;
    for _ in 0..3 {
        assert_eq!(gateway.get(&gateway.http("/shop/open"), &[]).await.status, 200);
    }
    eventually("the copies arrive", async || (known.seen().len() == 3).then_some(())).await;
    assert!(unknown.seen().is_empty());
}

#[tokio::test]
async fn a_share_of_the_requests() {
    if !envoy_is_here() {
        return;
    }
    let (backend, mirror) = (Backend::start("shop").await, Streaming::start().await);
    let project = Project::new();
    let few = json!({ "url": format!("http://{}", mirror.address), "percent": 50 });
    let gateway = gateway(&project, backend.address, &few, &[]).await;
    for _ in 0..100 {
        assert_eq!(gateway.get(&gateway.http("/shop/open"), &[]).await.status, 200);
    }
    eventually("some are copied", async || (mirror.seen().len() >= 10).then_some(())).await;
    // Odds of 1 to 10^17 are against more.
    assert!(mirror.seen().len() < 95);
}
