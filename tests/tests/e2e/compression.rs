//! Responses that Envoy compresses, and those that it must leave alone.

use std::net::SocketAddr;

use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway};
use microgw_tests::project::{Project, definition, get};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const JSON: &str = "content-type: application/json\r\n";

/// A backend whose paths have responses of their own.
async fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 8192];
            let read = stream.read(&mut head).await.unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let (headers, length) = match path.rsplit('/').next().unwrap_or_default() {
                "short" => (JSON.to_owned(), 100),
                "encoded" => (format!("{JSON}content-encoding: br\r\n"), 3000),
                "kept" => (format!("{JSON}cache-control: max-age=5, no-transform\r\n"), 3000),
                "events" => ("content-type: text/event-stream\r\n".to_owned(), 3000),
                "image" => ("content-type: image/png\r\n".to_owned(), 3000),
                "tagged" => (format!("{JSON}etag: \"v1\"\r\nvary: origin\r\n"), 3000),
                _ => (JSON.to_owned(), 3000),
            };
            let body = "x".repeat(length);
            let answer =
                format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

async fn gateway(settings: &[&str]) -> (Project, Gateway) {
    let names = ["plain", "short", "encoded", "kept", "events", "image", "tagged", "off", "guarded"];
    let mut paths = json!({});
    for name in names {
        let security = if name == "guarded" { json!([{ "key": [] }]) } else { json!([]) };
        paths[format!("/{name}")] = get(&security);
    }
    paths["/off"]["get"]["x-microgw-compression"] = json!(false);
    let address = backend().await;
    let project = Project::new();
    project.define("shop", &definition("Shop", "/shop", address, &paths));
    let mut secret =
        definition("Secret", "/secret", address, &json!({ "/off": get(&json!([])), "/on": get(&json!([])) }));
    secret["x-microgw-compression"] = json!(false);
    secret["paths"]["/on"]["get"]["x-microgw-compression"] = json!(true);
    project.define("secret", &secret);
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", settings).await;
    (project, gateway)
}

#[tokio::test]
async fn what_is_compressed_and_what_is_left_alone() {
    if !envoy_is_here() {
        return;
    }
    let (_project, gateway) = gateway(&["--compression.enable=true"]).await;
    let ask = async |path: &str, accepted: &str| {
        let request = gateway.client.get(gateway.http(path)).header("accept-encoding", accepted);
        let response = request.send().await.unwrap();
        let headers = response.headers().clone();
        let header =
            |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let (coding, vary, tag) = (header("content-encoding"), header("vary").to_lowercase(), header("etag"));
        (coding, vary, tag, response.bytes().await.unwrap().len())
    };
    for (accepted, coding) in [
        ("gzip", "gzip"),
        ("br", "br"),
        ("gzip, deflate, br, zstd", "br"),
        ("br;q=0.1, gzip", "gzip"),
        ("zstd", ""),
        ("identity", ""),
        ("gzip;q=0", ""),
    ] {
        let (found, vary, _, length) = ask("/shop/plain", accepted).await;
        assert_eq!(found, coding, "{accepted}");
        assert!(vary.contains("accept-encoding"), "{accepted}: {vary}");
        assert_eq!(length < 200, !coding.is_empty(), "{accepted}: {length}");
    }
    for path in ["short", "kept", "events", "image", "off"] {
        let (coding, ..) = ask(&format!("/shop/{path}"), "gzip, br").await;
        assert_eq!(coding, "", "{path}");
    }
    // What a backend has encoded passes, whatever the client likes.
    for accepted in ["gzip", "br", "identity"] {
        let (coding, _, _, length) = ask("/shop/encoded", accepted).await;
        assert_eq!((coding.as_str(), length), ("br", 3000));
    }
    let (coding, vary, tag, _) = ask("/shop/tagged", "gzip").await;
    assert_eq!((coding.as_str(), tag.as_str()), ("gzip", "W/\"v1\""));
    assert!(vary.contains("origin") && vary.contains("accept-encoding"), "{vary}");
    assert_eq!(ask("/shop/tagged", "identity").await.2, "\"v1\"");
    assert_eq!(ask("/secret/off", "gzip").await.0, "");
    assert_eq!(ask("/secret/on", "gzip").await.0, "gzip");

    let key = gateway.api_key().await;
    let request = gateway.client.get(gateway.https("/shop/guarded")).header("accept-encoding", "gzip");
    let answer = Answer::of(request.header("x-api-key", key)).await;
    assert_eq!((answer.status, answer.header("content-encoding")), (200, "gzip"));
}

#[tokio::test]
async fn nothing_is_compressed_unless_asked_for() {
    if !envoy_is_here() {
        return;
    }
    let (_project, gateway) = gateway(&[]).await;
    let answer = gateway.get(&gateway.http("/shop/plain"), &[("accept-encoding", "gzip, br")]).await;
    assert_eq!((answer.header("content-encoding"), answer.header("vary"), answer.body.len()), ("", "", 3000));
}
