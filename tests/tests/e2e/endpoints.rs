//! Endpoints: shares, canaries, base paths, `Host`, and what settings say in the place of definitions.

use std::collections::BTreeMap;

use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Gateway, command};
use microgw_tests::issuer::TokenKey;
use microgw_tests::project::{Project, definition, get};
use serde_json::{Value, json};

const ISSUER: &str = "https://idp.example/";
/// As many requests as show a share, and few enough for a test.
const MANY: usize = 400;

/// An operation with endpoints of its own.
fn to(production: &Value) -> Value {
    let mut path = get(&json!([]));
    path["get"]["x-wso2-production-endpoints"] = production.clone();
    path
}

/// How many of so many requests each backend had.
async fn shares(gateway: &Gateway, url: &str, headers: &[(&str, &str)], requests: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        let answer = gateway.get(url, headers).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        *shares.entry(answer.json()["backend"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    shares
}

/// Six standard deviations and more.
fn near(found: usize, expected: usize) -> bool {
    found.abs_diff(expected) < 60
}

#[tokio::test]
async fn urls_share_requests_by_weight_and_canaries_take_theirs() {
    if !envoy_is_here() {
        return;
    }
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let (a, b) = (format!("http://{}", one.address), format!("http://{}", two.address));
    let canary = |canary: Value| json!({ "urls": [a], "canary": canary });
    let header = json!({ "name": "X-Canary", "value": "yes" });
    let paths = json!({
        "/even": to(&json!({ "urls": [a, b] })),
        "/weights": to(&json!({ "urls": [a, { "url": b, "weight": 3 }] })),
        "/ways/{id}": to(&json!({ "urls": [format!("{a}/x"), { "url": format!("{b}/y/z"), "weight": 3 }] })),
        "/share": to(&canary(json!({ "urls": [b], "percent": 25 }))),
        "/header": to(&canary(json!({ "urls": [format!("{b}/new")], "header": header }))),
        "/both": to(&canary(json!({ "urls": [b], "percent": 25.5, "header": { "name": "x-canary" } }))),
    });
    let project = Project::new();
    project.define("shop", &definition("shop", "/shop", one.address, &paths));
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        shares(&gateway, &gateway.http(&format!("/shop/{path}")), headers, MANY).await
    };

    assert!(near(ask("even", &[]).await["one"], MANY / 2));
    assert!(near(ask("weights", &[]).await["two"], MANY * 3 / 4));
    assert!(near(ask("ways/7", &[]).await["two"], MANY * 3 / 4));
    assert!(near(ask("share", &[]).await["two"], MANY / 4));
    // By header alone: that value, and nothing else.
    assert_eq!(ask("header", &[]).await.get("two"), None);
    assert_eq!(ask("header", &[("x-canary", "no")]).await.get("two"), None);
    assert_eq!(ask("header", &[("x-canary", "yes")]).await["two"], MANY);
    assert_eq!(ask("both", &[("x-canary", "")]).await["two"], MANY, "any value");
    assert!(near(ask("both", &[]).await["two"], MANY / 4));
    // Each way has its own path.
    for _ in 0..20 {
        let seen = gateway.get(&gateway.http("/shop/ways/a%20b?q=%2F&&x=1+2"), &[]).await.json();
        let expected =
            if seen["backend"] == "one" { "/x/ways/a%20b?q=%2F&&x=1+2" } else { "/y/z/ways/a%20b?q=%2F&&x=1+2" };
        assert_eq!(seen["path"], expected);
    }
    let seen = gateway.get(&gateway.http("/shop/header?a"), &[("x-canary", "yes")]).await.json();
    assert_eq!(seen["path"], "/new/header?a");
}

#[tokio::test]
async fn no_header_of_a_client_crosses_environments() {
    if !envoy_is_here() {
        return;
    }
    let names = ["live", "live-canary", "trial", "trial-canary"];
    let mut backends = Vec::new();
    for name in names {
        backends.push(Backend::start(name).await);
    }
    let url = |index: usize, path: &str| format!("http://{}{path}", backends[index].address);
    let endpoint = |index: usize| {
        let header = json!({ "name": "x-canary", "value": "1" });
        json!({ "urls": [url(index, ""), url(index, "/other")],
            "canary": { "urls": [url(index + 1, "/new")], "percent": 20, "header": header } })
    };
    let mut path = get(&json!([{ "oauth": [] }]));
    path["get"]["x-wso2-production-endpoints"] = endpoint(0);
    path["get"]["x-wso2-sandbox-endpoints"] = endpoint(2);
    let project = Project::new();
    project.define("shop", &definition("shop", "/shop", backends[0].address, &json!({ "/op": path })));
    project.build().await;
    let key = TokenKey::new("one");
    let jwks = project.directory().join("one.jwks");
    std::fs::write(&jwks, json!({ "keys": [key.jwk()] }).to_string()).unwrap();
    let config = project
        .config(&format!("[[jwtTokenConfig]]\nissuer = \"{ISSUER}\"\njwksURL = \"file://{}\"\n", jwks.display()));
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let url = gateway.http("/shop/op");
    for (kind, own, others) in [("PRODUCTION", "live", "trial"), ("SANDBOX", "trial", "live")] {
        let token = format!("Bearer {}", key.token(ISSUER, &json!({ "keytype": kind })));
        let canary = format!("{own}-canary");
        for wish in [None, Some("sandbox"), Some("production")] {
            let mut headers = vec![("authorization", token.as_str())];
            headers.extend(wish.map(|wish| ("x-microgw-environment", wish)));
            headers.extend(wish.map(|wish| ("X-MicroGW-Rule", wish)));
            let seen = shares(&gateway, &url, &headers, MANY / 2).await;
            assert!(!seen.keys().any(|name| name.starts_with(others)), "{kind} {wish:?}: {seen:?}");
            assert!(near(seen[&canary], MANY / 10), "{kind} {wish:?}: {seen:?}");
            headers.push(("x-canary", "1"));
            assert_eq!(shares(&gateway, &url, &headers, 20).await[&canary], 20);
        }
    }
    // All ways carry one rule: without a credential none is open.
    for headers in [vec![], vec![("x-canary", "1")], vec![("x-microgw-environment", "sandbox"), ("x-canary", "1")]] {
        for _ in 0..20 {
            assert_eq!(gateway.get(&url, &headers).await.status, 401);
        }
    }
}

#[tokio::test]
async fn base_paths_and_hosts_are_rewritten_as_documented() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("only").await;
    let url = format!("http://{}", backend.address);
    let with_host = |host: &str| to(&json!({ "urls": [format!("{url}/v2")], "host": host }));
    let paths = json!({
        "/shop/{id}": to(&json!({ "urls": [format!("{url}/v2")] })),
        "/plain": to(&json!({ "urls": [url] })),
        "/all/*": to(&json!({ "urls": [url] })),
        "/backend": with_host("backend"),
        "/client": with_host("client"),
        "/named": with_host("shop.example:8080"),
    });
    let project = Project::new();
    project.define("shop", &definition("shop", "/shop", backend.address, &paths));
    project.define(
        "whole",
        &definition("whole", "/whole", backend.address, &json!({ "/*": to(&json!({ "urls": [url] })) })),
    );
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let seen = async |path: &str| {
        let answer = gateway.get(&gateway.http(path), &[]).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    };
    for (path, expected) in [
        // The first occurrence of the base path alone.
        ("/shop/shop/shop", "/v2/shop/shop"),
        ("/shop/shop/1?next=/shop/a&b", "/v2/shop/1?next=/shop/a&b"),
        ("/shop/plain", "/plain"),
        ("/shop/plain?", "/plain?"),
        ("/shop/all/a/b%20c?d=e%3F", "/all/a/b%20c?d=e%3F"),
        ("/whole/a", "/a"),
        ("/whole/", "/"),
    ] {
        assert_eq!(seen(path).await["path"], expected, "{path}");
    }
    let host = async |path: &str| seen(path).await["headers"]["host"].as_str().unwrap().to_owned();
    assert_eq!(host("/shop/plain").await, backend.address.to_string());
    assert_eq!(host("/shop/backend").await, backend.address.to_string());
    assert_eq!(host("/shop/client").await, gateway.live.http.unwrap().to_string());
    assert_eq!(host("/shop/named").await, "shop.example:8080");
}

