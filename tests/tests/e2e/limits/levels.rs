//! Each level, for each kind of caller that can have a tier, and what clients are told.

use microgw_extproc::users::hash_password;
use microgw_tests::authorization_server::AuthorizationServer;
use microgw_tests::backend::Backend;
use microgw_tests::bodies::Bodies;
use microgw_tests::gateway::{Answer, Gateway, command, replace};
use microgw_tests::issuer::{JwksServer, TokenKey};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

const ISSUER: &str = "https://one.example/";

/// Policies of some years, so that no window ends in a test.
const POLICIES: &str = "\
resourcePolicies:
  - Api: {count: 4, unitTime: 1, timeUnit: year}
  - Operation: {count: 2, unitTime: 1, timeUnit: year}
applicationPolicies:
  - TwoAll: {count: 2, unitTime: 1, timeUnit: year}
  - Lenient: {count: 1, unitTime: 1, timeUnit: year, stopOnQuota: false}
subscriptionPolicies:
  - One: {count: 1, unitTime: 1, timeUnit: year}
  - Three: {count: 3, unitTime: 1, timeUnit: year}
  - Default: {count: 5, unitTime: 1, timeUnit: year}
  - Unauthenticated: {count: 2, unitTime: 1, timeUnit: year}
unknownTier: {subscription: Three, application: TwoAll}
";

fn tiered(tier: &str, security: &Value) -> Value {
    let mut operation = get(security);
    operation["get"]["x-wso2-throttling-tier"] = json!(tier);
    operation
}

struct Site {
    project: Project,
    gateway: Gateway,
    key: TokenKey,
    _server: JwksServer,
    _backend: Backend,
    config: String,
}

impl Site {
    async fn new(more: &str) -> Site {
        let (key, backend) = (TokenKey::new("one"), Backend::start("shop").await);
        let server = JwksServer::start(vec![key.jwk()]).await;
        let project = Project::new();
        let any = json!([{ "oauth": [] }, { "key": [] }, { "basic": [] }]);
        let open = json!([]);
        let paths = json!({ "/any": get(&any), "/open": get(&open) });
        for name in ["a", "b", "c", "d", "e", "f"] {
            project.define(name, &definition(name, &format!("/{name}"), backend.address, &paths));
        }
        let mut limited = definition(
            "limited",
            "/limited",
            backend.address,
            &json!({ "/one": tiered("Operation", &open), "/two": get(&open) }),
        );
        limited["x-wso2-throttling-tier"] = json!("Api");
        project.define("limited", &limited);
        project.write("policies.yaml", POLICIES);
        project.build().await;
        let users = format!("[b7a.users.bob]\npassword = \"{}\"\n\n", hash_password("secret").unwrap());
        let issuer = format!("[[jwtTokenConfig]]\nissuer = \"{ISSUER}\"\njwksURL = \"{}\"\n\n", server.url());
        let keys = "[apikey.store]\npath = \"keys.json\"\n\n[gateway]\ntrustedHops = 1\n\n";
        let config = project.config(&[&*users, &issuer, keys, more].concat());
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
        Site { project, gateway, key, _server: server, _backend: backend, config }
    }

    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.gateway.get(&self.gateway.http(path), headers).await
    }

    async fn token(&self, path: &str, claims: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.key.token(ISSUER, claims));
        self.ask(path, &[("authorization", &bearer)]).await
    }

    /// `count` requests pass, and the next is refused by that policy.
    async fn passes(&self, count: usize, code: u64, policy: &str, ask: impl AsyncFn() -> Answer) {
        for number in 0..count {
            let answer = ask().await;
            assert_eq!(answer.status, 200, "{policy}, {number}: {answer:?}");
        }
        let answer = ask().await;
        assert_eq!((answer.status, answer.code()), (429, code), "{policy}: {answer:?}");
        assert_eq!(answer.json()["fault"]["policy"], policy);
        let wait: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=366 * 86_400).contains(&wait), "{answer:?}");
    }
}

