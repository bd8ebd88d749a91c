//! What bodies take of memory: of the service and of its Envoy.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::StreamBody;
use hyper::body::Frame;
use microgw_tests::bodies::Bodies;
use microgw_tests::gateway::{Answer, Gateway, client, command};
use microgw_tests::project::{Project, definition};
use microgw_tests::scripted::Scripted;
use microgw_tests::{envoy_is_here, eventually};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{operation, text};

/// The peak of a process since it was asked last, and what it has now: kilobytes.
fn memory(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let seen = (of("VmHWM:"), of("VmRSS:"));
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    seen
}

/// Both ways, over both versions of HTTP, through bounds that let it pass: memory stays flat, whoever has to wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_pass_in_little_memory() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 1600;
    const WHOLE: usize = PIECE * PIECES;
    /// Kilobytes: a part of one message.
    const ROOM: u64 = 32 * 1024;
    if !envoy_is_here() {
        return;
    }
    let backend = Bodies::start().await;
    let limit = json!({ "request": WHOLE, "response": WHOLE });
    let paths = json!({ "/bytes/{count}": { "post": operation(false, &limit, &json!({})),
        "get": operation(false, &limit, &json!({})) } });
    let project = Project::new();
    project.define("shop", &definition("shop", "/shop", backend.address, &paths));
    project.build().await;
    let shown = command(project.directory(), &["inspect", "shop/target/shop.mgw"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("requests counted, at most {WHOLE} bytes")), "{shown}");
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let both = [gateway.pid(), u32::try_from(gateway.envoy().await).unwrap()];
    let http2 = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    for (version, client) in [("1.1", client()), ("2", http2)] {
        // What a first request brings with it.
        let small = client.post(gateway.http("/shop/bytes/1")).body(text(1_000_000));
        assert_eq!(Answer::of(small).await.status, 200);
        let before = both.map(memory);
        let piece = bytes::Bytes::from(vec![b'x'; PIECE]);
        let pieces = tokio_stream::iter((0..PIECES).map(move |_| Ok::<_, Infallible>(Frame::data(piece.clone()))));
        let upload = client.post(gateway.http("/shop/bytes/1")).body(reqwest::Body::wrap(StreamBody::new(pieces)));
        let answer = upload.timeout(std::time::Duration::from_secs(300)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "HTTP/{version}");
        eprintln!("after the upload: {:?}", both.map(|pid| memory(pid).0));
        let download = client.get(gateway.http(&format!("/shop/bytes/{WHOLE}")));
        let mut answer = download.timeout(std::time::Duration::from_secs(300)).send().await.unwrap();
        let mut length = 0;
        while let Some(piece) = answer.chunk().await.unwrap() {
            length += piece.len();
        }
        assert_eq!(length, WHOLE, "HTTP/{version}");
        for (name, (pid, (_, before))) in ["service", "Envoy"].into_iter().zip(both.into_iter().zip(before)) {
            let (peak, after) = memory(pid);
            eprintln!("HTTP/{version}, {name}: {before} kB before, {peak} at most, {after} after");
            assert!(peak < before + ROOM, "HTTP/{version}, {name}: {before} kB before, {peak} at most");
        }
    }
}

