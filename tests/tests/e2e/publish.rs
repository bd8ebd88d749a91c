//! Another generation: what makes one, and what clients see of the change.

use std::time::Instant;

use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Gateway, replace};
use microgw_tests::load::{Load, Seen};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{envoy_is_here, eventually};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const ARTIFACT: &str = "shop/target/shop.mgw";

fn shop(backend: &Backend, more: Option<&str>) -> Value {
    let mut paths = json!({ "/open": get(&json!([])), "/guarded": get(&json!([{ "key": [] }])) });
    if let Some(path) = more {
        paths[path] = get(&json!([]));
    }
    definition("Shop", "/shop", backend.address, &paths)
}

async fn backend_of(gateway: &Gateway, path: &str) -> (u16, Value) {
    let answer = gateway.get(&gateway.http(path), &[]).await;
    let body = if answer.status == 200 { answer.json()["backend"].clone() } else { Value::Null };
    (answer.status, body)
}

#[tokio::test]
async fn an_artifact_is_read_again_on_sighup() {
    if !envoy_is_here() {
        return;
    }
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let project = Project::new();
    project.define("shop", &shop(&old, None));
    project.build().await;
    let mut gateway = Gateway::run(project.directory(), ARTIFACT, &[]).await;
    let first = gateway.live.clone();
    assert_eq!(backend_of(&gateway, "/shop/open").await, (200, "old".into()));

    // The same once more is nothing new.
    project.build().await;
    gateway.signal(Signal::SIGHUP);
    eventually("it says so", async || gateway.log().contains("nothing changed").then_some(())).await;
    assert_eq!(gateway.status().await["live"], first.generation.as_str());

    // Replaced, and not asked for: the old one serves. There is nothing to wait for but an answer.
    project.define("shop", &shop(&new, Some("/fresh")));
    project.build().await;
    assert_eq!(backend_of(&gateway, "/shop/fresh").await.0, 404);
    gateway.signal(Signal::SIGHUP);
    let second = gateway.wait_until_live().await;
    assert_ne!(second.generation, first.generation);
    assert_eq!((second.http, second.https), (first.http, first.https));
    assert_eq!(backend_of(&gateway, "/shop/open").await, (200, "new".into()));
    assert_eq!(backend_of(&gateway, "/shop/fresh").await, (200, "new".into()));

    // What cannot be loaded changes nothing.
    let good = std::fs::read(project.artifact()).unwrap();
    replace(&project.artifact(), &good[..good.len() - 1]);
    gateway.signal(Signal::SIGHUP);
    eventually("it says so", async || gateway.log().contains("truncated").then_some(())).await;
    assert_eq!(backend_of(&gateway, "/shop/fresh").await, (200, "new".into()));
    assert_eq!(gateway.status().await["live"], second.generation.as_str());

    // Back to where it was: the same generation as then.
    project.define("shop", &shop(&old, None));
    project.build().await;
    gateway.signal(Signal::SIGHUP);
    assert_eq!(gateway.wait_until_live().await.generation, first.generation);
    assert_eq!(backend_of(&gateway, "/shop/open").await, (200, "old".into()));
    assert_eq!(backend_of(&gateway, "/shop/fresh").await.0, 404);
}

#[tokio::test]
async fn a_watched_project_is_built_on_save() {
    if !envoy_is_here() {
        return;
    }
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let project = Project::new();
    project.define("shop", &shop(&old, None));
    let mut gateway = Gateway::run(project.directory(), "shop", &["--watch"]).await;
    assert_eq!(backend_of(&gateway, "/shop/open").await, (200, "old".into()));

    project.define("shop", &shop(&new, None));
    gateway.wait_until_live().await;
    assert_eq!(backend_of(&gateway, "/shop/open").await, (200, "new".into()));

    // A save that does not build: told, with its place, and nothing else happens.
    let mut broken = shop(&old, None);
    broken["paths"]["no-slash"] = broken["paths"]["/open"].clone();
    project.define("shop", &broken);
    eventually("it says so", async || gateway.log().contains("error[MGW-").then_some(())).await;
    assert!(gateway.log().contains("api_definitions/shop.json:"), "{}", gateway.log());
    assert_eq!(backend_of(&gateway, "/shop/open").await, (200, "new".into()));
    assert_eq!(gateway.status().await["ready"], true);

    project.define("more", &definition("More", "/more", old.address, &json!({ "/open": get(&json!([])) })));
    project.define("shop", &shop(&old, None));
    gateway.wait_until_live().await;
    if backend_of(&gateway, "/more/open").await.0 == 404 {
        // The two saves were seen one by one.
        gateway.wait_until_live().await;
    }
    assert_eq!(backend_of(&gateway, "/more/open").await, (200, "old".into()));
    assert_eq!(backend_of(&gateway, "/shop/open").await, (200, "old".into()));
}

