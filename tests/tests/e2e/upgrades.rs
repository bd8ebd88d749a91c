//! Requests that ask to become something else: what is refused, and that nothing passes unseen over what was asked for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use microgw_tests::gateway::Gateway;
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{PATIENCE, envoy_is_here, eventually, http2};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// What nobody was asked about.
const SMUGGLED: &str = "GET /shop/smuggled HTTP/1.1\r\nhost: gateway\r\n\r\n";
const ANSWERS: &[(&str, u16, &str)] = &[
    ("fine", 200, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    ("feigned", 200, "HTTP/1.1 200 OK\r\nupgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nok"),
    ("open", 200, "HTTP/1.1 200 OK\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"),
    ("elsewhere", 302, "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n"),
    ("missing", 404, "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno"),
    ("version", 426, "HTTP/1.1 426 Upgrade Required\r\nsec-websocket-version: 13\r\ncontent-length: 0\r\n\r\n"),
];
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";

/// A backend that answers as the end of the path says, whatever it is asked for.
struct Backend {
    address: SocketAddr,
    /// All that arrived, in parts that are requests as far as it knows.
    heard: Arc<Mutex<Vec<String>>>,
}

// === impl Backend ===

impl Backend {
    async fn start() -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, heard) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let shared = heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Backend { address, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// The first line of each.
    fn lines(&self) -> Vec<String> {
        self.heard().iter().map(|part| part.lines().next().unwrap_or_default().to_owned()).collect()
    }
}

async fn serve(mut stream: TcpStream, heard: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    loop {
        while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            heard.lock().unwrap().push(head);
            let name = path.rsplit('/').next().unwrap_or_default();
            let answer = ANSWERS.iter().find(|(known, ..)| *known == name).map_or(ANSWERS[0].2, |(.., answer)| answer);
            let answer = if name == "switch" { SWITCHED } else { answer };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        if !stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
            return;
        }
    }
}

async fn gateway(project: &Project, backend: &Backend, settings: &[&str]) -> Gateway {
    let open = get(&json!([]));
    let (mut socket, mut guarded, mut mock) = (open.clone(), get(&json!([{ "key": [] }])), open.clone());
    (socket["get"]["x-microgw-websocket"], guarded["get"]["x-microgw-websocket"]) = (json!(true), json!(true));
    (mock["get"]["x-microgw-mock"], mock["get"]["responses"]) = (json!(true), json!({ "204": { "description": "" } }));
    let mut looked_at = open.clone();
    looked_at["get"]["x-microgw-body-limit"] = json!({ "request": 100, "response": 100 });
    let paths = json!({
        "/socket/{answer}": socket,
        "/guarded/{answer}": guarded,
        "/plain": open,
        "/plain-guarded": get(&json!([{ "key": [] }])),
        "/looked-at": looked_at,
        "/posted": { "post": open["get"] },
        "/mock": mock,
    });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.build().await;
    Gateway::run(project.directory(), "shop/target/shop.mgw", settings).await
}

fn handshake(path: &str, protocol: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
    )
}

#[tokio::test]
async fn handshakes_are_refused_like_other_requests() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start().await;
    let project = Project::new();
    let gateway = gateway(&project, &backend, &[]).await;
    for (path, protocol, status, code) in [
        ("/nowhere", "websocket", 404, 404),
        ("/shop/nowhere", "websocket", 404, 404),
        ("/shop/posted", "websocket", 405, 405),
        ("/shop/socket/a%2fb", "websocket", 400, 400),
        ("/shop/guarded/switch", "websocket", 401, 900_902),
        // What does not say that it is a WebSocket is none.
        ("/shop/plain", "websocket", 403, 403),
        ("/shop/plain-guarded", "websocket", 403, 403),
        ("/shop/looked-at", "websocket", 403, 403),
        ("/shop/mock", "websocket", 403, 403),
        ("/health", "websocket", 403, 403),
        // And nothing else is one.
        ("/shop/socket/switch", "tcp", 403, 403),
        ("/shop/socket/switch", "connect-udp", 400, 400),
        ("/shop/socket/switch", "websocket, tcp", 403, 403),
        ("/shop/socket/switch", "tcp, websocket", 403, 403),
        ("/shop/guarded/switch", "tcp", 403, 403),
    ] {
        let answer = gateway.raw(handshake(path, protocol).as_bytes()).await;
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, body["fault"]["code"].as_u64()), (status, Some(code)), "{protocol} {path}");
    }
    // To Envoy this is a request for an answer, and it goes on as one.
    let answer = gateway.raw(handshake("/shop/socket/fine", "h2c").as_bytes()).await;
    assert_eq!(answer.status, 200);
    // Not for free.
    let answer = gateway.raw(handshake("/shop/guarded/fine", "h2c").as_bytes()).await;
    assert_eq!(answer.status, 401);
    let connect = gateway.raw(format!("CONNECT {0} HTTP/1.1\r\nhost: {0}\r\n\r\n", backend.address).as_bytes()).await;
    assert_eq!(connect.status, 404);
    let heard = backend.heard();
    assert_eq!(backend.lines(), ["GET /shop/socket/fine HTTP/1.1"]);
    assert!(!heard[0].to_ascii_lowercase().contains("upgrade:"), "{heard:?}");
}

