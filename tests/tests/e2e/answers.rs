//! What the gateway answers by itself: redirects, and examples in place of a backend.

use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway};
use microgw_tests::project::Project;
use serde_json::{Value, json};

/// An API without any endpoint.
fn shop() -> Value {
    let items = json!({
        "none": { "value": [] },
        "two \"fine\"": { "value": [{ "id": 1, "price": 1.50 }, { "id": 2 }] },
        "shared": { "$ref": "#/components/examples/shared" },
    });
    json!({
        "openapi": "3.0.3",
        "info": { "title": "Shop", "version": "1.0" },
        "x-wso2-basePath": "/shop",
        "components": {
            "securitySchemes": {
                "key": { "type": "apiKey", "in": "header", "name": "x-api-key" },
                "oauth": { "type": "oauth2", "flows": { "clientCredentials": {
                    "tokenUrl": "https://idp.example.com/token", "scopes": { "read": "" } } } },
            },
            "examples": { "shared": { "value": { "from": "components" } } },
            "schemas": { "Item": { "type": "object", "required": ["id"], "properties": {
                "id": { "type": "integer", "example": 7 }, "name": { "type": "string", "default": "Anvil" },
                "hidden": { "type": "string" } } } },
        },
        "paths": {
            "/items": {
                "get": { "x-microgw-mock": true, "security": [], "responses": {
                    "200": {
                        "description": "all",
                        "headers": { "X-Total": { "schema": { "type": "integer", "example": 2 } },
                            "ETag": { "example": "\"100%\"" } },
                        "content": {
                            "application/json": { "examples": items },
                            "text/csv": { "example": "id,price\n1,1.50\n" },
                        },
                    },
                    "404": { "description": "no", "content": { "application/problem+json": {
                        "example": { "title": "Nothing here" } } } },
                } },
                "post": { "x-microgw-mock": { "status": 201 }, "security": [], "responses": {
                    "200": { "description": "there", "content": { "application/json": { "example": {} } } },
                    "201": { "description": "made", "headers": { "Location": { "schema": { "default": "/shop/items/7" } } } },
                } },
                "put": { "x-microgw-mock": true, "security": [], "responses": { "303": { "description": "see" } } },
                "head": { "x-microgw-mock": true, "security": [], "responses": {
                    "200": { "description": "all", "content": { "text/plain": { "example": "twelve bytes" } } } } },
            },
            "/items/{id}": {
                "get": { "x-microgw-mock": true, "security": [{ "key": [] }], "responses": { "200": {
                    "description": "one", "content": { "application/json": {
                        "schema": { "$ref": "#/components/schemas/Item" } } } } } },
                "delete": { "x-microgw-mock": true, "security": [{ "oauth": ["read"] }],
                    "responses": { "204": { "description": "gone" } } },
            },
            "/long": { "get": { "x-microgw-mock": true, "security": [], "responses": { "200": {
                "description": "long", "content": { "text/plain": { "example": "x".repeat(64 * 1024) } } } } } },
            "/old": { "get": { "x-microgw-redirect": { "to": "/shop/items?a=%20b#c", "status": 301 }, "security": [] },
                "post": { "x-microgw-redirect": { "to": "https://new.example.com/shop", "status": 308 }, "security": [] } },
            "/members": { "get": { "x-microgw-redirect": { "to": "/shop/items" }, "security": [{ "key": [] }] } },
            "/few": { "get": { "x-microgw-mock": true, "x-wso2-throttling-tier": "Two", "security": [], "responses": {
                "200": { "description": "few", "content": { "application/json": { "example": 1 } } } } } },
        },
    })
}

