//! Routes whose rules look at bodies or responses: decided as all others are, and whole messages, bounded.

use std::path::PathBuf;

use microgw_tests::gateway::{Answer, Gateway, client};
use microgw_tests::issuer::TokenKey;
use microgw_tests::project::{Project, definition};
use microgw_tests::scripted::{Reply, Scripted, in_pieces, with_trailers};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

const ISSUER: &str = "https://idp.example/";
/// Longer than what Envoy passes on in one piece.
const LONG: usize = 150_000;

fn operation(limit: &Value, more: &Value) -> Value {
    let mut operation =
        json!({ "security": [], "x-microgw-body-limit": limit, "responses": { "200": { "description": "done" } } });
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
    async fn open() -> Shop {
        let backend = Scripted::start().await;
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
    let shop = Shop::open().await;
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
            assert_eq!(answer.header("content-length"), length.to_string(), "{pieces}");
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
    assert_eq!(seen.header("content-length"), "100000");

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
    let shop = Shop::open().await;
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
    let shop = Shop::open().await;
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
    let shop = Shop::open().await;
    for left in [1, 0] {
        let answer = shop.post("/shop/limited", &[], text(10)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("ratelimit").contains(&format!(";r={left};")), "{answer:?}");
    }
    let answer = shop.post("/shop/limited", &[], text(10)).await;
    assert_eq!((answer.status, answer.code()), (429, 900_802), "{answer:?}");
    assert_eq!(shop.backend.take().len(), 2);
}