#[tokio::test]
async fn a_watched_artifact_is_served_when_it_is_replaced() {
    if !envoy_is_here() {
        return;
    }
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let project = Project::new();
    project.define("shop", &shop(&old, None));
    project.build().await;
    let mut gateway = Gateway::run(project.directory(), ARTIFACT, &["--watch"]).await;
    for (backend, name) in [(&new, "new"), (&old, "old")] {
        project.define("shop", &shop(backend, None));
        project.build().await;
        gateway.wait_until_live().await;
        assert_eq!(backend_of(&gateway, "/shop/open").await, (200, name.into()));
    }
}

/// Wrong is what neither generation alone would answer, and what the old one answers after the new one is live.
#[tokio::test]
async fn publishing_under_load_gives_no_wrong_answer() {
    if !envoy_is_here() {
        return;
    }
    let backends = [Backend::start("even").await, Backend::start("odd").await];
    let steady = Backend::start("steady").await;
    let project = Project::new();
    let open = get(&json!([]));
    project.define("other", &definition("Other", "/other", steady.address, &json!({ "/open": open })));
    let moving = ["/even", "/odd"];
    project.define("shop", &shop(&backends[0], Some(moving[0])));
    project.build().await;
    // Two workers: each takes the new routes at its own moment.
    let mut gateway = Gateway::run(project.directory(), ARTIFACT, &["--envoyConfig.concurrency=2"]).await;
    let key = [("x-api-key", gateway.api_key().await)];
    let answer = |status: u16, backend: &str| Seen { status, backend: backend.to_owned() };

    for round in 1..=6 {
        let (before, after) = ((round + 1) % 2, round % 2);
        let names = ["even", "odd"];
        let on = |moving: usize, generation: usize| {
            if moving == generation { answer(200, names[generation]) } else { answer(404, "") }
        };
        let load = |path: &str, headers: &[(&'static str, String)]| {
            Load::start(&gateway.client, &gateway.http(path), headers, 2)
        };
        let loads = [
            (load("/shop/open", &[]), answer(200, names[before]), answer(200, names[after])),
            (load("/shop/guarded", &key), answer(200, names[before]), answer(200, names[after])),
            (load("/shop/guarded", &[]), answer(401, ""), answer(401, "")),
            (load("/shop/even", &[]), on(0, before), on(0, after)),
            (load("/shop/odd", &[]), on(1, before), on(1, after)),
            (load("/other/open", &[]), answer(200, "steady"), answer(200, "steady")),
        ];
        for (load, ..) in &loads {
            load.answers(10).await;
        }
        project.define("shop", &shop(&backends[after], Some(moving[after])));
        project.build().await;
        gateway.signal(Signal::SIGHUP);
        gateway.wait_until_live().await;
        let live = Instant::now();
        for (load, ..) in &loads {
            load.answers(20).await;
        }
        for (load, old, new) in loads {
            for (sent, seen) in load.stop().await {
                let right = seen == new || (seen == old && sent < live);
                assert!(right, "round {round}: {seen:?}, from {old:?} to {new:?}, after live: {}", sent >= live);
            }
        }
    }
}

#[tokio::test]
async fn a_publish_leaves_requests_under_way_alone() {
    if !envoy_is_here() {
        return;
    }
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let project = Project::new();
    project.define("shop", &shop(&old, Some("/held")));
    project.build().await;
    let mut gateway = Gateway::run(project.directory(), ARTIFACT, &[]).await;
    let held = tokio::spawn(gateway.client.get(gateway.http("/shop/held")).send());
    eventually("it has arrived", async || (old.requests() == 1).then_some(())).await;
    project.define("shop", &shop(&new, None));
    project.build().await;
    gateway.signal(Signal::SIGHUP);
    gateway.wait_until_live().await;
    assert_eq!(backend_of(&gateway, "/shop/held").await.0, 404);
    old.release();
    let answer: Value = held.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(answer["backend"], "old");
}
