//! Requests and responses against what their definition says, over a real Envoy.

use microgw_tests::gateway::{Answer, Gateway, client};
use microgw_tests::issuer::TokenKey;
use microgw_tests::project::{Project, definition};
use microgw_tests::scripted::{Reply, Scripted, in_pieces};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

const ISSUER: &str = "https://idp.example/";

fn operation(more: &Value) -> Value {
    let mut operation = json!({ "security": [], "responses": { "200": { "description": "done" } } });
    operation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    operation
}

fn query(schema: &Value) -> Value {
    json!([{ "name": "limit", "in": "query", "schema": schema }])
}

struct Shop {
    _project: Project,
    backend: Scripted,
    gateway: Gateway,
    key: TokenKey,
}

impl Shop {
    async fn open(settings: &str) -> Shop {
        Shop::worded(settings, &[]).await
    }

    async fn worded(settings: &str, templates: &[(&str, &str)]) -> Shop {
        let backend = Scripted::start().await;
        let item = json!({ "$ref": "#/components/schemas/Item" });
        let limit = query(&json!({ "type": "integer", "maximum": 100 }));
        let body = json!({ "required": true, "content": { "application/json": { "schema": item } } });
        let answer = json!({ "200": { "description": "done", "content": { "application/json": { "schema": item } } } });
        let paths = json!({
            "/items/{id}": { "get": operation(&json!({ "x-microgw-validation": "enforce", "parameters": [
                { "name": "id", "in": "path", "required": true, "schema": { "type": "integer" } },
                { "name": "limit", "in": "query", "schema": { "type": "integer", "maximum": 100 } },
                { "name": "X-Trace", "in": "header", "schema": { "type": "string", "format": "uuid" } },
            ] })) },
            "/guarded": { "get": operation(&json!({ "x-microgw-validation": "enforce", "security": [{ "oauth": [] }],
                "x-wso2-throttling-tier": "One", "parameters": limit })) },
            "/reported": { "get": operation(&json!({ "x-microgw-validation": "report", "parameters": limit })) },
            "/unsaid": { "get": operation(&json!({ "parameters": limit })) },
            "/off": { "get": operation(&json!({ "x-microgw-validation": "off", "parameters": limit })) },
            "/bodies": { "post": operation(&json!({ "x-microgw-validation": { "request": "enforce" }, "requestBody": body })) },
            "/both": { "post": operation(&json!({ "x-microgw-validation": "report", "requestBody": body, "responses": answer })) },
            "/answers": { "get": operation(&json!({ "x-microgw-validation": { "response": "enforce" }, "responses": answer })) },
            "/told": { "get": operation(&json!({ "x-microgw-validation": { "response": "report" }, "responses": answer })) },
        });
        let mut shop = definition("shop", "/shop", backend.address, &paths);
        shop["components"]["schemas"] = json!({ "Item": { "type": "object", "required": ["name"],
            "properties": { "name": { "type": "string", "maxLength": 5 }, "parts": { "type": "array", "items": { "$ref": "#/components/schemas/Item" } } } } });
        let project = Project::new();
        project.define("shop", &shop);
        project.write(
            "policies.yaml",
            "resourcePolicies:\n  - One:\n      count: 1\n      unitTime: 1\n      timeUnit: hour\n",
        );
        for (name, template) in templates {
            project.write(&format!("error_templates/{name}"), template);
        }
        project.build().await;
        let key = TokenKey::new("one");
        let jwks = project.directory().join("one.jwks");
        std::fs::write(&jwks, json!({ "keys": [key.jwk()] }).to_string()).unwrap();
        let issuer = format!("[[jwtTokenConfig]]\nissuer = \"{ISSUER}\"\njwksURL = \"file://{}\"\n", jwks.display());
        let config = project.config(&format!("{issuer}{settings}"));
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
        Shop { _project: project, backend, gateway, key }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.gateway.get(&self.gateway.http(path), headers).await
    }

    async fn post(&self, path: &str, kind: &str, body: &str) -> Answer {
        let request = client().post(self.gateway.http(path)).header("content-type", kind).body(body.to_owned());
        Answer::of(request).await
    }

    async fn metrics(&self) -> String {
        self.gateway.get(&self.gateway.admin("/metrics"), &[]).await.body
    }
}