#[tokio::test]
async fn every_level_and_every_kind_of_caller() {
    if !envoy_is_here() {
        return;
    }
    let server = AuthorizationServer::start().await;
    let stores = "[subscriptions]\nfile = \"subscriptions.json\"\n";
    let site = Site::new(&[&server.settings(), "\n", stores].concat()).await;
    let store = json!({
        "apis": [{ "apiId": 7, "name": "d", "version": "1.0" }],
        "applications": [{ "id": 1, "name": "app", "subName": "alice", "policy": "TwoAll" }],
        "applicationKeyMappings": [{ "applicationId": 1, "consumerKey": "shop", "keyType": "PRODUCTION" }],
        "subscriptions": [{ "apiId": 7, "appId": 1, "policyId": "One", "subscriptionState": "UNBLOCKED", "timeStamp": 1 }],
    });
    replace(&site.project.directory().join("subscriptions.json"), store.to_string().as_bytes());

    // The API's tier and the operation's, both, and of nobody. `Unauthenticated` has two for each address that the proxy saw.
    let from = |number: u8| format!("203.0.113.7, 198.51.100.{number}");
    let open = async |path: &str, number: u8| site.ask(path, &[("x-forwarded-for", &from(number))]).await;
    let (one, two) = ("/limited/one", "/limited/two");
    assert_eq!(open(one, 1).await.status, 200);
    assert_eq!(open(one, 2).await.status, 200);
    let answer = open(one, 3).await;
    assert_eq!((answer.status, answer.code(), &answer.json()["fault"]["policy"]), (429, 900_802, &json!("Operation")));
    assert_eq!(open(two, 3).await.status, 200);
    assert_eq!(open(two, 3).await.status, 200, "what was refused was not counted");
    let answer = open(one, 4).await;
    assert_eq!((answer.status, answer.code(), &answer.json()["fault"]["policy"]), (429, 900_800, &json!("Api")));
    site.passes(2, 900_804, "Unauthenticated", async || open("/a/open", 9).await).await;
    assert_eq!(open("/a/open", 10).await.status, 200);
    assert_eq!(open("/b/open", 9).await.status, 200, "of each API");

    // Tokens that say it themselves.
    let of = |id: u32, api: &str, subscription: &str, tier: &str| {
        json!({
            "sub": "carol", "application": { "id": id, "name": "app", "tier": tier, "owner": "alice" },
            "subscribedAPIs": [{ "name": api, "version": "1.0", "context": "/x", "subscriptionTier": subscription }],
        })
    };
    site.passes(1, 900_804, "One", async || site.token("/a/any", &of(1, "a", "One", "Unlimited")).await).await;
    site.passes(2, 900_803, "TwoAll", async || site.token("/a/any", &of(2, "a", "Three", "TwoAll")).await).await;
    // The application's is for all APIs, and for each user.
    let other = site.token("/b/any", &of(2, "b", "Three", "TwoAll")).await;
    assert_eq!((other.status, other.code()), (429, 900_803));
    // One that nobody has declared counts as another.
    site.passes(2, 900_803, "TwoAll", async || site.token("/a/any", &of(3, "a", "Platinum\n", "Huge")).await).await;
    // Let through and marked.
    for _ in 0..3 {
        assert_eq!(site.token("/a/any", &of(4, "a", "Three", "Lenient")).await.status, 200);
    }
    // A subscription of a store, by a token and by an opaque one. Until the store is loaded the caller has `Default`, and may use it up.
    server.knows("opaque", &json!({ "client_id": "shop", "sub": "dave", "exp": 4_000_000_000u64 }));
    eventually("the store is loaded", async || {
        let answer = site.ask("/d/any", &[("authorization", "Bearer opaque")]).await;
        (answer.status == 429 && answer.json()["fault"]["policy"] == "One").then_some(())
    })
    .await;
    let answer = site.token("/d/any", &json!({ "azp": "shop", "sub": "erin" })).await;
    assert_eq!((answer.status, &answer.json()["fault"]["policy"]), (429, &json!("One")));

    // Those without a subscription, each API by itself: a user, and a key that says nothing of an application, together.
    let basic = async || site.ask("/c/any", &[("authorization", "Basic Ym9iOnNlY3JldA==")]).await;
    let issuer = site.gateway.client.get(site.gateway.https("/apikey")).basic_auth("bob", Some("secret"));
    let key = Answer::of(issuer).await;
    assert_eq!(key.status, 200, "{key:?}");
    assert_eq!(basic().await.status, 200);
    assert_eq!(site.ask("/c/any", &[("x-api-key", &key.body)]).await.status, 200);
    site.passes(3, 900_804, "Default", basic).await;
    site.passes(5, 900_804, "Default", async || site.token("/e/any", &json!({ "azp": "client" })).await).await;
    assert_eq!(site.token("/e/any", &json!({ "azp": "another" })).await.status, 200);
    // An opaque key with a tier of its own.
    let made = ["keys", "create", "--owner", "alice", "--tier", "One", "--output", "json", &site.config];
    let made = command(site.project.directory(), &made).await;
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let opaque = made["key"].as_str().unwrap();
    eventually("the key is known", async || {
        let answer = site.ask("/b/any", &[("x-api-key", opaque)]).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let answer = site.ask("/b/any", &[("x-api-key", opaque)]).await;
    assert_eq!((answer.status, answer.code(), &answer.json()["fault"]["policy"]), (429, 900_804, &json!("One")));

    let metrics = site.gateway.get(&site.gateway.admin("/metrics"), &[]).await.body;
    for line in [
        "microgw_unknown_tiers_total{level=\"subscription\"} 3",
        "microgw_unknown_tiers_total{level=\"application\"} 3",
        "microgw_limits_exceeded_total{level=\"application\"} 2",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("Platinum"));
    eventually("it is logged, escaped", async || site.gateway.log().contains("Platinum\\n").then_some(())).await;
}

#[tokio::test]
async fn clients_are_told_of_every_limit() {
    if !envoy_is_here() {
        return;
    }
    let bodies = Bodies::start().await;
    let project = Project::new();
    let paths = json!({ "/limited": tiered("Spiky", &json!([])), "/free": get(&json!([])) });
    project.define("shop", &definition("Shop", "/shop", bodies.address, &paths));
    let policies = "\
resourcePolicies:
  - Spiky:
      limits:
        - {count: 2, unitTime: 1, timeUnit: year}
        - {count: 5000, unitTime: 2, timeUnit: year}
";
    project.write("policies.yaml", policies);
    project.write("error_templates/900802.html", "<p>{{ policy }}</p>");
    project.build().await;
    let gateway =
        Gateway::run(project.directory(), "shop/target/shop.mgw", &["--throttlingConfig.rateLimitHeaders=both"]).await;
    let answer = gateway.get(&gateway.http("/shop/limited"), &[]).await;
    assert_eq!(answer.status, 200);
    let policy = answer.header("ratelimit-policy");
    assert!(policy.starts_with("\"Spiky#1\";q=2;w=31536000;pk=:"), "{policy}");
    assert!(policy.contains(":, \"Spiky#2\";q=5000;w=63072000;pk=:"), "{policy}");
    // One value: those of the backend are gone.
    let all: Vec<_> = answer.headers.get_all("ratelimit").iter().collect();
    assert_eq!(all.len(), 1, "{answer:?}");
    let left = answer.header("ratelimit");
    assert!(left.starts_with("\"Spiky#1\";r=1;t=") && left.contains(", \"Spiky#2\";r=4999;t="), "{left}");
    assert_eq!((answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")), ("2", "1"));
    assert_eq!(answer.headers.get_all("x-ratelimit-limit").iter().count(), 1);
    assert_eq!(gateway.get(&gateway.http("/shop/limited"), &[]).await.header("x-ratelimit-remaining"), "0");

    let refused = gateway.get(&gateway.http("/shop/limited"), &[]).await;
    assert_eq!((refused.status, &*refused.body), (429, "<p>Spiky</p>"), "in the project's words");
    assert!(refused.header("ratelimit").starts_with("\"Spiky#1\";r=0;t="), "{refused:?}");
    let wait = refused.header("retry-after");
    assert!(refused.header("ratelimit").starts_with(&format!("\"Spiky#1\";r=0;t={wait},")), "{refused:?}");
    assert_eq!(refused.header("x-ratelimit-reset"), wait);
    let problem = gateway.get(&gateway.http("/shop/limited"), &[("accept", "application/problem+json")]).await;
    assert_eq!(problem.json()["violated-policies"], json!(["Spiky#1"]), "{problem:?}");
    assert_eq!(problem.json()["type"], "urn:micro-gw:error:resource-limit");
    let call = gateway.get(&gateway.http("/shop/limited"), &[("content-type", "application/grpc")]).await;
    assert_eq!((call.status, call.header("grpc-status")), (200, "8"), "RESOURCE_EXHAUSTED: {call:?}");
    assert_eq!(
        (call.header("grpc-message"), call.header("retry-after").is_empty()),
        ("You have exceeded your quota", false)
    );
    assert!(call.header("ratelimit").starts_with("\"Spiky#1\";r=0;t="), "{call:?}");
    // Where nothing limits, what the backend says passes.
    let free = gateway.get(&gateway.http("/shop/free"), &[]).await;
    assert_eq!(free.headers.get_all("ratelimit").iter().count(), 2);
    assert_eq!(free.header("ratelimit-policy"), "");
}
