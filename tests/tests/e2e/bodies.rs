//! Routes whose rules look at bodies or responses: decided as all others are, and whole messages, bounded.

mod memory;

use std::convert::Infallible;
use std::path::PathBuf;

use http_body_util::StreamBody;
use hyper::body::Frame;
use microgw_tests::gateway::{Answer, Gateway, client};
use microgw_tests::issuer::TokenKey;
use microgw_tests::project::{Project, definition};
use microgw_tests::raw::exchange;
use microgw_tests::scripted::{Reply, Scripted, in_pieces, with_trailers};
use microgw_tests::streaming::Streaming;
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

const ISSUER: &str = "https://idp.example/";
/// Longer than what Envoy passes on in one piece.
const LONG: usize = 150_000;

/// `whole`: bodies are collected, for something would need the whole of them.
fn operation(whole: bool, limit: &Value, more: &Value) -> Value {
    let mut operation =
        json!({ "security": [], "x-microgw-body-limit": limit, "responses": { "200": { "description": "done" } } });
    if whole {
        let mut transform = json!({});
        for (direction, never) in [("request", "request.method == 'NONE'"), ("response", "response.status == 599")] {
            if limit.get(direction).is_some() {
                transform[direction] = json!([{ "if": never, "json": [{ "remove": "/secret" }] }]);
            }
        }
        operation["x-microgw-transform"] = transform;
    }
    operation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    operation
}

struct Shop {
    _project: Project,
    log: PathBuf,
    backend: Scripted,
    gateway: Gateway,
    key: TokenKey,
}

impl Shop {
    async fn open(whole: bool) -> Shop {
        let backend = Scripted::start().await;
        let operation = |limit: &Value, more: &Value| operation(whole, limit, more);
        let both = json!({ "request": LONG, "response": LONG });
        let oauth = json!({ "security": [{ "oauth": [] }] });
        let paths = json!({
            "/both": { "post": operation(&both, &json!({})), "get": operation(&both, &json!({})), "head": operation(&both, &json!({})) },
            "/request": { "post": operation(&json!({ "request": 1000 }), &json!({})) },
            "/response": { "get": operation(&json!({ "response": 1000 }), &json!({})) },
            "/guarded": { "post": operation(&both, &oauth) },
            "/environments": { "post": operation(&both, &json!({
                "security": [{ "oauth": [] }],
                "x-wso2-sandbox-endpoints": { "urls": [format!("http://{}/sandbox", backend.address)] } })) },
            "/key": { "post": operation(&both, &json!({ "security": [{ "query_key": [] }] })) },
            "/limited": { "post": operation(&json!({ "request": 1000 }), &json!({ "x-wso2-throttling-tier": "Two" })) },
            "/dead": { "post": operation(&both, &json!({
                "x-wso2-production-endpoints": { "urls": ["http://127.0.0.1:1"] } })) },
            "/mock": { "get": { "security": [], "x-microgw-body-limit": both, "x-microgw-mock": true,
                "responses": { "200": { "description": "done", "content": { "application/json": { "example": { "mock": true } } } } } } },
        });
        let project = Project::new();
        project.define("shop", &definition("shop", "/shop", backend.address, &paths));
        project.write(
            "policies.yaml",
            "resourcePolicies:\n  - Two:\n      count: 2\n      unitTime: 1\n      timeUnit: hour\n",
        );
        project.build().await;
        let key = TokenKey::new("one");
        let jwks = project.directory().join("one.jwks");
        std::fs::write(&jwks, json!({ "keys": [key.jwk()] }).to_string()).unwrap();
        let config = project
            .config(&format!("[[jwtTokenConfig]]\nissuer = \"{ISSUER}\"\njwksURL = \"file://{}\"\n", jwks.display()));
        let log = project.directory().join("access.log");
        let to = format!("--b7a.http.accesslog.path={}", log.display());
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config, &to]).await;
        Shop { _project: project, log, backend, gateway, key }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = client().post(self.gateway.http(path)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request).await
    }
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|index| b'a' + u8::try_from(index % 26).unwrap()).collect()
}

#[tokio::test]
async fn whole_messages_pass_as_they_are() {
    if !envoy_is_here() {
        return;
    }
    for whole in [true, false] {
        pass_as_they_are(&Shop::open(whole).await, whole).await;
    }
}

