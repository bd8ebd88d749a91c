//! Declarative transformations, over the wire: each action, in both versions of HTTP, with and without bodies.

use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway, client, command};
use microgw_tests::issuer::TokenKey;
use microgw_tests::project::{Project, definition};
use microgw_tests::scripted::{Reply, Scripted, Seen, in_pieces};
use serde_json::{Value, json};

const ISSUER: &str = "https://idp.example/";
const POLICY: &str = r#"
parameters:
  type: object
  properties: {fields: {type: array, items: {type: string}}, note: {type: string, default: hidden}}
  required: [fields]
request:
  - json: [{replace: "{{ parameters.fields }}", value: "{{ parameters.note }}"}]
response:
  - json: [{replace: "{{ parameters.fields }}", value: "{{ parameters.note }}"}]
"#;

/// A public operation with these steps.
fn operation(transform: &Value) -> Value {
    json!({ "security": [], "x-microgw-transform": transform, "responses": { "200": { "description": "done" } } })
}

struct Shop {
    project: Project,
    backend: Scripted,
    gateway: Gateway,
    key: TokenKey,
}

impl Shop {
    async fn open() -> Shop {
        let backend = Scripted::start().await;
        let request = |steps: Value| operation(&json!({ "request": steps }));
        let response = |steps: Value| operation(&json!({ "response": steps }));
        // Of a backend whose paths begin otherwise.
        let mut fixed = request(json!([{ "path": "/elsewhere/{{ request.query.to[0] }}" }]));
        fixed["x-wso2-production-endpoints"] = json!({ "urls": [format!("http://{}/other", backend.address)] });
        let mut guarded = operation(&json!({
            "request": [
                { "headers": { "set": { "X-User": "{{ caller.subject }}/{{ caller.claims.dept | default('none') }}",
                                        "X-Copy": "{{ request.headers | tojson }}" } } },
                { "if": "caller.claims.dept == 'it'", "query": { "add": { "staff": "yes" } } },
            ],
        }));
        guarded["security"] = json!([{ "oauth": [] }]);
        let paths = json!({
            "/headers": { "get": operation(&json!({
                "request": [
                    { "headers": { "rename": { "X-Old": "X-New" }, "remove": ["X-Gone"], "set": { "X-Set": "{{ request.query.q[0] }}" },
                                   "append": { "X-More": "b" }, "add": { "X-Two": ["a", "b"] } } },
                ],
                "response": [
                    { "headers": { "add": { "Set-Cookie": "own=1" }, "remove": "X-Powered-By", "set": { "X-Asked": "{{ request.headers['x-own'] }}" } } },
                ] })) },
            "/query": { "get": request(json!([
                { "query": { "rename": { "old": "new" }, "remove": ["gone"], "set": { "set": "a b&" }, "append": { "list": "c" }, "add": { "two": ["1", "2"] } } } ])) },
            "/orders/{id}/lines/{line}": { "get": request(json!([
                { "path": "/v2/{{ path.line }}/of/{{ path.id }}" }, { "method": "POST" },
                { "body": { "template": "{\"order\": {{ path.id }}, \"q\": {{ request.query }}}", "contentType": "application/json" } } ])) },
            "/fixed": { "get": fixed },
            "/json": { "post": operation(&json!({
                "request": [{ "json": [
                    { "add": "/n/user", "value": "{{ request.headers['x-user'] | default(none) }}" },
                    { "remove": "$..secret" },
                    { "rename": { "/old": "new" } },
                    { "move": "/a/b", "to": "/b" } ] }],
                "response": [{ "if": "response.status == 200", "json": [{ "remove": ["/internal"] }, { "add": "/total", "value": "{{ body.items | length }}" }] }] })) },
            "/xml": { "post": operation(&json!({
                "request": [{ "toXml": { "root": "order" } }],
                "response": [{ "toJson": { "root": "order", "arrays": ["item"], "typed": true } }] })) },
            "/status": { "get": response(json!([
                { "if": "response.status == 404", "status": 200 },
                { "if": "response.headers['x-empty'] == 'yes'", "body": { "template": "{\"items\": []}", "contentType": "application/json" } } ])),
                "head": response(json!([{ "body": { "template": "x", "contentType": "text/plain" } }])) },
            "/masked": { "post": operation(&json!([{ "policy": "mask", "with": { "fields": ["$..card", "/pin"] } }])) },
            "/wrapped": { "get": operation(&json!({
                "request": [{ "headers": { "set": { "X-Order": "{{ request.headers['x-order'] }},operation" } } }],
                "response": [{ "headers": { "set": { "X-Order": "operation" } } }] })) },
            "/fails": { "get": response(json!([{ "headers": { "set": { "X": "{{ request.query.none[0] }}" } } }])) },
            "/guarded": { "get": guarded },
        });
        let mut definition = definition("shop", "/shop", backend.address, &paths);
        definition["x-microgw-transform"] = json!({
            "request": [{ "headers": { "set": { "X-Order": "api" } } }],
            "response": [{ "headers": { "append": { "X-Order": "api" } } }],
        });
        let project = Project::new();
        project.define("shop", &definition);
        project.write("policies/mask.yaml", POLICY);
        project.build().await;
        let key = TokenKey::new("one");
        let jwks = project.directory().join("one.jwks");
        std::fs::write(&jwks, json!({ "keys": [key.jwk()] }).to_string()).unwrap();
        let config = project
            .config(&format!("[[jwtTokenConfig]]\nissuer = \"{ISSUER}\"\njwksURL = \"file://{}\"\n", jwks.display()));
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
        Shop { project, backend, gateway, key }
    }

