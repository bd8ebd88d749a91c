//! SRV.

use std::time::Duration;

use hickory_resolver::proto::op::ResponseCode;
use microgw_compiler::model::Lookup;
use microgw_discovery::{Discovery, Wanted};

use crate::dns_server::DnsServer;
use crate::names::settings;
use crate::{PATIENCE, shown, url, wait_for, wait_for_addresses};

fn service(name: &str, default: &str) -> Wanted {
    (Lookup::Srv(name.to_owned()), url(default))
}

#[tokio::test]
async fn records_are_resolved_in_turn_and_asked_for_again() {
    let server = DnsServer::start().await;
    server.addresses("default.example", 60, &["192.0.2.9"]);
    server.addresses("a.example", 0, &["192.0.2.1", "192.0.2.2"]);
    server.addresses("b.example", 0, &["192.0.2.3"]);
    let discovery = Discovery::start(&settings(&server));
    let target = service("_http._tcp.example", "http://default.example:8080/base");
    discovery.follow([target.clone()]);
    // Nobody knows it: the default.
    wait_for_addresses(&discovery, &target, &["192.0.2.9:8080"]).await;
    server.services("_http._tcp.example", 0, &[(10, 0, 81, "a.example."), (10, 0, 82, "B.Example.")]);
    wait_for_addresses(&discovery, &target, &["192.0.2.1:81", "192.0.2.2:81", "192.0.2.3:82"]).await;
    // A name that has moved.
    server.addresses("b.example", 0, &["192.0.2.4"]);
    wait_for_addresses(&discovery, &target, &["192.0.2.1:81", "192.0.2.2:81", "192.0.2.4:82"]).await;
    // Earlier priorities come first, and weights are as they are said, 0 being next to none.
    server.services(
        "_http._tcp.example",
        0,
        &[(20, 0, 81, "a.example."), (10, 7, 82, "b.example."), (10, 0, 83, "b.example.")],
    );
    let all = ["192.0.2.4:83", "192.0.2.4:82", "192.0.2.1:81", "192.0.2.2:81"];
    let found =
        wait_for(&discovery, &target, |found| found.is_some_and(|found| found.instances.len() == 3)).await.unwrap();
    assert_eq!(
        shown(&found).iter().collect::<std::collections::BTreeSet<_>>(),
        all.map(str::to_owned).iter().collect()
    );
    let shares: Vec<_> = found.instances.iter().map(|instance| (instance.priority, instance.weight)).collect();
    assert_eq!(shares, [(10, 700), (10, 1), (20, 1)]);
    // One without an address is nobody.
    server.services("_http._tcp.example", 0, &[(20, 0, 81, "a.example."), (10, 0, 82, "nobody.example.")]);
    wait_for_addresses(&discovery, &target, &["192.0.2.1:81", "192.0.2.2:81"]).await;
    // A record less.
    server.services("_http._tcp.example", 0, &[(10, 0, 82, "b.example.")]);
    wait_for_addresses(&discovery, &target, &["192.0.2.4:82"]).await;
    assert_eq!(discovery.found().borrow()[&target].host, None);
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing_and_a_dot_means_none() {
    let server = DnsServer::start().await;
    server.addresses("a.example", 60, &["192.0.2.1"]);
    server.services("_http._tcp.example", 0, &[(0, 0, 81, "a.example.")]);
    let discovery = Discovery::start(&settings(&server));
    let target = service("_http._tcp.example", "http://default.example");
    discovery.follow([target.clone()]);
    wait_for_addresses(&discovery, &target, &["192.0.2.1:81"]).await;
    // Neither a port, nor a name that has an address, nor an answer.
    server.services("_http._tcp.example", 0, &[(0, 0, 0, "a.example.")]);
    let refused = async {
        while discovery.status().iter().all(|source| source.refused == 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    wait_for_addresses(&discovery, &target, &["192.0.2.1:81"]).await;
    server.services("_http._tcp.example", 0, &[(0, 0, 81, "unknown.example.")]);
    let asked = async {
        while server.asked("unknown.example") < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap();
    wait_for_addresses(&discovery, &target, &["192.0.2.1:81"]).await;
    server.fails("_http._tcp.example", ResponseCode::ServFail);
    let asked = server.asked("_http._tcp.example") + 2;
    let again = async {
        while server.asked("_http._tcp.example") < asked {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
    wait_for_addresses(&discovery, &target, &["192.0.2.1:81"]).await;
    server.services("_http._tcp.example", 0, &[(0, 0, 0, ".")]);
    wait_for_addresses(&discovery, &target, &[]).await;
}

#[tokio::test]
async fn a_service_that_is_gone_is_the_default_after_some_time() {
    let server = DnsServer::start().await;
    server.addresses("default.example", 60, &["192.0.2.9"]);
    server.addresses("a.example", 60, &["192.0.2.1"]);
    server.services("_http._tcp.example", 0, &[(0, 0, 81, "a.example.")]);
    let mut settings = settings(&server);
    settings.dns.keep_missing = Duration::from_millis(300);
    let discovery = Discovery::start(&settings);
    let target = service("_http._tcp.example", "http://default.example");
    discovery.follow([target.clone()]);
    wait_for_addresses(&discovery, &target, &["192.0.2.1:81"]).await;
    server.fails("_http._tcp.example", ResponseCode::NXDomain);
    wait_for_addresses(&discovery, &target, &["192.0.2.9:80"]).await;
}
