//! What happens when a process ends that should not have, and when one ends that should.

use std::collections::BTreeSet;
use std::path::Path;

use microgw_tests::backend::Backend;
use microgw_tests::envoy::Envoy;
use microgw_tests::gateway::{Gateway, client, command, free_port, is_alive};
use microgw_tests::load::{Load, Seen, tally};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{envoy_is_here, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ARTIFACT: &str = "shop/target/shop.mgw";

async fn shop(backend: &Backend) -> Project {
    let project = Project::new();
    let (open, guarded) = (get(&json!([])), get(&json!([{ "key": [] }])));
    let mut read = guarded.clone();
    read["get"]["x-microgw-body-limit"] = json!({ "request": 100_000, "response": 100_000 });
    // Never, and it would need the whole of both.
    let never = |when: &str| json!([{ "if": when, "json": [{ "remove": "/secret" }] }]);
    read["get"]["x-microgw-transform"] =
        json!({ "request": never("request.method == 'NONE'"), "response": never("response.status == 599") });
    read["post"] = read["get"].clone();
    let paths = json!({ "/open": open, "/guarded": guarded, "/held": guarded, "/read": read });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.build().await;
    project
}

fn serve(directory: &Path, sockets: &Path, more: &[&str]) -> Gateway {
    let settings = [&["--sockets", sockets.to_str().unwrap()], more].concat();
    Gateway::start(directory, "serve", ARTIFACT, &settings)
}

fn statuses(seen: &[(std::time::Instant, Seen)]) -> BTreeSet<u16> {
    tally(seen).into_keys().map(|seen| seen.status).collect()
}

#[tokio::test]
async fn a_dead_service_refuses_and_lets_nothing_through() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let sockets = project.directory().join("sockets");
    let mut service = serve(project.directory(), &sockets, &[]);
    let envoy = Envoy::start(project.directory(), ARTIFACT, &sockets, |_| {}).await;
    let (http, https) = envoy.addresses().await;
    let generation = service.wait_until_live().await.generation;
    (service.live.http, service.live.https) = (Some(http), Some(https));
    let key = service.api_key().await;

    let client = client();
    let start = |path: &str, headers: &[(&'static str, String)]| {
        Load::start(&client, &format!("http://{http}{path}"), headers, 2)
    };
    let guarded = start("/shop/guarded", &[("x-api-key", key.clone())]);
    let without = start("/shop/guarded", &[]);
    let open = start("/shop/open", &[]);
    let read = start("/shop/read", &[("x-api-key", key.clone())]);
    let read_without = start("/shop/read", &[]);
    for load in [&guarded, &without, &open, &read, &read_without] {
        load.answers(20).await;
    }
    // Half of a body, of somebody who has a key.
    let mut half = TcpStream::connect(http).await.unwrap();
    let head = format!("POST /shop/read HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\ncontent-length: 50000\r\n\r\n");
    let part = vec![b'x'; 25_000];
    half.write_all(&[head.as_bytes(), &part].concat()).await.unwrap();
    let before = backend.requests();
    eventually("others go on", async || (backend.requests() > before + 5).then_some(())).await;
    service.signal(Signal::SIGKILL);
    service.child.wait().await.unwrap();
    let ask = async |path: &str| {
        let request = client.get(format!("http://{http}{path}")).header("x-api-key", &key);
        request.send().await.unwrap().status().as_u16()
    };
    eventually("Envoy has noticed", async || (ask("/shop/guarded").await == 503).then_some(())).await;
    let while_dead = start("/shop/guarded", &[("x-api-key", key.clone())]);
    let read_while_dead = start("/shop/read", &[("x-api-key", key.clone())]);
    for load in [&guarded, &without, &open, &read, &read_without, &while_dead, &read_while_dead] {
        load.answers(50).await;
    }
    assert_eq!(statuses(&read_while_dead.stop().await), BTreeSet::from([503]));
    // Whether the rest comes or not.
    let _ = half.write_all(&part).await;
    let mut told = [0; 12];
    half.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 503");
    assert_eq!(statuses(&while_dead.stop().await), BTreeSet::from([503]));
    assert_eq!(ask("/health").await, 200);

    // The next one knows what the Envoy still asks about, at once.
    let mut service = serve(project.directory(), &sockets, &[]);
    eventually("it is guarded again", async || (ask("/shop/guarded").await == 200).then_some(())).await;
    assert_eq!(service.wait_until_live().await.generation, generation);
    for load in [&guarded, &without, &open, &read, &read_without] {
        load.answers(20).await;
    }
    // Never let through without a key, never called forbidden, never an unknown rule.
    assert_eq!(statuses(&guarded.stop().await), BTreeSet::from([200, 503]));
    assert_eq!(statuses(&without.stop().await), BTreeSet::from([401, 503]));
    assert_eq!(statuses(&read.stop().await), BTreeSet::from([200, 503]));
    assert_eq!(statuses(&read_without.stop().await), BTreeSet::from([401, 503]));
    assert_eq!(statuses(&open.stop().await), BTreeSet::from([200]));
}

#[tokio::test]
async fn a_restart_with_other_settings_and_another_artifact_has_no_gap() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let sockets = project.directory().join("sockets");
    let mut service = serve(project.directory(), &sockets, &[]);
    let envoy = Envoy::start(project.directory(), ARTIFACT, &sockets, |_| {}).await;
    let (http, https) = envoy.addresses().await;
    let generation = service.wait_until_live().await.generation;
    (service.live.http, service.live.https) = (Some(http), Some(https));
    let key = service.api_key().await;

    // Another gateway cannot take its place while it is there.
    let sockets_text = sockets.to_str().unwrap();
    let second = command(project.directory(), &["serve", ARTIFACT, "--sockets", sockets_text]).await;
    let told = String::from_utf8_lossy(&second.stderr);
    assert!(second.status.code() == Some(1) && told.contains("another gateway uses"), "{told}");

    let load = Load::start(&client(), &format!("http://{http}/shop/guarded"), &[("x-api-key", key)], 2);
    load.answers(20).await;
    service.signal(Signal::SIGKILL);
    service.child.wait().await.unwrap();
    // Every rule has another identity now: those of then must be known until Envoy has moved on.
    let guarded = get(&json!([{ "key": [] }]));
    let paths = json!({ "/guarded": guarded, "/more": guarded });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.build().await;
    let mut service = serve(project.directory(), &sockets, &["--server.timestampSkew=1000"]);
    while service.wait_until_live().await.generation == generation {}
    load.answers(50).await;
    assert_eq!(statuses(&load.stop().await), BTreeSet::from([200, 503]));
}

