//! What goes on: WebSocket connections and events; and how long everything else may take.

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::StatusCode;
use microgw_tests::gateway::{Answer, Gateway};
use microgw_tests::misbehaving::{Misbehaving, Mood};
use microgw_tests::project::{Project, definition};
use microgw_tests::streaming::Streaming;
use microgw_tests::{PATIENCE, envoy_is_here};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

type Key<'a> = Option<(&'a str, &'a str)>;

/// Everything has 300 ms, but for what says otherwise.
fn shop(backend: &Streaming) -> Value {
    let open = json!([]);
    let key = json!([{ "key": [] }, { "query_key": [] }, { "cookie_key": [] }]);
    let mut shop = definition(
        "Shop",
        "/shop",
        backend.address,
        &json!({
            "/socket": { "get": { "x-microgw-websocket": true, "security": key, "responses": {} } },
            "/quiet-socket": { "get": { "x-microgw-websocket": true, "x-microgw-idle-timeout": 300, "security": open, "responses": {} } },
            "/socket/silent": { "get": { "x-microgw-websocket": true, "security": open, "responses": {} } },
            "/plain": { "get": { "security": open, "responses": {} } },
            "/events": { "get": { "x-microgw-stream": true, "security": key, "responses": {} } },
            "/lines": { "get": { "x-microgw-stream": true, "security": open, "responses": {} } },
            "/tried/events": { "get": { "x-microgw-stream": true, "security": open, "responses": {} } },
            "/silent": { "get": { "security": open, "responses": {} } },
            "/endless": { "get": { "x-microgw-stream": true, "x-microgw-idle-timeout": 300, "security": open, "responses": {} } },
            "/few": { "get": { "x-microgw-websocket": true, "x-wso2-throttling-tier": "One", "security": open, "responses": {} } },
            "/soap": { "post": { "security": key, "responses": {} } },
        }),
    );
    // An attempt has less than what the silent one of all has.
    shop["paths"]["/tried/events"]["get"]["x-wso2-production-endpoints"] = json!({
        "urls": [format!("http://{}", backend.address)],
        "advanceEndpointConfig": { "retryConfig": { "count": 1, "perTryTimeoutInMillis": 50 } },
    });
    shop["x-microgw-timeout"] = 300.into();
    shop
}

async fn gateway(project: &Project, backend: &Streaming, settings: &[&str]) -> Gateway {
    project.write("policies.yaml", "resourcePolicies:\n  - One: {count: 1, unitTime: 1, timeUnit: day}\n");
    project.define("shop", &shop(backend));
    project.build().await;
    Gateway::run(project.directory(), "shop/target/shop.mgw", settings).await
}