/// Endpoints that settings can change: of the API, of both environments, by reference, and one without a name.
fn changeable(backend: &Backend) -> Value {
    let url = format!("http://{}/declared", backend.address);
    let mut own = to(&json!({ "urls": [url] }));
    own["get"]["operationId"] = json!("own");
    let mut referred = get(&json!([]));
    referred["get"]["x-wso2-production-endpoints"] = json!("#/x-wso2-endpoints/my-shop");
    let paths = json!({ "/api": get(&json!([])), "/referred": referred, "/own": own });
    let mut shop = definition("Shop", "/shop", backend.address, &paths);
    shop["x-wso2-endpoints"] = json!([{ "my-shop": { "urls": [url, { "url": format!("{url}/second") }] } }]);
    shop["x-wso2-production-endpoints"] = json!({ "urls": [url] });
    shop
}

#[tokio::test]
async fn settings_at_the_start_have_the_last_word() {
    if !envoy_is_here() {
        return;
    }
    let (declared, other) = (Backend::start("declared").await, Backend::start("other").await);
    let project = Project::new();
    project.define("shop", &changeable(&declared));
    project.build().await;
    // SHA-256 of `Shop:1.0`.
    let shown = command(project.directory(), &["inspect", "shop/target/shop.mgw", "--format", "json"]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let operations = shown["apis"][0]["operations"].as_array().unwrap();
    let named = |path: &str| {
        let operation = operations.iter().find(|operation| operation["path"] == path).unwrap();
        operation["endpoints"]["production"]["id"].clone()
    };
    let id = named("/api").as_str().unwrap().to_owned();
    assert!(id.starts_with("api_") && id.len() == 68, "{id}");
    assert_eq!((named("/referred"), named("/own")), (json!("my-shop"), Value::Null));

    let url = |path: &str| format!("http://{}{path}", other.address);
    let of_api = format!("--{id}_prod_endpoint_0={}", url("/of-api"));
    let both = [("my_shop_prod_endpoint_0", url("/variable")), ("my_shop_prod_endpoint_1", url("/second"))];
    let environment: Vec<(&str, &str)> = both.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let of_line = format!("--my-shop_prod_endpoint_0={}", url("/line"));
    let gateway =
        Gateway::run_with(project.directory(), "shop/target/shop.mgw", &[&of_api, &of_line], &environment).await;
    let seen = async |path: &str| gateway.get(&gateway.http(path), &[]).await.json();
    assert_eq!(seen("/shop/api").await["path"], "/of-api/api");
    let mut referred = std::collections::BTreeSet::new();
    for _ in 0..60 {
        referred.insert(seen("/shop/referred").await["path"].as_str().unwrap().to_owned());
    }
    assert_eq!(Vec::from_iter(referred), ["/line/referred", "/second/referred"]);
    assert_eq!(seen("/shop/own").await["backend"], "declared");
    let changed = gateway.live.generation.clone();
    drop(gateway);
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    assert_eq!(gateway.get(&gateway.http("/shop/api"), &[]).await.json()["path"], "/declared/api");
    assert_ne!(gateway.live.generation, changed, "the generation has the overrides in it");
    drop(gateway);

    // What they come to can be seen beforehand.
    let text = command(project.directory(), &["inspect", "shop/target/shop.mgw", &of_api]).await;
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains(&url("/of-api")) && text.contains("my-shop_prod_endpoint_1"), "{text}");

    for (setting, part) in [
        ("--other_prod_endpoint_0=http://a", "an endpoint that does not exist"),
        ("--my-shop_sand_endpoint_0=http://a", "an endpoint that does not exist"),
        ("--my-shop_prod_endpoint_2=http://a", "a URL that the endpoint does not have"),
        ("--my-shop_prod_endpoint_0=a", "no URL that can be used"),
        ("--my-shop_prod_basic_username=me", "without a `securityConfig`"),
    ] {
        let mut gateway = Gateway::start(project.directory(), "run", "shop/target/shop.mgw", &[setting]);
        std::fs::write(project.directory().join("gateway.log"), "").unwrap();
        let log = gateway.refusal().await;
        assert!(log.contains(part), "{setting}: {log}");
    }
}
