//! Production and sandbox: which backend a caller reaches is the credential's affair.

use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::Gateway;
use microgw_tests::issuer::TokenKey;
use microgw_tests::project::{Project, definition, get};
use serde_json::{Value, json};

const ISSUER: &str = "https://idp.example/";

/// A definition whose endpoints are these alone.
fn api(title: &str, base: &str, endpoints: &[(&str, &Backend)]) -> Value {
    let security = json!([{ "oauth": [] }, { "key": [] }]);
    let paths = json!({ "/op": get(&security), "/by/{id}": get(&security), "/open": get(&json!([])),
        "/and": get(&json!([{ "oauth": [], "query_key": [] }])) });
    let mut api = definition(title, base, endpoints[0].1.address, &paths);
    api.as_object_mut().unwrap().remove("servers");
    for (environment, backend) in endpoints {
        let url = format!("http://{}/behind", backend.address);
        api[format!("x-wso2-{environment}-endpoints")] = json!({ "urls": [url], "type": "http" });
    }
    api
}

#[tokio::test]
async fn the_key_type_picks_the_backend() {
    if !envoy_is_here() {
        return;
    }
    let (production, sandbox) = (Backend::start("production").await, Backend::start("sandbox").await);
    let key = TokenKey::new("one");
    let project = Project::new();
    project.define("both", &api("Both", "/both", &[("production", &production), ("sandbox", &sandbox)]));
    project.define("live", &api("Live", "/live", &[("production", &production)]));
    project.define("trial", &api("Trial", "/trial", &[("sandbox", &sandbox)]));
    project.build().await;
    let jwks = project.directory().join("one.jwks");
    std::fs::write(&jwks, json!({ "keys": [key.jwk()] }).to_string()).unwrap();
    let config = project
        .config(&format!("[[jwtTokenConfig]]\nissuer = \"{ISSUER}\"\njwksURL = \"file://{}\"\n", jwks.display()));
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;

    let token = |claims: &Value| format!("Bearer {}", key.token(ISSUER, claims));
    let live_token = token(&json!({ "keytype": "PRODUCTION" }));
    let plain_token = token(&json!({}));
    let trial_token = token(&json!({ "keytype": "SANDBOX" }));
    let wishes = [None, Some("sandbox"), Some("production"), Some("Sandbox"), Some("")];
    for path in ["op", "by/1?environment=sandbox"] {
        for (credential, sandboxed) in [(&live_token, false), (&plain_token, false), (&trial_token, true)] {
            // What a client says about its environment is not heard.
            for wish in wishes {
                let ask = async |base: &str| {
                    let mut headers = vec![("authorization", credential.as_str())];
                    headers.extend(wish.map(|wish| ("x-microgw-environment", wish)));
                    gateway.get(&gateway.https(&format!("/{base}/{path}")), &headers).await
                };
                let both = ask("both").await;
                assert_eq!(both.status, 200, "{both:?}");
                assert_eq!(both.json()["backend"], if sandboxed { "sandbox" } else { "production" });
                assert_eq!(both.json()["path"], format!("/behind/{path}"));
                assert!(both.json()["headers"].get("x-microgw-environment").is_none());
                for (base, theirs, message) in [
                    ("live", !sandboxed, "Sandbox key offered to the API with no sandbox endpoint"),
                    ("trial", sandboxed, "Production key offered to the API with no production endpoint"),
                ] {
                    let answer = ask(base).await;
                    if theirs {
                        assert_eq!((answer.status, &answer.json()["backend"]), (200, &both.json()["backend"]));
                    } else {
                        assert_eq!((answer.status, answer.code()), (403, 900_901), "{base}: {answer:?}");
                        assert_eq!(answer.json()["fault"]["message"], message);
                    }
                }
            }
        }
    }

    // Nobody's caller is a production caller.
    assert_eq!(gateway.get(&gateway.http("/both/open"), &[]).await.json()["backend"], "production");
    let open = gateway.get(&gateway.http("/trial/open"), &[("x-microgw-environment", "sandbox")]).await;
    assert_eq!((open.status, open.code()), (403, 900_901));
    // Our own keys are production keys.
    let own = gateway.api_key().await;
    assert_eq!(gateway.get(&gateway.http("/both/op"), &[("x-api-key", &own)]).await.json()["backend"], "production");
    assert_eq!(gateway.get(&gateway.http("/trial/op"), &[("x-api-key", &own)]).await.status, 403);
    // Where both are asked for, the user's token counts, and the key is cut out of the sandbox's request, too.
    let both = gateway.http(&format!("/both/and?a=1&key={own}&b=2"));
    for (credential, name) in [(&live_token, "production"), (&trial_token, "sandbox")] {
        let seen = gateway.get(&both, &[("authorization", credential)]).await.json();
        assert_eq!((&seen["backend"], &seen["path"]), (&name.into(), &"/behind/and?a=1&b=2".into()));
    }
    // A key type that nobody knows is no production key.
    for odd in [json!("sandbox"), json!("OTHER"), json!(1)] {
        let answer =
            gateway.get(&gateway.http("/both/op"), &[("authorization", &token(&json!({ "keytype": odd })))]).await;
        assert_eq!((answer.status, answer.code()), (401, 900_901));
    }
}
