//! A and AAAA.

use std::fs;
use std::time::Duration;

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;
use microgw_compiler::model::Lookup;
use microgw_discovery::{Discovery, Dns, Family, Settings, SourceKind, Wanted};

use crate::dns_server::{DnsServer, Says};
use crate::{PATIENCE, url, wait_for, wait_for_addresses};

pub fn settings(server: &DnsServer) -> Settings {
    let dns = Dns {
        nameservers: vec![server.address],
        min_ttl: Duration::from_millis(50),
        max_pause: Duration::from_millis(200),
        timeout: Duration::from_millis(300),
        hosts_file: "/nonexistent".into(),
        resolv_conf: "/nonexistent".into(),
        ..Dns::default()
    };
    Settings { dns, ..Settings::default() }
}

fn host(text: &str) -> Wanted {
    (Lookup::Host, url(text))
}

/// Waits until the server was asked about `name` as many times again.
async fn asked_again(server: &DnsServer, name: &str, times: usize) {
    let until = server.asked(name) + times;
    let asked = async {
        while server.asked(name) < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("the server is asked");
}

#[tokio::test]
async fn a_name_has_its_addresses_and_is_asked_about_again_by_its_ttl() {
    let server = DnsServer::start().await;
    server.addresses("backend.example", 0, &["192.0.2.2", "192.0.2.1", "192.0.2.1", "2001:db8::1"]);
    let discovery = Discovery::start(&settings(&server));
    let target = host("http://backend.example:8080/base");
    discovery.follow([target.clone()]);
    assert!(discovery.settled(PATIENCE).await);
    wait_for_addresses(&discovery, &target, &["192.0.2.1:8080", "192.0.2.2:8080"]).await;
    let before = server.asked("backend.example");
    assert_eq!(before, server.asked("backend.example").max(1), "version 6 is not asked for where version 4 is there");
    server.addresses("backend.example", 0, &["192.0.2.7"]);
    wait_for_addresses(&discovery, &target, &["192.0.2.7:8080"]).await;
    // Without addresses of version 4 those of version 6 are used.
    server.addresses("backend.example", 0, &["2001:db8::1"]);
    wait_for_addresses(&discovery, &target, &["[2001:db8::1]:8080"]).await;
}

#[tokio::test]
async fn families_can_be_chosen() {
    let server = DnsServer::start().await;
    server.addresses("both.example", 60, &["192.0.2.1", "2001:db8::1"]);
    let target = host("http://both.example");
    for (family, expected) in [
        (Family::Both, &["192.0.2.1:80", "[2001:db8::1]:80"][..]),
        (Family::Ipv4, &["192.0.2.1:80"]),
        (Family::Ipv6, &["[2001:db8::1]:80"]),
        (Family::PreferIpv4, &["192.0.2.1:80"]),
    ] {
        let mut settings = settings(&server);
        settings.dns.family = family;
        let discovery = Discovery::start(&settings);
        discovery.follow([target.clone()]);
        wait_for_addresses(&discovery, &target, expected).await;
    }
}

#[tokio::test]
async fn what_was_known_stays_when_dns_fails_or_dies() {
    let mut server = DnsServer::start().await;
    server.addresses("backend.example", 0, &["192.0.2.1"]);
    let discovery = Discovery::start(&settings(&server));
    let target = host("http://backend.example");
    discovery.follow([target.clone()]);
    wait_for_addresses(&discovery, &target, &["192.0.2.1:80"]).await;
    for says in [
        Says::Fails(ResponseCode::ServFail),
        Says::Fails(ResponseCode::Refused),
        Says::Fails(ResponseCode::NXDomain),
        Says::Records(Vec::new(), 0),
        Says::Garbage(vec![0; 3]),
        Says::Garbage(vec![0xff; 600]),
        Says::Silence,
    ] {
        server.says("backend.example", RecordType::A, says.clone());
        asked_again(&server, "backend.example", 2).await;
        wait_for_addresses(&discovery, &target, &["192.0.2.1:80"]).await;
    }
    server.stop();
    let unreachable = async {
        while discovery.status().iter().all(|source| source.reachable) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, unreachable).await.unwrap();
    wait_for_addresses(&discovery, &target, &["192.0.2.1:80"]).await;
    server.restart().await;
    server.addresses("backend.example", 0, &["192.0.2.2"]);
    wait_for_addresses(&discovery, &target, &["192.0.2.2:80"]).await;
    let names = discovery.status().into_iter().find(|source| source.source == SourceKind::Dns).unwrap();
    assert!(names.reachable && names.last_success.is_some() && names.failures > 0 && names.targets == 1, "{names:?}");
}

#[tokio::test]
async fn a_name_that_is_gone_loses_its_addresses_after_some_time_and_gets_them_back() {
    let server = DnsServer::start().await;
    server.addresses("backend.example", 0, &["192.0.2.1"]);
    let mut settings = settings(&server);
    settings.dns.keep_missing = Duration::from_millis(300);
    let discovery = Discovery::start(&settings);
    let target = host("http://backend.example");
    discovery.follow([target.clone()]);
    wait_for_addresses(&discovery, &target, &["192.0.2.1:80"]).await;
    server.fails("backend.example", ResponseCode::NXDomain);
    wait_for_addresses(&discovery, &target, &[]).await;
    server.addresses("backend.example", 0, &["192.0.2.2"]);
    wait_for_addresses(&discovery, &target, &["192.0.2.2:80"]).await;
}

#[tokio::test]
async fn what_does_not_fit_is_asked_for_over_tcp_and_bounded() {
    let server = DnsServer::start().await;
    server.addresses("many.example", 60, &[]);
    let many = (0..1500_u32).map(|n| {
        hickory_resolver::proto::rr::RData::A(hickory_resolver::proto::rr::rdata::A((0x0a00_0001 + n).into()))
    });
    server.says("many.example", RecordType::A, Says::Truncated(many.collect(), 60));
    let discovery = Discovery::start(&settings(&server));
    let target = host("http://many.example");
    discovery.follow([target.clone()]);
    let found = wait_for(&discovery, &target, |found| found.is_some()).await.unwrap();
    assert_eq!(found.addresses().count(), 256);
    assert_eq!(found.addresses().next().unwrap().to_string(), "10.0.0.1:80");
}

#[tokio::test]
async fn addresses_that_are_none_are_left_out() {
    let server = DnsServer::start().await;
    server.addresses("odd.example", 60, &["0.0.0.0", "224.0.0.1", "192.0.2.1"]);
    server.addresses("none.example", 60, &["0.0.0.0"]);
    let discovery = Discovery::start(&settings(&server));
    let (odd, none) = (host("http://odd.example"), host("http://none.example"));
    discovery.follow([odd.clone(), none.clone()]);
    wait_for_addresses(&discovery, &odd, &["192.0.2.1:80"]).await;
    assert!(discovery.settled(PATIENCE).await);
    assert_eq!(discovery.found().borrow().get(&none), None);
}

#[tokio::test]
async fn names_that_nobody_knows_settle_and_addresses_are_their_own() {
    let mut server = DnsServer::start().await;
    let discovery = Discovery::start(&settings(&server));
    let (unknown, address) = (host("http://unknown.example"), host("https://[2001:db8::7]"));
    discovery.follow([unknown.clone(), address.clone()]);
    assert!(discovery.settled(PATIENCE).await);
    assert_eq!(discovery.found().borrow().get(&unknown), None);
    wait_for_addresses(&discovery, &address, &["[2001:db8::7]:443"]).await;
    // Nobody there at all.
    server.stop();
    let late = host("http://late.example");
    discovery.follow([late.clone(), address.clone()]);
    assert!(discovery.settled(PATIENCE).await);
    assert_eq!(discovery.found().borrow().keys().collect::<Vec<_>>(), [&address]);
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_not_asked_about() {
    let server = DnsServer::start().await;
    server.addresses("one.example", 0, &["192.0.2.1"]);
    server.addresses("two.example", 0, &["192.0.2.2"]);
    let discovery = Discovery::start(&settings(&server));
    let (one, two) = (host("http://one.example"), host("http://two.example"));
    // Two targets of one name are one question.
    let other = host("http://one.example:81");
    discovery.follow([one.clone(), two.clone(), other.clone()]);
    wait_for_addresses(&discovery, &other, &["192.0.2.1:81"]).await;
    wait_for_addresses(&discovery, &two, &["192.0.2.2:80"]).await;
    discovery.follow([two.clone()]);
    wait_for(&discovery, &one, |found| found.is_none()).await;
    asked_again(&server, "two.example", 2).await;
    let asked = server.asked("one.example");
    asked_again(&server, "two.example", 4).await;
    assert_eq!(server.asked("one.example"), asked);
    drop(discovery);
}

#[tokio::test]
async fn files_of_the_system_are_used_and_seen_when_they_change() {
    let server = DnsServer::start().await;
    server.addresses("backend.internal.example", 60, &["192.0.2.9"]);
    let directory = tempfile::tempdir().unwrap();
    let (hosts_file, resolv_conf) = (directory.path().join("hosts"), directory.path().join("resolv.conf"));
    fs::write(&hosts_file, "192.0.2.1 listed listed.example\n# 192.0.2.8 listed\n").unwrap();
    fs::write(&resolv_conf, "search internal.example\noptions ndots:1\nnameserver 127.0.0.1\n").unwrap();
    let mut settings = settings(&server);
    settings.dns.hosts_file.clone_from(&hosts_file);
    settings.dns.resolv_conf = resolv_conf;
    let discovery = Discovery::start(&settings);
    let (listed, searched, own) = (host("http://listed"), host("http://backend"), host("http://localhost"));
    discovery.follow([listed.clone(), searched.clone(), own.clone()]);
    wait_for_addresses(&discovery, &listed, &["192.0.2.1:80"]).await;
    wait_for_addresses(&discovery, &searched, &["192.0.2.9:80"]).await;
    wait_for_addresses(&discovery, &own, &["127.0.0.1:80"]).await;
    assert_eq!((server.asked("listed"), server.asked("localhost")), (0, 0));
    fs::write(&hosts_file, "192.0.2.2 listed\n192.0.2.3 backend\n").unwrap();
    wait_for_addresses(&discovery, &listed, &["192.0.2.2:80"]).await;
    wait_for_addresses(&discovery, &searched, &["192.0.2.3:80"]).await;
}
