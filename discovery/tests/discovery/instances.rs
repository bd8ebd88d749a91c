//! Services of Consul.

use std::time::{Duration, Instant};

use microgw_compiler::model::Lookup;
use microgw_discovery::{Consul, Discovery, Dns, Settings, SourceKind, SourceStatus, Wanted};

use crate::consul_server::ConsulServer;
use crate::{PATIENCE, shown, url, wait_for_addresses};

fn settings(server: &ConsulServer) -> Settings {
    let dns = Dns { hosts_file: "/nonexistent".into(), resolv_conf: "/nonexistent".into(), ..Dns::default() };
    let consul = Consul { max_pause: Duration::from_millis(200), ..Consul::at(format!("http://{}", server.address)) };
    Settings { dns, consul: Some(consul), ..Settings::default() }
}

fn service(name: &str) -> Wanted {
    (Lookup::Consul(name.to_owned()), url("http://192.0.2.9:8080/base"))
}

fn status(discovery: &Discovery) -> SourceStatus {
    discovery.status().into_iter().find(|source| source.source == SourceKind::Consul).unwrap()
}

async fn wait_until(what: &str, is: impl Fn() -> bool) {
    let reached = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn instances_that_pass_are_used_as_soon_as_they_change() {
    let server = ConsulServer::start(None).await;
    let discovery = Discovery::start(&settings(&server));
    let target = service("we b/../x");
    discovery.follow([target.clone()]);
    assert!(discovery.settled(PATIENCE).await);
    wait_for_addresses(&discovery, &target, &["192.0.2.9:8080"]).await;
    // Its name is one segment, whatever is in it.
    let asked = server.asked();
    assert!(asked[0].starts_with("/v1/health/service/we%20b%2F..%2Fx?passing=true"), "{asked:?}");
    let target = service("web");
    discovery.follow([target.clone()]);
    let changed = Instant::now();
    server
        .register("web", &[("192.0.2.2", 80, "passing"), ("192.0.2.1", 81, "passing"), ("192.0.2.3", 80, "critical")]);
    wait_for_addresses(&discovery, &target, &["192.0.2.1:81", "192.0.2.2:80"]).await;
    eprintln!("a change is known after {:?}", changed.elapsed());
    // Without an address of its own an instance has its node's.
    server.register("web", &[("", 80, "passing")]);
    wait_for_addresses(&discovery, &target, &["192.0.2.250:80"]).await;
    // An index that goes back is begun with anew.
    server.set_index(3);
    server.register("web", &[("192.0.2.4", 80, "passing")]);
    wait_for_addresses(&discovery, &target, &["192.0.2.4:80"]).await;
    server.set_index(0);
    server.register("web", &[("192.0.2.5", 80, "passing")]);
    wait_for_addresses(&discovery, &target, &["192.0.2.5:80"]).await;
    let asked = server.asked().len();
    assert!(asked < 40, "it waits for news: {asked}");
}

#[tokio::test]
async fn the_last_instances_stay_whatever_happens_to_consul() {
    let mut server = ConsulServer::start(None).await;
    server.register("web", &[("192.0.2.1", 80, "passing")]);
    let discovery = Discovery::start(&settings(&server));
    let target = service("web");
    discovery.follow([target.clone()]);
    wait_for_addresses(&discovery, &target, &["192.0.2.1:80"]).await;
    for body in ["", "{}", "[{}]", r#"[{"Node":{"Address":"x y"},"Service":{"Port":80}}]"#, &"[".repeat(1 << 20)] {
        let refused = status(&discovery).refused;
        server.says("web", body);
        wait_until("refused", || status(&discovery).refused > refused).await;
        assert_eq!(shown(&discovery.found().borrow()[&target]), ["192.0.2.1:80"]);
    }
    server.fails(Some(500));
    wait_until("failed", || !status(&discovery).reachable).await;
    assert!(!format!("{:?}", discovery.status()).contains("hunter2"));
    assert_eq!(shown(&discovery.found().borrow()[&target]), ["192.0.2.1:80"]);
    server.fails(None);
    server.register("web", &[("192.0.2.2", 80, "passing")]);
    wait_for_addresses(&discovery, &target, &["192.0.2.2:80"]).await;
    server.stop();
    wait_until("gone", || !status(&discovery).reachable).await;
    assert_eq!(shown(&discovery.found().borrow()[&target]), ["192.0.2.2:80"]);
    server.register("web", &[("192.0.2.3", 80, "passing")]);
    server.restart().await;
    wait_for_addresses(&discovery, &target, &["192.0.2.3:80"]).await;
}

#[tokio::test]
async fn a_service_without_instances_keeps_those_that_it_had_for_some_time() {
    let server = ConsulServer::start(None).await;
    server.register("web", &[("192.0.2.1", 80, "passing")]);
    let mut settings = settings(&server);
    settings.consul.as_mut().unwrap().keep_missing = Duration::from_millis(400);
    let discovery = Discovery::start(&settings);
    let target = service("web");
    discovery.follow([target.clone()]);
    wait_for_addresses(&discovery, &target, &["192.0.2.1:80"]).await;
    let emptied = Instant::now();
    server.register("web", &[("192.0.2.1", 80, "critical")]);
    wait_for_addresses(&discovery, &target, &["192.0.2.9:8080"]).await;
    assert!(emptied.elapsed() >= Duration::from_millis(400));
    server.register("web", &[("192.0.2.2", 80, "passing")]);
    wait_for_addresses(&discovery, &target, &["192.0.2.2:80"]).await;
}

#[tokio::test]
async fn a_token_opens_what_is_closed_to_others() {
    let server = ConsulServer::start(Some("hunter2")).await;
    server.register("web", &[("192.0.2.1", 80, "passing")]);
    let target = service("web");
    for (token, expected) in
        [(None, "192.0.2.9:8080"), (Some("wrong"), "192.0.2.9:8080"), (Some("hunter2"), "192.0.2.1:80")]
    {
        let mut settings = settings(&server);
        let consul = settings.consul.as_mut().unwrap();
        consul.token = token.map(str::to_owned);
        consul.datacenter = Some("dc1".to_owned());
        assert!(!format!("{settings:?}").contains("hunter2"));
        let discovery = Discovery::start(&settings);
        discovery.follow([target.clone()]);
        wait_for_addresses(&discovery, &target, &[expected]).await;
        assert!(discovery.settled(PATIENCE).await);
        assert_eq!(status(&discovery).reachable, token == Some("hunter2"));
    }
    assert!(server.asked().iter().all(|asked| asked.contains("dc=dc1")));
}