    fn answers(&self, status: u16, headers: &[(&'static str, &str)], body: &str, pieces: usize) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.backend.replies(Reply { status, headers, body: body.as_bytes().to_vec(), pieces, ..Reply::default() });
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (Answer, Seen) {
        let answer = self.gateway.get(&self.gateway.http(path), headers).await;
        (answer, self.backend.one())
    }
}

fn clients() -> [reqwest::Client; 2] {
    [client(), reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap()]
}

fn all(headers: &reqwest::header::HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn heads_are_transformed() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    let cookies = [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-powered-by", "php")];
    shop.answers(200, &cookies, "plain", 0);
    for client in clients() {
        let request = client.get(shop.gateway.http("/shop/headers?q=%C3%A9&x"));
        let request = request
            .header("x-old", "1")
            .header("x-old", "2")
            .header("x-gone", "1")
            .header("x-more", "a")
            .header("x-own", "me");
        let answer = Answer::of(request).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "plain"), "{answer:?}");
        assert_eq!(all(&answer.headers, "set-cookie"), ["a=1", "b=2", "own=1"]);
        assert_eq!((answer.header("x-powered-by"), answer.header("x-asked")), ("", "me"));
        let seen = shop.backend.one();
        assert_eq!(all(&seen.headers, "x-new").join(","), "1,2");
        assert_eq!((seen.headers.get("x-old"), seen.headers.get("x-gone")), (None, None));
        assert_eq!(seen.header("x-more"), "a, b");
        assert_eq!(seen.headers.get("x-set").unwrap().as_bytes(), "\u{e9}".as_bytes());
        assert_eq!(all(&seen.headers, "x-two").join(","), "a,b");
        assert_eq!(seen.path, "/shop/headers?q=%C3%A9&x");
    }
    let (_, seen) = shop.get("/shop/query?x=%zz&old=%2f&gone&list=a&keep=+", &[]).await;
    assert_eq!(seen.path, "/shop/query?x=%zz&new=%2f&list=a,c&keep=+&set=a%20b%26&two=1&two=2");
    // The API's steps come first, and in responses last.
    let (answer, seen) = shop.get("/shop/wrapped", &[("x-order", "client")]).await;
    assert_eq!((seen.header("x-order"), answer.header("x-order")), ("api,operation", "operation, api"));
}

#[tokio::test]
async fn paths_methods_and_bodies_are_made() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    for client in clients() {
        let answer = Answer::of(client.get(shop.gateway.http("/shop/orders/a%20b/lines/7?k=v"))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = shop.backend.one();
        assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/shop/v2/7/of/a%20b?k=v"));
        assert_eq!(std::str::from_utf8(&seen.body).unwrap(), r#"{"order": "a b", "q": {"k":["v"]}}"#);
        assert_eq!(seen.header("content-type"), "application/json");
    }
    // Of an operation whose path is fixed, too.
    let (_, seen) = shop.get("/shop/fixed?to=x%3Fy", &[]).await;
    assert_eq!(seen.path, "/other/elsewhere/x%3Fy?to=x%3Fy");
    for to in ["..", "a%2Fb", "%3B", "."] {
        let answer = shop.gateway.get(&shop.gateway.http(&format!("/shop/fixed?to={to}")), &[]).await;
        assert_eq!((answer.status, answer.code()), (500, 500), "{to} {answer:?}");
    }
    assert!(shop.backend.take().is_empty());
}

/// The same, without a gateway.
#[tokio::test]
async fn explain_knows_what_becomes_of_requests() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    let explain = async |path: &str| {
        let url = format!("http://localhost{path}");
        let output = command(shop.project.directory(), &["explain", "shop/target/shop.mgw", "--json", &url]).await;
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    let path = "/shop/orders/a%20b/lines/7?k=v";
    let (_, seen) = shop.get(path, &[]).await;
    let told = explain(path).await;
    let sent = &told["decision"]["sent"];
    assert_eq!((sent["method"].as_str(), sent["path"].as_str()), (Some(&*seen.method), Some(&*seen.path)), "{told}");
    assert_eq!(sent["body"].as_str().unwrap().as_bytes(), seen.body, "{told}");
    assert_eq!(sent["headers"]["x-order"], json!(["api"]), "{told}");
    assert_eq!(told["requestSteps"].as_array().unwrap().len(), 4, "{told}");
    let refused = explain("/shop/fixed?to=..").await;
    assert_eq!(refused["decision"]["status"], 500, "{refused}");
    assert!(refused["decision"]["cause"].as_str().unwrap().contains("api_definitions/shop.json:"), "{refused}");
}

#[tokio::test]
async fn bodies_are_transformed() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    let sent = r#"{"id":12345678901234567890123,"price":1.10,"old":1,"a":{"b":[1],"secret":2},"secret":3}"#;
    let expected = r#"{"id":12345678901234567890123,"price":1.10,"new":1,"a":{},"n":{"user":"ann"},"b":[1]}"#;
    for client in clients() {
        for pieces in [0, 7] {
            shop.answers(
                200,
                &[("content-type", "application/json"), ("etag", "\"1\"")],
                r#"{"items":[1,2],"internal":{"x":1}}"#,
                pieces,
            );
            let request = client
                .post(shop.gateway.http("/shop/json"))
                .header("x-user", "ann")
                .header("content-type", "application/json");
            let request = if pieces == 0 {
                request.body(sent)
            } else {
                request.body(reqwest::Body::wrap(in_pieces(sent.as_bytes(), pieces)))
            };
            let answer = Answer::of(request).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"items":[1,2],"total":2}"#), "{answer:?}");
            assert_eq!((answer.header("content-length"), answer.header("etag")), ("25", ""), "{answer:?}");
            let seen = shop.backend.one();
            assert_eq!(std::str::from_utf8(&seen.body).unwrap(), expected);
            assert_eq!(seen.header("content-length"), expected.len().to_string());
        }
    }
    // Without a body there is nothing to edit; what is refused goes nowhere.
    let post = |body: &'static str, headers: &[(&'static str, &'static str)]| {
        let request = client().post(shop.gateway.http("/shop/json")).body(body);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    let answer = Answer::of(post("", &[])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(shop.backend.one().body.is_empty());
    for (body, headers, status) in [
        ("a=1", vec![], 400),
        ("{\"a\":1,\"a\":2}", vec![], 400),
        ("{\"n\":1}", vec![], 400),
        ("{}", vec![("content-encoding", "gzip")], 415),
        ("{}", vec![("content-type", "application/json; charset=utf-16")], 415),
    ] {
        let answer = Answer::of(post(body, &headers)).await;
        assert_eq!(answer.status, status, "{body} {answer:?}");
        assert!(shop.backend.take().is_empty(), "{body}");
    }
    // Nor does anything of a response that cannot be read; a condition leaves others alone.
    shop.answers(200, &[("x-secret", "abcdef")], "<html>abcdef</html>", 0);
    let answer = Answer::of(post("{}", &[])).await;
    assert_eq!((answer.status, answer.code(), answer.header("x-secret")), (502, 101_503, ""), "{answer:?}");
    assert!(!answer.body.contains("abcdef"), "{answer:?}");
    shop.answers(503, &[("x-secret", "abcdef")], "<html>abcdef</html>", 0);
    let answer = Answer::of(post("{}", &[])).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "<html>abcdef</html>"));
}

