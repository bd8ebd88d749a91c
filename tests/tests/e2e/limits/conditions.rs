//! Limits and refusals that depend on what a request says, where it comes from and who sends it.

use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway};
use microgw_tests::issuer::{JwksServer, TokenKey};
use microgw_tests::project::{Project, definition, get};
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.example/";

struct Site {
    gateway: Gateway,
    key: TokenKey,
    _project: Project,
    _backend: Backend,
    _server: JwksServer,
}

impl Site {
    async fn new(policies: &str, paths: &Value, settings: &[&str]) -> Site {
        let (key, backend) = (TokenKey::new("one"), Backend::start("shop").await);
        let server = JwksServer::start(vec![key.jwk()]).await;
        let project = Project::new();
        project.define("shop", &definition("Shop", "/shop", backend.address, paths));
        project.write("policies.yaml", policies);
        project.build().await;
        let issuer = format!("[[jwtTokenConfig]]\nissuer = \"{ISSUER}\"\njwksURL = \"{}\"\n", server.url());
        let config = project.config(&issuer);
        let settings = [&[config.as_str()], settings].concat();
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &settings).await;
        Site { gateway, key, _project: project, _backend: backend, _server: server }
    }

    /// Status and code: 0 where it is allowed.
    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> (u16, u64) {
        let answer: Answer = self.gateway.get(&self.gateway.http(path), headers).await;
        (answer.status, if answer.status == 200 { 0 } else { answer.code() })
    }

    async fn ask_as(&self, path: &str, claims: Value) -> (u16, u64) {
        let bearer = format!("Bearer {}", self.key.token(ISSUER, &claims));
        self.ask(path, &[("authorization", &bearer)]).await
    }
}

const ALLOWED: (u16, u64) = (200, 0);
const BLOCKED: (u16, u64) = (403, 900_805);

fn open(more: &Value) -> Value {
    let mut operation = get(&json!([]));
    for (key, value) in more.as_object().into_iter().flatten() {
        operation["get"][key] = value.clone();
    }
    operation
}

#[tokio::test]
async fn deny_policies_refuse_public_and_guarded_operations() {
    if !envoy_is_here() {
        return;
    }
    let policies = r#"
denyPolicies:
  - Kind: {when: {header: {name: x-kind, equals: bad}}}
  - Debug: {when: {query: {name: debug, present: true}}}
  - Sales: {when: {claim: {name: dept, equals: sales}}}
  - Pattern: {when: {expression: "request.path.matches('^/shop/(free|guarded)/?$') && request.headers['x-cel'].startsWith('no')"}}
  - Version: {when: {version: "1.0", header: {name: x-version, present: true}}}
  - Bob: {user: bob}
  - Shop: {application: "eve:shop"}
"#;
    let paths = json!({ "/free": open(&json!({})), "/guarded": get(&json!([{ "oauth": [] }])) });
    let site = Site::new(policies, &paths, &[]).await;
    assert_eq!(site.ask("/shop/free", &[]).await, ALLOWED);
    for headers in [
        &[("x-kind", "bad")][..],
        &[("x-kind", "good"), ("x-kind", "bad")],
        &[("X-Kind", "bad"), ("X-Kind", "good")],
        &[("x-cel", "nothing")],
        &[("x-version", "")],
    ] {
        assert_eq!(site.ask("/shop/free", headers).await, BLOCKED, "{headers:?}");
        assert_eq!(site.ask("/shop/guarded", headers).await, BLOCKED, "before any credential: {headers:?}");
    }
    assert_eq!(site.ask("/shop/free", &[("x-kind", "good"), ("x-cel", "yes")]).await, ALLOWED);
    for query in ["debug", "debug=1", "x=1&%64ebug=", "debug=&debug=0"] {
        assert_eq!(site.ask(&format!("/shop/free?{query}"), &[]).await, BLOCKED, "{query}");
    }
    assert_eq!(site.ask("/shop/free?nodebug=1", &[]).await, ALLOWED);
    assert_eq!(site.ask("/shop/guarded", &[]).await.0, 401);
    assert_eq!(site.ask_as("/shop/guarded", json!({"sub": "alice"})).await, ALLOWED);
    assert_eq!(site.ask_as("/shop/guarded", json!({"sub": "alice", "dept": ["it", "sales"]})).await, BLOCKED);
    assert_eq!(site.ask_as("/shop/guarded", json!({"sub": "bob"})).await, BLOCKED);
    let application = json!({"sub": "alice", "application": {"id": 1, "name": "shop", "owner": "eve"}});
    assert_eq!(site.ask_as("/shop/guarded", application).await, BLOCKED);
}

