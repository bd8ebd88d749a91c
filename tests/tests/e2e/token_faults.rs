//! Tokens and issuers at their worst: what is answered, and that nobody else notices.

use futures_util::{StreamExt as _, stream};
use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway};
use microgw_tests::issuer::{JwksServer, TokenKey, now};
use microgw_tests::project::{Project, definition, get};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const GOOD: &str = "https://good.example/";

fn issuer(name: &str, keys: &str) -> String {
    format!("[[jwtTokenConfig]]\nissuer = \"{name}\"\n{keys}\n\n")
}

async fn run(project: &Project, backend: &Backend, config: &str) -> Gateway {
    project.define(
        "shop",
        &definition("Shop", "/shop", backend.address, &json!({ "/token": get(&json!([{ "oauth": [] }])) })),
    );
    project.build().await;
    let config = project.config(config);
    Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await
}

async fn ask(gateway: &Gateway, token: &str) -> Answer {
    gateway.get(&gateway.http("/shop/token"), &[("authorization", &format!("Bearer {token}"))]).await
}

/// Answers everything with these bytes.
async fn answering(answer: Vec<u8>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&answer).await;
            });
        }
    });
    format!("http://{address}")
}

fn http(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

/// A counter or gauge without labels, as it is written.
async fn metric(gateway: &Gateway, name: &str) -> String {
    let page = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    page.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned())).unwrap_or_default()
}

#[tokio::test]
async fn thousands_of_bad_tokens_displace_nothing() {
    if !envoy_is_here() {
        return;
    }
    let (key, forger, backend, project) =
        (TokenKey::new("one"), TokenKey::new("one"), Backend::start("shop").await, Project::new());
    let server = JwksServer::start(vec![key.jwk()]).await;
    let config = issuer(GOOD, &format!("jwksURL = \"{}\"", server.url()));
    let gateway = run(&project, &backend, &format!("{config}[caching]\ntokenCacheCapacity = 50\n")).await;
    let good = key.token(GOOD, &json!({}));
    assert_eq!(ask(&gateway, &good).await.status, 200);
    // Forged, of unknown keys, of unknown issuers, and no tokens at all.
    let bad = |index: usize| match index % 4 {
        0 => forger.token(GOOD, &json!({ "n": index })),
        1 => TokenKey::sign_as(
            &forger,
            &json!({ "kid": format!("k{index}") }),
            &json!({ "iss": GOOD, "exp": now() + 60, "n": index }),
        ),
        2 => key.token(&format!("https://{index}.example/"), &json!({})),
        _ => format!("bad-{index}"),
    };
    let statuses: Vec<u16> = stream::iter(0..2000)
        .map(|index| {
            let (gateway, token) = (&gateway, bad(index));
            async move { ask(gateway, &token).await.status }
        })
        .buffer_unordered(32)
        .collect()
        .await;
    assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    assert_eq!(metric(&gateway, "microgw_fact_cache_entries").await, "1", "what is bad is not kept");
    // Its issuer is away by now: it is remembered.
    drop(server);
    assert_eq!(ask(&gateway, &good).await.status, 200);
}

#[tokio::test]
async fn issuers_that_answer_nonsense_hold_up_nobody() {
    if !envoy_is_here() {
        return;
    }
    let (key, other) = (TokenKey::new("one"), TokenKey::new("one"));
    let (backend, project) = (Backend::start("shop").await, Project::new());
    let server = JwksServer::start(vec![key.jwk()]).await;
    let twice = JwksServer::start(vec![key.jwk(), other.jwk(), TokenKey::new("two").jwk()]).await;
    let long = http(&format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(2 * 1024 * 1024)));
    let deep = http(&format!("{{\"keys\": {}{}}}", "[".repeat(50_000), "]".repeat(50_000)));
    let elsewhere = json!({ "issuer": "https://elsewhere.example", "jwks_uri": server.url() }).to_string();
    let broken: [(&str, Vec<u8>); 6] = [
        ("html", http("<html>maintenance</html>")),
        ("long", long),
        ("deep", deep),
        ("error", b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ("cut", b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"keys\":".to_vec()),
        ("no HTTP", b"\x16\x03\x01garbage".to_vec()),
    ];
    let mut config = issuer(GOOD, &format!("jwksURL = \"{}\"", server.url()));
    config += &issuer("https://twice.example", &format!("jwksURL = \"{}\"", twice.url()));
    let other_document = answering(http(&elsewhere)).await;
    config += &issuer("https://told.example", &format!("discoveryURL = \"{other_document}/document\""));
    let mut names = vec!["https://told.example".to_owned()];
    for (name, answer) in broken {
        let name = format!("https://{}.example", name.replace(' ', "-"));
        config += &issuer(&name, &format!("jwksURL = \"{}/jwks\"", answering(answer).await));
        names.push(name);
    }
    let gateway = run(&project, &backend, &config).await;
    assert_eq!(ask(&gateway, &key.token(GOOD, &json!({}))).await.status, 200);
    for name in names {
        let answer = ask(&gateway, &key.token(&name, &json!({}))).await;
        assert_eq!((answer.status, answer.code()), (503, 900_900), "{name}: {answer:?}");
    }
    // Two keys of one name: neither counts, whichever signed.
    for signer in [&key, &other] {
        let answer = ask(&gateway, &signer.token("https://twice.example", &json!({}))).await;
        assert_eq!((answer.status, answer.code()), (401, 900_901), "{answer:?}");
    }
}

#[tokio::test]
async fn clocks_may_differ_a_little_and_tokens_be_no_longer_than_is_sane() {
    if !envoy_is_here() {
        return;
    }
    let (key, backend, project) = (TokenKey::new("one"), Backend::start("shop").await, Project::new());
    let server = JwksServer::start(vec![key.jwk()]).await;
    let config = issuer(GOOD, &format!("jwksURL = \"{}\"", server.url()));
    let config = format!("{config}[server]\ntimestampSkew = 60000\n[listenerConfig]\nmaxHeaderSize = 61440\n");
    let gateway = run(&project, &backend, &config).await;
    let at = |name: &str, seconds: i64| key.token(GOOD, &json!({ name: i64::try_from(now()).unwrap() + seconds }));
    for (what, token, expected) in [
        ("ended a moment ago", at("exp", -30), (200, 0)),
        ("ended", at("exp", -90), (401, 900_903)),
        ("begins in a moment", at("nbf", 30), (200, 0)),
        ("begins later", at("nbf", 120), (401, 900_901)),
        ("made in the future", at("iat", 3600), (200, 0)),
        ("long", key.token(GOOD, &json!({ "x": "x".repeat(10_000) })), (200, 0)),
        ("too long", key.token(GOOD, &json!({ "x": "x".repeat(20_000) })), (401, 900_901)),
        ("deep", key.token(GOOD, &json!({ "x": nested(40) })), (401, 900_901)),
        ("wide", key.token(GOOD, &json!({ "scope": "x ".repeat(4_000) })), (200, 0)),
    ] {
        let answer = ask(&gateway, &token).await;
        let code = if answer.status == 200 { 0 } else { answer.code() };
        assert_eq!((answer.status, code), expected, "{what}: {answer:?}");
    }
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}