/// A project's own words, with names that its clients chose.
#[tokio::test]
async fn violations_are_listed_in_a_projects_own_words() {
    if !envoy_is_here() {
        return;
    }
    let html = "<ul>{% for error in errors %}<li>{{ error.in }} <b>{{ error.name }}</b> {{ error.reason }}</li>{% endfor %}</ul>";
    let problem = r#"{"status": {{ status }}, "invalid-params": [{% for error in errors %}{"name": {{ error.name }}, "reason": {{ error.reason }}}{% if not loop.last %},{% endif %}{% endfor %}]}"#;
    let shop = Shop::worded("", &[("400.html", html), ("default.problem.json", problem)]).await;
    let refused = shop.get("/shop/items/x?limit=500", &[]).await;
    assert_eq!((refused.status, refused.header("content-type")), (400, "text/html; charset=utf-8"));
    assert_eq!(
        refused.body,
        "<ul><li>path <b>id</b> must be a whole number</li><li>query <b>limit</b> must be at most 100</li></ul>"
    );
    let hostile = r#"{"name": "a", "parts": [{"<script>": 1}, {"name": "too long"}]}"#;
    let refused = shop.post("/shop/bodies", "application/json", hostile).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("<b>&#x2f;parts&#x2f;0</b> must have the property `name`"), "{}", refused.body);
    let accept = [("accept", "application/problem+json")];
    let refused = shop.get("/shop/items/x?limit=500", &accept).await;
    assert_eq!(refused.header("content-type"), "application/problem+json");
    let expected = json!([{ "name": "id", "reason": "must be a whole number" }, { "name": "limit", "reason": "must be at most 100" }]);
    assert_eq!(refused.json(), json!({ "status": 400, "invalid-params": expected }));
    // Of what is refused for other reasons there is nothing to list.
    assert_eq!(shop.get("/shop/nowhere", &accept).await.json(), json!({ "status": 404, "invalid-params": [] }));
    assert_eq!(shop.get("/shop/items/%2F", &[]).await.body, "<ul></ul>");
    let refused = shop.post("/shop/bodies", "text/plain", "x").await;
    assert_eq!((refused.status, refused.header("content-type")), (415, "application/json"));
}

