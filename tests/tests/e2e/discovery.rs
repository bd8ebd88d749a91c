//! Backends that somebody else says where they are: keys of a real etcd, SRV records, Consul; in the clear and over TLS.

#[expect(dead_code, reason = "what other tests need of it is theirs")]
#[path = "../../../discovery/tests/discovery/consul_server.rs"]
mod consul_server;

use std::path::{Path, PathBuf};
use std::time::Instant;

use microgw_tests::envoy_is_here;
use microgw_tests::etcd::{EtcdServer, Files, etcd_is_here};
use microgw_tests::gateway::Gateway;
use microgw_tests::load::{Load, tally};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::tls::Identity;
use serde_json::{Value, json};

use self::consul_server::ConsulServer;
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

/// How many of `requests` were answered by `backend`.
async fn answered_by(gateway: &Gateway, backend: &str, requests: usize) -> usize {
    let mut by = 0;
    for _ in 0..requests {
        by += usize::from(who(gateway, "/shop/open").await == backend);
    }
    by
}

#[tokio::test]
async fn records_of_services_have_their_weights_and_the_next_priority_waits_for_its_turn() {
    if !envoy_is_here() {
        return;
    }
    let dns = DnsServer::start().await;
    let ([one, two, three], port) = backends(["one", "two", "three"]).await;
    for (name, address) in [("a.test", "127.0.0.2"), ("b.test", "127.0.0.3"), ("c.test", "127.0.0.4")] {
        dns.addresses(name, 1, &[address]);
    }
    dns.services(
        "_http._tcp.shop.test",
        1,
        &[(10, 3, port, "a.test"), (10, 1, port, "b.test"), (20, 9, port, "c.test")],
    );
    let project = project("srv(_http._tcp.shop.test, http://127.0.0.1:1)").await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&nameserver(&dns)]).await;
    let (by_one, by_two) = (answered_by(&gateway, "one", 100).await, answered_by(&gateway, "two", 100).await);
    assert!((65..=85).contains(&by_one) && (15..=35).contains(&by_two), "three to one: {by_one}, {by_two}");
    assert_eq!(answered_by(&gateway, "three", 20).await, 0);
    let status = gateway.status().await;
    let shares = &status["discovery"]["shown"][0]["shares"];
    assert_eq!((&shares[0]["weight"], &shares[2]["priority"]), (&json!(300), &json!(20)), "{status}");

    // One of a priority cannot be reached: the other has all, not the next priority. Both: the next. No request fails for it.
    let load = Load::start(&gateway.client, &gateway.http("/shop/open"), &[], 4);
    load.answers(50).await;
    let moves = async |name: &str, nobody: &str| {
        dns.addresses(name, 1, &[nobody]);
        let moved = format!("{nobody}:{port}");
        gateway.status_where("it moves", |status| status["discovery"].to_string().contains(&moved)).await;
        load.answers(50).await;
    };
    moves("a.test", "127.0.0.8").await;
    assert_eq!(answered_by(&gateway, "two", 20).await, 20);
    moves("b.test", "127.0.0.9").await;
    assert_eq!(answered_by(&gateway, "three", 20).await, 20);
    dns.addresses("a.test", 1, &["127.0.0.2"]);
    until(&gateway, "/shop/open", "one").await;
    all_were_answered(load, &gateway).await;
    drop((one, two, three));
}

fn instance(address: &str, port: u16, weight: u32) -> String {
    format!(
        r#"{{"Node":{{"Address":"192.0.2.250"}},"Service":{{"Service":"shop","Address":"{address}","Port":{port},"Weights":{{"Passing":{weight},"Warning":1}}}},"Checks":[{{"Status":"passing"}}]}}"#
    )
}

