//! What scripts of other origins may do, as a browser would find out: it asks before it sends, and reads what it is allowed to.

use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway};
use microgw_tests::project::{Project, definition, get};
use reqwest::Method;
use serde_json::{Value, json};

const SHOP: &str = "https://shop.example.com";
const PREVIEW: &str = "https://feature-7.preview.example.com";
const EVIL: &str = "https://shop.example.com.evil.example";

/// A page of some origin.
struct Page<'g> {
    gateway: &'g Gateway,
    origin: &'g str,
}

// === impl Page ===

impl Page<'_> {
    /// What a browser asks before it sends such a request.
    async fn ask(&self, path: &str, method: &str, headers: &str) -> Answer {
        let request = self.gateway.client.request(Method::OPTIONS, self.gateway.https(path));
        let request = request.header("origin", self.origin).header("access-control-request-method", method);
        Answer::of(if headers.is_empty() { request } else { request.header("access-control-request-headers", headers) })
            .await
    }

    /// Whether the browser sends it then (Fetch, CORS-preflight fetch).
    fn may(&self, answer: &Answer, method: &str, headers: &str, credentials: bool) -> bool {
        let has = |header: &str, value: &str| {
            answer.header(header).split(',').any(|listed| listed.trim().eq_ignore_ascii_case(value))
        };
        (200..300).contains(&answer.status)
            && self.reads(answer, credentials)
            && (has("access-control-allow-methods", method) || ["GET", "HEAD", "POST"].contains(&method))
            && headers.split(',').filter(|name| !name.is_empty()).all(|name| has("access-control-allow-headers", name))
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.gateway.client.request(method, self.gateway.https(path)).header("origin", self.origin);
        Answer::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// Whether a script is shown the answer.
    fn reads(&self, answer: &Answer, credentials: bool) -> bool {
        answer.header("access-control-allow-origin") == self.origin
            && (!credentials || answer.header("access-control-allow-credentials") == "true")
    }
}

fn shop(backend: &Backend) -> Value {
    let guarded = json!([{ "key": [] }]);
    let operation = |security: &Value| get(security)["get"].clone();
    let paths = json!({
        "/open": get(&json!([])),
        "/guarded": { "get": operation(&guarded), "put": operation(&guarded) },
        "/items/{id}": get(&guarded),
        "/few": { "get": { "security": [], "x-wso2-throttling-tier": "Few", "responses": {} } },
        "/mocked": { "get": { "security": guarded, "x-microgw-mock": true, "responses": { "200": { "description": "done",
            "headers": { "ETag": { "example": "\"1\"" } }, "content": { "application/json": { "example": { "mock": true } } } } } } },
        "/moved": { "get": { "security": guarded, "x-microgw-redirect": { "to": "/shop/open" }, "responses": {} } },
        "/own": { "get": operation(&guarded), "options": operation(&guarded) },
    });
    definition("Shop", "/shop", backend.address, &paths)
}

async fn gateway(backend: &Backend, cors: Value) -> (Project, Gateway) {
    let project = Project::new();
    let mut api = shop(backend);
    api["x-wso2-cors"] = cors;
    project.define("shop", &api);
    project.write(
        "policies.yaml",
        "resourcePolicies:\n  - Few: {count: 1, unitTime: 1, timeUnit: day, window: sliding, buckets: 24}\n",
    );
    // Its backend answers for itself.
    project.define("plain", &definition("Plain", "/plain", backend.address, &json!({ "/open": get(&json!([])) })));
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    (project, gateway)
}

