//! Header edits that need no identity, as backends and clients see them.

use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Answer, Gateway, command};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{PATIENCE, envoy_is_here};
use serde_json::{Value, json};

fn shop(backend: &Backend) -> Value {
    let mut paths = json!({ "/open": get(&json!([])), "/guarded": get(&json!([{ "key": [] }])) });
    paths["/open"]["get"]["x-microgw-headers"] = json!({
        "request": { "set": { "X-Tenant": "open" }, "add": { "X-Tag": ["two", "three"] }, "remove": ["x-debug"] },
        "response": { "remove": ["X-Frame-Options"], "set": { "x-literal": "100% %REQ(host)% %START_TIME%" } },
    });
    paths["/mocked"] = get(&json!([{ "key": [] }]));
    paths["/mocked"]["get"]["x-microgw-mock"] = json!(true);
    paths["/mocked"]["get"]["x-microgw-headers"] = json!({ "response": { "add": { "X-Tag": ["one", "two"] } } });
    let mut api = definition("Shop", "/shop", backend.address, &paths);
    api["x-microgw-headers"] = json!({
        "request": { "set": { "X-Tenant": "shop", "X-Literal": "%DOWNSTREAM_REMOTE_ADDRESS% 5%" }, "add": { "x-tag": "one" } },
        "response": { "set": { "Strict-Transport-Security": "max-age=31536000", "X-Frame-Options": "DENY" } },
    });
    api
}

#[tokio::test]
async fn what_is_set_added_and_removed() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = Project::new();
    project.define("shop", &shop(&backend));
    project.build().await;
    let config = project.config("[jwtGeneratorConfig]\njwtGeneratorEnabled = true\n");
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;

    let sent = [("x-tenant", "mine"), ("x-tag", "zero"), ("x-debug", "1")];
    let answer = gateway.get(&gateway.http("/shop/open"), &sent).await;
    let seen = answer.json()["headers"].clone();
    assert_eq!(seen["x-tenant"], "open");
    assert!(seen["x-tag"].as_str().unwrap().ends_with("three"), "{seen}");
    assert_eq!(seen["x-literal"], "%DOWNSTREAM_REMOTE_ADDRESS% 5%");
    assert_eq!(seen.get("x-debug"), None);
    assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
    assert_eq!(answer.header("x-literal"), "100% %REQ(host)% %START_TIME%");
    assert!(!answer.headers.contains_key("x-frame-options"), "{answer:?}");

    // Guarded: the edits come after the decision, and what the engine sets stays.
    let key = gateway.api_key().await;
    let answer = gateway.get(&gateway.https("/shop/guarded"), &[("x-api-key", &key), ("x-debug", "1")]).await;
    let seen = answer.json()["headers"].clone();
    assert_eq!((&seen["x-tenant"], &seen["x-debug"]), (&json!("shop"), &json!("1")), "{seen}");
    assert!(seen["x-jwt-assertion"].as_str().unwrap().starts_with("ey"), "{seen}");
    assert_eq!((seen.get("x-api-key"), answer.header("x-frame-options")), (None, "DENY"));
    // Refusals are the gateway's responses, and are edited like others.
    let answer = gateway.get(&gateway.https("/shop/guarded"), &[]).await;
    assert_eq!((answer.status, answer.code(), answer.header("x-frame-options")), (401, 900_902, "DENY"), "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
    for (headers, status) in [(vec![], 401), (vec![("x-api-key", key.as_str())], 200)] {
        let answer = gateway.get(&gateway.https("/shop/mocked"), &headers).await;
        assert_eq!((answer.status, answer.header("x-frame-options")), (status, "DENY"), "{answer:?}");
        assert_eq!(answer.headers.get_all("x-tag").iter().count(), 2, "{answer:?}");
    }
    let request = gateway.client.post(gateway.https("/shop/guarded"));
    assert_eq!(Answer::of(request).await.status, 405);
}

#[tokio::test]
async fn what_settings_have_the_engine_set_cannot_be_edited() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = Project::new();
    let mut api = definition("Shop", "/shop", backend.address, &json!({ "/open": get(&json!([])) }));
    api["x-microgw-headers"] = json!({ "request": { "remove": ["X_User"] } });
    project.define("shop", &api);
    project.build().await;
    let config = project.config("[identityHeaders]\nuser = 'X-User'\n");
    let arguments =
        ["run", "shop/target/shop.mgw", &config, "--listenerConfig.httpPort=0", "--listenerConfig.httpsPort=0"];
    let ended = tokio::time::timeout(PATIENCE, command(project.directory(), &arguments)).await.expect("it gives up");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        !ended.status.success() && said.contains("x_user") && said.contains("api_definitions/shop.json:"),
        "{said}"
    );
}