/// How many decisions the service has made.
async fn decisions(gateway: &Gateway) -> f64 {
    let page = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    let lines = page.lines().filter(|line| line.starts_with("microgw_decision_duration_seconds_count"));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

#[tokio::test]
async fn what_is_public_is_answered_without_the_service() {
    if !envoy_is_here() {
        return;
    }
    let project = Project::new();
    project.write("policies.yaml", "resourcePolicies:\n  - Two: {count: 2, unitTime: 1, timeUnit: day}\n");
    project.define("shop", &shop());
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let before = decisions(&gateway).await;
    let get = async |path: &str, headers: &[(&str, &str)]| gateway.get(&gateway.http(path), headers).await;

    let first = get("/shop/items", &[]).await;
    assert_eq!((first.status, first.body.as_str()), (200, "[]"));
    assert_eq!((first.header("content-type"), first.header("x-total")), ("application/json", "2"));
    assert_eq!(first.header("etag"), "\"100%\"");
    assert_eq!((first.header("vary"), first.header("preference-applied")), ("prefer, accept", ""));
    for (prefer, body, applied) in [
        ("example=shared", r#"{"from":"components"}"#, "example=shared"),
        (
            "respond-async, Example=\"two \\\"fine\\\"\"",
            r#"[{"id":1,"price":1.5},{"id":2}]"#,
            "example=\"two \\\"fine\\\"\"",
        ),
        ("example=nobody", "[]", ""),
    ] {
        let answer = get("/shop/items", &[("prefer", prefer)]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{prefer}");
        assert_eq!(answer.header("preference-applied"), applied);
    }
    // Two lines of one header are one list.
    let lines =
        b"GET /shop/items HTTP/1.1\r\nhost: a\r\nprefer: wait=1\r\nprefer: example=shared\r\nconnection: close\r\n\r\n";
    assert!(gateway.raw(lines).await.body.contains("components"));
    let missing = get("/shop/items", &[("prefer", "code=404")]).await;
    assert_eq!((missing.status, missing.body.as_str()), (404, r#"{"title":"Nothing here"}"#));
    assert_eq!(missing.header("content-type"), "application/problem+json");
    let csv = get("/shop/items", &[("accept", "text/csv")]).await;
    assert_eq!((csv.header("content-type"), csv.body.as_str()), ("text/csv", "id,price\n1,1.50\n"));
    // With a body, and more of it than anybody reads.
    let post = gateway.client.post(gateway.http("/shop/items")).body("x".repeat(100_000));
    let made = Answer::of(post).await;
    assert_eq!((made.status, made.header("location"), made.body.as_str()), (201, "/shop/items/7", ""));
    let head = Answer::of(gateway.client.head(gateway.http("/shop/items"))).await;
    assert_eq!((head.status, head.header("content-type"), head.body.as_str()), (200, "text/plain", ""));
    assert_eq!(get("/shop/long", &[]).await.body.len(), 64 * 1024);
    let see = Answer::of(gateway.client.put(gateway.http("/shop/items"))).await;
    assert_eq!((see.status, see.headers.contains_key("location")), (303, false), "nothing but what is declared");
    let other = Answer::of(gateway.client.patch(gateway.http("/shop/items"))).await;
    assert_eq!((other.status, other.header("allow")), (405, "GET, HEAD, POST, PUT"));

    let moved = get("/shop/old?x=1", &[]).await;
    assert_eq!((moved.status, moved.header("location"), moved.body.as_str()), (301, "/shop/items?a=%20b#c", ""));
    let elsewhere = Answer::of(gateway.client.post(gateway.https("/shop/old")).body("x")).await;
    assert_eq!((elsewhere.status, elsewhere.header("location")), (308, "https://new.example.com/shop"));
    assert_eq!(decisions(&gateway).await.to_bits(), before.to_bits(), "the service was asked");
    assert!(before.to_bits() == 0.0_f64.to_bits());

    // A limit is a matter of the service, and holds.
    for expected in [200, 200, 429] {
        assert_eq!(get("/shop/few", &[]).await.status, expected);
    }
    assert!(decisions(&gateway).await > before);
}

#[tokio::test]
async fn what_is_guarded_stays_guarded() {
    if !envoy_is_here() {
        return;
    }
    let project = Project::new();
    project.write("policies.yaml", "resourcePolicies:\n  - Two: {count: 2, unitTime: 1, timeUnit: day}\n");
    project.define("shop", &shop());
    project.build().await;
    let mut gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let key = gateway.api_key().await;
    for path in ["/shop/items/7", "/shop/members"] {
        for headers in [&[][..], &[("x-api-key", "nonsense")], &[("prefer", "example=x")]] {
            let refused = gateway.get(&gateway.https(path), headers).await;
            assert_eq!(refused.status, 401, "{path}");
            assert!(!refused.body.contains("Anvil") && refused.header("location").is_empty(), "{refused:?}");
        }
    }
    let item = gateway.get(&gateway.https("/shop/items/7"), &[("x-api-key", &key)]).await;
    assert_eq!((item.status, item.body.as_str()), (200, r#"{"id":7,"name":"Anvil"}"#));
    let members = gateway.get(&gateway.https("/shop/members"), &[("x-api-key", &key)]).await;
    assert_eq!((members.status, members.header("location")), (302, "/shop/items"));
    let delete = gateway.client.delete(gateway.https("/shop/items/7")).header("x-api-key", &key);
    assert_eq!(Answer::of(delete).await.status, 401, "a key is not a token");
    // Without its service nothing is let through.
    let status = gateway.get(&gateway.https("/shop/items"), &[]).await.status;
    assert_eq!(status, 200);
    gateway.stop().await;
}
