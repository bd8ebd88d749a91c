//! What the gateway says when it does not serve: always the fault's words, in the form that was asked for.

use std::net::SocketAddr;

use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Answer, Gateway, free_port};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::raw::RawAnswer;
use microgw_tests::{envoy_is_here, freeze};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const PROBLEM: &str = "application/problem+json";

/// A backend that reads a request, says this, and hangs up.
async fn rude(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer).await;
        }
    });
    address
}

/// One API on each backend: `/<name>/open` is public, `/<name>/guarded` is not.
async fn gateway(backends: &[(&str, SocketAddr)], templates: &[(&str, &str)], settings: &[&str]) -> (Project, Gateway) {
    let project = Project::new();
    for (name, backend) in backends {
        let mut read = get(&json!([{ "key": [] }]));
        read["get"]["x-microgw-body-limit"] = json!({ "request": 1000 });
        let paths = json!({
            "/read": { "post": read["get"] },
            "/open": get(&json!([])),
            "/guarded": get(&json!([{ "key": [] }])),
            "/token": get(&json!([{ "oauth": ["read"] }])),
        });
        project.define(name, &definition(name, &format!("/{name}"), *backend, &paths));
    }
    for (name, source) in templates {
        project.write(&format!("error_templates/{name}"), source);
    }
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", settings).await;
    (project, gateway)
}

/// That an answer is this fault, in 3.2's shape.
fn is_fault(answer: &Answer, status: u16, code: u64) {
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json", "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store", "{answer:?}");
    let body = answer.json();
    let fault = body["fault"].as_object().unwrap();
    let keys: Vec<&str> = fault.keys().map(String::as_str).collect();
    assert_eq!((body.as_object().unwrap().len(), keys), (1, vec!["code", "description", "message"]));
    assert_eq!(answer.header("retry-after"), if status == 503 { "1" } else { "" }, "{answer:?}");
}

/// The same as problem details.
fn is_problem(answer: &Answer, status: u16, code: u64) {
    assert_eq!((answer.status, answer.header("content-type")), (status, PROBLEM), "{answer:?}");
    let body = answer.json();
    assert_eq!((&body["status"], &body["code"]), (&json!(status), &json!(code)), "{answer:?}");
    assert!(body["type"].as_str().unwrap().starts_with("urn:micro-gw:error:"), "{answer:?}");
    assert!(body["title"].is_string() && body["detail"].is_string(), "{answer:?}");
}

fn raw(answer: &RawAnswer) -> (u16, u64) {
    let body: Value = answer.body.find('{').map_or(Value::Null, |start| {
        let end = answer.body.rfind('}').unwrap_or(start);
        serde_json::from_str(&answer.body[start..=end]).unwrap_or_default()
    });
    (answer.status, body["fault"]["code"].as_u64().or_else(|| body["code"].as_u64()).unwrap_or_default())
}

#[tokio::test]
async fn every_refusal_is_a_fault_and_a_problem_for_those_who_ask() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let closed: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let backends = [
        ("shop", backend.address),
        ("closed", closed),
        ("silent", rude(b"").await),
        ("babbling", rude(b"this is no HTTP\r\n\r\n").await),
    ];
    let (_project, gateway) = gateway(&backends, &[], &[]).await;
    let cases = [
        ("/shop/guarded", 401, 900_902),
        ("/shop/token", 401, 900_902),
        ("/shop/nowhere", 404, 404),
        ("/nowhere", 404, 404),
        ("/shop/open%2Fx", 400, 400),
        ("/closed/open", 503, 101_503),
        ("/silent/open", 502, 101_503),
        ("/babbling/open", 502, 101_503),
    ];
    for (path, status, code) in cases {
        for url in [gateway.http(path), gateway.https(path)] {
            is_fault(&gateway.get(&url, &[]).await, status, code);
            is_fault(&gateway.get(&url, &[("accept", "*/*, application/problem+json;q=0")]).await, status, code);
            let accept = "text/html, application/problem+json;q=0.9";
            is_problem(&gateway.get(&url, &[("accept", accept)]).await, status, code);
        }
    }
    let delete = || gateway.client.delete(gateway.http("/shop/open"));
    let answer = Answer::of(delete()).await;
    is_fault(&answer, 405, 405);
    assert_eq!(answer.header("allow"), "GET");
    let answer = Answer::of(delete().header("accept", PROBLEM)).await;
    is_problem(&answer, 405, 405);
    assert_eq!(
        (answer.header("allow"), answer.json()["type"].as_str()),
        ("GET", Some("urn:micro-gw:error:method-not-allowed"))
    );

    // The API-key issuer answers from another process than Envoy, in the same words.
    let login = gateway.client.get(gateway.https("/apikey")).basic_auth("admin", Some("wrong"));
    let answer = Answer::of(login.header("accept", PROBLEM)).await;
    is_problem(&answer, 401, 900_911);
    assert!(answer.header("www-authenticate").starts_with("Basic"));
    is_fault(&Answer::of(gateway.client.put(gateway.https("/apikey"))).await, 405, 405);
}

