//! `listenerConfig.httpsRedirect`.

use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Gateway, command};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::raw::RawAnswer;
use serde_json::json;

use super::shop;

async fn asked(gateway: &Gateway, line: &str, host: &str) -> RawAnswer {
    gateway
        .raw(format!("{line} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
        .await
}

fn location(answer: &RawAnswer) -> &str {
    assert_eq!(answer.status, 308, "{}", answer.head);
    answer.head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap()
}

#[tokio::test]
async fn every_request_over_http_is_led_to_https_but_for_health() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let config = project
        .config("[listenerConfig]\nhttpsRedirect = true\n[gateway]\npublicUrl = 'https://api.example.com:8443'\n");
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    for (line, host, expected) in [
        ("GET /shop/open?a=1&b=%2F&c", "api.example.com", "https://api.example.com:8443/shop/open?a=1&b=%2F&c"),
        // The host that was asked is kept, whatever the public one is.
        ("POST /nothing%20here", "other.example:9090", "https://other.example:8443/nothing%20here"),
        ("GET /", "[::1]:9090", "https://[::1]:8443/"),
        ("GET /healthy", "a.example", "https://a.example:8443/healthy"),
        ("PUT http://b.example/x", "a.example", "https://b.example:8443/x"),
    ] {
        assert_eq!(location(&asked(&gateway, line, host).await), expected);
    }
    // What would be refused there is refused here.
    for (line, host, status) in [
        (format!("GET /{}", "x".repeat(4096)), "a.example", 414),
        ("GET /a%2Fb".to_owned(), "a.example", 400),
        ("GET /".to_owned(), "u@a.example", 400),
        ("GET /".to_owned(), "a.example/x", 400),
        ("GET /".to_owned(), "", 400),
    ] {
        let answer = asked(&gateway, &line, host).await;
        assert!(answer.status == status && !answer.head.contains("location"), "{line} {host}: {}", answer.head);
    }
    assert_eq!(backend.requests(), 0);
    let health = asked(&gateway, "GET /health", "a.example").await;
    assert_eq!(health.status, 200);
    assert!(health.head.contains(&gateway.live.generation), "{}", health.head);
    assert_eq!(gateway.get(&gateway.https("/shop/open"), &[]).await.status, 200);
    assert_eq!(gateway.get(&gateway.https("/health"), &[]).await.status, 200);

    let config =
        project.config("[listenerConfig]\nhttpsRedirect = true\n[gateway]\npublicUrl = 'https://api.example.com'\n");
    drop(gateway);
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    for (host, expected) in [
        ("a.example", "https://a.example/x"),
        ("a.example:80", "https://a.example/x"),
        ("a.example:9090", "https://a.example/x"),
        ("[::1]:9090", "https://[::1]/x"),
        ("[::1]", "https://[::1]/x"),
    ] {
        assert_eq!(location(&asked(&gateway, "GET /x", host).await), expected);
    }
}

#[tokio::test]
async fn what_cannot_be_led_to_https_is_an_error() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = Project::new();
    let mut defined = definition("Shop", "/shop", backend.address, &json!({ "/open": get(&json!([])) }));
    defined["x-wso2-transports"] = json!(["http"]);
    project.define("shop", &defined);
    project.build().await;
    let config = project.config("[listenerConfig]\nhttpsRedirect = true\n");
    let output = command(project.directory(), &["run", "shop/target/shop.mgw", &config]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("served over http only"), "{said}");
    let config = project.config("[listenerConfig]\nhttpsRedirect = true\nhttpsPort = 0\n");
    let output = command(project.directory(), &["run", "shop/target/shop.mgw", &config]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("needs a port to lead to"), "{said}");
}
