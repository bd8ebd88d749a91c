//! By what backends know the gateway: passwords, tokens, keys, tokens of an authorization server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use microgw_tests::authorization_server::AuthorizationServer;
use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Gateway, command, replace};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

fn to(backend: &Backend, security: &Value) -> Value {
    let mut path = get(&json!([]));
    let url = format!("http://{}", backend.address);
    path["get"]["x-wso2-production-endpoints"] = json!({ "urls": [url], "securityConfig": security });
    path
}

#[tokio::test]
async fn backends_are_shown_what_the_gateway_knows_itself_by() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("only").await;
    let server = AuthorizationServer::start().await;
    let project = Project::new();
    let key = project.directory().join("key");
    replace(&key, b"first key\n");
    let mut guarded = to(&backend, &json!({ "type": "bearer", "token": "$env{SHOP_TOKEN}" }));
    guarded["get"]["security"] = json!([{ "key": [] }]);
    let mut named = get(&json!([]));
    named["get"]["x-wso2-production-endpoints"] = json!("#/x-wso2-endpoints/shop");
    let oauth2 = json!({ "type": "oauth2", "tokenUrl": format!("{}/oauth2/token", server.url()), "clientId": "gateway",
        "clientSecret": "$env{CLIENT_SECRET}", "scopes": ["read", "write"] });
    let file = json!({ "type": "apikey", "header": "X-Backend-Key", "value": format!("$file{{{}}}", key.display()) });
    let paths = json!({
        "/basic": to(&backend, &json!({ "type": "basic", "username": "me", "password": "$env{SHOP_PASSWORD}" })),
        "/named": named,
        "/bearer": to(&backend, &json!({ "type": "bearer", "token": "$env{SHOP_TOKEN}" })),
        "/guarded": guarded,
        "/key": to(&backend, &file),
        "/oauth2": to(&backend, &oauth2),
        "/nothing": get(&json!([])),
    });
    let mut shop = definition("shop", "/shop", backend.address, &paths);
    let own = json!({ "type": "basic", "username": "declared", "password": "in the open" });
    shop["x-wso2-endpoints"] =
        json!([{ "shop": { "urls": [format!("http://{}", backend.address)], "securityConfig": own } }]);
    project.define("shop", &shop);
    project.build().await;
    let built = std::fs::read(project.artifact()).unwrap();
    assert!(!built.windows(11).any(|part| part == b"in the open"));

    let mut environment = vec![
        ("SHOP_PASSWORD", "pass: word"),
        ("SHOP_TOKEN", "token-of-the-gateway"),
        ("CLIENT_SECRET", "secret-of-the-client"),
        ("shop_prod_basic_password", "from settings"),
    ];
    let settings = ["--shop_prod_basic_username=you"];
    let mut gateway = Gateway::run_with(project.directory(), "shop/target/shop.mgw", &settings, &environment).await;
    let clients_own = [("authorization", "Bearer of-the-client"), ("x-backend-key", "of the client")];
    let seen = async |path: &str| {
        let answer = gateway.get(&gateway.http(path), &clients_own).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()["headers"].clone()
    };
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    assert_eq!(seen("/shop/basic").await["authorization"], basic("me:pass: word"));
    assert_eq!(seen("/shop/named").await["authorization"], basic("you:from settings"));
    assert_eq!(seen("/shop/bearer").await["authorization"], "Bearer token-of-the-gateway");
    assert_eq!(seen("/shop/key").await["x-backend-key"], "first key");
    // A public operation's own headers are its backend's, as they were.
    assert_eq!(seen("/shop/nothing").await["authorization"], "Bearer of-the-client");
    let granted = eventually("a token of the server", async || {
        let answer = gateway.get(&gateway.http("/shop/oauth2"), &clients_own).await;
        if answer.status != 200 {
            assert_eq!((answer.status, answer.code()), (503, 101_503), "{answer:?}");
            return None;
        }
        Some(answer.json()["headers"]["authorization"].clone())
    })
    .await;
    assert!(granted.as_str().unwrap().starts_with("Bearer own-"), "{granted}");
    let (form, by) = server.granted().remove(0);
    let expected =
        "grant_type=client_credentials&client_id=gateway&client_secret=secret-of-the-client&scope=read%20write";
    assert_eq!((form.as_str(), by.as_str()), (expected, ""));
    // A caller's key does not get to the backend, the gateway's token does; who has none gets nowhere.
    let own_key = gateway.api_key().await;
    let answer = gateway.get(&gateway.http("/shop/guarded"), &[("x-api-key", &own_key)]).await.json();
    assert_eq!(answer["headers"]["authorization"], "Bearer token-of-the-gateway");
    assert_eq!(answer["headers"].get("x-api-key"), None);
    assert_eq!(gateway.get(&gateway.http("/shop/guarded"), &clients_own).await.status, 401);

    // Another key, when the gateway reads its files again; the generation is the same.
    replace(&key, b"second key\n");
    let generation = gateway.live.generation.clone();
    gateway.signal(nix::sys::signal::Signal::SIGHUP);
    eventually("the second key is sent", async || {
        let headers = gateway.get(&gateway.http("/shop/key"), &[]).await.json()["headers"].clone();
        (headers["x-backend-key"] == "second key").then_some(())
    })
    .await;
    assert_eq!(gateway.status().await["live"], json!(generation));
    // One that is gone is refused, and nothing else changes.
    std::fs::remove_file(&key).unwrap();
    gateway.signal(nix::sys::signal::Signal::SIGHUP);
    eventually("it is refused", async || gateway.log().contains("cannot be read").then_some(())).await;
    assert_eq!(gateway.get(&gateway.http("/shop/key"), &[]).await.json()["headers"]["x-backend-key"], "second key");

    let shown = command(project.directory(), &["inspect", "shop/target/shop.mgw"]).await;
    let status = gateway.status().await.to_string();
    let metrics = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    gateway.stop().await;
    for secret in ["pass: word", "token-of-the-gateway", "secret-of-the-client", "from settings", "in the open"] {
        for (place, text) in [
            ("log", gateway.log()),
            ("status", status.clone()),
            ("metrics", metrics.clone()),
            ("inspect", String::from_utf8_lossy(&shown.stdout).into_owned()),
        ] {
            assert!(!text.contains(secret), "{place} has `{secret}`");
        }
    }

    replace(&key, b"a key");
    environment.retain(|(name, _)| !["SHOP_TOKEN", "shop_prod_basic_password"].contains(name));
    std::fs::write(project.directory().join("gateway.log"), "").unwrap();
    let mut gateway = Gateway::start_with(project.directory(), "run", "shop/target/shop.mgw", &settings, &environment);
    let log = gateway.refusal().await;
    for part in ["`$env{SHOP_TOKEN}`", "is not set", "`shop_prod_basic_password`", "api_definitions/shop.json:"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("only").await;
    let nobody = microgw_tests::gateway::free_port();
    let oauth2 = json!({ "type": "oauth2", "tokenUrl": format!("http://127.0.0.1:{nobody}/token"), "clientId": "gateway",
        "clientSecret": "$env{CLIENT_SECRET}" });
    let project = Project::new();
    project.define("shop", &definition("shop", "/shop", backend.address, &json!({ "/oauth2": to(&backend, &oauth2) })));
    project.build().await;
    let environment = [("CLIENT_SECRET", "secret-of-the-client")];
    let gateway = Gateway::run_with(project.directory(), "shop/target/shop.mgw", &[], &environment).await;
    for headers in [vec![], vec![("authorization", "Bearer of-the-client")]] {
        let answer = gateway.get(&gateway.http("/shop/oauth2"), &headers).await;
        assert_eq!((answer.status, answer.code()), (503, 101_503), "{answer:?}");
    }
    assert_eq!(backend.requests(), 0);
}
