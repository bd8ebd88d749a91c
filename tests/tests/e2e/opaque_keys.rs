//! Opaque API keys, in a file and in Redis: made, rotated, ended and revoked while the gateway runs.

use std::net::SocketAddr;
use std::path::Path;

use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Gateway, command};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::redis::{RedisServer, redis_is_here};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

async fn shop(backend: SocketAddr) -> Project {
    let project = Project::new();
    let paths = json!({
        "/header": get(&json!([{ "key": [] }])),
        "/query": get(&json!([{ "query_key": [] }])),
        "/both": get(&json!([{ "key": [], "query_key": [] }])),
    });
    project.define("shop", &definition("Shop", "/shop", backend, &paths));
    project.define("other", &definition("Other", "/other", backend, &paths));
    project.build().await;
    project
}

/// The store as `micro-gw keys` sees it.
struct Keys<'a> {
    directory: &'a Path,
    config: &'a str,
}

impl Keys<'_> {
    async fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = command(self.directory, &[&["keys"], arguments, &[self.config]].concat()).await;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// Id and key.
    async fn make(&self, arguments: &[&str]) -> (String, String) {
        let made = self.run(&[arguments, &["--output", "json"]].concat()).await.unwrap();
        let made: Value = serde_json::from_str(&made).unwrap();
        (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
    }

    async fn list(&self) -> Vec<Value> {
        serde_json::from_str(&self.run(&["list", "--output", "json"]).await.unwrap()).unwrap()
    }
}

async fn ask(gateway: &Gateway, path: &str, key: &str) -> u16 {
    gateway.get(&gateway.http(path), &[("x-api-key", key)]).await.status
}

async fn until(gateway: &Gateway, path: &str, key: &str, status: u16) {
    eventually("the store is followed", async || (ask(gateway, path, key).await == status).then_some(())).await;
}

/// What a store of either kind has to do.
async fn life_of_a_key(gateway: &Gateway, keys: &Keys<'_>) {
    let narrow = ["create", "--owner", "alice", "--application", "shop app", "--tier", "Gold", "--api", "Shop:1.0"];
    let (id, key) = keys.make(&[&narrow[..], &["--metadata", "team=a", "--expires-in", "30d"]].concat()).await;
    until(gateway, "/shop/header", &key, 200).await;
    let seen = gateway.get(&gateway.http("/shop/header"), &[("x-api-key", &key)]).await;
    assert!(!seen.body.contains(&key), "the backend does not see it: {seen:?}");
    assert_eq!(gateway.get(&gateway.http(&format!("/shop/query?key={key}")), &[]).await.status, 200);
    let other = gateway.get(&gateway.http("/other/header"), &[("x-api-key", &key)]).await;
    assert_eq!((other.status, other.code()), (403, 900_908), "{other:?}");
    // A self-contained key beside it, in the same request.
    let jwt = gateway.api_key().await;
    assert_eq!(ask(gateway, &format!("/shop/both?key={jwt}"), &key).await, 200);
    for wrong in [&key[..51], &format!("{key}A"), "mgw_", &id] {
        let answer = gateway.get(&gateway.http("/shop/header"), &[("x-api-key", wrong)]).await;
        assert_eq!(
            (answer.status, answer.code(), answer.header("www-authenticate")),
            (401, 900_901, "ApiKey realm=\"micro-gw\"")
        );
    }

    let (new_id, new_key) = keys.make(&["rotate", &id, "--overlap", "1h"]).await;
    until(gateway, "/shop/header", &new_key, 200).await;
    assert_eq!(ask(gateway, "/shop/header", &key).await, 200, "both are live");
    let refused = keys.run(&["rotate", &id]).await.unwrap_err();
    assert!(refused.contains(&new_id), "{refused}");
    assert!(keys.run(&["expire", &id, "--in", "2h"]).await.unwrap_err().contains("later"));
    keys.run(&["expire", &id, "--in", "0s"]).await.unwrap();
    eventually("the old one has ended", async || {
        let answer = gateway.get(&gateway.http("/shop/header"), &[("x-api-key", &key)]).await;
        (answer.status == 401 && answer.code() == 900_903).then_some(())
    })
    .await;
    assert_eq!(ask(gateway, "/shop/header", &new_key).await, 200);
    keys.run(&["revoke", &new_id]).await.unwrap();
    until(gateway, "/shop/header", &new_key, 401).await;

    let listed = keys.list().await;
    let states: Vec<_> = listed.iter().map(|key| (&key["id"], key["state"].as_str().unwrap())).collect();
    assert_eq!(states.len(), 2);
    assert!(states.contains(&(&json!(id), "expired")) && states.contains(&(&json!(new_id), "revoked")), "{states:?}");
    assert_eq!((&listed[0]["owner"], &listed[0]["application"]["name"]), (&json!("alice"), &json!("shop app")));
    assert_eq!((&listed[0]["tier"], &listed[0]["metadata"]["team"]), (&json!("Gold"), &json!("a")));
    let human = keys.run(&["list"]).await.unwrap();
    for text in [human, json!(listed).to_string(), gateway.log(), gateway.status().await.to_string()] {
        assert!(!text.contains(&key) && !text.contains(&new_key) && !text.contains("\"hash\""), "{text}");
    }
    for (arguments, problem) in [
        (&["revoke", "key_0"][..], "there is no key `key_0`"),
        (&["create", "--owner", ""], "`owner` is empty"),
        (&["create", "--owner", "a", "--api", "Shop"], "NAME:VERSION"),
        (&["create", "--owner", "a", "--metadata", "x"], "no `=`"),
        (&["create", "--owner", "a", "--expires-at", "2001-01-01T00:00:00Z"], "expired already"),
    ] {
        let refused = keys.run(arguments).await.unwrap_err();
        assert!(refused.contains(problem), "{arguments:?}: {refused}");
    }
}