/// A backend that does not read holds up its client, not the gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_does_not_read_holds_up_its_client() {
    const PIECE: usize = 64 * 1024;
    const WHOLE: usize = 100 << 20;
    if !envoy_is_here() {
        return;
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let paths = json!({ "/slow": { "post": operation(false, &json!({ "request": WHOLE }), &json!({})) } });
    let project = Project::new();
    project.define("shop", &definition("shop", "/shop", listener.local_addr().unwrap(), &paths));
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let both = [gateway.pid(), u32::try_from(gateway.envoy().await).unwrap()];
    let before = both.map(memory);
    let sent = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let pieces = tokio_stream::iter((0..WHOLE / PIECE).map(move |_| {
        counted.fetch_add(PIECE, Ordering::Relaxed);
        Ok::<_, Infallible>(Frame::data(bytes::Bytes::from(vec![b'x'; PIECE])))
    }));
    let upload = client().post(gateway.http("/shop/slow")).body(reqwest::Body::wrap(StreamBody::new(pieces))).send();
    let upload = tokio::spawn(upload);
    let (connection, _) = listener.accept().await.unwrap();
    let mut last = usize::MAX;
    eventually("the client waits", async || {
        let mut quiet = 0;
        while quiet < 20 {
            let now = sent.load(Ordering::Relaxed);
            quiet = if now == last && now > 0 { quiet + 1 } else { 0 };
            last = now;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Some(())
    })
    .await;
    assert!(last < WHOLE / 4, "{last} bytes went somewhere");
    for (pid, (_, before)) in both.into_iter().zip(before) {
        let (peak, _) = memory(pid);
        assert!(peak < before + 32 * 1024, "{before} kB before, {peak} at most");
    }
    drop((connection, upload));
}

/// Clients that do not read hold up their backend, however many they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_take_little_each() {
    const WHOLE: usize = 100 << 20;
    const CLIENTS: usize = 64;
    /// Kilobytes of each, in either of the two: pieces on their way there and back.
    const EACH: u64 = 1024;
    if !envoy_is_here() {
        return;
    }
    let backend = Bodies::start().await;
    let paths = json!({ "/bytes/{count}": { "get": operation(false, &json!({ "response": WHOLE }), &json!({})) } });
    let project = Project::new();
    project.define("shop", &definition("shop", "/shop", backend.address, &paths));
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let both = [gateway.pid(), u32::try_from(gateway.envoy().await).unwrap()];
    let before = both.map(|pid| memory(pid).1);
    let request = format!("GET /shop/bytes/{WHOLE} HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(gateway.live.http.unwrap()).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'H', "it has begun");
        clients.push(client);
    }
    // Whatever has room for it has been filled.
    let mut last = [0; 2];
    eventually("nothing more is held", async || {
        for _ in 0..25 {
            let now = both.map(|pid| memory(pid).1 / 1024);
            if now != std::mem::replace(&mut last, now) {
                return None;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Some(())
    })
    .await;
    for (name, (pid, before)) in ["service", "Envoy"].into_iter().zip(both.into_iter().zip(before)) {
        let (peak, _) = memory(pid);
        eprintln!("{name}: {before} kB before, {peak} at most");
        assert!(peak < before + EACH * CLIENTS as u64, "{name}: {before} kB before, {peak} at most");
    }
}

#[tokio::test]
async fn all_that_is_collected_has_one_bound() {
    const HALF: usize = 600_000;
    if !envoy_is_here() {
        return;
    }
    let backend = Scripted::start().await;
    let paths = json!({ "/both": { "post": operation(true, &json!({ "request": 1_000_000 }), &json!({})) } });
    let project = Project::new();
    project.define("shop", &definition("shop", "/shop", backend.address, &paths));
    project.build().await;
    let settings = ["--bodyConfig.maxMemoryBytes=1048576"];
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &settings).await;
    let taken = async || {
        let metrics = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
        let line = metrics.lines().find_map(|line| line.strip_prefix("microgw_body_bytes ")).unwrap();
        line.parse::<usize>().unwrap()
    };
    // One that does not end has its place.
    let mut first = TcpStream::connect(gateway.live.http.unwrap()).await.unwrap();
    let head = format!("POST /shop/both HTTP/1.1\r\nhost: a\r\ncontent-length: {HALF}\r\nconnection: close\r\n\r\n");
    first.write_all(head.as_bytes()).await.unwrap();
    first.write_all(&text(HALF - 1)).await.unwrap();
    eventually("it is held", async || (taken().await == HALF - 1).then_some(())).await;
    let second = Answer::of(client().post(gateway.http("/shop/both")).body(text(HALF))).await;
    assert_eq!((second.status, second.code(), second.header("retry-after")), (503, 503, "1"), "{second:?}");
    let third = Answer::of(client().post(gateway.http("/shop/both")).body(text(HALF / 2))).await;
    assert_eq!(third.status, 200, "what there is room for passes: {third:?}");
    assert!(backend.one().body == text(HALF / 2));

    first.write_all(b"x").await.unwrap();
    let mut answer = Vec::new();
    first.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    eventually("all is given back", async || (taken().await == 0).then_some(())).await;
    let last = Answer::of(client().post(gateway.http("/shop/both")).body(text(HALF))).await;
    assert_eq!(last.status, 200, "{last:?}");
}
