//! With a certified OpenID provider: what it issues is accepted here, and what it takes back is not.

use microgw_tests::backend::Backend;
use microgw_tests::dpop::ProofKey;
use microgw_tests::gateway::{Answer, Gateway, free_port};
use microgw_tests::openid_provider::{
    APP, AUDIENCE, DPOP_APP, GATEWAY, JWT, JWT_RSA, OPAQUE, OpenidProvider, openid_provider_is_here, secret,
};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{envoy_is_here, eventually};
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

/// Its keys are where it says, and its tokens as RFC 9068 says.
fn issuer(provider: &OpenidProvider, more: &str) -> String {
    let issuer = &provider.issuer;
    format!(
        "[[jwtTokenConfig]]\nissuer = \"{issuer}\"\naudience = \"{AUDIENCE}\"\ndiscovery = true\nprofile = \"rfc9068\"\n{more}\n"
    )
}

#[tokio::test]
async fn signed_tokens_of_a_provider() {
    if !envoy_is_here() || !openid_provider_is_here() {
        return;
    }
    let (provider, backend, project) = (OpenidProvider::start().await, Backend::start("shop").await, Project::new());
    let gateway = gateway(&project, &backend, &issuer(&provider, "")).await;
    for resource in [JWT, JWT_RSA] {
        let token = provider.token(APP, resource, "read").await;
        assert_eq!(ask(&gateway, "/shop/read", &token).await.status, 200);
        assert_eq!(ask(&gateway, "/shop/write", &token).await.code(), 900_910);
    }
    // An opaque token is one that nobody here can read.
    assert_eq!(ask(&gateway, "/shop/read", &provider.token(APP, OPAQUE, "read").await).await.code(), 900_901);
}

/// The provider tells who has which role; what that is worth here is configured.
#[tokio::test]
async fn claims_of_a_provider_mean_what_is_configured() {
    if !envoy_is_here() || !openid_provider_is_here() {
        return;
    }
    let (provider, backend, project) = (OpenidProvider::start().await, Backend::start("shop").await, Project::new());
    let claims = "[[jwtTokenConfig.claims]]\nremoteClaim = \"roles\"\nlocalClaim = \"scope\"\n\
                  [jwtTokenConfig.claims.values]\nwriter = \"write\"\n";
    let gateway = gateway(&project, &backend, &issuer(&provider, claims)).await;
    let token = provider.token(APP, JWT, "read").await;
    assert_eq!(ask(&gateway, "/shop/write", &token).await.status, 200);
    assert_eq!(ask(&gateway, "/shop/read", &token).await.code(), 900_910);
}

/// The gateway starts before its issuer, and follows it when it comes back as another. Takes as long as the pause between
/// two fetches that tokens can cause: 30 s.
#[tokio::test]
async fn a_provider_that_comes_later_and_rotates_its_keys() {
    if !envoy_is_here() || !openid_provider_is_here() {
        return;
    }
    let (backend, project) = (Backend::start("shop").await, Project::new());
    let port = free_port();
    let wish = json!({ "port": port });
    let provider = OpenidProvider::start_as(&wish).await;
    let (config, early) = (issuer(&provider, ""), provider.token(APP, JWT, "read").await);
    provider.stop().await;
    let gateway = gateway(&project, &backend, &config).await;
    let answer = ask(&gateway, "/shop/read", &early).await;
    assert_eq!((answer.status, answer.code()), (503, 900_900), "{answer:?}");

    let provider = OpenidProvider::start_as(&wish).await;
    let token = provider.token(APP, JWT, "read").await;
    let works = async |token: &str| (ask(&gateway, "/shop/read", token).await.status == 200).then_some(());
    eventually("the keys are fetched", async || works(&token).await).await;
    provider.rotate_keys().await;
    let next = provider.token(APP, JWT, "read").await;
    eventually("the new keys are fetched", async || works(&next).await).await;
    // What the keys before vouched for is worth nothing now.
    assert_eq!(ask(&gateway, "/shop/read", &token).await.code(), 900_901);
    assert_eq!(ask(&gateway, "/shop/read", &early).await.code(), 900_901);
}

