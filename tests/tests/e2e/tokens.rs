//! Access tokens of several issuers, whose keys come over HTTP, from a file and as a certificate.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Answer, Gateway};
use microgw_tests::issuer::{JwksServer, TokenKey, now};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

const ONE: &str = "https://one.example/";
const TWO: &str = "https://two.example/";
const THREE: &str = "https://three.example/";

fn paths() -> Value {
    let mut all = get(&json!([{ "oauth": ["read", "write"] }]));
    all["get"]["x-microgw-scope-match"] = "all".into();
    json!({
        "/token": get(&json!([{ "oauth": [] }])),
        "/any": get(&json!([{ "oauth": ["read", "write"] }])),
        "/all": all,
        "/twice": get(&json!([{ "oauth": ["read"] }, { "oauth": ["write"] }])),
    })
}

fn issuer(name: &str, keys: &str) -> String {
    format!("[[jwtTokenConfig]]\nissuer = \"{name}\"\n{keys}\n\n")
}

async fn run(project: &Project, backend: &Backend, config: &str) -> Gateway {
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths()));
    project.build().await;
    let config = project.config(config);
    Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await
}

async fn ask(gateway: &Gateway, path: &str, token: &str) -> Answer {
    gateway.get(&gateway.http(path), &[("authorization", &format!("Bearer {token}"))]).await
}

