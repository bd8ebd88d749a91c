//! Responses of public operations that are kept for others who ask the same (`x-wso2-response-cache`).

mod revalidation;
mod waits;

use std::net::SocketAddr;

use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::scripted::{Reply, Scripted};
use serde_json::{Value, json};

fn typed() -> Vec<(&'static str, String)> {
    vec![("content-type", "text/plain".to_owned())]
}

struct Shop {
    project: Project,
    backend: Scripted,
    gateway: Gateway,
}

fn api(backend: SocketAddr, paths: &Value) -> Value {
    let mut api = definition("shop", "/shop", backend, paths);
    api["x-wso2-response-cache"] = json!({ "enabled": true, "cacheTimeoutInSeconds": 600 });
    api
}

fn paths() -> Value {
    let open = get(&json!([]));
    let mut paths = json!({ "/items": open, "/items/{id}": open, "/guarded": get(&json!([{ "key": [] }])), "/edited": open,
        "/changed": open, "/checked": open, "/limited": open });
    paths["/items"]["post"] = open["get"].clone();
    paths["/edited"]["get"]["x-microgw-headers"] = json!({
        "request": { "set": { "X-Tenant": "open" } },
        "response": { "set": { "X-Set": "one" }, "add": { "X-Added": "two" }, "remove": ["x-powered-by"] },
    });
    paths["/changed"]["get"]["x-microgw-transform"] = json!({
        "request": [{ "headers": { "set": { "X-Agent": "{{ request.headers['user-agent'] }}" } } }],
        "response": [{ "json": [{ "remove": "/secret" }] }],
    });
    paths["/limited"]["get"]["x-wso2-throttling-tier"] = json!("Two");
    paths["/checked"]["get"]["x-microgw-validation"] = json!({ "response": "enforce" });
    paths["/checked"]["get"]["responses"] = json!({ "200": { "description": "done", "content": { "application/json":
        { "schema": { "type": "object", "required": ["id"] } } } } });
    paths
}

impl Shop {
    async fn open() -> Shop {
        let backend = Scripted::start().await;
        let project = Project::new();
        project.define("shop", &api(backend.address, &paths()));
        project.write(
            "policies.yaml",
            "resourcePolicies:\n  - Two:\n      count: 2\n      unitTime: 1\n      timeUnit: hour\n",
        );
        project.build().await;
        // As long as a busy machine may take.
        let config = project.config("[caching]\nmaxResponseBytes = 1048576\nmaxResponseWait = 60000\n");
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
        Shop { project, backend, gateway }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.gateway.get(&self.gateway.http(path), headers).await
    }