/// PEM files of an authority, and of what it issued.
struct Pem {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

fn written(directory: &Path, name: &str, authority: &Identity, identity: &Identity) -> Pem {
    let file = |kind: &str, content: String| {
        let path = directory.join(format!("{name}-{kind}.pem"));
        std::fs::write(&path, content).unwrap();
        path
    };
    Pem {
        authority: file("ca", authority.certificate_pem()),
        certificate: file("certificate", identity.certificate_pem()),
        key: file("key", identity.key_pem()),
    }
}

#[tokio::test]
async fn instances_of_consul_have_their_weights_and_consul_is_who_it_should_be() {
    if !envoy_is_here() {
        return;
    }
    let ([one, two, three], port) = backends(["one", "two", "three"]).await;
    let (ours, others) = (Identity::authority("ours"), Identity::authority("others"));
    let client = ours.issue("gateway");
    let token = Some("6e0c2a3f-token");
    // Somebody else answers, at first.
    let consul = ConsulServer::start_with(token, Some(others.issue("127.0.0.1").acceptor(None))).await;
    let instances = |weights: [(u8, u32); 2]| {
        let instances = weights.map(|(number, weight)| instance(&format!("127.0.0.{number}"), port, weight));
        consul.says("shop", &format!("[{}]", instances.join(",")));
    };
    instances([(3, 1), (4, 4)]);
    let project = project(&format!("consul(shop, http://127.0.0.2:{port})")).await;
    let pem = written(project.directory(), "gateway", &ours, &client);
    let config = project.config(&format!(
        "[discovery.consul]\nurl = 'https://{}'\ntoken = '6e0c2a3f-token'\ncaPath = '{}'\ncertificatePath = '{}'\nprivateKeyPath = '{}'\n",
        consul.address,
        pem.authority.display(),
        pem.certificate.display(),
        pem.key.display(),
    ));
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let status =
        gateway.status_where("it is refused", |status| source(status, "consul")["lastError"].is_string()).await;
    assert_eq!(source(&status, "consul")["reachable"], false, "{status}");
    assert_eq!(answered_by(&gateway, "one", 5).await, 5, "the default");
    assert_eq!(consul.asked(), Vec::<String>::new(), "and no token was sent");
    let metrics = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    assert!(metrics.contains("microgw_discovery_reachable{source=\"consul\"} 0"), "{metrics}");

    // Consul itself, which asks for a certificate in turn.
    *consul.tls.lock().unwrap() = Some(ours.issue("127.0.0.1").acceptor(Some(&ours)));
    gateway.status_where("it is there", |status| source(status, "consul")["reachable"] == true).await;
    until(&gateway, "/shop/open", "three").await;
    let by_three = answered_by(&gateway, "three", 100).await;
    assert!((70..=90).contains(&by_three), "four to one: {by_three}");
    instances([(3, 4), (4, 1)]);
    let changed = Instant::now();
    microgw_tests::eventually("weights are turned", async || {
        (answered_by(&gateway, "two", 20).await >= 14).then_some(())
    })
    .await;
    eprintln!("a weight of Consul that changes has its effect after {:?}", changed.elapsed());
    assert!(!gateway.log().contains("6e0c2a3f") && !gateway.status().await.to_string().contains("6e0c2a3f"));
    drop((one, two, three));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_over_tls_is_who_it_should_be_and_knows_the_gateway() {
    if !envoy_is_here() || !etcd_is_here() {
        return;
    }
    let ([one, two], port) = backends(["one", "two"]).await;
    let at = |number: u8| format!("http://127.0.0.{number}:{port}");
    let project = project(&format!("etcd(shop/backend, {})", at(2))).await;
    let (ours, others) = (Identity::authority("ours"), Identity::authority("others"));
    let server = written(project.directory(), "etcd", &ours, &ours.issue("127.0.0.1"));
    let client = written(project.directory(), "gateway", &ours, &ours.issue("gateway"));
    let strangers = written(project.directory(), "stranger", &others, &others.issue("gateway"));
    let files = Files {
        authority: server.authority,
        server: (server.certificate, server.key),
        client: (client.certificate.clone(), client.key.clone()),
    };
    let etcd = EtcdServer::start_with(project.directory(), Some(files), &[]);
    etcd.put("shop/backend", &at(3));
    let config = |authority: &Path, shown: Option<&Pem>| {
        let shown = shown.map_or_else(String::new, |Pem { certificate, key, .. }| {
            format!("certificatePath = '{}'\nprivateKeyPath = '{}'\n", certificate.display(), key.display())
        });
        let authority = authority.display();
        project.config(&format!("[discovery.etcd]\nurls = ['{}']\ncaPath = '{authority}'\n{shown}", etcd.url()))
    };
    // An authority that does not know etcd, no certificate, and one that etcd does not know.
    for config in [
        config(&strangers.authority, Some(&client)),
        config(&client.authority, None),
        config(&client.authority, Some(&strangers)),
    ] {
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
        let status =
            gateway.status_where("it is refused", |status| source(status, "etcd")["lastError"].is_string()).await;
        assert_eq!(source(&status, "etcd")["reachable"], false, "{status}");
        assert_eq!(who(&gateway, "/shop/open").await, "one", "the default");
        assert!(gateway.log().contains("etcd"), "{}", gateway.log());
    }
    let config = config(&client.authority, Some(&client));
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    until(&gateway, "/shop/open", "two").await;
    etcd.put("shop/backend", &at(2));
    until(&gateway, "/shop/open", "one").await;
    drop((one, two));
}
