//! `x-microgw-hosts`: which APIs a `Host` reaches, however it is spelled.

use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Gateway, command};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::raw::RawAnswer;
use serde_json::{Value, json};

/// An API whose backend is called `name`, below `base`.
async fn api(project: &Project, name: &'static str, base: &str, hosts: &[&str], security: &Value) -> Backend {
    let backend = Backend::start(name).await;
    let paths = json!({ "/items": get(security), "/items/{id}": get(security) });
    let mut defined = definition(name, base, backend.address, &paths);
    if !hosts.is_empty() {
        defined["x-microgw-hosts"] = json!(hosts);
    }
    project.define(name, &defined);
    backend
}

async fn asked(gateway: &Gateway, target: &str, host: &str, more: &str) -> RawAnswer {
    let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n{more}connection: close\r\n\r\n");
    gateway.raw(request.as_bytes()).await
}

/// Which backend answers.
async fn backend(gateway: &Gateway, path: &str, host: &str) -> Option<String> {
    let answer = asked(gateway, path, host, "").await;
    answer.echo().map(|echo| echo["backend"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_api_answers_to_its_hosts_and_no_spelling_is_another() {
    if !envoy_is_here() {
        return;
    }
    let project = Project::new();
    let open = json!([]);
    let _backends = [
        api(&project, "one", "/shop", &["One.Example.com"], &open).await,
        api(&project, "two", "/shop", &["*.two.example"], &json!([{ "key": [] }])).await,
        api(&project, "inner", "/shop/items", &["deep.two.example"], &open).await,
        api(&project, "root", "", &["root.example", "[::1]", "10.0.0.1"], &open).await,
        api(&project, "all", "/all", &[], &open).await,
    ];
    project.build().await;
    let mut gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;

    for host in [
        "one.example.com",
        "ONE.example.COM",
        "one.example.com:9090",
        // RFC 3986 section 3.2.3: no port is none.
        "one.example.com:",
        "one.example.com.",
        "One.Example.com.:1",
    ] {
        assert_eq!(backend(&gateway, "/shop/items", host).await.as_deref(), Some("one"), "{host}");
        assert_eq!(backend(&gateway, "/all/items", host).await.as_deref(), Some("all"), "{host}");
    }
    for host in ["root.example", "[::1]", "[::1]:9090", "10.0.0.1", "10.0.0.1:80"] {
        assert_eq!(backend(&gateway, "/items", host).await.as_deref(), Some("root"), "{host}");
    }
    // One name is another's neighbour, and has none of its APIs.
    for host in [
        "gateway",
        "example.com",
        "xone.example.com",
        "one.example.com.evil",
        "one.example.comx",
        "two.example",
        "one.example.com:x",
        "one.example.com..",
        "user@one.example.com",
        "one.example.com:80:80",
        "[::2]",
        "10.0.0.10",
        "one.example.com,gateway",
        ".two.example",
    ] {
        let answer = asked(&gateway, "/shop/items", host, "").await;
        assert!(matches!(answer.status, 400 | 404), "{host}: {}", answer.head);
        assert!(answer.echo().is_none() && answer.body.contains("\"code\""), "{host}: {}", answer.body);
    }
    // Guarded, on every host below it, and however it is written.
    for host in [
        "a.two.example",
        "b.A.two.example",
        "A.TWO.EXAMPLE.:443",
        "user@a.two.example",
        "a.two.example:80",
        "*.two.example",
    ] {
        let answer = asked(&gateway, "/shop/items", host, "").await;
        assert!(
            matches!(answer.status, 400 | 401) && answer.echo().is_none(),
            "{host}: {} {}",
            answer.head,
            answer.body
        );
    }
    let key = format!("x-api-key: {}\r\n", gateway.api_key().await);
    let echo = asked(&gateway, "/shop/items", "a.two.example", &key).await.echo();
    assert_eq!(echo.unwrap()["backend"], "two");
    // Of both that answer to it, the one with the longer base path.
    assert_eq!(backend(&gateway, "/shop/items/items", "deep.two.example").await.as_deref(), Some("inner"));
    assert_eq!(asked(&gateway, "/shop/items", "deep.two.example", "").await.status, 401);
    let echo = asked(&gateway, "/shop/items/items", "a.two.example", &key).await.echo();
    assert_eq!(echo.unwrap()["backend"], "two", "an item that is called so");

    // The host of the request's line counts, and of two none.
    let absolute = asked(&gateway, "http://one.example.com/shop/items", "gateway", "").await;
    assert_eq!(absolute.echo().unwrap()["backend"], "one");
    let absolute = asked(&gateway, "http://gateway/shop/items", "one.example.com", "").await;
    assert_eq!(absolute.status, 404);
    let two = asked(&gateway, "/shop/items", "one.example.com", "host: gateway\r\n").await;
    assert!(two.status == 400 || two.status == 404, "{}", two.head);
    for host in ["gateway", "one.example.com", "a.two.example"] {
        assert_eq!(asked(&gateway, "/health", host, "").await.status, 200);
        let unknown = asked(&gateway, "/nothing", host, "").await;
        assert!(unknown.status == 404 && unknown.body.contains("\"code\""), "{}", unknown.body);
    }

    // Published without its hosts, it answers to all, and no connection ends.
    let _one = api(&project, "one", "/shop2", &[], &open).await;
    project.build().await;
    let artifact = std::fs::read(project.artifact()).unwrap();
    gateway.publish(&project.artifact(), &artifact).await;
    assert_eq!(backend(&gateway, "/shop2/items", "gateway").await.as_deref(), Some("one"));
    let shown = command(project.directory(), &["inspect", "shop/target/shop.mgw"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("hosts *.two.example") && shown.contains("hosts 10.0.0.1, [::1], root.example"), "{shown}");
}

#[tokio::test]
async fn quotas_of_two_apis_with_one_base_path_are_two() {
    if !envoy_is_here() {
        return;
    }
    let project = Project::new();
    project.write("policies.yaml", "resourcePolicies:\n  - Two: {count: 2, unitTime: 1, timeUnit: day}\n");
    let mut backends = Vec::new();
    for (name, host) in [("one", "one.example"), ("two", "two.example")] {
        let backend = Backend::start(name).await;
        let mut defined = definition(name, "/shop", backend.address, &json!({ "/items": get(&json!([])) }));
        defined["x-microgw-hosts"] = json!([host]);
        defined["x-throttling-tier"] = json!("Two");
        project.define(name, &defined);
        backends.push(backend);
    }
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    for host in ["one.example", "two.example"] {
        for expected in [200, 200, 429] {
            assert_eq!(asked(&gateway, "/shop/items", host, "").await.status, expected, "{host}");
        }
    }
}