    fn says(&self, body: &str, headers: &[(&'static str, &str)]) {
        let mut headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        if headers.iter().all(|(name, _)| *name != "content-type") {
            headers.extend(typed());
        }
        self.backend.replies(Reply { headers, body: body.as_bytes().to_vec(), ..Reply::default() });
    }

    /// How many requests of those it was sent the backend has seen.
    async fn asks(&self, path: &str, requests: &[&[(&str, &str)]]) -> usize {
        self.backend.take();
        for headers in requests {
            let answer = self.get(path, headers).await;
            assert!(answer.status < 500, "{answer:?}");
        }
        self.backend.take().len()
    }
}

#[tokio::test]
async fn the_second_who_asks_gets_what_the_first_got() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    shop.says(
        r#"{"items":[]}"#,
        &[("content-type", "application/json"), ("etag", "\"7\""), ("x-more", "a"), ("x-more", "b")],
    );
    let first = shop.get("/shop/items?page=1", &[]).await;
    assert_eq!(shop.backend.one().path, "/shop/items?page=1", "the backend's own path");
    let second = shop.get("/shop/items?page=1", &[("user-agent", "another")]).await;
    assert!(shop.backend.take().is_empty());
    for name in ["content-type", "etag", "content-length"] {
        assert_eq!(first.header(name), second.header(name), "{name}");
    }
    assert_eq!((first.status, &first.body), (second.status, &second.body));
    assert_eq!(second.headers.get_all("x-more").iter().count(), 2, "{second:?}");
    assert!(second.header("age").parse::<u32>().unwrap() < 60, "{second:?}");

    let known = shop.get("/shop/items?page=1", &[("if-none-match", "W/\"7\"")]).await;
    assert_eq!((known.status, known.body.as_str(), known.header("etag")), (304, "", "\"7\""), "{known:?}");
    assert!(shop.backend.take().is_empty());

    for (path, headers) in [
        ("/shop/items?page=2", &[][..]),
        ("/shop/items/1", &[]),
        ("/shop/items?page=1", &[("x-tenant", "a")]),
        ("/shop/items?page=1", &[("authorization", "Bearer mine")]),
        ("/shop/items?page=1", &[("cookie", "session=mine")]),
        ("/shop/items?page=1", &[("cache-control", "no-cache")]),
        ("/shop/items?page=1", &[("range", "bytes=0-1")]),
        ("/shop/items?page=1", &[("host", "other.example")]),
    ] {
        assert_eq!(shop.asks(path, &[headers]).await, 1, "{path} {headers:?}");
    }
    shop.gateway.client.post(shop.gateway.http("/shop/items?page=1")).send().await.unwrap();
    assert_eq!(shop.backend.one().method, "POST");

    let metrics = shop.gateway.get(&shop.gateway.admin("/metrics"), &[]).await;
    let text = metrics.body;
    assert!(text.contains("microgw_response_cache_hits_total 2\n"), "{text}");
}

#[tokio::test]
async fn what_a_caller_had_to_show_something_for_is_never_kept() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    shop.says("mine", &[("cache-control", "public, max-age=600")]);
    let key = shop.gateway.api_key().await;
    let with_key = [("x-api-key", key.as_str())];
    for _ in 0..2 {
        assert_eq!(shop.get("/shop/guarded", &with_key).await.status, 200);
    }
    assert_eq!(shop.backend.take().len(), 2);
    assert_eq!(shop.get("/shop/guarded", &[]).await.status, 401);
}

#[tokio::test]
async fn backends_say_what_may_be_kept() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    let twice: &[&[(&str, &str)]] = &[&[], &[]];
    for (number, headers) in [
        &[("cache-control", "private")][..],
        &[("cache-control", "No-Store")],
        &[("set-cookie", "a=b")],
        &[("vary", "*")],
        &[("cache-control", "max-age=0")],
    ]
    .into_iter()
    .enumerate()
    {
        shop.says("x", headers);
        assert_eq!(shop.asks(&format!("/shop/items/{number}"), twice).await, 2, "{headers:?}");
    }
    shop.says("x", &[("cache-control", "max-age=600"), ("vary", "User-Agent")]);
    let agents: &[&[(&str, &str)]] = &[&[("user-agent", "a")], &[("user-agent", "a")], &[("user-agent", "b")]];
    assert_eq!(shop.asks("/shop/items/vary", agents).await, 2);

    shop.backend.replies(Reply { status: 404, body: b"{\"mine\":1}".to_vec(), ..Reply::default() });
    assert_eq!(shop.asks("/shop/items/404", twice).await, 2, "a failure is asked for again");
    let headers = vec![("cache-control", "max-age=60".to_owned()), ("content-type", "application/json".to_owned())];
    shop.backend.replies(Reply { status: 404, headers, body: b"{\"mine\":1}".to_vec(), ..Reply::default() });
    assert_eq!(shop.asks("/shop/items/405", twice).await, 1, "unless it says how long it is one");
    let kept = shop.get("/shop/items/405", &[]).await;
    assert_eq!((kept.status, kept.body.as_str()), (404, "{\"mine\":1}"), "in the backend's words");

    // Pieces without a length; more than is kept of one.
    let reply = Reply { body: vec![b'x'; 10_000], pieces: 700, headers: typed(), ..Reply::default() };
    shop.backend.replies(reply.clone());
    assert_eq!(shop.asks("/shop/items/pieces", twice).await, 1);
    assert_eq!(shop.get("/shop/items/pieces", &[]).await.body.len(), 10_000);
    shop.backend.replies(Reply { body: vec![b'x'; 100_000], ..reply });
    assert_eq!(shop.asks("/shop/items/long", twice).await, 2);
    assert_eq!(shop.get("/shop/items/long", &[]).await.body.len(), 100_000);
    // More at once than fits one message of most services.
    shop.backend.replies(Reply { body: vec![b'x'; 4_100_000], headers: typed(), ..Reply::default() });
    assert_eq!(shop.get("/shop/items/huge", &[]).await.body.len(), 4_100_000);
    shop.backend.replies(Reply { status: 204, ..Reply::default() });
    assert_eq!(shop.asks("/shop/items/204", twice).await, 2, "nothing says that it is good for longer");
}