#[tokio::test]
async fn parameters_are_judged_before_backends_see_them() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open("").await;
    assert_eq!(shop.get("/shop/items/7?limit=5", &[]).await.status, 200);
    let refused = shop.get("/shop/items/x?limit=500", &[("x-trace", "7")]).await;
    assert_eq!((refused.status, refused.code(), refused.header("cache-control")), (400, 400, "no-store"));
    let fault = &refused.json()["fault"];
    assert_eq!(fault["message"], "Bad Request");
    assert_eq!(
        fault["description"],
        "path id: must be a whole number; query limit: must be at most 100; header x-trace: must have the format `uuid`"
    );
    assert_eq!(fault["errors"][1], json!({ "in": "query", "name": "limit", "reason": "must be at most 100" }));
    let problem = shop.get("/shop/items/x", &[("accept", "application/problem+json")]).await.json();
    assert_eq!(problem["type"], "urn:micro-gw:error:invalid-request");
    assert_eq!(problem["errors"][0]["name"], "id");
    // A body where none is declared.
    let raw = format!("GET /shop/items/7 HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 3);
    assert_eq!(shop.gateway.raw(format!("{raw}abc").as_bytes()).await.status, 400);
    let raw = "GET /shop/items/7 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(shop.gateway.raw(format!("{raw}3\r\nabc\r\n0\r\n\r\n").as_bytes()).await.status, 400);
    assert_eq!(shop.gateway.raw(format!("{raw}0\r\n\r\n").as_bytes()).await.status, 200, "it has no byte");
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let pieces = reqwest::Body::wrap(in_pieces(b"abc", 1));
    assert_eq!(http2.get(shop.gateway.http("/shop/items/7")).body(pieces).send().await.unwrap().status(), 400);
    assert_eq!(shop.backend.take().len(), 2);

    // Whoever may not call is not told what is wrong, and what is wrong costs no quota.
    assert_eq!(shop.get("/shop/guarded?limit=500", &[]).await.status, 401);
    let claims = json!({ "iss": ISSUER, "sub": "alice", "exp": 4_000_000_000_u64 });
    let bearer = format!("Bearer {}", shop.key.sign(&claims));
    for _ in 0..3 {
        assert_eq!(shop.get("/shop/guarded?limit=500", &[("authorization", &bearer)]).await.status, 400);
    }
    assert_eq!(shop.get("/shop/guarded?limit=5", &[("authorization", &bearer)]).await.status, 200);
    assert_eq!(shop.get("/shop/guarded?limit=5", &[("authorization", &bearer)]).await.status, 429);

    assert_eq!(shop.get("/shop/reported?limit=500", &[]).await.status, 200);
    let log = shop.gateway.log();
    let reported = log.lines().find(|line| line.contains("let a message through that is not as the definition says"));
    assert!(reported.is_some_and(|line| line.contains("query limit: must be at most 100")), "{log}");
    for unlooked in ["/shop/unsaid?limit=500", "/shop/off?limit=500"] {
        assert_eq!(shop.get(unlooked, &[]).await.status, 200, "{unlooked}");
    }
    let metrics = shop.metrics().await;
    for (outcome, count) in [("refused", 8), ("reported", 1)] {
        let line = format!("microgw_contract_violations_total{{message=\"request\",outcome=\"{outcome}\"}} {count}");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn settings_ask_where_definitions_do_not_say() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open("[validationConfig]\nenableRequestValidation = true\n").await;
    assert_eq!(shop.get("/shop/unsaid?limit=500", &[]).await.status, 400);
    assert_eq!(shop.get("/shop/reported?limit=500", &[]).await.status, 200);
    assert_eq!(shop.get("/shop/off?limit=500", &[]).await.status, 200);
}

/// `report` refuses nobody, whatever cannot be looked at.
#[tokio::test]
async fn what_is_reported_alone_passes() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open("[bodyConfig]\nmaxRequestSize = 1000\nmaxResponseSize = 1000\n").await;
    let long = vec![b'x'; 200_000];
    for (coding, length) in [("identity", 200_000), ("identity", 1_001), ("br", 10), ("br", 200_000), ("identity", 10)]
    {
        for chunked in [false, true] {
            let mut headers = vec![("content-type", "application/json".to_owned())];
            if coding != "identity" {
                headers.push(("content-encoding", coding.to_owned()));
            }
            shop.backend.replies(Reply { headers, body: long[..length].to_vec(), ..Reply::default() });
            let body = long[..length].to_vec();
            let request = client().post(shop.gateway.http("/shop/both")).header("content-type", "application/json");
            let request = if coding == "identity" { request } else { request.header("content-encoding", coding) };
            let request = if chunked {
                let pieces = body.chunks(700).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
                request.body(reqwest::Body::wrap_stream(futures_util::stream::iter(pieces)))
            } else {
                request.body(body.clone())
            };
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200, "{coding} {length} {chunked}");
            assert_eq!(answer.bytes().await.unwrap().len(), length, "{coding} {length} {chunked}");
            assert_eq!(shop.backend.one().body, body, "{coding} {length} {chunked}");
        }
    }
    assert!(shop.gateway.log().contains("it was not looked at"), "{}", shop.gateway.log());
    let metrics = shop.metrics().await;
    for message in ["request", "response"] {
        let line = format!("microgw_contract_violations_total{{message=\"{message}\",outcome=\"reported\"}} 10");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn bodies_and_responses_are_judged() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open("").await;
    let json = "application/json; charset=utf-8";
    assert_eq!(shop.post("/shop/bodies", json, r#"{"name": "a", "parts": [{"name": "b"}]}"#).await.status, 200);
    assert_eq!(shop.backend.one().body, br#"{"name": "a", "parts": [{"name": "b"}]}"#);
    let refused = shop.post("/shop/bodies", json, r#"{"parts": [{"name": "S3cret"}]}"#).await;
    assert_eq!(refused.status, 400);
    assert!(!refused.body.contains("S3cret"));
    let errors = &refused.json()["fault"]["errors"];
    assert!(errors.as_array().unwrap().iter().any(|error| error["name"] == "/parts/0/name"), "{errors}");
    for (kind, body, status) in [
        ("text/plain", "{}", 415),
        ("application/json", "", 400),
        ("application/json", "{\"name\": \"a\", \"name\": \"b\"}", 400),
        ("application/json; charset=utf-16", "{\"name\": \"a\"}", 415),
    ] {
        assert_eq!(shop.post("/shop/bodies", kind, body).await.status, status, "{kind} {body}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(shop.post("/shop/bodies", json, &deep).await.status, 400);
    assert_eq!(shop.backend.take().len(), 0);

    let reply = |body: &str| Reply {
        headers: vec![("content-type", "application/json".into())],
        body: body.as_bytes().to_vec(),
        ..Reply::default()
    };
    shop.backend.replies(reply(r#"{"name": "a"}"#));
    assert_eq!(shop.get("/shop/answers", &[]).await.body, r#"{"name": "a"}"#);
    shop.backend.replies(reply(r#"{"secret": "hunter2"}"#));
    let refused = shop.get("/shop/answers", &[]).await;
    assert_eq!((refused.status, refused.code()), (500, 500));
    assert_eq!(refused.json()["fault"]["message"], "Bad Response");
    assert!(!refused.body.contains("hunter2") && !refused.body.contains("name`"), "{}", refused.body);
    assert_eq!(shop.get("/shop/told", &[]).await.status, 200);
    eventually("the log has it", async || {
        let log = shop.gateway.log();
        assert!(!log.contains("hunter2"), "{log}");
        log.contains("must have the property `name`").then_some(())
    })
    .await;
    // Statuses that nobody declared pass.
    shop.backend.replies(Reply { status: 404, ..reply("gone") });
    assert_eq!(shop.get("/shop/answers", &[]).await.status, 404);
}

/// What a head says of itself: cookies on several lines, and whether a body follows where nobody waits for one.
#[tokio::test]
async fn heads_are_known_line_by_line() {
    if !envoy_is_here() {
        return;
    }
    let backend = Scripted::start().await;
    let enforced = |more: Value| {
        let mut operation = operation(&more);
        operation["x-microgw-validation"] = "enforce".into();
        json!({ "get": operation })
    };
    let cookie = json!([{ "name": "ck", "in": "cookie", "schema": { "type": "string", "enum": ["good", "a,b"] } }]);
    let keyed = json!([{ "cookie_key": [] }]);
    let paths = json!({
        "/cookie": enforced(json!({ "parameters": cookie })),
        "/keyed": { "get": operation(&json!({ "security": keyed })) },
        "/keyed-socket": { "get": operation(&json!({ "security": keyed, "x-microgw-websocket": true })) },
        "/socket": enforced(json!({ "x-microgw-websocket": true })),
        "/stream": enforced(json!({ "x-microgw-stream": "bidirectional" })),
    });
    let project = Project::new();
    project.define("shop", &definition("shop", "/shop", backend.address, &paths));
    project.build().await;
    let config = project.config("[http2]\nenable = true\n");
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let key = gateway.api_key().await;
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    // Over either protocol.
    let asked = async |path: &str, cookies: &[&str]| {
        let lines: String = cookies.iter().flat_map(|cookie| ["Cookie: ", cookie, "\r\n"]).collect();
        let one = gateway.raw(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{lines}\r\n").as_bytes()).await.status;
        let request =
            cookies.iter().fold(http2.get(gateway.http(path)), |request, cookie| request.header("cookie", *cookie));
        assert_eq!(request.send().await.unwrap().status(), one, "{path} {cookies:?}");
        one
    };
    for (cookies, status) in [
        (&["ck=good"][..], 200),
        (&["x=1", "ck=good"], 200),
        (&["x=1", "ck=evil"], 400),
        (&["ck=evil", "x=1"], 400),
        (&["ck=good", "ck=evil"], 400),
        (&["ck=a,b"], 200),
        (&["ck=a", "b"], 400),
        (&["x=1; y=2", "z", "ck=good; v=3"], 200),
    ] {
        backend.take();
        assert_eq!(asked("/shop/cookie", cookies).await, status, "{cookies:?}");
        assert_eq!(backend.take().len(), if status == 200 { 2 } else { 0 }, "{cookies:?}");
    }
    let secret = format!("key={key}");
    for (cookies, left) in [
        (&[secret.as_str()][..], ""),
        (&["x=1", &secret], "x=1"),
        (&[&secret, "x=1"], "x=1"),
        (&["x=1,2; y=2", &format!("{secret}; z=3"), "w"], "x=1,2; y=2; z=3; w"),
    ] {
        assert_eq!(asked("/shop/keyed", cookies).await, 200, "{cookies:?}");
        for seen in backend.take() {
            let kept: Vec<_> = seen.headers.get_all("cookie").iter().map(|value| value.to_str().unwrap()).collect();
            assert_eq!(kept.join("|"), left, "{cookies:?}");
        }
    }
    assert_eq!(asked("/shop/keyed", &[&secret, &secret]).await, 401);
    assert_eq!(asked("/shop/keyed", &["x=1"]).await, 401);
    assert_eq!(backend.take().len(), 0);

    let shake = |path: &str, cookie: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nCookie: x=1\r\nCookie: {cookie}\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
        )
    };
    assert_eq!(gateway.raw(shake("/shop/socket", "y=2").as_bytes()).await.status, 200, "it arrived");
    assert_eq!(gateway.raw(shake("/shop/keyed-socket", "y=2").as_bytes()).await.status, 401);
    assert_eq!(gateway.raw(shake("/shop/keyed-socket", &secret).as_bytes()).await.status, 200);
    assert_eq!(backend.take().len(), 2);
    for path in ["/shop/socket", "/shop/stream"] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\n");
        assert_eq!(gateway.raw(format!("{head}\r\n").as_bytes()).await.status, 200, "{path}");
        backend.one();
        let pieces = format!("{head}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(gateway.raw(pieces.as_bytes()).await.status, 400, "{path}");
        // Before any of it has come.
        let endless = reqwest::Body::wrap_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        assert_eq!(http2.get(gateway.http(path)).body(endless).send().await.unwrap().status(), 400, "{path}");
        assert_eq!(backend.take().len(), 0, "{path}");
    }
}