async fn pass_as_they_are(shop: &Shop, whole: bool) {
    for length in [0, 1, 1000, 65_536, 65_537, LONG] {
        for pieces in [0, 7000] {
            let body = text(length);
            shop.backend.replies(Reply {
                status: 201,
                headers: vec![("x-answer", "yes".into()), ("set-cookie", "a=1".into()), ("set-cookie", "b=2".into())],
                body: body.clone(),
                pieces,
                ..Reply::default()
            });
            let answer = shop.post("/shop/both?a=1&b", &[("x-own", "1"), ("x-own", "2")], body.clone()).await;
            assert_eq!(answer.status, 201, "{length} {pieces} {answer:?}");
            assert!(answer.body.as_bytes() == body, "{length} {pieces}");
            let length_is_known = whole || pieces == 0;
            let expected = if length_is_known { length.to_string() } else { String::new() };
            assert_eq!(answer.header("content-length"), expected, "{pieces}");
            assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
            let seen = shop.backend.one();
            assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/shop/both?a=1&b"));
            assert!(seen.body == body, "{length} {pieces}");
            assert_eq!(seen.header("content-length"), length.to_string());
            assert_eq!(seen.headers.get("transfer-encoding"), None);
        }
    }
    // In pieces without a length, from the client.
    let body = reqwest::Body::wrap(in_pieces(&text(100_000), 3000));
    let answer = Answer::of(client().post(shop.gateway.http("/shop/both")).body(body)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let seen = shop.backend.one();
    assert!(seen.body == text(100_000));
    // What was collected has a length.
    assert_eq!(seen.header("content-length"), if whole { "100000" } else { "" });

    // Without any body.
    shop.backend.replies(Reply { status: 204, ..Reply::default() });
    assert_eq!(shop.gateway.get(&shop.gateway.http("/shop/both"), &[]).await.status, 204);
    assert!(shop.backend.one().body.is_empty());
    shop.backend.replies(Reply { headers: vec![("content-length", "5".into())], ..Reply::default() });
    let answer = Answer::of(client().head(shop.gateway.http("/shop/both"))).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, "5"));
    // Over HTTP/2.
    shop.backend.take();
    shop.backend.replies(Reply { body: text(LONG), pieces: 5000, ..Reply::default() });
    let http2 = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let answer = Answer::of(http2.post(shop.gateway.http("/shop/both")).body(text(LONG))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.as_bytes() == text(LONG) && shop.backend.one().body == text(LONG));
    // Trailers right after the head, and after a body.
    for length in [0, 10] {
        let body = reqwest::Body::wrap(with_trailers(&text(length)));
        let answer = Answer::of(http2.post(shop.gateway.http("/shop/both")).body(body)).await;
        assert_eq!(answer.status, 200, "{length} {answer:?}");
        assert!(shop.backend.one().body == text(length));
    }
    // A reply of Envoy's own is not a backend's.
    let answer = shop.gateway.get(&shop.gateway.http("/shop/mock"), &[]).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "mock": true })));
    let answer = shop.post("/shop/dead", &[], text(10)).await;
    assert_eq!((answer.status, answer.code()), (503, 101_503), "{answer:?}");
}

#[tokio::test]
async fn bodies_are_bounded_and_readable() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open(true).await;
    assert_eq!(shop.post("/shop/request", &[], text(1000)).await.status, 200);
    shop.backend.one();
    let answer = shop.post("/shop/request", &[], text(1001)).await;
    assert_eq!((answer.status, answer.code()), (413, 413), "{answer:?}");
    let long = client().post(shop.gateway.http("/shop/request"));
    let answer = Answer::of(long.body(reqwest::Body::wrap(in_pieces(&text(1200), 600)))).await;
    assert_eq!((answer.status, answer.code()), (413, 413), "{answer:?}");
    let answer = shop.post("/shop/request", &[("content-encoding", "gzip")], text(10)).await;
    assert_eq!((answer.status, answer.code()), (415, 415), "{answer:?}");
    assert!(shop.backend.take().is_empty(), "nothing of it went on");

    for pieces in [0, 300] {
        shop.backend.replies(Reply { body: text(1000), pieces, ..Reply::default() });
        let answer = shop.gateway.get(&shop.gateway.http("/shop/response"), &[]).await;
        assert_eq!((answer.status, answer.body.len()), (200, 1000));
        shop.backend.replies(Reply { body: text(1001), pieces, ..Reply::default() });
        let answer = shop.gateway.get(&shop.gateway.http("/shop/response"), &[]).await;
        assert_eq!((answer.status, answer.code()), (502, 101_503), "{pieces} {answer:?}");
        assert!(!answer.body.contains("abcdef"));
    }
    let encoded = vec![("content-encoding", "gzip".to_owned()), ("x-secret", "abcdef".to_owned())];
    shop.backend.replies(Reply { body: text(100), headers: encoded, ..Reply::default() });
    shop.backend.take();
    let headers = [("accept-encoding", "gzip"), ("range", "bytes=0-5")];
    let answer = shop.gateway.get(&shop.gateway.http("/shop/response"), &headers).await;
    assert_eq!((answer.status, answer.code(), answer.header("x-secret")), (502, 101_503, ""), "{answer:?}");
    let seen = shop.backend.one();
    assert_eq!((seen.header("accept-encoding"), seen.headers.get("range")), ("identity", None));
}

