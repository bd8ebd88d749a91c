//! What a refusal tells those who speak gRPC, and those who read the access log.

use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Answer, Gateway, free_port};
use microgw_tests::issuer::{JwksServer, TokenKey};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{envoy_is_here, eventually, tls};
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.example/";

#[tokio::test]
async fn grpc_callers_are_told_that_it_is_used_up() {
    if !envoy_is_here() {
        return;
    }
    let (backend, project) = (Backend::start("shop").await, Project::new());
    let tiered = |tier: &str| {
        json!({ "post": {
            "security": [], "x-wso2-throttling-tier": tier, "responses": { "200": { "description": "done" } },
        } })
    };
    let paths = json!({ "/v1.Shop/Order": tiered("One"), "/v1.Shop/Pay": tiered("Shared") });
    project.define("shop", &definition("Shop", "", backend.address, &paths));
    project.write(
        "policies.yaml",
        "resourcePolicies:
  - One: {count: 1, unitTime: 1, timeUnit: year}
  - Shared: {count: 1, unitTime: 1, timeUnit: year, shared: exact, onStoreFailure: deny}
denyPolicies:
  - Bad: {when: {header: {name: x-kind, equals: bad}}}
",
    );
    project.build().await;
    // Nobody is there.
    let nowhere = format!("--throttlingConfig.redis.url=redis://127.0.0.1:{}", free_port());
    let settings = [nowhere.as_str(), "--throttlingConfig.rateLimitHeaders=both"];
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &settings).await;
    let http2 = tls::anonymous(true).build().unwrap();
    let call = async |path: &str, kind: &str| {
        let request = http2.post(gateway.https(path)).header("content-type", "application/grpc+proto");
        Answer::of(request.header("te", "trailers").header("x-kind", kind)).await
    };
    let told = |answer: &Answer, status: &str, message: &str| {
        // All in the head: an answer of trailers alone.
        assert_eq!((answer.status, &*answer.body), (200, ""), "{answer:?}");
        assert_eq!((answer.header("grpc-status"), answer.header("grpc-message")), (status, message), "{answer:?}");
        assert!(answer.header("content-type").starts_with("application/grpc"), "{answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store", "{answer:?}");
    };
    let answer = call("/v1.Shop/Order", "good").await;
    assert_eq!((answer.status, answer.header("grpc-status")), (200, ""), "{answer:?}");
    assert!(answer.header("ratelimit").starts_with("\"One\";r=0;t="), "{answer:?}");

    let answer = call("/v1.Shop/Order", "good").await;
    told(&answer, "8", "You have exceeded your quota");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=366 * 86_400).contains(&wait), "{answer:?}");
    assert!(answer.header("ratelimit").starts_with(&format!("\"One\";r=0;t={wait}")), "{answer:?}");
    assert!(answer.header("ratelimit-policy").starts_with("\"One\";q=1;w=31536000;pk=:"), "{answer:?}");
    assert_eq!((answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")), ("1", "0"));

    // It is a number of the caller's own that is used up, or a store of ours that is missing, or neither.
    let answer = call("/v1.Shop/Pay", "good").await;
    told(&answer, "14", "Service Unavailable. Your quota can not be checked at the moment");
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    told(&call("/v1.Shop/Order", "bad").await, "7", "You have been blocked from accessing the resource");
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn the_access_log_names_the_policy_and_no_secret() {
    if !envoy_is_here() {
        return;
    }
    let (key, backend, project) = (TokenKey::new("one"), Backend::start("shop").await, Project::new());
    let server = JwksServer::start(vec![key.jwk()]).await;
    let tiered = |tier: &str| {
        let mut operation = get(&json!([]));
        operation["get"]["x-wso2-throttling-tier"] = json!(tier);
        operation
    };
    let paths = json!({
        "/open": tiered("None"),
        "/lenient": tiered("Lenient"),
        "/token": get(&json!([{ "oauth": [] }])),
        "/key": get(&json!([{ "query_key": [] }])),
        "/free": get(&json!([])),
    });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.write(
        "policies.yaml",
        "resourcePolicies:
  - None: {count: 1, unitTime: 1, timeUnit: year}
  - Lenient: {count: 1, unitTime: 1, timeUnit: year, stopOnQuota: false}
applicationPolicies:
  - App: {count: 1, unitTime: 1, timeUnit: year}
subscriptionPolicies:
  - Default: {count: 1, unitTime: 1, timeUnit: year}
customPolicies:
  - Custom: {key: \"$header.x-tenant\", count: 1, unitTime: 1, timeUnit: year, when: {header: {name: x-tenant, present: true}}}
denyPolicies:
  - \"Bad \\\"one\\\"\": {when: {header: {name: x-kind, equals: bad}}}
",
    );
    project.build().await;
    let config = project.config(&format!(
        "[[jwtTokenConfig]]\nissuer = \"{ISSUER}\"\njwksURL = \"{}\"\n\n[b7a.http.accesslog]\npath = \"access.log\"\n",
        server.url()
    ));
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config, "--b7a.log.level=DEBUG"]).await;
    let application = json!({ "id": 1, "name": "app", "tier": "App", "owner": "eve" });
    let api = json!({ "name": "Shop", "version": "1.0", "context": "/shop", "subscriptionTier": "Unlimited" });
    let claims = json!({ "azp": "shop", "application": application, "subscribedAPIs": [api] });
    let token = key.token(ISSUER, &claims);
    let (bearer, api_key) = (format!("Bearer {token}"), gateway.api_key().await);
    let query = format!("/key?key={api_key}");
    let tenant = "tenant-that-nobody-may-read";
    // The second of each is beyond the quota: why it is denied, by which limit or which policy.
    let cases = [
        ("/open", ("accept", "*/*"), [Some("resource_limit"), Some("None"), None]),
        ("/lenient", ("accept", "*/*"), [None, Some("Lenient"), None]),
        ("/token", ("authorization", &bearer), [Some("application_limit"), Some("App"), None]),
        (&query, ("accept", "*/*"), [Some("subscription_limit"), Some("Default"), None]),
        ("/free", ("x-tenant", tenant), [Some("custom_limit"), Some("Custom"), None]),
        ("/free", ("x-kind", "bad"), [Some("blocked"), None, Some("Bad \"one\"")]),
    ];
    for (path, header, _) in &cases {
        for _ in 0..2 {
            gateway.get(&gateway.http(&format!("/shop{path}")), &[*header]).await;
        }
    }
    let log = project.directory().join("access.log");
    let lines = eventually("all is written", async || {
        let text = std::fs::read_to_string(&log).ok()?;
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).ok()).collect::<Option<_>>()?;
        let shop: Vec<Value> = lines.into_iter().filter(|line| line["api"] == "Shop").collect();
        (shop.len() == 2 * cases.len()).then_some(shop)
    })
    .await;
    for ((path, _, wanted), pair) in cases.iter().zip(lines.chunks(2)) {
        let line = &pair[1];
        let path = path.split('?').next().unwrap();
        assert_eq!(line["path"], format!("/shop{path}"), "{line}");
        assert_eq!(["reason", "exceeded", "denied_by"].map(|field| line[field].as_str()), *wanted, "{line}");
        let (status, details) = match wanted[0] {
            None => (200, "via_upstream"),
            Some("blocked") => (403, "ext_authz_denied"),
            Some(_) => (429, "ext_authz_denied"),
        };
        assert_eq!((&line["status"], &line["details"]), (&json!(status), &json!(details)), "{line}");
        if path == "/token" {
            assert_eq!((&line["caller"], &line["client_id"]), (&json!("alice"), &json!("shop")), "{line}");
        }
    }
    let written = [std::fs::read_to_string(&log).unwrap(), gateway.log()].concat();
    for secret in [&token, &api_key, tenant] {
        assert!(!written.contains(secret), "{secret}");
    }
}
