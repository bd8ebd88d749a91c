//! The policies of this repository, all of them, over the wire.

use std::path::Path;

use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway, client, command};
use microgw_tests::project::{Project, definition};
use microgw_tests::scripted::{Reply, Scripted, Seen};
use serde_json::{Value, json};

const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");

/// What each is used with.
fn uses() -> Vec<(&'static str, Value)> {
    vec![
        ("add-correlation-id", json!({})),
        ("default-query", json!({ "name": "limit", "value": 50 })),
        (
            "deprecation",
            json!({ "since": 1_767_225_600, "sunset": "Thu, 31 Dec 2026 23:59:59 GMT", "documentation": "https://dev.example.com/v2" }),
        ),
        ("envelope", json!({ "meta": { "version": 2 } })),
        ("hide-errors", json!({ "title": "Try again later" })),
        ("json-to-soap", json!({ "element": "GetQuote", "namespace": "urn:stock", "action": "urn:stock#GetQuote" })),
        ("json-to-xml", json!({ "root": "order" })),
        ("mask-fields", json!({ "fields": ["$..card"] })),
        ("no-store", json!({})),
        ("query-to-header", json!({ "query": "tenant", "header": "X-Tenant" })),
        ("remove-fields", json!({ "fields": ["$..internal"] })),
        ("rename-fields", json!({ "names": { "/title": "name" } })),
        ("security-headers", json!({ "frameOptions": "SAMEORIGIN" })),
        ("strip-internal-headers", json!({ "more": ["X-Node"] })),
        ("unwrap", json!({})),
        ("xml-to-json", json!({ "root": "order", "arrays": ["item"], "typed": true })),
    ]
}

struct Shop {
    backend: Scripted,
    gateway: Gateway,
    _project: Project,
}

// === impl Shop ===

impl Shop {
    /// An operation for each policy.
    async fn open() -> Shop {
        let uses = uses();
        let mut there: Vec<String> = std::fs::read_dir(POLICIES)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| Path::new(POLICIES).join(name).is_dir())
            .collect();
        there.sort();
        assert_eq!(there, uses.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>(), "each is tried here");
        let backend = Scripted::start().await;
        let project = Project::new();
        let mut paths = serde_json::Map::new();
        for (name, with) in &uses {
            let operation = json!({
                "x-wso2-disable-security": true,
                "x-microgw-transform": [{ "policy": name, "with": with }],
                "responses": { "200": { "description": "done" } },
            });
            paths.insert(format!("/{name}"), json!({ "get": operation, "post": operation }));
        }
        project.define("shop", &definition("shop", "/shop", backend.address, &Value::Object(paths)));
        for (name, _) in &uses {
            let source = format!("{POLICIES}/{name}");
            let added = command(project.directory(), &["policy", "add", &source, "-p", "shop"]).await;
            assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        }
        project.build().await;
        let first = std::fs::read(project.artifact()).unwrap();
        project.build().await;
        assert_eq!(std::fs::read(project.artifact()).unwrap(), first, "an artifact is what its project makes it");
        let config = project.config("");
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
        Shop { backend, gateway, _project: project }
    }

    fn answers(&self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.backend.replies(Reply { status, headers, body: body.as_bytes().to_vec(), ..Reply::default() });
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (Answer, Seen) {
        let answer = self.gateway.get(&self.gateway.http(path), headers).await;
        (answer, self.backend.one())
    }

    async fn post(&self, path: &str, content_type: &str, body: &str) -> (Answer, Seen) {
        let request = client().post(self.gateway.http(path)).header("content-type", content_type);
        let answer = Answer::of(request.body(body.to_owned())).await;
        (answer, self.backend.one())
    }
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"))
}

