//! Backends that are called by names: resolved by the gateway, told to Envoy when they change, with nothing published for it.

#[expect(dead_code, reason = "what other tests need of it is theirs")]
#[path = "../../../discovery/tests/discovery/dns_server.rs"]
pub mod dns_server;

use std::net::SocketAddr;

use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Gateway, free_port};
use microgw_tests::load::{Load, tally};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

use self::dns_server::DnsServer;

/// An API per base path, and the URL of its backend.
async fn project(apis: &[(&str, String)]) -> Project {
    let project = Project::new();
    define(&project, apis).await;
    project
}

async fn define(project: &Project, apis: &[(&str, String)]) {
    for (base, url) in apis {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let paths = json!({ "/open": get(&json!([])), "/held": get(&json!([])) });
        let mut definition = definition(base.trim_start_matches('/'), base, nobody, &paths);
        definition["servers"][0]["url"] = url.clone().into();
        project.define(base.trim_start_matches('/'), &definition);
    }
    project.build().await;
}

pub fn nameserver(dns: &DnsServer) -> String {
    format!("--discovery.nameservers={}", dns.address)
}

/// Backends on addresses of their own, with one port.
pub async fn backends<const N: usize>(names: [&'static str; N]) -> ([Backend; N], u16) {
    let port = free_port();
    let mut backends = Vec::new();
    for (name, number) in names.into_iter().zip(2..) {
        backends.push(Backend::start_at(name, SocketAddr::from(([127, 0, 0, number], port))).await);
    }
    (backends.try_into().ok().unwrap(), port)
}

pub async fn who(gateway: &Gateway, path: &str) -> String {
    let answer = gateway.get(&gateway.http(path), &[]).await;
    if answer.status == 200 { answer.json()["backend"].as_str().unwrap().to_owned() } else { answer.status.to_string() }
}

pub async fn until(gateway: &Gateway, path: &str, backend: &str) {
    eventually(&format!("{path} comes from {backend}"), async || (who(gateway, path).await == backend).then_some(()))
        .await;
}

fn addresses(status: &Value, url: &str) -> Value {
    let shown = status["discovery"]["shown"].as_array().cloned().unwrap_or_default();
    let of = shown.into_iter().find(|target| target["url"] == url);
    of.map(|target| target["addresses"].clone()).unwrap_or_default()
}

#[tokio::test]
async fn addresses_that_change_under_load_cost_no_request() {
    if !envoy_is_here() {
        return;
    }
    let dns = DnsServer::start().await;
    let ([one, two, three], port) = backends(["one", "two", "three"]).await;
    dns.addresses("shop.test", 1, &["127.0.0.2"]);
    let project = project(&[("/shop", format!("http://shop.test:{port}"))]).await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&nameserver(&dns)]).await;
    // Known before it was live.
    assert_eq!(who(&gateway, "/shop/open").await, "one");
    let generation = gateway.live.generation.clone();

    let load = Load::start(&gateway.client, &gateway.http("/shop/open"), &[], 4);
    load.answers(50).await;
    for (addresses, backend) in [
        (&["127.0.0.3"][..], "two"),
        (&["127.0.0.3", "127.0.0.4"], "three"),
        (&["127.0.0.2"], "one"),
        (&["127.0.0.4"], "three"),
    ] {
        dns.addresses("shop.test", 1, addresses);
        until(&gateway, "/shop/open", backend).await;
        load.answers(50).await;
    }
    // Whoever is not called any more may go.
    drop((one, two));
    load.answers(50).await;
    let seen = load.stop().await;
    let failed: Vec<_> = tally(&seen).into_iter().filter(|(seen, _)| seen.status != 200).collect();
    assert_eq!(failed, [], "{}", gateway.log());
    drop(three);

    let status = gateway.status().await;
    assert_eq!(status["live"], json!(generation));
    assert_eq!(addresses(&status, &format!("http://shop.test:{port}")), json!([format!("127.0.0.4:{port}")]));
    assert!(!gateway.log().contains("draining"), "{}", gateway.log());
    let metrics = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    assert!(metrics.contains("microgw_backend_targets{state=\"found\"} 1"), "{metrics}");
    assert!(metrics.contains("microgw_xds_nacks_total{type=\"Endpoint\"} 0"), "{metrics}");
}