#[tokio::test]
async fn forms_are_converted_and_fields_masked() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    shop.answers(
        201,
        &[("content-type", "text/xml")],
        "<order n=\"1\"><item>1.50</item><note>a&amp;b</note></order>",
        0,
    );
    for client in clients() {
        let request = client.post(shop.gateway.http("/shop/xml")).body(r#"{"item":["a<b",1.10],"@id":7}"#);
        let answer = Answer::of(request).await;
        assert_eq!((answer.status, answer.header("content-type")), (201, "application/json"), "{answer:?}");
        assert_eq!(answer.body, r#"{"@n":1,"item":[1.50],"note":"a&b"}"#);
        let seen = shop.backend.one();
        let expected =
            r#"<?xml version="1.0" encoding="UTF-8"?><order id="7"><item>a&lt;b</item><item>1.10</item></order>"#;
        assert_eq!(std::str::from_utf8(&seen.body).unwrap(), expected);
        assert_eq!(seen.header("content-type"), "application/xml; charset=utf-8");
    }
    shop.answers(200, &[], "<!DOCTYPE order [<!ENTITY x 'y'>]><order>&x;</order>", 0);
    let answer = Answer::of(client().post(shop.gateway.http("/shop/xml")).body("{}")).await;
    assert_eq!((answer.status, answer.code()), (502, 101_503), "{answer:?}");
    shop.backend.take();

    shop.answers(200, &[], r#"{"card":"4111","deep":[{"card":{"n":1}}],"pin":null}"#, 0);
    let answer = Answer::of(client().post(shop.gateway.http("/shop/masked")).body(r#"{"card":1,"x":2}"#)).await;
    assert_eq!(answer.body, r#"{"card":"hidden","deep":[{"card":"hidden"}],"pin":"hidden"}"#, "{answer:?}");
    assert_eq!(shop.backend.one().body, br#"{"card":"hidden","x":2}"#);
}

#[tokio::test]
async fn what_has_no_body_gets_none() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    for client in clients() {
        shop.answers(204, &[("x-empty", "yes")], "", 0);
        let answer = Answer::of(client.get(shop.gateway.http("/shop/status"))).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{answer:?}");
        shop.answers(304, &[("x-empty", "yes"), ("etag", "\"1\"")], "", 0);
        let answer = Answer::of(client.get(shop.gateway.http("/shop/status"))).await;
        assert_eq!((answer.status, answer.header("etag")), (304, "\"1\""), "{answer:?}");
        shop.answers(404, &[("x-empty", "yes")], "", 0);
        let answer = Answer::of(client.get(shop.gateway.http("/shop/status"))).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "items": [] })), "{answer:?}");
        shop.answers(200, &[("content-length", "5"), ("content-type", "text/html")], "", 0);
        let answer = Answer::of(client.head(shop.gateway.http("/shop/status"))).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/html"), "{answer:?}");
        assert_eq!(answer.header("content-length"), "5");
    }
    shop.backend.take();
    // A fault of ours is told as such, and says nothing of the backend's.
    shop.answers(200, &[("x-secret", "abcdef")], "abcdef", 0);
    let answer = shop.gateway.get(&shop.gateway.http("/shop/fails"), &[]).await;
    assert_eq!((answer.status, answer.code(), answer.header("x-secret")), (500, 500, ""), "{answer:?}");
    assert!(!answer.body.contains("abcdef"));
    let log = shop.gateway.log();
    assert!(log.contains("a message could not be transformed") && log.contains("shop.json:"), "{log}");
    assert!(log.contains("a template ") && !log.contains("abcdef"), "{log}");
}

#[tokio::test]
async fn callers_are_known_and_credentials_are_not() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    let answer = shop.gateway.get(&shop.gateway.http("/shop/guarded"), &[]).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(shop.backend.take().is_empty());
    for (claims, user, path) in [
        (json!({ "sub": "ann", "dept": "it" }), "ann/it", "/shop/guarded?a&staff=yes"),
        (json!({ "sub": "bob" }), "bob/none", "/shop/guarded?a"),
    ] {
        let token = shop.key.token(ISSUER, &claims);
        let headers = [("authorization", &*format!("Bearer {token}")), ("cookie", "session=secret"), ("x-mine", "1")];
        let (answer, seen) = shop.get("/shop/guarded?a", &headers).await;
        assert_eq!((answer.status, seen.path.as_str(), seen.header("x-user")), (200, path, user), "{answer:?}");
        let copied: Value = serde_json::from_str(seen.header("x-copy")).unwrap();
        assert_eq!(copied["x-mine"], "1");
        for secret in ["authorization", "cookie", "x-microgw-listener"] {
            assert_eq!(copied.get(secret), None, "{copied}");
        }
    }
}