#[tokio::test]
async fn decided_as_all_others_are() {
    if !envoy_is_here() {
        return;
    }
    for whole in [true, false] {
        decided(&Shop::open(whole).await).await;
    }
}

async fn decided(shop: &Shop) {
    let answer = shop.post("/shop/guarded", &[], text(100_000)).await;
    assert_eq!((answer.status, answer.code()), (401, 900_902), "{answer:?}");
    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
    let bad = shop.post("/shop/guarded", &[("authorization", "Bearer x.y.z")], text(10)).await;
    assert_eq!(bad.status, 401, "{bad:?}");
    assert!(shop.backend.take().is_empty());
    let token = |kind: &str| format!("Bearer {}", shop.key.token(ISSUER, &json!({ "keytype": kind })));
    let answer = shop.post("/shop/guarded", &[("authorization", &token("PRODUCTION"))], text(100_000)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = shop.backend.one();
    assert_eq!((seen.headers.get("authorization"), seen.body.len()), (None, 100_000));

    for (kind, path) in [("PRODUCTION", "/shop/environments"), ("SANDBOX", "/sandbox/environments")] {
        let answer = shop.post("/shop/environments", &[("authorization", &token(kind))], text(70_000)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = shop.backend.one();
        assert_eq!((seen.path.as_str(), seen.body.len()), (path, 70_000));
        assert_eq!(seen.headers.get("x-microgw-environment").map(|_| ()), None);
    }
    let key = shop.gateway.api_key().await;
    let answer = shop.post(&format!("/shop/key?a=1&key={key}&b=%2f"), &[], text(10)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(shop.backend.one().path, "/shop/key?a=1&b=%2f");
    // Refusals are told of in the log, with their reason.
    let log = || std::fs::read_to_string(&shop.log).ok()?.contains("missing_credentials").then_some(());
    eventually("the refusal is in the log", async || log()).await;
}

#[tokio::test]
async fn limits_are_told_of_in_responses() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open(false).await;
    for left in [1, 0] {
        let answer = shop.post("/shop/limited", &[], text(10)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("ratelimit").contains(&format!(";r={left};")), "{answer:?}");
    }
    let answer = shop.post("/shop/limited", &[], text(10)).await;
    assert_eq!((answer.status, answer.code()), (429, 900_802), "{answer:?}");
    assert_eq!(shop.backend.take().len(), 2);
}

#[tokio::test]
async fn what_is_only_bounded_passes_as_it_comes_and_no_further() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open(false).await;
    let http2 = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    for client in [client(), http2] {
        // Too long from the first word on: nothing of it goes on.
        let answer = Answer::of(client.post(shop.gateway.http("/shop/request")).body(text(1001))).await;
        assert_eq!((answer.status, answer.code()), (413, 413), "{answer:?}");
        // Found out on the way: the backend has a request without an end.
        let long = reqwest::Body::wrap(in_pieces(&text(100_000), 600));
        let answer = Answer::of(client.post(shop.gateway.http("/shop/request")).body(long)).await;
        assert_eq!((answer.status, answer.code()), (413, 413), "{answer:?}");
        let exact = reqwest::Body::wrap(in_pieces(&text(1000), 300));
        let answer = Answer::of(client.post(shop.gateway.http("/shop/request")).body(exact)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(shop.backend.one().body == text(1000));
        let coded = client.post(shop.gateway.http("/shop/request")).header("content-encoding", "gzip");
        assert_eq!(Answer::of(coded.body(text(1000))).await.status, 200, "bytes are counted, not read");
        assert_eq!(shop.backend.one().header("content-encoding"), "gzip");

        shop.backend.replies(Reply { body: text(1001), ..Reply::default() });
        let answer = Answer::of(client.get(shop.gateway.http("/shop/response"))).await;
        assert_eq!((answer.status, answer.code()), (502, 101_503), "{answer:?}");
        assert!(!answer.body.contains("abcdef"));
        shop.backend.replies(Reply { body: text(100_000), pieces: 300, ..Reply::default() });
        let cut = client.get(shop.gateway.http("/shop/response")).send().await;
        // Nobody takes it for whole.
        let whole = match cut {
            Ok(response) if response.status() == 200 => response.bytes().await.ok().map(|body| body.len()),
            Ok(response) => Some(usize::from(response.status() != 502) * 1_000_000),
            Err(_) => None,
        };
        assert!(whole.is_none_or(|length| length == 0), "{whole:?}");
        shop.backend.replies(Reply { body: text(1000), pieces: 300, ..Reply::default() });
        let answer = Answer::of(client.get(shop.gateway.http("/shop/response"))).await;
        assert_eq!((answer.status, answer.body.len()), (200, 1000), "{answer:?}");
        shop.backend.replies(Reply::default());
        shop.backend.take();
    }
    // Who waits to be asked for the body is.
    let head = "POST /shop/request HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    let said = exchange(shop.gateway.live.http.unwrap(), format!("{head}12345").as_bytes(), |_| false).await;
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{said}");
    assert_eq!(shop.backend.one().body, b"12345");
}

/// Trailers over HTTP/2: right after a head that gets a body, and after a body that becomes another one.
#[tokio::test]
async fn trailers_come_last_whatever_becomes_of_the_body() {
    if !envoy_is_here() {
        return;
    }
    let backend = Streaming::start_http2().await;
    let made = |template: &str| json!({ "x-microgw-transform": { "request": [{ "body": { "template": template, "contentType": "text/plain" } }] } });
    let limit = json!({});
    let paths = json!({
        "/made": { "post": operation(false, &limit, &made("twelve bytes")) },
        "/counted": { "post": operation(false, &json!({ "request": 1000 }), &json!({})) },
    });
    let project = Project::new();
    let mut shop = definition("shop", "/shop", backend.address, &paths);
    shop["x-wso2-production-endpoints"] =
        json!({ "urls": [format!("http://{}", backend.address)], "protocol": "http2" });
    project.define("shop", &shop);
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let http2 = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    for (path, length, expected, trailers) in [
        ("/shop/made", 0, 12, Some(1)),
        ("/shop/made", 100, 12, Some(1)),
        ("/shop/counted", 0, 0, Some(1)),
        ("/shop/counted", 100, 100, Some(1)),
    ] {
        let body = reqwest::Body::wrap(with_trailers(&text(length)));
        let answer = Answer::of(http2.post(gateway.http(path)).body(body)).await;
        assert_eq!(answer.status, 200, "{path} {length} {answer:?}");
        let seen = answer.json();
        assert_eq!((&seen["body"], &seen["trailers"]), (&json!(expected), &json!(trailers)), "{path} {length}");
    }
}

/// Envoy keeps what it may send again, and would send it twice where trailers follow.
#[tokio::test]
async fn what_may_be_sent_again_has_no_trailers() {
    if !envoy_is_here() {
        return;
    }
    let backend = Streaming::start_http2().await;
    let made = json!({ "x-microgw-transform": { "request": [{ "body": { "template": "twelve bytes", "contentType": "text/plain" } }] } });
    let paths = json!({
        "/made": { "post": operation(false, &json!({}), &made) },
        "/counted": { "post": operation(false, &json!({ "request": 1000 }), &json!({})) },
    });
    let project = Project::new();
    let mut shop = definition("shop", "/shop", backend.address, &paths);
    shop["x-wso2-production-endpoints"] = json!({ "urls": [format!("http://{}", backend.address)], "protocol": "http2",
        "advanceEndpointConfig": { "retryConfig": { "count": 1, "statusCodes": [503], "nonIdempotent": true } } });
    project.define("shop", &shop);
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let http2 = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    for (path, expected) in [("/shop/made", 12), ("/shop/counted", 100)] {
        let body = reqwest::Body::wrap(with_trailers(&text(100)));
        assert_eq!(Answer::of(http2.post(gateway.http(path)).body(body)).await.status, 400, "{path}");
        let answer = Answer::of(http2.post(gateway.http(path)).body(text(100))).await;
        assert_eq!((answer.status, &answer.json()["body"]), (200, &json!(expected)), "{path}");
    }
}

/// A backend that answers while it reads: neither direction waits for the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_directions_pass_at_once() {
    const MESSAGE: usize = 1 << 20;
    const MESSAGES: usize = 32;
    if !envoy_is_here() {
        return;
    }
    let backend = Streaming::start_http2().await;
    let limit = json!({ "request": 64 << 20, "response": 64 << 20 });
    let project = Project::new();
    let mut shop = definition(
        "shop",
        "/shop",
        backend.address,
        &json!({ "/echo": { "post": operation(false, &limit, &json!({})) } }),
    );
    shop["x-wso2-production-endpoints"] =
        json!({ "urls": [format!("http://{}", backend.address)], "protocol": "http2" });
    project.define("shop", &shop);
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let http2 = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let message = bytes::Bytes::from(vec![b'x'; MESSAGE]);
    let messages = tokio_stream::iter((0..MESSAGES).map(move |_| Ok::<_, Infallible>(Frame::data(message.clone()))));
    let request = http2.post(gateway.http("/shop/echo")).header("content-type", "application/grpc");
    let body = reqwest::Body::wrap(StreamBody::new(messages));
    let mut answer = request.body(body).timeout(std::time::Duration::from_secs(120)).send().await.unwrap();
    let mut length = 0;
    while let Some(piece) = answer.chunk().await.unwrap() {
        length += piece.len();
    }
    assert_eq!(length, MESSAGE * MESSAGES);
}