#[tokio::test]
async fn a_name_without_address_costs_its_api_alone() {
    if !envoy_is_here() {
        return;
    }
    let dns = DnsServer::start().await;
    let ([one, two], port) = backends(["one", "two"]).await;
    dns.addresses("shop.test", 1, &["127.0.0.2"]);
    let apis = [("/shop", format!("http://shop.test:{port}")), ("/pets", format!("http://pets.test:{port}/v1"))];
    let project = project(&apis).await;
    let mut gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&nameserver(&dns)]).await;
    assert_eq!(who(&gateway, "/shop/open").await, "one");
    let answer = gateway.get(&gateway.http("/pets/open"), &[]).await;
    assert_eq!((answer.status, answer.code()), (503, 101_503), "{}", answer.body);
    assert!(gateway.log().contains("no address is known"), "{}", gateway.log());
    let status = gateway.status().await;
    assert_eq!(addresses(&status, &format!("http://pets.test:{port}/v1")), Value::Null);

    // It comes.
    dns.addresses("pets.test", 1, &["127.0.0.3"]);
    until(&gateway, "/pets/open", "two").await;
    // A name that is new is known when it is live, and that DNS is gone changes nothing for others.
    dns.addresses("users.test", 1, &["127.0.0.2"]);
    define(&project, &[("/users", format!("http://users.test:{port}"))]).await;
    let artifact = std::fs::read(project.artifact()).unwrap();
    gateway.publish(&project.artifact(), &artifact).await;
    assert_eq!(who(&gateway, "/users/open").await, "one");
    drop(dns);
    for path in ["/shop/open", "/pets/open", "/users/open"] {
        assert_ne!(who(&gateway, path).await, "503", "{path}");
    }
    drop((one, two));
}

#[tokio::test]
async fn a_restart_without_dns_serves_what_was_known() {
    if !envoy_is_here() {
        return;
    }
    let dns = DnsServer::start().await;
    let ([one], port) = backends(["one"]).await;
    dns.addresses("shop.test", 1, &["127.0.0.2"]);
    let project = project(&[("/shop", format!("http://shop.test:{port}"))]).await;
    let mut gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&nameserver(&dns)]).await;
    assert_eq!(who(&gateway, "/shop/open").await, "one");
    let memory = project.directory().join("data/addresses.json");
    eventually("it is written", async || memory.exists().then_some(())).await;
    gateway.stop().await;
    let argument = nameserver(&dns);
    drop(dns);
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&argument]).await;
    assert_eq!(who(&gateway, "/shop/open").await, "one");
    drop(gateway);
    // What cannot be read is none.
    std::fs::write(&memory, b"{\"a\": ").unwrap();
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&argument]).await;
    assert_eq!(who(&gateway, "/shop/open").await, "503");
    assert!(gateway.log().contains("what is known of backends' addresses is not used"), "{}", gateway.log());
    drop(one);
}

#[tokio::test]
async fn a_start_with_another_artifact_serves_nothing_of_the_one_before() {
    if !envoy_is_here() {
        return;
    }
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let nameserver = format!("--discovery.nameservers={}", silent.local_addr().unwrap());
    let ([one], port) = backends(["one"]).await;
    let project = project(&[("/shop", format!("http://127.0.0.2:{port}"))]).await;
    let mut gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&nameserver]).await;
    let before = gateway.live.generation.clone();
    assert_eq!(who(&gateway, "/shop/open").await, "one");
    gateway.stop().await;
    // Getting it ready takes a while.
    define(&project, &[("/pets", format!("http://pets.test:{port}"))]).await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&nameserver]).await;
    assert_ne!(gateway.live.generation, before, "{}", gateway.log());
    drop(one);
}

#[tokio::test]
async fn a_preflight_needs_no_dns() {
    if !envoy_is_here() {
        return;
    }
    let project = project(&[("/shop", "https://nowhere.invalid/v1".to_owned())]).await;
    // It opens no port.
    let arguments = ["build", "shop", "--preflight"];
    let output = microgw_tests::gateway::command(project.directory(), &arguments).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