#[tokio::test]
async fn an_address_is_what_trusted_hops_say() {
    if !envoy_is_here() {
        return;
    }
    let policies = "denyPolicies:\n  - Abuser: {when: {ip: [203.0.113.0/24, \"2001:db8::1\"]}}\n";
    let paths = json!({ "/free": open(&json!({})) });
    let direct = Site::new(policies, &paths, &[]).await;
    for spoofed in ["203.0.113.7", "203.0.113.7, 203.0.113.7"] {
        assert_eq!(direct.ask("/shop/free", &[("x-forwarded-for", spoofed)]).await, ALLOWED, "{spoofed}");
    }
    let proxied = Site::new(policies, &paths, &["--gateway.trustedHops=1"]).await;
    for (forwarded, outcome) in [
        ("203.0.113.7", BLOCKED),
        ("198.51.100.1, 203.0.113.7", BLOCKED),
        ("2001:db8::1", BLOCKED),
        ("::ffff:203.0.113.9", BLOCKED),
        ("203.0.113.7, 198.51.100.1", ALLOWED),
        ("198.51.100.1", ALLOWED),
    ] {
        assert_eq!(proxied.ask("/shop/free", &[("x-forwarded-for", forwarded)]).await, outcome, "{forwarded}");
    }
    // No proxy said where it comes from.
    assert_eq!(proxied.ask("/shop/free", &[]).await, BLOCKED);
}

#[tokio::test]
async fn groups_have_quotas_of_their_own() {
    if !envoy_is_here() {
        return;
    }
    let policies = r#"
resourcePolicies:
  - Few:
      limits: [{count: 1, unitTime: 1, timeUnit: day}]
      conditions:
        - name: partners
          when: {header: {name: x-partner, matches: "^acme"}, not: {query: {name: bulk, present: true}}}
          limits: [{count: 3, unitTime: 1, timeUnit: day}]
"#;
    let paths = json!({ "/free": open(&json!({"x-wso2-throttling-tier": "Few"})) });
    let site = Site::new(policies, &paths, &[]).await;
    let partner = [("x-partner", "acme-7")];
    assert_eq!(site.ask("/shop/free", &[]).await, ALLOWED);
    assert_eq!(site.ask("/shop/free", &[]).await, (429, 900_802));
    for _ in 0..3 {
        assert_eq!(site.ask("/shop/free", &partner).await, ALLOWED);
    }
    assert_eq!(site.ask("/shop/free", &partner).await, (429, 900_802));
    assert_eq!(site.ask("/shop/free?bulk", &partner).await, (429, 900_802), "no partner's request");
}

#[tokio::test]
async fn custom_policies_count_by_keys_of_their_own() {
    if !envoy_is_here() {
        return;
    }
    let policies = "customPolicies:\n  - PerUser: {key: \"$userId:$apiContext:$apiVersion\", count: 2, unitTime: 1, timeUnit: day}\n";
    let paths = json!({ "/guarded": get(&json!([{ "oauth": [] }])), "/free": open(&json!({})) });
    let site = Site::new(policies, &paths, &[]).await;
    for user in ["alice", "bob"] {
        for _ in 0..2 {
            assert_eq!(site.ask_as("/shop/guarded", json!({"sub": user})).await, ALLOWED, "{user}");
        }
        assert_eq!(site.ask_as("/shop/guarded", json!({"sub": user})).await, (429, 900_806), "{user}");
    }
    for _ in 0..2 {
        assert_eq!(site.ask("/shop/free", &[]).await, ALLOWED, "those without a name are one");
    }
    assert_eq!(site.ask("/shop/free", &[]).await, (429, 900_806));
}

#[tokio::test]
async fn a_heavy_operation_costs_more_and_a_denied_request_nothing() {
    if !envoy_is_here() {
        return;
    }
    let policies = "resourcePolicies:\n  - Ten: {count: 10, unitTime: 1, timeUnit: day}\n\
                    denyPolicies:\n  - Kind: {when: {header: {name: x-kind, equals: bad}}}\n";
    let heavy = |cost: Value| open(&json!({"x-wso2-throttling-tier": "Ten", "x-microgw-cost": cost}));
    let paths = json!({
        "/constant": heavy(json!(10)),
        "/computed": heavy(json!("size(request.query.id) * 5")),
        "/failing": heavy(json!("10 / size(request.query.id)")),
    });
    let site = Site::new(policies, &paths, &[]).await;
    assert_eq!(site.ask("/shop/constant", &[("x-kind", "bad")]).await, BLOCKED);
    assert_eq!(site.ask("/shop/constant", &[]).await, ALLOWED);
    assert_eq!(site.ask("/shop/constant", &[]).await, (429, 900_802));
    assert_eq!(site.ask("/shop/computed", &[]).await, ALLOWED, "nothing is asked for");
    assert_eq!(site.ask("/shop/computed?id=1&id=2", &[]).await, ALLOWED);
    assert_eq!(site.ask("/shop/computed?id=1", &[]).await, (429, 900_802));
    assert_eq!(site.ask("/shop/failing", &[]).await, ALLOWED, "all that there is");
    assert_eq!(site.ask("/shop/failing?id=1", &[]).await, (429, 900_802));
    let metrics = site.gateway.get(&site.gateway.admin("/metrics"), &[]).await.body;
    assert!(metrics.contains("microgw_expression_failures_total 1\n"), "{metrics}");
}
