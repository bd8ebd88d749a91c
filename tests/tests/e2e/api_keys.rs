//! API keys: where they are looked for, what is left of them, and what is no key.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use microgw_tests::backend::Backend;
use microgw_tests::gateway::Gateway;
use microgw_tests::issuer::{TokenKey, now};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

const ISSUER: &str = "https://localhost:9095/apikey";

fn paths() -> Value {
    json!({
        "/header": get(&json!([{ "key": [] }])),
        "/query": get(&json!([{ "query_key": [] }])),
        "/either": get(&json!([{ "key": [] }, { "query_key": [] }])),
        "/both": get(&json!([{ "key": [], "query_key": [] }])),
        "/with-token": get(&json!([{ "key": [], "oauth": ["read"] }])),
        "/or-token": get(&json!([{ "key": [] }, { "oauth": ["read"] }])),
        "/open": get(&json!([])),
    })
}

async fn shop(backend: SocketAddr) -> Project {
    let project = Project::new();
    project.define("shop", &definition("Shop", "/shop", backend, &paths()));
    project.define("other", &definition("Other", "/other", backend, &paths()));
    project.build().await;
    project
}

async fn run(project: &Project, settings: &[&str]) -> Gateway {
    Gateway::run(project.directory(), "shop/target/shop.mgw", settings).await
}

#[tokio::test]
async fn keys_are_found_used_and_removed() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(backend.address).await;
    let gateway = run(&project, &[]).await;
    let key = gateway.api_key().await;
    let ask = async |path: &str, headers: &[(&str, &str)]| gateway.get(&gateway.http(path), headers).await;

    // In a header, whatever its case, once.
    for name in ["x-api-key", "X-API-Key", "X-Api-KEY"] {
        let seen = ask("/shop/header", &[(name, &key)]).await;
        assert_eq!(seen.status, 200, "{seen:?}");
        assert!(seen.json()["headers"].get("x-api-key").is_none(), "{seen:?}");
    }
    assert_eq!(ask("/shop/header", &[]).await.code(), 900_902);
    assert_eq!(ask("/shop/header", &[("x-api-key", "")]).await.code(), 900_902);
    for wrong in ["nonsense", "a.b.c", &key[..key.len() - 2], &format!("{key},{key}"), &format!("Bearer {key}")] {
        assert_eq!(ask("/shop/header", &[("x-api-key", wrong)]).await.code(), 900_901, "{wrong}");
    }
    assert_eq!(ask("/shop/header", &[("x-api-key", &key), ("x-api-key", &key)]).await.status, 401, "twice");
    assert_eq!(ask(&format!("/shop/header?x-api-key={key}"), &[]).await.status, 401, "in the wrong place");

    // In the query: the pair is cut, the rest is as the client wrote it.
    for (before, after) in [
        ("?key=KEY", ""),
        ("?a=1&key=KEY&b=%2f%20+%C3%A9&flag&=x&&c=", "?a=1&b=%2f%20+%C3%A9&flag&=x&&c="),
        ("?key=KEY&monkey=2&keys=3&Key=4", "?monkey=2&keys=3&Key=4"),
        ("?z=/shop/header?x&%6bey=KEY&a", "?z=/shop/header?x&a"),
    ] {
        let seen = ask(&format!("/shop/query{}", before.replace("KEY", &key)), &[]).await;
        assert_eq!(seen.status, 200, "{before}: {seen:?}");
        assert_eq!(seen.json()["path"], format!("/shop/query{after}"));
        assert!(!seen.body.contains(&key));
    }
    for wrong in ["?key=KEY&key=KEY", "?key=KEY&%6Bey=x", "?key=", "?key", "", "?KEY=KEY", "?a;key=KEY"] {
        let answer = ask(&format!("/shop/query{}", wrong.replace("KEY", &key)), &[]).await;
        assert_eq!(answer.status, 401, "{wrong}");
    }
    // Another credential's place says nothing about this one's.
    assert_eq!(ask("/shop/query", &[("x-api-key", &key)]).await.status, 401);

    // Several schemes: OR, AND.
    let query = format!("?key={key}");
    for (path, in_query, header, expected) in [
        ("either", false, true, 200),
        ("either", true, false, 200),
        ("either", true, true, 200),
        ("either", false, false, 401),
        ("both", false, true, 401),
        ("both", true, false, 401),
        ("both", true, true, 200),
        ("with-token", false, true, 401),
        ("or-token", false, true, 200),
    ] {
        let headers: &[(&str, &str)] = if header { &[("x-api-key", &key)] } else { &[] };
        let answer = ask(&format!("/shop/{path}{}", if in_query { &query } else { "" }), headers).await;
        assert_eq!(answer.status, expected, "{path}: {answer:?}");
        // Whichever was used, none is passed on.
        assert!(!answer.body.contains(&key));
    }

    // What only the gateway may say does not come from clients.
    for path in ["/shop/header", "/shop/open"] {
        let forged = [
            ("x-api-key", key.as_str()),
            ("x-jwt-assertion", "forged"),
            ("x-microgw-environment", "sandbox"),
            ("X-MicroGW-Listener", "https"),
            ("x-microgw-anything", "forged"),
            // To a backend behind CGI or WSGI the same headers.
            ("x_microgw_environment", "forged"),
            ("X_JWT_Assertion", "forged"),
            ("x-jwt_assertion", "forged"),
            // Some backends take the path from these: it would not be the one that was judged.
            ("X-Original-URL", "/forged"),
            ("x-rewrite-url", "/forged"),
            ("x_rewrite_url", "/forged"),
            // Not the same, and none of ours.
            ("x-jwt-assertions", "kept"),
            ("x-microgwen", "kept"),
        ];
        let seen = ask(path, &forged).await.json();
        let headers = seen["headers"].as_object().unwrap();
        assert!(!headers.values().any(|value| value.to_string().contains("forged")), "{seen}");
        let names: Vec<String> = headers.keys().map(|name| name.replace('_', "-")).collect();
        assert!(!names.iter().any(|name| name.starts_with("x-microgw-")), "{seen}");
        assert!(["x-jwt-assertions", "x-microgwen"].iter().all(|kept| headers.contains_key(*kept)), "{seen}");
    }
}