#[tokio::test]
async fn what_breaks_the_rules_of_http_is_answered_in_kind() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let settings = ["--listenerConfig.maxEntityBodySize=1000"];
    let (_project, gateway) = gateway(&[("shop", backend.address)], &[], &settings).await;
    let long = "a".repeat(20_000);
    let cases: [(String, u16, u64); 10] = [
        ("GET /shop/open HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity, chunked\r\n\r\n".to_owned(), 501, 501),
        (format!("GET /shop/open HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"), 431, 431),
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 431, 431),
        (format!("GET /shop/open HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(200)), 431, 431),
        (format!("POST /shop/open HTTP/1.1\r\nhost: a\r\ncontent-length: 20000\r\n\r\n{long}"), 405, 405),
        ("GET /shop/open HTTP/1.0\r\nhost: a\r\n\r\n".to_owned(), 426, 426),
        ("GET /shop/open HTTP/1.1\r\n\r\n".to_owned(), 400, 400),
        ("NOISE\r\n\r\n".to_owned(), 400, 400),
        (
            "GET /shop/open HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n".to_owned(),
            403,
            403,
        ),
        (
            "GET /shop/open HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
            400,
            400,
        ),
    ];
    for (request, status, code) in cases {
        let answer = gateway.raw(request.as_bytes()).await;
        assert_eq!(raw(&answer), (status, code), "{}: {answer:?}", &request[..request.len().min(80)]);
        assert!(answer.head.to_lowercase().contains("content-type: application/json"), "{answer:?}");
    }
    let body = || gateway.client.get(gateway.http("/shop/open")).body(long.clone());
    is_fault(&Answer::of(body()).await, 413, 413);
    is_problem(&Answer::of(body().header("accept", PROBLEM)).await, 413, 413);
    // A head that never ends: Envoy waits for ten seconds.
    let answer = gateway.raw(b"GET /shop/open HTTP/1.1\r\nhost: a\r\n").await;
    assert_eq!(raw(&answer), (408, 408), "{answer:?}");
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_no_denial() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let (_project, gateway) = gateway(&[("shop", backend.address)], &[], &[]).await;
    // Stopped, not ended: connections stay, and nothing is answered.
    freeze(gateway.pid());
    let fault = gateway.get(&gateway.http("/shop/guarded"), &[]).await;
    let body = Answer::of(gateway.client.post(gateway.http("/shop/read")).body("{}")).await;
    let problem = gateway.get(&gateway.http("/shop/guarded"), &[("accept", PROBLEM)]).await;
    gateway.signal(Signal::SIGCONT);
    is_fault(&fault, 503, 900_900);
    is_fault(&body, 503, 900_900);
    is_problem(&problem, 503, 900_900);
    assert_eq!(problem.json()["type"], "urn:micro-gw:error:no-decision");
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn grpc_callers_are_told_in_words() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let (_project, gateway) = gateway(&[("shop", backend.address)], &[], &[]).await;
    let call = [("content-type", "application/grpc"), ("accept", PROBLEM)];
    for (path, code) in [("/shop/guarded", "16"), ("/shop/nowhere", "12")] {
        let answer = gateway.get(&gateway.http(path), &call).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, code), "{answer:?}");
        let message = answer.header("grpc-message");
        assert!(!message.is_empty() && !message.contains('{'), "{answer:?}");
    }
}

#[tokio::test]
async fn a_project_words_its_faults_itself() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let closed: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let templates = [
        // No quotes around values of JSON: they bring their own.
        ("900902.json", r#"{"error": {{ message }}, "code": {{ code }}}"#),
        ("900902.problem.json", r#"{"type": {{ type }}, "status": {{ status }}, "shop": true}"#),
        ("404.html", "<h1>{{ status }} & {{ message }}</h1>"),
        ("101503.xml", "<e s='{{ status }}'>100% {{ name }}</e>"),
        ("default.txt", "{{ code }} {{ name }}: %RESPONSE_CODE%\n"),
    ];
    let (project, mut gateway) = gateway(&[("shop", backend.address), ("closed", closed)], &templates, &[]).await;
    let ask = async |gateway: &Gateway, path: &str, accept: &str| {
        let answer = gateway.get(&gateway.http(path), &[("accept", accept)]).await;
        (answer.status, answer.header("content-type").to_owned(), answer.body)
    };
    let said = |status, kind: &str, body: &str| (status, kind.to_owned(), body.to_owned());
    assert_eq!(
        ask(&gateway, "/shop/guarded", "*/*").await,
        said(401, "application/json", r#"{"error": "Missing Credentials", "code": 900902}"#)
    );
    assert_eq!(
        ask(&gateway, "/shop/guarded", PROBLEM).await,
        said(401, PROBLEM, r#"{"type": "urn:micro-gw:error:missing-credentials", "status": 401, "shop": true}"#)
    );
    assert_eq!(
        ask(&gateway, "/nowhere", "*/*").await,
        said(404, "text/html; charset=utf-8", "<h1>404 & Not Found</h1>")
    );
    assert_eq!(ask(&gateway, "/nowhere", PROBLEM).await.1, PROBLEM);
    assert_eq!(
        ask(&gateway, "/closed/open", "*/*").await,
        said(503, "application/xml; charset=utf-8", "<e s='503'>100% backend-unavailable</e>")
    );
    // Neither the template's text nor what a client sends is ever a format of Envoy's.
    assert_eq!(
        ask(&gateway, "/shop/%2F%RESPONSE_CODE%", "*/*").await,
        said(400, "text/plain; charset=utf-8", "400 bad-path: %RESPONSE_CODE%")
    );
    let login = Answer::of(gateway.client.get(gateway.https("/apikey")).basic_auth("admin", Some("wrong"))).await;
    assert_eq!((login.status, login.body.as_str()), (401, "900911 login-failed: %RESPONSE_CODE%"));

    // Another wording is another rule: the new one is live as soon as the generation is.
    project.write("error_templates/900902.json", r#"{"again": {{ message }}}"#);
    project.build().await;
    gateway.signal(Signal::SIGHUP);
    gateway.wait_until_live().await;
    assert_eq!(ask(&gateway, "/shop/guarded", "*/*").await.2, r#"{"again": "Missing Credentials"}"#);
}