/// Decisions that the service has made.
async fn decisions(gateway: &Gateway) -> u64 {
    let page = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    let lines = page.lines().filter(|line| line.starts_with("microgw_decisions_total{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test]
#[allow(clippy::too_many_lines)] // one gateway for all of it
async fn pages_of_allowed_origins_can_call_and_others_cannot() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let (_project, gateway) = gateway(
        &backend,
        json!({
            "corsConfigurationEnabled": true,
            "accessControlAllowOrigins": [SHOP],
            "access-control-allow-origin-patterns": [r"https://[a-z0-9-]+\.preview\.example\.com"],
            "access_control_allow_methods": ["GET", "put"],
            "accessControlAllowHeaders": ["X-Api-Key", "Content-Type"],
            "accessControlAllowCredentials": true,
            "accessControlExposeHeaders": ["X-Total"],
        }),
    )
    .await;
    for origin in [SHOP, PREVIEW] {
        let page = Page { gateway: &gateway, origin };
        // Each kind of path; none of it is a request for the service or the backend.
        for path in ["/shop/open", "/shop/guarded", "/shop/items/7", "/shop/items/7?a=b", "/shop/own", "/shop/few"] {
            for (method, headers) in
                [("GET", ""), ("PUT", "x-api-key"), ("GET", "CONTENT-TYPE, x-api-key,content-type")]
            {
                let answer = page.ask(path, method, headers).await;
                let asked: String = headers.split_whitespace().collect();
                assert!(page.may(&answer, method, &asked, true), "{path} {method} {headers}: {answer:?}");
                assert_eq!(answer.header("access-control-allow-methods"), method, "{answer:?}");
                assert_eq!(answer.header("access-control-allow-headers"), headers, "{answer:?}");
                assert_eq!(answer.headers.contains_key("access-control-allow-headers"), !headers.is_empty());
                assert_eq!(answer.header("access-control-max-age"), "-1", "{answer:?}");
                assert!(answer.header("allow").contains("OPTIONS") && answer.body.is_empty(), "{answer:?}");
                assert!(answer.header("vary").to_lowercase().contains("origin"), "{answer:?}");
            }
            for (method, headers) in [
                ("DELETE", ""),
                ("PATCH", ""),
                ("get", ""),
                ("GET", "x-other"),
                ("GET", "x-api-key,x-other"),
                ("GET", "x-api"),
            ] {
                let answer = page.ask(path, method, headers).await;
                assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path} {method} {headers}");
                assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{answer:?}");
            }
        }
        let answer = page.send(Method::GET, "/shop/open", &[]).await;
        assert!(answer.status == 200 && page.reads(&answer, true), "{answer:?}");
        assert!(answer.header("vary").to_lowercase().contains("origin"), "{answer:?}");
        let exposed = answer.header("access-control-expose-headers");
        for name in ["x-total", "ratelimit", "ratelimit-policy", "retry-after"] {
            assert!(exposed.split(", ").any(|listed| listed == name), "{exposed}");
        }
    }
    for origin in
        [EVIL, "https://shop_example.com", "null", "*", "https://SHOP.example.com", "https://preview.example.com"]
    {
        let page = Page { gateway: &gateway, origin };
        for path in ["/shop/open", "/shop/items/7", "/shop/own"] {
            let answer = page.ask(path, "GET", "").await;
            assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{origin} {path} {answer:?}");
            assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{answer:?}");
        }
    }
    // Nobody was asked until here but for the public operation.
    assert_eq!((decisions(&gateway).await, backend.requests()), (0, 2));

    // Not allowed: served all the same, and not for the script.
    let stranger = Page { gateway: &gateway, origin: EVIL };
    let answer = stranger.send(Method::GET, "/shop/open", &[]).await;
    assert_eq!((answer.status, answer.json()["backend"].as_str()), (200, Some("shop")));
    assert!(!answer.headers.contains_key("access-control-allow-origin"), "{answer:?}");

    // OPTIONS that no browser asked: the gateway's, or the operation's where there is one.
    let options = |path: &str| Answer::of(gateway.client.request(Method::OPTIONS, gateway.https(path)));
    let answer = options("/shop/open").await;
    assert_eq!((answer.status, answer.header("allow")), (200, "GET, OPTIONS"), "{answer:?}");
    let answer = options("/shop/own").await;
    assert_eq!(answer.status, 401, "{answer:?}");
    let key = gateway.api_key().await;
    let request = gateway.client.request(Method::OPTIONS, gateway.https("/shop/own")).header("x-api-key", &key);
    let answer = Answer::of(request).await;
    assert_eq!((answer.status, answer.json()["method"].as_str()), (200, Some("OPTIONS")), "{answer:?}");

    // Refusals can be read, too, whoever makes them.
    let page = Page { gateway: &gateway, origin: SHOP };
    let refused = [
        (Method::GET, "/shop/guarded", 401),
        (Method::GET, "/shop/mocked", 401),
        (Method::GET, "/shop/moved", 401),
        (Method::DELETE, "/shop/guarded", 405),
        (Method::DELETE, "/shop/items/7", 405),
        (Method::GET, "/shop/few", 200),
        (Method::GET, "/shop/few", 429),
    ];
    for (method, path, status) in refused {
        let answer = page.send(method, path, &[]).await;
        assert!(answer.status == status && page.reads(&answer, true), "{path}: {answer:?}");
    }
    for path in ["/shop/guarded", "/shop/mocked", "/shop/moved"] {
        let answer = stranger.send(Method::GET, path, &[]).await;
        assert!(answer.status == 401 && !stranger.reads(&answer, false), "{path}: {answer:?}");
        assert!(answer.header("vary").contains("origin"), "{path}: {answer:?}");
    }
    let answer = stranger.send(Method::DELETE, "/shop/guarded", &[]).await;
    assert!(answer.status == 405 && !stranger.reads(&answer, false), "{answer:?}");
    let answer = page.send(Method::GET, "/shop/items/7", &[("x-api-key", &key)]).await;
    assert!(answer.status == 200 && page.reads(&answer, true), "{answer:?}");

    // So can what the gateway answers by itself, and stays what it is.
    for (path, status, header, value) in
        [("/shop/mocked", 200, "etag", "\"1\""), ("/shop/moved", 302, "location", "/shop/open")]
    {
        let answer = page.send(Method::GET, path, &[("x-api-key", &key)]).await;
        assert!(answer.status == status && page.reads(&answer, true), "{path}: {answer:?}");
        assert_eq!(answer.header(header), value, "{path}: {answer:?}");
        assert_eq!(answer.headers.get_all("access-control-allow-origin").iter().count(), 1, "{path}: {answer:?}");
    }

    // Without the extension nothing is added, and OPTIONS is a method like others.
    let answer = page.send(Method::GET, "/plain/open", &[]).await;
    assert!(answer.status == 200 && !page.reads(&answer, false), "{answer:?}");
    assert_eq!(page.ask("/plain/open", "GET", "").await.status, 405);
}

#[tokio::test]
async fn any_origin_is_any_origin_without_credentials() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let cors =
        json!({ "accessControlAllowOrigins": ["*"], "accessControlAllowHeaders": ["*"], "accessControlMaxAge": 600 });
    let (project, mut gateway) = gateway(&backend, cors).await;
    for origin in [SHOP, EVIL, "null"] {
        let page = Page { gateway: &gateway, origin };
        let answer = page.ask("/shop/guarded", "PUT", "authorization,x-anything").await;
        assert!(page.may(&answer, "PUT", "authorization,x-anything", false), "{answer:?}");
        assert!(!page.may(&answer, "PUT", "authorization,x-anything", true), "{answer:?}");
        assert_eq!(answer.header("access-control-max-age"), "600");
        // No methods are named: those of the path.
        let answer = page.ask("/shop/open", "PUT", "").await;
        assert!(!page.reads(&answer, false), "{answer:?}");
        let answer = page.send(Method::GET, "/shop/open", &[]).await;
        assert!(page.reads(&answer, false) && !page.reads(&answer, true), "{answer:?}");
    }

    // Switched off, and nothing of it is left.
    let mut api = shop(&backend);
    api["x-wso2-cors"] = json!({ "corsConfigurationEnabled": false, "accessControlAllowOrigins": ["*"] });
    project.define("shop", &api);
    project.build().await;
    gateway.publish(&project.artifact(), &std::fs::read(project.artifact()).unwrap()).await;
    let page = Page { gateway: &gateway, origin: SHOP };
    assert_eq!(page.ask("/shop/open", "GET", "").await.status, 405);
    assert!(!page.reads(&page.send(Method::GET, "/shop/open", &[]).await, false));
}

