//! With a certified OpenID provider: what it issues is accepted here, and what it takes back is not.

use microgw_tests::backend::Backend;
use microgw_tests::dpop::ProofKey;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway};
use microgw_tests::openid_provider::{
    APP, AUDIENCE, DPOP_APP, JWT, JWT_RSA, OPAQUE, OpenidProvider, openid_provider_is_here,
};
use microgw_tests::project::{Project, definition, get};
use serde_json::json;

async fn gateway(project: &Project, backend: &Backend, config: &str) -> Gateway {
    let paths = json!({
        "/read": get(&json!([{ "oauth": ["read"] }])),
        "/write": get(&json!([{ "oauth": ["write"] }])),
    });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.build().await;
    let config = project.config(config);
    Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await
}

async fn ask(gateway: &Gateway, path: &str, token: &str) -> Answer {
    gateway.get(&gateway.http(path), &[("authorization", &format!("Bearer {token}"))]).await
}

#[tokio::test]
async fn signed_tokens_of_a_provider() {
    if !envoy_is_here() || !openid_provider_is_here() {
        return;
    }
    let (provider, backend, project) = (OpenidProvider::start().await, Backend::start("shop").await, Project::new());
    let config = format!(
        "[[jwtTokenConfig]]\nissuer = \"{}\"\naudience = \"{AUDIENCE}\"\njwksURL = \"{}\"\n",
        provider.issuer,
        provider.url("/jwks")
    );
    let gateway = gateway(&project, &backend, &config).await;
    for resource in [JWT, JWT_RSA] {
        let token = provider.token(APP, resource, "read").await;
        assert_eq!(ask(&gateway, "/shop/read", &token).await.status, 200);
        assert_eq!(ask(&gateway, "/shop/write", &token).await.code(), 900_910);
    }
    // An opaque token is one that nobody here can read.
    assert_eq!(ask(&gateway, "/shop/read", &provider.token(APP, OPAQUE, "read").await).await.code(), 900_901);
}

/// What the harness itself promises to other tests.
#[tokio::test]
async fn the_provider_is_one() {
    if !openid_provider_is_here() {
        return;
    }
    let provider = OpenidProvider::start().await;
    let token = provider.token(APP, OPAQUE, "read write").await;
    let said = provider.introspect(&token).await;
    assert_eq!(
        (&said["active"], &said["client_id"], &said["scope"]),
        (&json!(true), &json!(APP), &json!("read write"))
    );
    provider.revoke(APP, &token).await;
    assert_eq!(provider.introspect(&token).await, json!({ "active": false }));
    let key = ProofKey::default();
    let bound = provider.bound_token(DPOP_APP, OPAQUE, "read", &key).await;
    let said = provider.introspect(&bound).await;
    assert_eq!((&said["cnf"]["jkt"], &said["token_type"]), (&json!(key.thumbprint()), &json!("DPoP")));
}