/// A WebSocket connection over HTTP/1.1, or the status that it was refused with.
async fn connect(gateway: &Gateway, path: &str, header: Key<'_>) -> Result<WebSocketStream<TcpStream>, u16> {
    let address = gateway.live.http.unwrap();
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    // As browsers do.
    request.headers_mut().insert("accept-encoding", "gzip, br, zstd".parse().unwrap());
    if let Some((name, value)) = header {
        let name = hyper::header::HeaderName::try_from(name).unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(address).await.unwrap();
    match timeout(PATIENCE, tokio_tungstenite::client_async(request, stream)).await.unwrap() {
        Ok((stream, _)) => Ok(stream),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut WebSocketStream<S>) -> String {
    let message = timeout(PATIENCE, stream.next()).await.unwrap();
    message.expect("it is open").expect("a message").into_text().unwrap().to_string()
}

async fn echoes<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut WebSocketStream<S>, text: &str) {
    stream.send(Message::text(text)).await.unwrap();
    assert_eq!(next(stream).await, text);
}

#[tokio::test]
async fn web_sockets_are_authenticated_when_they_begin() {
    if !envoy_is_here() {
        return;
    }
    let backend = Streaming::start().await;
    let project = Project::new();
    // Bodies have a limit and are compressed, which is no matter of connections.
    let config = project.config("[http2]\nenable = true\n[compression]\nenable = true\nminimumLength = 30\n");
    let gateway = gateway(&project, &backend, &[&config, "--listenerConfig.maxEntityBodySize=1000"]).await;
    let key = gateway.api_key().await;
    assert_eq!(connect(&gateway, "/shop/socket", None).await.err(), Some(401));
    assert_eq!(connect(&gateway, "/shop/socket", Some(("x-api-key", "nonsense"))).await.err(), Some(401));
    assert!(backend.seen().is_empty(), "the handshake itself is guarded");
    // What is no WebSocket operation is not upgraded.
    assert_eq!(connect(&gateway, "/shop/plain", None).await.err(), Some(403));

    let mut stream = connect(&gateway, "/shop/socket?room=1", Some(("x-api-key", &key))).await.unwrap();
    let first: Value = serde_json::from_str(&next(&mut stream).await).unwrap();
    assert_eq!(first["path"], "/shop/socket?room=1");
    assert!(first["headers"].get("x-api-key").is_none() && !first.to_string().contains(&key), "{first}");
    // Browsers send no headers: a query or a cookie has the key.
    let mut by_query = connect(&gateway, &format!("/shop/socket?key={key}&room=2"), None).await.unwrap();
    let first: Value = serde_json::from_str(&next(&mut by_query).await).unwrap();
    assert_eq!(first["path"], "/shop/socket?room=2");
    let mut by_cookie = connect(&gateway, "/shop/socket", Some(("cookie", &format!("key={key}")))).await.unwrap();
    assert!(!next(&mut by_cookie).await.contains(&key));
    echoes(&mut by_query, "one").await;
    echoes(&mut by_cookie, &"x".repeat(100_000)).await;

    // The handshake counts, and nothing after it.
    let mut first = connect(&gateway, "/shop/few", None).await.unwrap();
    next(&mut first).await;
    assert_eq!(connect(&gateway, "/shop/few", None).await.err(), Some(429));
    echoes(&mut first, "two").await;
    echoes(&mut first, "three").await;

    // Others have 300 ms; a connection stays.
    let silent = gateway.get(&gateway.http("/shop/silent"), &[]).await;
    assert_eq!((silent.status, silent.code()), (504, 101_504));
    echoes(&mut stream, "four").await;
    // What a backend does not answer is no connection yet.
    assert_eq!(connect(&gateway, "/shop/socket/silent", None).await.err(), Some(504));
    // Unless its silence is bounded.
    let mut quiet = connect(&gateway, "/shop/quiet-socket", None).await.unwrap();
    next(&mut quiet).await;
    let end = timeout(PATIENCE, quiet.next()).await.unwrap();
    assert!(end.is_none_or(|end| end.is_err()), "it ends");
    echoes(&mut stream, "five").await;
    stream.close(None).await.unwrap();
}

#[tokio::test]
async fn events_come_as_long_as_there_are_any() {
    if !envoy_is_here() {
        return;
    }
    let backend = Streaming::start().await;
    let project = Project::new();
    let gateway = gateway(&project, &backend, &["--compression.enable=true"]).await;
    let key = gateway.api_key().await;
    let url = gateway.http("/shop/events");
    assert_eq!(gateway.get(&url, &[]).await.status, 401);
    let events = gateway.client.get(&url).header("x-api-key", &key).header("accept-encoding", "gzip");
    let mut events = events.send().await.unwrap();
    assert_eq!((events.status(), events.headers().get("content-encoding")), (StatusCode::OK, None));
    assert_eq!(events.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    // The time of an attempt is that of a whole response.
    let mut tried = gateway.client.get(gateway.http("/shop/tried/events")).send().await.unwrap();
    assert_eq!(tried.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    // Another one has been ended by the time that all have.
    assert_eq!(gateway.get(&gateway.http("/shop/silent"), &[]).await.status, 504);
    for event in 2..5 {
        backend.another_event();
        assert_eq!(events.chunk().await.unwrap().unwrap(), format!("data: {event}\n\n"));
        assert_eq!(tried.chunk().await.unwrap().unwrap(), format!("data: {event}\n\n"));
    }
    // Silence can be bounded: it ends with what there is.
    let mut endless = gateway.client.get(gateway.http("/shop/endless")).send().await.unwrap();
    assert!(timeout(PATIENCE, endless.chunk()).await.unwrap().is_err());
    backend.another_event();
    assert_eq!(events.chunk().await.unwrap().unwrap(), "data: 5\n\n");
}

/// What is compressed as it comes is sent as it comes; in a coding that cannot it is not compressed.
#[tokio::test]
async fn compression_holds_nothing_back() {
    if !envoy_is_here() {
        return;
    }
    for coding in ["gzip", "br", "zstd"] {
        let backend = Streaming::start().await;
        let project = Project::new();
        let config = project.config("[compression]\nenable = true\nalgorithms = ['gzip', 'br', 'zstd']\n");
        let gateway = gateway(&project, &backend, &[&config]).await;
        let lines = gateway.client.get(gateway.http("/shop/lines")).header("accept-encoding", coding);
        let mut lines = lines.send().await.unwrap();
        let coded = lines.headers().get("content-encoding").map(|coding| coding.to_str().unwrap());
        assert_eq!(coded, (coding != "zstd").then_some(coding));
        for _ in 0..3 {
            // Whatever belongs to the last one may come in parts.
            let part = timeout(PATIENCE, lines.chunk()).await.unwrap();
            assert!(part.is_ok_and(|part| part.is_some()), "{coding}");
            backend.another_event();
        }
    }
}

/// An operation's time is for all attempts together, whatever its endpoint has.
#[tokio::test]
async fn attempts_share_the_time_of_the_operation() {
    if !envoy_is_here() {
        return;
    }
    let backend = Misbehaving::start("shop").await;
    let open = json!({ "get": { "security": [], "responses": {} } });
    let mut shop = definition("Shop", "/shop", backend.address, &json!({ "/short": open, "/long": open }));
    let retry = json!({ "count": 100, "perTryTimeoutInMillis": 100 });
    shop["x-wso2-production-endpoints"] = json!({
        "urls": [format!("http://{}", backend.address)],
        "advanceEndpointConfig": { "timeoutInMillis": 600_000, "retryConfig": retry },
    });
    shop["paths"]["/short"]["get"]["x-microgw-timeout"] = 1_000.into();
    let project = Project::new();
    project.define("shop", &shop);
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    backend.be(Mood::Hang);
    // The endpoint would have gone on for ten minutes.
    let answer = gateway.get(&gateway.http("/shop/short"), &[]).await;
    assert_eq!((answer.status, answer.code()), (504, 101_504));
    assert!(backend.requests() > 1, "an attempt has 100 ms");
    backend.be(Mood::Well);
    backend.next([Mood::Hang]);
    assert_eq!(gateway.get(&gateway.http("/shop/long"), &[]).await.status, 200);
    backend.next([Mood::Hang]);
    assert_eq!(gateway.get(&gateway.http("/shop/short"), &[]).await.status, 200);
}

#[tokio::test]
async fn soap_passes_as_it_is() {
    if !envoy_is_here() {
        return;
    }
    let backend = Streaming::start().await;
    let project = Project::new();
    let gateway = gateway(&project, &backend, &[]).await;
    let key = gateway.api_key().await;
    let envelope = format!("<Envelope>{}</Envelope>", "<Item/>".repeat(50_000));
    let post = gateway.client.post(gateway.http("/shop/soap")).header("soapaction", "\"urn:shop#List\"");
    let post = post.header("content-type", "text/xml; charset=utf-8").header("x-api-key", &key).body(envelope.clone());
    let answer = Answer::of(post).await;
    assert_eq!((answer.status, answer.json()["body"].as_u64()), (200, Some(envelope.len() as u64)));
    let seen = backend.seen();
    assert_eq!(seen[0].header("soapaction"), Some("\"urn:shop#List\""));
    assert_eq!(seen[0].header("content-type"), Some("text/xml; charset=utf-8"));
}