#[tokio::test]
async fn backends_do_not_contradict_and_their_failures_can_be_read() {
    if !envoy_is_here() {
        return;
    }
    // A backend with words of its own, and one that is not there.
    let backend = Backend::start("shop").await;
    let closed = std::net::SocketAddr::from(([127, 0, 0, 1], microgw_tests::gateway::free_port()));
    let project = Project::new();
    for (name, address) in [("open", backend.address), ("closed", closed)] {
        let mut api = definition(name, &format!("/{name}"), address, &json!({ "/cors": get(&json!([])) }));
        api["x-wso2-cors"] = json!({ "accessControlAllowOrigins": [SHOP] });
        project.define(name, &api);
    }
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let stranger = Page { gateway: &gateway, origin: EVIL };
    let answer = stranger.send(Method::GET, "/open/cors", &[]).await;
    assert_eq!((answer.status, answer.header("x-cors")), (200, "yes"));
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{answer:?}");
    let page = Page { gateway: &gateway, origin: SHOP };
    let answer = page.send(Method::GET, "/open/cors", &[]).await;
    assert_eq!(answer.headers.get_all("access-control-allow-origin").iter().count(), 1, "{answer:?}");
    assert!(
        page.reads(&answer, false) && !answer.headers.contains_key("access-control-allow-credentials"),
        "{answer:?}"
    );
    let answer = page.send(Method::GET, "/closed/cors", &[]).await;
    assert!(answer.status == 503 && page.reads(&answer, false), "{answer:?}");
}