#[tokio::test]
async fn keys_are_for_those_they_were_made_for() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(backend.address).await;
    let signing = std::fs::read_to_string(TokenKey::new("ours").write(project.directory(), "signing.pem")).unwrap();
    let ours = TokenKey::from_pem("", &signing);
    let signing = format!("--apikey.issuer.tokenConfig.privateKeyPath={}/signing.pem", project.directory().display());
    let gateway = run(&project, &["--server.timestampSkew=0", &signing]).await;
    let try_key = async |path: &str, key: &str| {
        let answer = gateway.get(&gateway.http(path), &[("x-api-key", key)]).await;
        (answer.status, if answer.status == 200 { 0 } else { answer.code() })
    };

    // Narrowed to one API.
    let narrow = gateway.narrow_key(&json!({ "allowedAPIs": [{ "name": "Shop", "version": "1.0" }] })).await.body;
    assert_eq!(try_key("/shop/header", &narrow).await, (200, 0));
    assert_eq!(try_key("/other/header", &narrow).await, (403, 900_908));
    let other_version = gateway.narrow_key(&json!({ "allowedAPIs": [{ "name": "Shop", "version": "2.0" }] })).await;
    assert_eq!(try_key("/shop/header", &other_version.body).await, (403, 900_908));
    for wish in [
        json!({ "allowedAPIs": [] }),
        json!({ "validityTime": 0 }),
        json!({ "validityTime": -1 }),
        json!({ "validityTime": 99_999_999 }),
        json!({ "unknown": 1 }),
    ] {
        let answer = gateway.narrow_key(&wish).await;
        assert_eq!(answer.status, 400, "{wish}: {}", answer.body);
    }

    // For a second.
    let brief = gateway.narrow_key(&json!({ "validityTime": 1 })).await.body;
    let expired = eventually("it expires", async || Some(try_key("/shop/header", &brief).await).filter(|a| a.0 != 200));
    assert_eq!(expired.await, (401, 900_903));

    // The signature covers every byte of a key.
    let key = gateway.api_key().await;
    assert_eq!(try_key("/shop/header", &key).await.0, 200);
    let parts: Vec<&str> = key.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    claims["sub"] = "root".into();
    let altered = URL_SAFE_NO_PAD.encode(claims.to_string());
    assert_eq!(try_key("/shop/header", &format!("{}.{altered}.{}", parts[0], parts[2])).await, (401, 900_901));
    let none = URL_SAFE_NO_PAD.encode(json!({ "typ": "JWT", "alg": "none" }).to_string());
    assert_eq!(try_key("/shop/header", &format!("{none}.{}.", parts[1])).await, (401, 900_901));

    // Another gateway's key is not ours; nor is a token of ours that was made for something else.
    let claims = json!({ "iss": ISSUER, "sub": "admin", "iat": now(), "exp": now() + 60, "keytype": "PRODUCTION" });
    assert_eq!(try_key("/shop/header", &TokenKey::new("theirs").sign(&claims)).await, (401, 900_901));
    assert_eq!(try_key("/shop/header", &ours.sign_as(&json!({ "typ": "JWT" }), &claims)).await.0, 200);
    assert_eq!(try_key("/shop/header", &ours.sign_as(&json!({ "typ": "at+jwt" }), &claims)).await, (401, 900_901));
    for (claim, value) in [("iss", json!("https://elsewhere")), ("exp", json!(null)), ("exp", json!("soon"))] {
        let mut wrong = claims.clone();
        wrong[claim] = value;
        assert_eq!(try_key("/shop/header", &ours.sign_as(&json!({}), &wrong)).await.0, 401, "{wrong}");
    }
}

