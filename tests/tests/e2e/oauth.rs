//! The key manager's endpoints for clients, and what the gateway says about its APIs as protected resources.

use microgw_tests::authorization_server::AuthorizationServer;
use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway};
use microgw_tests::project::{Project, definition, get};
use serde_json::{Value, json};

async fn run(project: &Project, config: &str) -> Gateway {
    project.build().await;
    let config = project.config(config);
    Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await
}

#[tokio::test]
async fn the_key_managers_endpoints() {
    if !envoy_is_here() {
        return;
    }
    let (backend, server) = (Backend::start("shop").await, AuthorizationServer::start().await);
    let project = Project::new();
    // A template that would take all of them.
    let paths = json!({ "/{any}": get(&json!([{ "oauth": [] }])) });
    project.define("shop", &definition("Shop", "", backend.address, &paths));
    let settings = format!("{}[listenerConfig]\ntokenListenerPort = 0\n", server.settings());
    let gateway = run(&project, &settings).await;
    let token = gateway.live.token.expect("it has a listener for tokens");

    for base in [gateway.https(""), format!("https://{token}")] {
        let posted = gateway.client.post(format!("{base}/token?a=b")).basic_auth("app", Some("pw"));
        let answer =
            Answer::of(posted.header("content-type", "application/x-www-form-urlencoded").body("grant_type=x")).await;
        assert_eq!(answer.status, 200, "{base} {answer:?}");
        for (method, path) in [("POST", "revoke"), ("GET", "authorize"), ("GET", "userinfo")] {
            let request = gateway.client.request(method.parse().unwrap(), format!("{base}/{path}?state=1"));
            let seen = Answer::of(request.bearer_auth("T")).await;
            assert_eq!(seen.status, 200, "{base} {path} {seen:?}");
            let seen = seen.json();
            assert_eq!(seen["path"], format!("/oauth2/{path}"));
            assert_eq!(seen["query"], "state=1");
            assert_eq!(seen["host"], server.address.to_string());
            assert_eq!(seen["authorization"], "Bearer T", "it is the key manager's to judge");
        }
        let wrong = gateway.get(&format!("{base}/token"), &[]).await;
        assert_eq!((wrong.status, wrong.code(), wrong.header("allow")), (405, 405, "POST"), "{base}");
    }
    let granted = server.granted();
    assert_eq!(granted.len(), 2);
    assert_eq!(granted[0], ("grant_type=x".to_owned(), "Basic YXBwOnB3".to_owned()));
    // No API is on the one, and no endpoint of the key manager in the clear.
    let api = gateway.get(&format!("https://{token}/other"), &[]).await;
    assert_eq!((api.status, api.code()), (404, 404));
    assert_eq!(gateway.get(&gateway.https("/other"), &[]).await.status, 401);
    assert_eq!(gateway.get(&gateway.http("/userinfo"), &[]).await.status, 401, "the API's template");

    drop(server);
    microgw_tests::eventually("its end is told", async || {
        let failed = gateway.get(&format!("https://{token}/userinfo"), &[]).await;
        ((failed.status, failed.code()) == (503, 101_503)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_key_manager_is_verified() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let identity = microgw_tests::tls::Identity::new("localhost");
    let stranger = Backend::start_tls("key manager", &identity, None).await;
    let project = Project::new();
    project.define(
        "shop",
        &definition("Shop", "/shop", backend.address, &json!({ "/a": get(&json!([{ "oauth": [] }])) })),
    );
    // Not even where backends are not.
    let settings = format!(
        "[keyManager]\nserverUrl = \"https://localhost:{}\"\noauthEndpoints = true\nusername = 'a'\npassword = 'b'\n\
         [httpClients]\ndisableSslVerification = true\n",
        stranger.address.port()
    );
    let gateway = run(&project, &settings).await;
    assert!(gateway.live.token.is_none());
    let answer = Answer::of(gateway.client.post(gateway.https("/token"))).await;
    assert_eq!((answer.status, answer.code()), (503, 101_503), "{answer:?}");
    assert_eq!(stranger.requests(), 0);
}

#[tokio::test]
async fn an_api_that_would_be_hidden_is_not_published() {
    if !envoy_is_here() {
        return;
    }
    let (backend, server) = (Backend::start("shop").await, AuthorizationServer::start().await);
    let project = Project::new();
    project
        .define("shop", &definition("Shop", "", backend.address, &json!({ "/token": get(&json!([{ "oauth": [] }])) })));
    project.build().await;
    let config = project.config(&format!("{}oauthEndpoints = true\n", server.settings()));
    let gateway = Gateway::start(project.directory(), "run", "shop/target/shop.mgw", &[&config]);
    microgw_tests::eventually("it says why", async || {
        let said =
            "`/token` of API `Shop:1.0` is a path that the gateway serves itself with `keyManager.oauthEndpoints`";
        gateway.log().contains(said).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_said_of_protected_resources() {
    if !envoy_is_here() {
        return;
    }
    let (backend, server) = (Backend::start("shop").await, AuthorizationServer::start().await);
    let project = Project::new();
    let many: Vec<String> = (0..400).map(|index| format!("scope:number:{index}")).collect();
    let paths = json!({ "/read": get(&json!([{ "oauth": ["read"] }])), "/many": get(&json!([{ "oauth": many }])), "/key": get(&json!([{ "key": [] }])) });
    project.define("shop", &definition("Shop", "/shop/v1", backend.address, &paths));
    let keys = json!({ "/key": get(&json!([{ "key": [] }])) });
    project.define("keys", &definition("Keys", "/keys", backend.address, &keys));
    let settings = format!(
        "{}issuer = \"https://as.example\"\n[gateway]\npublicUrl = \"https://api.example.com/\"\n\
         [[jwtTokenConfig]]\nissuer = \"https://idp.example/\"\njwksURL = \"{}/jwks\"\n",
        server.settings(),
        server.url()
    );
    let gateway = run(&project, &settings).await;
    let metadata = "https://api.example.com/.well-known/oauth-protected-resource/shop/v1";
    let answer = gateway.get(&gateway.https("/.well-known/oauth-protected-resource/shop/v1"), &[]).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{answer:?}");
    let said = answer.json();
    assert_eq!(said["resource"], "https://api.example.com/shop/v1");
    assert_eq!(said["authorization_servers"], json!(["https://as.example", "https://idp.example/"]));
    assert_eq!(said["bearer_methods_supported"], json!(["header"]));
    assert_eq!(said["scopes_supported"].as_array().map(Vec::len), Some(401));
    let all: Value = gateway.get(&gateway.http("/.well-known/oauth-protected-resource"), &[]).await.json();
    assert_eq!(all["resource"], "https://api.example.com");
    // An API without access tokens is no such resource.
    let none = gateway.get(&gateway.https("/.well-known/oauth-protected-resource/keys"), &[]).await;
    assert_eq!((none.status, none.code()), (404, 404));
    let posted = Answer::of(gateway.client.post(gateway.https("/.well-known/oauth-protected-resource"))).await;
    assert_eq!((posted.status, posted.header("allow")), (405, "GET"));

    for (token, error) in [(None, ""), (Some("Bearer unknown"), ", error=\"invalid_token\"")] {
        let headers: Vec<_> = token.iter().map(|token| ("authorization", *token)).collect();
        let refused = gateway.get(&gateway.https("/shop/v1/read"), &headers).await;
        let challenge = format!("Bearer realm=\"micro-gw\"{error}, resource_metadata=\"{metadata}\"");
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, challenge.as_str()));
    }
    server.knows("good", &json!({ "sub": "carol" }));
    let refused = gateway.get(&gateway.https("/shop/v1/read"), &[("authorization", "Bearer good")]).await;
    assert!(
        refused.header("www-authenticate").ends_with(&format!("scope=\"read\", resource_metadata=\"{metadata}\"")),
        "{refused:?}"
    );
    let key = gateway.get(&gateway.https("/shop/v1/key"), &[]).await;
    assert_eq!(key.header("www-authenticate"), "ApiKey realm=\"micro-gw\"");
}