async fn prove(gateway: &Gateway, path: &str, token: &str, proof: &str) -> Answer {
    let headers = [("authorization", &*format!("DPoP {token}")), ("dpop", proof)];
    gateway.get(&gateway.http(path), &headers).await
}

#[tokio::test]
async fn tokens_that_are_bound_to_a_key() {
    if !envoy_is_here() || !openid_provider_is_here() {
        return;
    }
    let (provider, backend, project) = (OpenidProvider::start().await, Backend::start("shop").await, Project::new());
    let gateway = gateway(&project, &backend, &issuer(&provider, "")).await;
    let (own, other) = (ProofKey::default(), ProofKey::default());
    let token = provider.bound_token(DPOP_APP, JWT, "read", &own).await;
    let url = gateway.http("/shop/read");
    let proof = || own.proof("GET", &url, Some(&token));
    let first = proof();
    let seen = prove(&gateway, "/shop/read", &token, &first).await;
    assert_eq!(seen.status, 200, "{seen:?}");
    let headers = &seen.json()["headers"];
    assert!(headers.get("authorization").is_none() && headers.get("dpop").is_none(), "{headers}");

    let challenge = |answer: &Answer| {
        let all = answer.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap().to_owned());
        all.collect::<Vec<_>>().join("; ")
    };
    let for_path = |path: &str| own.proof("GET", &gateway.http(path), Some(&token));
    for (what, path, proof) in [
        ("used before", "/shop/read", first.clone()),
        ("another key", "/shop/read", other.proof("GET", &url, Some(&token))),
        ("another method", "/shop/read", own.proof("POST", &url, Some(&token))),
        ("another path", "/shop/read", for_path("/shop/write")),
        ("another host", "/shop/read", own.proof("GET", "http://shop.example/shop/read", Some(&token))),
        ("TLS that is not there", "/shop/read", own.proof("GET", &url.replace("http:", "https:"), Some(&token))),
        ("another token", "/shop/read", own.proof("GET", &url, Some("other"))),
        ("no token", "/shop/read", own.proof("GET", &url, None)),
        ("no proof at all", "/shop/read", "x".to_owned()),
    ] {
        let answer = prove(&gateway, path, &token, &proof).await;
        assert_eq!((answer.status, answer.code()), (401, 900_901), "{what}: {answer:?}");
        assert!(challenge(&answer).contains("DPoP realm=\"micro-gw\", algs=\""), "{what}: {answer:?}");
        assert!(challenge(&answer).contains("error=\"invalid_dpop_proof\""), "{what}: {answer:?}");
    }
    let (a, b) = (proof(), proof());
    let authorization = format!("DPoP {token}");
    let twice = gateway.get(&url, &[("authorization", &authorization), ("dpop", &a), ("dpop", &b)]).await;
    assert_eq!(twice.code(), 900_901, "two proofs");
    let none = gateway.get(&url, &[("authorization", &authorization)]).await;
    assert_eq!(none.code(), 900_901, "no proof");

    // A bound token is no bearer token, and a bearer token is not bound.
    let free = ask(&gateway, "/shop/read", &token).await;
    assert_eq!(free.code(), 900_901);
    assert!(challenge(&free).contains("error=\"invalid_token\""), "{free:?}");
    let bearer = provider.token(APP, JWT, "read").await;
    let answer = prove(&gateway, "/shop/read", &bearer, &own.proof("GET", &url, Some(&bearer))).await;
    assert_eq!(answer.code(), 900_901);

    // Enough for one, too little for the other.
    let scope = prove(&gateway, "/shop/write", &token, &for_path("/shop/write")).await;
    assert_eq!((scope.status, scope.code()), (403, 900_910));
    assert!(challenge(&scope).starts_with("DPoP "), "{scope:?}");
    let query = gateway.http("/shop/read?a=b");
    let answer = gateway.get(&query, &[("authorization", &authorization), ("dpop", &proof())]).await;
    assert_eq!(answer.status, 200, "the query does not count");
    // Over TLS the URL is another.
    let secure = gateway.https("/shop/read");
    let answer = gateway
        .get(&secure, &[("authorization", &authorization), ("dpop", &own.proof("GET", &secure, Some(&token)))])
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn an_issuer_that_insists_on_proof_behind_a_proxy() {
    if !envoy_is_here() || !openid_provider_is_here() {
        return;
    }
    let (provider, backend, project) = (OpenidProvider::start().await, Backend::start("shop").await, Project::new());
    let config = format!(
        "{}[gateway]\npublicUrl = \"https://api.example.com\"\n[dpopConfig]\nreplayCapacity = 16\n",
        issuer(&provider, "requireDpop = true")
    );
    let gateway = gateway(&project, &backend, &config).await;
    let bearer = ask(&gateway, "/shop/read", &provider.token(APP, JWT, "read").await).await;
    assert_eq!(bearer.code(), 900_901);
    assert!(bearer.header("www-authenticate").starts_with("DPoP "), "{bearer:?}");
    let key = ProofKey::default();
    let token = provider.bound_token(DPOP_APP, JWT, "read", &key).await;
    let outside = "https://api.example.com/shop/read";
    let inside = gateway.http("/shop/read");
    assert_eq!(prove(&gateway, "/shop/read", &token, &key.proof("GET", &inside, Some(&token))).await.status, 401);
    let first = key.proof("GET", outside, Some(&token));
    assert_eq!(prove(&gateway, "/shop/read", &token, &first).await.status, 200);
    // There is room for few: then nobody passes, and what was used is not forgotten.
    let full = eventually("there is no room", async || {
        let answer = prove(&gateway, "/shop/read", &token, &key.proof("GET", outside, Some(&token))).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!((full.status, full.code()), (503, 900_900), "{full:?}");
    assert_eq!(prove(&gateway, "/shop/read", &token, &first).await.status, 401);
}

/// The provider is asked about them; what it takes back is worth nothing after the second for which it is believed.
#[tokio::test]
async fn opaque_tokens_of_a_provider() {
    if !envoy_is_here() || !openid_provider_is_here() {
        return;
    }
    let (provider, backend, project) = (OpenidProvider::start().await, Backend::start("shop").await, Project::new());
    let config = format!(
        "[keyManager]\nintrospectionUrl = \"{}\"\nissuer = \"{}\"\naudience = \"{AUDIENCE}\"\ncacheExpiryTime = 1000\n\
         [keymanager.security.basic]\nusername = \"{GATEWAY}\"\npassword = \"{}\"\n",
        provider.url("/token/introspection"),
        provider.issuer,
        secret(GATEWAY)
    );
    let gateway = gateway(&project, &backend, &config).await;
    let token = provider.token(APP, OPAQUE, "read").await;
    assert_eq!(ask(&gateway, "/shop/read", &token).await.status, 200);
    assert_eq!(ask(&gateway, "/shop/write", &token).await.code(), 900_910);
    assert_eq!(ask(&gateway, "/shop/read", "made-up").await.code(), 900_901);
    provider.revoke(APP, &token).await;
    eventually("it is asked about again", async || {
        let answer = ask(&gateway, "/shop/read", &token).await;
        (answer.status == 401).then(|| assert_eq!(answer.code(), 900_901))
    })
    .await;

    // Bound ones as well: the answer says to which key.
    let key = ProofKey::default();
    let bound = provider.bound_token(DPOP_APP, OPAQUE, "read", &key).await;
    let proof = key.proof("GET", &gateway.http("/shop/read"), Some(&bound));
    assert_eq!(ask(&gateway, "/shop/read", &bound).await.code(), 900_901);
    assert_eq!(prove(&gateway, "/shop/read", &bound, &proof).await.status, 200);
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