/// 1 byte tag, length, content: enough of DER for a key.
fn public_pem(jwk: &Value) -> String {
    let coordinate = |name| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    // SubjectPublicKeyInfo of an uncompressed point on P-256, RFC 5480.
    let mut der = vec![0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    der.extend([0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04]);
    der.extend([coordinate("x"), coordinate("y")].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

#[tokio::test]
async fn issuers_and_scopes() {
    if !envoy_is_here() {
        return;
    }
    let [one, two, three] = ["one", "two", "three"].map(TokenKey::new);
    let backend = Backend::start("shop").await;
    let server = JwksServer::start(vec![one.jwk()]).await;
    let project = Project::new();
    let at = |name: &str| project.directory().join(name);
    std::fs::write(at("two.jwks"), json!({ "keys": [two.jwk()] }).to_string()).unwrap();
    std::fs::write(at("three.pem"), public_pem(&three.jwk())).unwrap();
    let config = [
        issuer(ONE, &format!("jwksURL = \"{}\"", server.url())),
        issuer(TWO, &format!("jwksURL = \"file://{}\"\naudience = [\"shop\", \"store\"]", at("two.jwks").display())),
        issuer(THREE, &format!("certificatePath = \"{}\"", at("three.pem").display())),
    ];
    let gateway = run(&project, &backend, &config.concat()).await;
    let code = async |path: &str, token: &str| {
        let answer = ask(&gateway, path, token).await;
        (answer.status, if answer.status == 200 { 0 } else { answer.code() })
    };

    for token in [
        one.token(ONE, &json!({})),
        two.token(TWO, &json!({ "aud": "shop" })),
        two.token(TWO, &json!({ "aud": ["else", "store"] })),
        three.token(THREE, &json!({})),
    ] {
        let seen = ask(&gateway, "/shop/token", &token).await;
        assert_eq!(seen.status, 200, "{seen:?}");
        assert!(seen.json()["headers"].get("authorization").is_none(), "{seen:?}");
    }
    // A key speaks for its own issuer alone.
    for token in [
        one.token(TWO, &json!({ "aud": "shop" })),
        two.token(ONE, &json!({})),
        one.token(THREE, &json!({})),
        two.token(TWO, &json!({})),
        two.token(TWO, &json!({ "aud": "else" })),
        one.token("https://one.example", &json!({})),
    ] {
        assert_eq!(code("/shop/token", &token).await, (401, 900_901));
    }

    // Too little is another thing than nothing.
    let scope = |scope: &str| one.token(ONE, &json!({ "scope": scope }));
    for (path, scopes, status) in [
        ("any", "read", 200),
        ("any", "x write", 200),
        ("any", "reader", 403),
        ("any", "", 403),
        ("all", "read", 403),
        ("all", "write read", 200),
        ("twice", "write", 200),
        ("twice", "x", 403),
    ] {
        let answer = ask(&gateway, &format!("/shop/{path}"), &scope(scopes)).await;
        assert_eq!(answer.status, status, "{path} with `{scopes}`");
        if status == 403 {
            assert_eq!(answer.code(), 900_910);
            let challenge = answer.header("www-authenticate");
            assert!(
                challenge.starts_with("Bearer ") && challenge.contains("error=\"insufficient_scope\""),
                "{challenge}"
            );
        }
    }
    let nothing = gateway.get(&gateway.http("/shop/any"), &[]).await;
    assert_eq!((nothing.status, nothing.code()), (401, 900_902));
    assert_eq!(nothing.header("www-authenticate"), "Bearer realm=\"micro-gw\"");
    let wrong = ask(&gateway, "/shop/any", "nonsense").await;
    assert_eq!(wrong.code(), 900_901);
    assert!(wrong.header("www-authenticate").contains("error=\"invalid_token\""));
    let basic = gateway.get(&gateway.http("/shop/any"), &[("authorization", "Basic YTpi")]).await;
    assert_eq!((basic.status, basic.code()), (401, 900_917));
}

/// RFC 8725, and what goes wrong in practice.
#[tokio::test]
async fn tokens_that_are_none() {
    if !envoy_is_here() {
        return;
    }
    let key = TokenKey::new("one");
    let backend = Backend::start("shop").await;
    let project = Project::new();
    let jwks = project.directory().join("one.jwks");
    std::fs::write(&jwks, json!({ "keys": [key.jwk()] }).to_string()).unwrap();
    let gateway = run(&project, &backend, &issuer(ONE, &format!("jwksURL = \"file://{}\"", jwks.display()))).await;
    let good = json!({ "iss": ONE, "sub": "alice", "exp": now() + 600 });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        key.sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        key.sign(&claims)
    };
    let signed = key.sign(&good);
    assert_eq!(ask(&gateway, "/shop/token", &signed).await.status, 200);

    let (head, signature) = signed.rsplit_once('.').unwrap();
    let unsigned = |header: Value| format!("{}.{}", encode(&header.to_string()), encode(&good.to_string()));
    // The public key is public: whoever takes it for a shared secret can be fooled.
    let hmac = |secret: &[u8]| {
        let input = unsigned(json!({ "alg": "HS256", "kid": "one" }));
        let shared = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&shared, input.as_bytes())))
    };
    let claims = good.to_string();
    let twice = claims.replacen('{', "{\"sub\":\"mallory\",", 1);
    let own_key = TokenKey::new("mallory");
    let cases = [
        ("alg none", format!("{}.", unsigned(json!({ "alg": "none" })))),
        ("alg None", format!("{}.{signature}", unsigned(json!({ "alg": "None", "kid": "one" })))),
        ("no signature", format!("{head}.")),
        ("HS256 with the PEM", hmac(public_pem(&key.jwk()).as_bytes())),
        ("HS256 with the JWK", hmac(key.jwk().to_string().as_bytes())),
        ("ES384 from a P-256 key", key.sign_as(&json!({ "alg": "ES384" }), &good)),
        ("crit", key.sign_as(&json!({ "crit": ["exp"] }), &good)),
        ("empty crit", key.sign_as(&json!({ "crit": [] }), &good)),
        ("b64", key.sign_as(&json!({ "b64": true }), &good)),
        ("own jwk", own_key.sign_as(&json!({ "kid": "one", "jwk": own_key.jwk() }), &good)),
        ("own jku", own_key.sign_as(&json!({ "jku": "http://127.0.0.1:9/" }), &good)),
        ("other kid", key.sign_as(&json!({ "kid": "two" }), &good)),
        ("kid is a number", key.sign_as(&json!({ "kid": 1 }), &good)),
        ("typ of another token", key.sign_as(&json!({ "typ": "apikey+jwt" }), &good)),
        ("duplicate claim", key.sign_text(r#"{"alg":"ES256","kid":"one"}"#, &twice)),
        ("duplicate header", key.sign_text(r#"{"alg":"none","alg":"ES256","kid":"one"}"#, &claims)),
        ("claims are a list", key.sign_text(r#"{"alg":"ES256","kid":"one"}"#, "[]")),
        ("not yet", with("nbf", json!(now() + 600))),
        ("no issuer", without("iss")),
        ("issuer is a list", with("iss", json!([ONE]))),
        ("no end", without("exp")),
        ("end is text", with("exp", json!("2099"))),
        ("scope is a number", with("scope", json!(1))),
        ("four parts", format!("{signed}.x")),
        ("padding", format!("{signed}=")),
        (
            "nested too deeply",
            with("x", serde_json::from_str(&format!("{}{}", "[".repeat(100), "]".repeat(100))).unwrap()),
        ),
    ];
    for (name, token) in cases {
        let answer = ask(&gateway, "/shop/token", &token).await;
        assert_eq!((answer.status, answer.code()), (401, 900_901), "{name}: {answer:?}");
        assert!(!answer.body.contains("kid") && !answer.body.contains("issuer"), "{name} tells too much");
    }
    let expired = ask(&gateway, "/shop/token", &with("exp", json!(now() - 60))).await;
    assert_eq!((expired.status, expired.code()), (401, 900_903));

    // The presentation counts, too.
    let url = gateway.http("/shop/token");
    for value in [&signed[..], "Bearer", &format!("Bearer {signed}, Bearer {signed}"), &format!("Bearer {signed} x")] {
        assert_eq!(gateway.get(&url, &[("authorization", value)]).await.status, 401, "{value}");
    }
    let bearer = format!("Bearer {signed}");
    let twice = gateway.get(&url, &[("authorization", &bearer), ("authorization", &bearer)]).await;
    assert_eq!(twice.status, 401);
    assert_eq!(gateway.get(&url, &[("authorization", &format!("bEARER  {signed}"))]).await.status, 200);
    assert_eq!(gateway.get(&format!("{url}?access_token={signed}"), &[]).await.status, 401);
    assert_eq!(gateway.get(&url, &[("x-api-key", &signed)]).await.status, 401);
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

#[tokio::test]
async fn an_issuer_that_is_away_is_no_reason_to_call_a_token_invalid() {
    if !envoy_is_here() {
        return;
    }
    let (one, two) = (TokenKey::new("one"), TokenKey::new("two"));
    let backend = Backend::start("shop").await;
    let server = JwksServer::start(vec![one.jwk()]).await;
    // Bound and never accepted from: connections are made, and nothing answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let project = Project::new();
    let config = [
        issuer(ONE, &format!("jwksURL = \"{}\"", server.url())),
        issuer(TWO, "jwksURL = \"http://127.0.0.1:9/jwks\""),
        issuer(THREE, &format!("jwksURL = \"http://{}/jwks\"", silent.local_addr().unwrap())),
    ];
    let gateway = run(&project, &backend, &config.concat()).await;
    assert_eq!(ask(&gateway, "/shop/token", &one.token(ONE, &json!({}))).await.status, 200);
    for issuer in [TWO, THREE] {
        let answer = ask(&gateway, "/shop/token", &two.token(issuer, &json!({}))).await;
        assert_eq!((answer.status, answer.code()), (503, 900_900), "{answer:?}");
        assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{answer:?}");
    }
    // What was fetched is kept: also for a token that was never seen.
    drop(server);
    assert_eq!(ask(&gateway, "/shop/token", &one.token(ONE, &json!({ "sub": "bob" }))).await.status, 200);
}

/// Takes as long as the pause between two fetches that tokens can cause: 30 s.
#[tokio::test]
async fn keys_come_and_go() {
    if !envoy_is_here() {
        return;
    }
    let (old, new) = (TokenKey::new("old"), TokenKey::new("new"));
    let backend = Backend::start("shop").await;
    let server = JwksServer::start(vec![old.jwk()]).await;
    let project = Project::new();
    let gateway = run(&project, &backend, &issuer(ONE, &format!("jwksURL = \"{}\"", server.url()))).await;
    let old_token = old.token(ONE, &json!({}));
    assert_eq!(ask(&gateway, "/shop/token", &old_token).await.status, 200);
    assert_eq!(ask(&gateway, "/shop/token", &old_token).await.status, 200);

    server.replace(vec![new.jwk()]);
    let new_token = new.token(ONE, &json!({}));
    eventually("the new key is fetched", async || match ask(&gateway, "/shop/token", &new_token).await.status {
        200 => Some(()),
        status => {
            assert_eq!(status, 401);
            None
        }
    })
    .await;
    // What the old key vouched for, and was remembered, is worth nothing now.
    assert_eq!(ask(&gateway, "/shop/token", &old_token).await.code(), 900_901);
}