#[tokio::test]
async fn an_envoy_that_dies_is_replaced() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let ports = [("http", free_port()), ("https", free_port())]
        .map(|(scheme, port)| format!("--listenerConfig.{scheme}Port={port}"));
    let gateway = Gateway::run(project.directory(), ARTIFACT, &[&ports[0], &ports[1]]).await;
    let key = gateway.api_key().await;
    let first = gateway.envoy().await;
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let second = eventually("there is another", async || {
        let pid = gateway.envoy().await;
        (pid != first).then_some(pid)
    })
    .await;
    assert!(is_alive(second) && !is_alive(first));
    // A new client: the connections of the old one are gone.
    let fresh = client();
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = fresh.get(gateway.http("/shop/guarded"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.ok().map(|response| response.status().as_u16())
    };
    eventually("it serves", async || (ask(&[("x-api-key", &key)]).await == Some(200)).then_some(())).await;
    assert_eq!(ask(&[]).await, Some(401));
    let status = gateway.status_where("it is ready", |status| status["ready"] == true).await;
    assert_eq!(status["live"], gateway.live.generation.as_str());
}

#[tokio::test]
async fn sigterm_lets_requests_end_and_leaves_nothing() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let mut gateway = Gateway::run(project.directory(), ARTIFACT, &["--envoyConfig.drainTimeout=20000"]).await;
    let key = gateway.api_key().await;
    let envoy = gateway.envoy().await;
    let held = tokio::spawn(client().get(gateway.http("/shop/held")).header("x-api-key", &key).send());
    eventually("it has arrived", async || (backend.requests() == 1).then_some(())).await;

    gateway.signal(Signal::SIGTERM);
    // Load balancers are told before anything is closed; who still comes is served.
    let health = gateway.http("/health");
    eventually("it says that it will go", async || {
        let answer = client().get(&health).send().await.ok()?;
        (answer.headers().get("connection").is_some_and(|value| value == "close")).then_some(())
    })
    .await;
    let late = client().get(gateway.http("/shop/guarded")).header("x-api-key", &key).send().await.unwrap();
    assert_eq!(late.status(), 200);
    assert!(!held.is_finished());
    backend.release();
    let answer = held.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["backend"], "shop");

    let exit = gateway.child.wait().await.unwrap();
    assert!(exit.success(), "{exit}: {}", gateway.log());
    assert!(!is_alive(envoy));
    assert!(tokio::net::TcpStream::connect(gateway.live.http.unwrap()).await.is_err());
    let left: Vec<_> =
        std::fs::read_dir(project.directory()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("micro-gw-")), "{left:?}");
}

#[tokio::test]
async fn envoy_does_not_outlive_a_gateway_that_is_killed() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let mut gateway = Gateway::run(project.directory(), ARTIFACT, &[]).await;
    let envoy = gateway.envoy().await;
    gateway.signal(Signal::SIGKILL);
    gateway.child.wait().await.unwrap();
    eventually("Envoy is gone", async || (!is_alive(envoy)).then_some(())).await;
    // The next gateway has no trouble with what was left.
    let mut gateway = Gateway::run(project.directory(), ARTIFACT, &[]).await;
    assert_eq!(gateway.get(&gateway.http("/shop/open"), &[]).await.status, 200);
    assert!(gateway.stop().await.success());
}
