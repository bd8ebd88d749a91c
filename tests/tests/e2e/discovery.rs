//! Backends that somebody else says where they are: keys of a real etcd, SRV records.

use std::time::Instant;

use microgw_tests::envoy_is_here;
use microgw_tests::etcd::{EtcdServer, etcd_is_here};
use microgw_tests::gateway::Gateway;
use microgw_tests::load::{Load, tally};
use microgw_tests::project::{Project, definition, get};
use serde_json::{Value, json};

use super::dns::dns_server::DnsServer;
use super::dns::{backends, nameserver, until, who};

/// An API whose backend is `url`.
async fn project(url: &str) -> Project {
    let project = Project::new();
    let paths = json!({ "/open": get(&json!([])) });
    let mut definition = definition("shop", "/shop", ([127, 0, 0, 1], 1).into(), &paths);
    definition["x-wso2-production-endpoints"] = json!({ "urls": [url] });
    project.define("shop", &definition);
    project.build().await;
    project
}

fn source(status: &Value, name: &str) -> Value {
    let sources = status["discovery"]["sources"].as_array().cloned().unwrap_or_default();
    sources.into_iter().find(|source| source["source"] == name).unwrap_or_default()
}

async fn all_were_answered(load: Load, gateway: &Gateway) {
    let seen = load.stop().await;
    let failed: Vec<_> = tally(&seen).into_iter().filter(|(seen, _)| seen.status != 200).collect();
    assert_eq!(failed, [], "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_etcd_are_followed_under_load_and_etcd_may_die() {
    if !envoy_is_here() || !etcd_is_here() {
        return;
    }
    let ([one, two, three], port) = backends(["one", "two", "three"]).await;
    let at = |number: u8| format!("http://127.0.0.{number}:{port}");
    let project = project(&format!("etcd(shop/backend, {})", at(2))).await;
    let mut etcd = EtcdServer::start(project.directory());
    let config = project.config(&format!("etcdurl = '{}'\n", etcd.url()));
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    assert_eq!(who(&gateway, "/shop/open").await, "one", "no such key: the default");
    let generation = gateway.live.generation.clone();

    let load = Load::start(&gateway.client, &gateway.http("/shop/open"), &[], 4);
    load.answers(50).await;
    etcd.put("shop/backend", &at(3));
    let changed = Instant::now();
    until(&gateway, "/shop/open", "two").await;
    eprintln!("a key of etcd that changes is where requests go after {:?}", changed.elapsed());

    // Another scheme is not what was declared.
    etcd.put("shop/backend", &format!("https://127.0.0.4:{port}"));
    gateway.status_where("it is refused", |status| source(status, "etcd")["refused"] == 1).await;
    assert_eq!(who(&gateway, "/shop/open").await, "two");
    etcd.put("shop/backend", &at(3));

    etcd.kill();
    let status = gateway.status_where("it is missed", |status| source(status, "etcd")["reachable"] == false).await;
    assert!(source(&status, "etcd")["lastError"].is_string(), "{status}");
    load.answers(100).await;
    assert_eq!(who(&gateway, "/shop/open").await, "two", "the last value stays");
    etcd.restart();
    etcd.put("shop/backend", &at(4));
    let changed = Instant::now();
    until(&gateway, "/shop/open", "three").await;
    eprintln!("and {:?} after etcd was restarted", changed.elapsed());
    let status = gateway.status_where("it is back", |status| source(status, "etcd")["reachable"] == true).await;
    assert!(source(&status, "etcd")["lastSuccess"].is_number(), "{status}");

    etcd.delete("shop/backend");
    until(&gateway, "/shop/open", "one").await;
    load.answers(50).await;
    all_were_answered(load, &gateway).await;
    assert_eq!(gateway.status().await["live"], json!(generation), "nothing was published for it");
    let metrics = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    assert!(metrics.contains("microgw_discovery_refused_total{source=\"etcd\"} 1"), "{metrics}");
    assert!(metrics.contains("microgw_discovery_reachable{source=\"etcd\"} 1"), "{metrics}");
    drop((one, two, three));
}

#[tokio::test]
async fn a_key_can_be_named_at_the_start() {
    if !envoy_is_here() || !etcd_is_here() {
        return;
    }
    let ([one, two], port) = backends(["one", "two"]).await;
    let at = |number: u8| format!("http://127.0.0.{number}:{port}");
    let project = project(&at(2)).await;
    let etcd = EtcdServer::start(project.directory());
    let config = project.config(&format!("etcdurl = '{}'\n", etcd.url()));
    let key = "--api_df93dc625b0bec64dedd2344a56ebeafa87b1d75c479702a4da721d7b20f52ea_prod_0_etcdKey=shop/backend";
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config, key]).await;
    assert_eq!(who(&gateway, "/shop/open").await, "one", "the URL is the default");
    etcd.put("shop/backend", &at(3));
    until(&gateway, "/shop/open", "two").await;
    drop((one, two));
}

#[tokio::test]
async fn without_settings_it_is_the_default_and_that_is_said() {
    if !envoy_is_here() {
        return;
    }
    let ([one], port) = backends(["one"]).await;
    let project = project(&format!("etcd(shop/backend, http://127.0.0.2:{port})")).await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    assert_eq!(who(&gateway, "/shop/open").await, "one");
    assert!(gateway.log().contains("discovery is not configured: the default URL is used"), "{}", gateway.log());
    let etcd = source(&gateway.status().await, "etcd");
    assert_eq!((&etcd["reachable"], &etcd["targets"]), (&json!(false), &json!(1)), "{etcd}");
    assert_eq!(etcd["lastError"], "it is not configured: default URLs are used");
    drop(one);
}

#[tokio::test]
async fn records_of_services_say_host_and_port() {
    if !envoy_is_here() {
        return;
    }
    let dns = DnsServer::start().await;
    let ([one, two], port) = backends(["one", "two"]).await;
    for (name, address) in [("a.test", "127.0.0.2"), ("b.test", "127.0.0.3")] {
        dns.addresses(name, 1, &[address]);
    }
    dns.services("_http._tcp.shop.test", 1, &[(0, 1, port, "a.test")]);
    let project = project("srv(_http._tcp.shop.test, http://127.0.0.1:1)").await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&nameserver(&dns)]).await;
    assert_eq!(who(&gateway, "/shop/open").await, "one");
    let load = Load::start(&gateway.client, &gateway.http("/shop/open"), &[], 4);
    load.answers(50).await;
    dns.services("_http._tcp.shop.test", 1, &[(0, 1, port, "b.test")]);
    until(&gateway, "/shop/open", "two").await;
    load.answers(50).await;
    all_were_answered(load, &gateway).await;
    let srv = source(&gateway.status().await, "srv");
    assert_eq!((&srv["reachable"], &srv["targets"]), (&json!(true), &json!(1)), "{srv}");
    drop((one, two));
}