#[tokio::test]
async fn keys_in_cookies() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = Project::new();
    let paths = json!({
        "/cookie": get(&json!([{ "cookie_key": [] }])),
        "/both": get(&json!([{ "key": [], "cookie_key": [] }])),
    });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.build().await;
    let gateway = run(&project, &[]).await;
    let key = gateway.api_key().await;
    let ask = async |path: &str, cookies: &str, header: Option<&str>| {
        let mut headers = vec![("cookie", cookies)];
        headers.extend(header.map(|key| ("x-api-key", key)));
        gateway.get(&gateway.http(path), &headers).await
    };
    for (cookies, kept) in [
        ("key=KEY", Value::Null),
        ("a=1; key=KEY; b=\"2 3\"", json!("a=1; b=\"2 3\"")),
        ("key=\"KEY\"; keys=k", json!("keys=k")),
    ] {
        let seen = ask("/shop/cookie", &cookies.replace("KEY", &key), None).await;
        assert_eq!(seen.status, 200, "{cookies}: {seen:?}");
        assert_eq!(seen.json()["headers"]["cookie"], kept, "{cookies}");
        assert!(!seen.body.contains(&key));
    }
    for (cookies, code) in [
        ("", 900_902),
        ("key=", 900_902),
        ("KEY=KEY", 900_902),
        ("key=KEY; key=KEY", 900_901),
        ("key=KEY; a=1; key=x", 900_901),
        ("key=nonsense", 900_901),
    ] {
        let answer = ask("/shop/cookie", &cookies.replace("=KEY", &format!("={key}")), None).await;
        assert_eq!((answer.status, answer.code()), (401, code), "{cookies}");
    }
    assert_eq!(ask("/shop/both", &format!("key={key}"), Some(&key)).await.status, 200);
    assert_eq!(ask("/shop/both", &format!("key={key}"), None).await.status, 401);
    assert_eq!(ask("/shop/both", "a=b", Some(&key)).await.status, 401);

    // Several headers: the key counts once, and what another one has stays.
    let raw = async |cookies: &[&str]| {
        let request =
            format!("GET /shop/cookie HTTP/1.1\r\nhost: shop\r\ncookie: {}\r\n\r\n", cookies.join("\r\ncookie: "));
        gateway.raw(request.as_bytes()).await
    };
    let twice = raw(&[&format!("key={key}"), &format!("key={key}")]).await;
    assert_eq!(twice.status, 401, "{twice:?}");
    let split = raw(&["a=1", &format!("key={key}"), "b=2"]).await;
    assert!(split.status == 401 || !split.body.contains(&key), "{split:?}");
}