#[tokio::test]
async fn keys_in_a_file() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(backend.address).await;
    let config = project.config("[apikey.store]\npath = \"keys.jsonl\"\n");
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let keys = Keys { directory: project.directory(), config: &config };
    life_of_a_key(&gateway, &keys).await;

    // A broken file changes nothing, and says so.
    let (_, key) = keys.make(&["create", "--owner", "bob", "--sandbox"]).await;
    until(&gateway, "/shop/header", &key, 403).await;
    let path = project.directory().join("keys.jsonl");
    let good = std::fs::read_to_string(&path).unwrap();
    assert!(!good.contains(&key));
    std::fs::write(&path, "{\"id\": \"sesame\"").unwrap();
    let status = gateway.status_where("it is said", |status| status["apiKeys"]["problem"].is_string()).await;
    let problem = status["apiKeys"]["problem"].as_str().unwrap();
    assert!(problem.contains("line 1") && !problem.contains("sesame"), "{problem}");
    assert_eq!(ask(&gateway, "/shop/header", &key).await, 403, "no sandbox endpoint: it is known still");
    std::fs::write(&path, good).unwrap();
    gateway.status_where("it is good again", |status| status["apiKeys"]["problem"].is_null()).await;
}

#[tokio::test]
async fn keys_in_redis() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let mut server = RedisServer::start().await;
    let backend = Backend::start("shop").await;
    let project = shop(backend.address).await;
    let config = project.config(&format!("{}[apikey.store]\nredis = true\nstaleAfter = 2000\n", server.settings()));
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let keys = Keys { directory: project.directory(), config: &config };
    life_of_a_key(&gateway, &keys).await;

    // Redis is down: what is known is believed for a while, and then nobody can tell.
    let (_, key) = keys.make(&["create", "--owner", "bob"]).await;
    until(&gateway, "/shop/header", &key, 200).await;
    let jwt = gateway.api_key().await;
    server.stop();
    until(&gateway, "/shop/header", &key, 503).await;
    assert_eq!(ask(&gateway, "/shop/header", &jwt).await, 200, "keys that speak for themselves do");
    assert!(gateway.status().await["apiKeys"]["problem"].is_string());
    assert!(keys.run(&["create", "--owner", "bob"]).await.unwrap_err().contains("Redis"));

    // It comes back without what it had.
    server.restart().await;
    until(&gateway, "/shop/header", &key, 401).await;
    let (_, key) = keys.make(&["create", "--owner", "bob"]).await;
    until(&gateway, "/shop/header", &key, 200).await;
}

#[tokio::test]
async fn a_gateway_starts_while_redis_is_down() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let mut server = RedisServer::start().await;
    let backend = Backend::start("shop").await;
    let project = shop(backend.address).await;
    let config = project.config(&format!("{}[apikey.store]\nredis = true\n", server.settings()));
    let keys = Keys { directory: project.directory(), config: &config };
    let (_, key) = keys.make(&["create", "--owner", "bob"]).await;
    server.stop();
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let answer = gateway.get(&gateway.http("/shop/header"), &[("x-api-key", &key)]).await;
    assert_eq!((answer.status, answer.code(), answer.header("retry-after")), (503, 900_900, "1"));
    server.restart().await;
    until(&gateway, "/shop/header", &key, 401).await;
}