#[tokio::test]
async fn what_is_done_to_responses_is_done_to_kept_ones_once() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    let json = ("content-type", "application/json");
    shop.says(r#"{"id":1,"secret":2}"#, &[json, ("x-powered-by", "php")]);
    for round in 0..3 {
        let edited = shop.get("/shop/edited", &[]).await;
        assert_eq!((edited.header("x-set"), edited.headers.contains_key("x-powered-by")), ("one", false), "{edited:?}");
        assert_eq!(edited.headers.get_all("x-added").iter().count(), 1, "{round} {edited:?}");
        let changed = shop.get("/shop/changed", &[("user-agent", "a")]).await;
        assert_eq!(changed.json(), json!({ "id": 1 }));
    }
    assert_eq!(shop.backend.take().len(), 2);
    assert_eq!(shop.asks("/shop/changed", &[&[("user-agent", "b")]]).await, 1, "the backend is told of it");

    assert_eq!(shop.asks("/shop/checked", &[&[], &[]]).await, 1);
    shop.says(r#"{"no":1}"#, &[json]);
    for _ in 0..2 {
        let refused = shop.get("/shop/checked?other", &[]).await;
        assert_eq!((refused.status, refused.code()), (500, 500), "{refused:?}");
    }

    shop.says("{}", &[json]);
    let statuses = [shop.get("/shop/limited", &[]).await.status, shop.get("/shop/limited", &[]).await.status];
    assert_eq!((statuses, shop.get("/shop/limited", &[]).await.status), ([200, 200], 429), "kept ones count");
}

/// What is wrong once is not wrong for as long as it would have been good.
#[tokio::test]
async fn what_is_refused_is_not_kept() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::open().await;
    let json = [("content-type", "application/json"), ("cache-control", "max-age=600")];
    for _ in 0..2 {
        shop.says(r#"{"other":1}"#, &json);
        assert_eq!(shop.get("/shop/checked", &[]).await.status, 500);
        assert_eq!(shop.backend.take().len(), 1, "it is asked each time");
    }
    shop.says(r#"{"id":1}"#, &json);
    for _ in 0..2 {
        assert_eq!(shop.get("/shop/checked", &[]).await.status, 200);
    }
    assert_eq!(shop.backend.take().len(), 1);
}

#[tokio::test]
async fn what_was_kept_ends_with_the_publish_that_changes_it() {
    if !envoy_is_here() {
        return;
    }
    let mut shop = Shop::open().await;
    let artifact = shop.project.artifact();
    let first = std::fs::read(&artifact).unwrap();
    shop.says("old", &[]);
    assert_eq!(shop.asks("/shop/items", &[&[], &[]]).await, 1);

    // Another API is nothing to this one.
    let open = get(&json!([]));
    shop.project.define("more", &definition("more", "/more", shop.backend.address, &json!({ "/x": open })));
    shop.project.build().await;
    shop.gateway.publish(&artifact, &std::fs::read(&artifact).unwrap()).await;
    assert_eq!(shop.asks("/shop/items", &[&[]]).await, 0);

    let other = Scripted::start().await;
    other.replies(Reply { body: b"new".to_vec(), headers: typed(), ..Reply::default() });
    shop.project.define("shop", &api(other.address, &paths()));
    shop.project.build().await;
    let next = std::fs::read(&artifact).unwrap();
    shop.gateway.publish(&artifact, &next).await;
    assert_eq!(shop.get("/shop/items", &[]).await.body, "new");

    // Back again: what the first one has kept is as old as it.
    shop.says("newest", &[]);
    shop.gateway.publish(&artifact, &first).await;
    assert_eq!(shop.get("/shop/items", &[]).await.body, "newest");
}