/// Unless the backend switches, what comes after a handshake is no matter of its connection.
#[tokio::test]
async fn nothing_follows_a_handshake_that_the_backend_did_not_take() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start().await;
    let project = Project::new();
    let gateway = gateway(&project, &backend, &[]).await;
    let address = gateway.live.http.unwrap();
    let mut expected = Vec::new();
    for (name, status, _) in ANSWERS {
        let path = format!("/shop/socket/{name}");
        for early in [true, false] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = handshake(&path, "websocket");
            let first = if early { format!("{request}{SMUGGLED}") } else { request };
            stream.write_all(first.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_buf(&mut answer).await.unwrap();
            // It may have heard enough.
            let _ = stream.write_all(SMUGGLED.as_bytes()).await;
            let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection ends");
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{name}: {answer}");
            // By now all would have come.
            assert_eq!(gateway.get(&gateway.http("/shop/plain"), &[]).await.status, 200);
            expected.extend([format!("GET {path} HTTP/1.1"), "GET /shop/plain HTTP/1.1".to_owned()]);
            assert_eq!(backend.lines(), expected);
        }
    }
    // A backend that does is told everything, as it wanted: what is above would have been seen.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = handshake("/shop/socket/switch", "WebSocket");
    stream.write_all(format!("{request}{SMUGGLED}").as_bytes()).await.unwrap();
    eventually("it arrives", async || backend.heard().iter().any(|part| part == SMUGGLED).then_some(())).await;
}

/// RFC 8441 section 3: whether a connection takes extended CONNECT.
const EXTENDED_CONNECT: u16 = 8;

/// Nothing is offered over HTTP/2, and who asks all the same gets nowhere.
#[tokio::test]
async fn http_2_has_no_upgrades() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start().await;
    let project = Project::new();
    let config = project.config("[http2]\nenable = true\n");
    let gateway = gateway(&project, &backend, &[&config]).await;
    let address = gateway.live.http.unwrap();
    let offered = http2::settings(address).await.into_iter().find(|(setting, _)| *setting == EXTENDED_CONNECT);
    assert!(offered.is_none_or(|(_, value)| value == 0));
    let target = backend.address.to_string();
    let at = |method: &'static str, path: &'static str| {
        [
            (&b":method"[..], method.as_bytes()),
            (b":scheme", b"http"),
            (b":authority", b"gateway"),
            (b":path", path.as_bytes()),
        ]
    };
    let extended =
        |path, protocol: &'static str| [&at("CONNECT", path)[..], &[(b":protocol", protocol.as_bytes())]].concat();
    let upgrade = [&at("GET", "/shop/socket/switch")[..], &[(b"connection", b"upgrade"), (b"upgrade", b"websocket")]];
    let attempts = [
        extended("/shop/socket/switch", "websocket"),
        extended("/shop/plain", "websocket"),
        extended("/shop/socket/switch", "connect-udp"),
        upgrade.concat(),
        vec![(&b":method"[..], &b"CONNECT"[..]), (b":authority", target.as_bytes())],
        at("CONNECT", "/shop/plain").to_vec(),
    ];
    for attempt in &attempts {
        let answer = http2::ask(address, attempt, Some(SMUGGLED.as_bytes())).await;
        // 0: the connection, or the stream, was ended instead.
        assert!(matches!(answer.status, 0 | 400..=499), "{attempt:?}: {}", answer.status);
    }
    assert_eq!(backend.lines(), Vec::<String>::new());
    let plain = http2::get(address, b"gateway", b"/shop/plain").await;
    assert_eq!((plain.status, backend.lines().len()), (200, 1));
}