#[tokio::test]
async fn every_policy_does_as_it_says() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    let json = [("content-type", "application/json")];

    shop.answers(200, &json, r#"{"card":"4111","internal":1,"title":"a","data":[1],"total":1.10}"#);
    let (answer, _) = shop.get("/shop/mask-fields", &[]).await;
    assert_eq!(answer.body, r#"{"card":"***","internal":1,"title":"a","data":[1],"total":1.10}"#);
    let (_, seen) = shop.post("/shop/mask-fields", "application/json", r#"{"a":{"card":1}}"#).await;
    assert_eq!(seen.body, br#"{"a":{"card":"***"}}"#);
    let (answer, _) = shop.get("/shop/remove-fields", &[]).await;
    assert_eq!(answer.body, r#"{"card":"4111","title":"a","data":[1],"total":1.10}"#);
    let (answer, _) = shop.get("/shop/rename-fields", &[]).await;
    assert_eq!(answer.body, r#"{"card":"4111","internal":1,"name":"a","data":[1],"total":1.10}"#);
    let (answer, _) = shop.get("/shop/unwrap", &[]).await;
    assert_eq!(answer.body, "[1]");

    let (answer, _) = shop.get("/shop/envelope", &[]).await;
    let wrapped = json_of(&answer.body);
    assert_eq!((&wrapped["data"]["title"], &wrapped["meta"]["version"]), (&"a".into(), &2.into()));
    // Envoy's own id.
    assert_eq!(wrapped["meta"]["requestId"].as_str().unwrap().len(), 36, "{wrapped}");

    let (answer, seen) = shop.get("/shop/add-correlation-id", &[]).await;
    let id = answer.header("x-correlation-id").to_owned();
    assert_eq!((id.len(), seen.header("x-correlation-id")), (36, id.as_str()));
    assert_eq!(seen.header("x-request-id"), id);
    let mine = [("x-correlation-id", "mine"), ("x-request-id", "forged")];
    let (answer, seen) = shop.get("/shop/add-correlation-id", &mine).await;
    assert_eq!((answer.header("x-correlation-id"), seen.header("x-correlation-id")), ("mine", "mine"));
    assert_ne!(seen.header("x-request-id"), "forged");

    let (_, seen) = shop.get("/shop/default-query?a=%7e", &[]).await;
    assert_eq!(seen.path, "/shop/default-query?a=%7e&limit=50");
    let (_, seen) = shop.get("/shop/default-query?limit=1", &[]).await;
    assert_eq!(seen.path, "/shop/default-query?limit=1");
    let (_, seen) = shop.get("/shop/query-to-header?tenant=t%201&a=1", &[("x-tenant", "forged")]).await;
    assert_eq!((seen.path.as_str(), seen.header("x-tenant")), ("/shop/query-to-header?a=1", "t 1"));
    let (_, seen) = shop.get("/shop/query-to-header", &[("x-tenant", "forged")]).await;
    assert_eq!(seen.header("x-tenant"), "");

    let (answer, _) = shop.get("/shop/deprecation", &[]).await;
    assert_eq!(
        (answer.header("deprecation"), answer.header("sunset")),
        ("@1767225600", "Thu, 31 Dec 2026 23:59:59 GMT")
    );
    assert!(answer.header("link").starts_with("<https://dev.example.com/v2>"), "{answer:?}");
    let (answer, _) = shop.get("/shop/security-headers", &[]).await;
    assert_eq!(
        (answer.header("x-frame-options"), answer.header("x-content-type-options"), answer.header("referrer-policy")),
        ("SAMEORIGIN", "nosniff", "no-referrer")
    );

    shop.answers(
        200,
        &[("x-powered-by", "php"), ("x-node", "n1"), ("etag", "\"1\""), ("cache-control", "public")],
        "x",
    );
    let (answer, _) = shop.get("/shop/strip-internal-headers", &[]).await;
    assert_eq!((answer.header("x-powered-by"), answer.header("x-node"), answer.header("etag")), ("", "", "\"1\""));
    let (answer, _) = shop.get("/shop/no-store", &[]).await;
    assert_eq!((answer.header("cache-control"), answer.header("etag")), ("no-store", ""));

    shop.answers(503, &[("content-type", "text/html")], "at java.lang.Thread");
    let (answer, _) = shop.get("/shop/hide-errors", &[]).await;
    let problem = json_of(&answer.body);
    assert_eq!((answer.status, answer.header("content-type")), (503, "application/problem+json"));
    assert_eq!((&problem["title"], &problem["status"]), (&"Try again later".into(), &503.into()));

    shop.answers(200, &json, r#"{"item":["a","b"],"@id":7}"#);
    let (answer, seen) = shop.post("/shop/json-to-xml", "application/json", r#"{"a":"<"}"#).await;
    assert_eq!(
        answer.body,
        r#"<?xml version="1.0" encoding="UTF-8"?><order id="7"><item>a</item><item>b</item></order>"#
    );
    assert_eq!(answer.header("content-type"), "application/xml");
    assert_eq!(seen.body, br#"<?xml version="1.0" encoding="UTF-8"?><order><a>&lt;</a></order>"#);
    shop.answers(200, &[("content-type", "text/xml")], "<order id='7'><item>1</item></order>");
    let (answer, seen) = shop.post("/shop/xml-to-json", "application/xml", "<order><paid>true</paid></order>").await;
    assert_eq!(
        (answer.body.as_str(), seen.body.as_slice()),
        (r#"{"@id":7,"item":[1]}"#, br#"{"paid":true}"#.as_slice())
    );

    let envelope = |body: &str| {
        format!(
            "<S:Envelope xmlns:S=\"http://schemas.xmlsoap.org/soap/envelope/\"><S:Body>{body}</S:Body></S:Envelope>"
        )
    };
    shop.answers(
        200,
        &[("content-type", "text/xml")],
        &envelope("<m:R xmlns:m=\"urn:stock\"><price>1.10</price></m:R>"),
    );
    let (answer, seen) = shop.post("/shop/json-to-soap", "application/json", r#"{"symbol":"A&B"}"#).await;
    assert_eq!(json_of(&answer.body)["price"], "1.10");
    assert_eq!((seen.method.as_str(), seen.header("soapaction")), ("POST", "\"urn:stock#GetQuote\""));
    assert_eq!(seen.header("content-type"), "text/xml; charset=utf-8");
    let sent = String::from_utf8(seen.body).unwrap();
    assert!(
        sent.contains(r#"<soap:Body><GetQuote xmlns="urn:stock"><symbol>A&amp;B</symbol></GetQuote></soap:Body>"#),
        "{sent}"
    );
    shop.answers(500, &[("content-type", "text/xml")], &envelope("<S:Fault><faultstring>no</faultstring></S:Fault>"));
    let (answer, _) = shop.post("/shop/json-to-soap", "application/json", "{}").await;
    assert_eq!((answer.status, json_of(&answer.body)), (500, json!({ "faultstring": "no" })));
}

#[tokio::test]
async fn a_policy_can_carry_an_interceptor() {
    if !envoy_is_here() {
        return;
    }
    let project = Project::new();
    let policy = |path: &str| project.directory().join("label").join(path);
    let manifest = "name: label\nversion: 1.0.0\ndescription: Labels messages.\ninterceptor: label.wasm\n";
    let test = "- {name: requests are labelled, request: {path: /}, expect: {headers: {X-Component: seen}}}\n\
                - {name: responses are labelled, response: {text: x}, expect: {headers: {X-Component: seen}, text: x}}\n";
    let code = wat::parse_str(microgw_interceptors::fixtures::labels()).unwrap();
    for (path, content) in
        [("policy.yaml", manifest.as_bytes()), ("tests/label.yaml", test.as_bytes()), ("label.wasm", &code)]
    {
        microgw_tests::gateway::replace(&policy(path), content);
    }
    let tried = command(project.directory(), &["policy", "test", "label"]).await;
    let told = String::from_utf8_lossy(&tried.stdout).into_owned() + &String::from_utf8_lossy(&tried.stderr);
    assert_eq!(told, "label 1.0.0: 2 passed\n");
    let backend = Scripted::start().await;
    let operation = json!({
        "x-wso2-disable-security": true,
        "x-microgw-interceptors": { "request": ["label"], "response": ["label"] },
        "responses": { "200": { "description": "done" } },
    });
    project.define("shop", &definition("shop", "/shop", backend.address, &json!({ "/items": { "get": operation } })));
    let added = command(project.directory(), &["policy", "add", "label", "-p", "shop"]).await;
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    project.build().await;
    let config = project.config("");
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let answer = gateway.get(&gateway.http("/shop/items"), &[]).await;
    assert_eq!((answer.status, answer.header("x-component")), (200, "seen"), "{answer:?}");
    assert_eq!(backend.one().header("x-component"), "seen");
}
