//! The PROXY protocol: whose address counts, and who may say so.

use microgw_tests::backend::Backend;
use microgw_tests::envoy::Envoy;
use microgw_tests::gateway::{Gateway, free_port};
use microgw_tests::raw::{RawAnswer, exchange};
use microgw_tests::tls::Connection;
use microgw_tests::{envoy_is_here, eventually};

use super::shop;

const REQUEST: &str = "GET /shop/open HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n";
/// Of each address three requests.
const POLICIES: &str = "denyPolicies:\n  - Bad: {when: {ip: [203.0.113.66, \"2001:db8::66\"]}}\n\
     subscriptionPolicies:\n  - Unauthenticated: {count: 3, unitTime: 1, timeUnit: year}\n";

/// Version 1.
fn text(client: &str) -> Vec<u8> {
    let (family, own) = if client.contains(':') { ("TCP6", "::1") } else { ("TCP4", "10.0.0.1") };
    format!("PROXY {family} {client} {own} 40000 443\r\n").into_bytes()
}

/// Version 2, over IPv4. `command`: 1 tells of a client, 0 of none.
fn binary(client: [u8; 4], command: u8) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([0x20 | command, 0x11, 0, 12]);
    bytes.extend(client);
    bytes.extend([10, 0, 0, 1, 0x9c, 0x40, 1, 0xbb]);
    bytes
}

fn forwarded_for(answer: &RawAnswer) -> String {
    let echo = answer.echo().unwrap_or_else(|| panic!("{}", answer.head));
    echo["headers"]["x-forwarded-for"].as_str().unwrap_or_default().to_owned()
}

async fn asked(gateway: &Gateway, before: &[u8]) -> RawAnswer {
    gateway.raw(&[before, REQUEST.as_bytes()].concat()).await
}

#[tokio::test]
async fn balancers_tell_of_clients() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    project.write("policies.yaml", POLICIES);
    project.build().await;
    let log = project.directory().join("access.log");
    let config = project.config(&format!(
        "[listenerConfig]\nproxyProtocol = ['http', 'https']\nproxyProtocolFrom = '192.0.2.0/24'\n\
         [b7a.http.accesslog]\npath = '{}'\n",
        log.display()
    ));
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let here = forwarded_for(&asked(&gateway, b"PROXY UNKNOWN\r\n").await);
    assert!(!here.starts_with("203."), "{here}");
    for (before, client) in [
        (text("203.0.113.7"), "203.0.113.7"),
        (text("2001:db8::7"), "2001:db8::7"),
        (binary([203, 0, 113, 8], 1), "203.0.113.8"),
        // Of nobody else: the connection is the balancer's own. (For loopback Envoy names another address of this host.)
        (binary([203, 0, 113, 99], 0), &here),
        (b"PROXY UNKNOWN\r\n".to_vec(), &here),
    ] {
        let answer = asked(&gateway, &before).await;
        assert_eq!((answer.status, forwarded_for(&answer).as_str()), (200, client), "{}", answer.body);
    }
    // Deny policies go by it, whatever the client says of others.
    let spoofed = REQUEST.replace("host:", "x-forwarded-for: 203.0.113.99\r\nhost:");
    for denied in [text("203.0.113.66"), text("2001:db8::66"), binary([203, 0, 113, 66], 1)] {
        assert_eq!(asked(&gateway, &denied).await.status, 403);
        assert_eq!(gateway.raw(&[&denied[..], spoofed.as_bytes()].concat()).await.status, 403);
    }
    // So do limits: the fourth is one too many, of this address alone.
    for status in [200, 200, 200, 429] {
        assert_eq!(asked(&gateway, &text("203.0.113.70")).await.status, status);
    }
    assert_eq!(asked(&gateway, &binary([203, 0, 113, 70], 1)).await.status, 429);
    assert_eq!(asked(&gateway, &text("203.0.113.71")).await.status, 200);
    // Before TLS it is said in the clear.
    let https = gateway.live.https.unwrap();
    let mut over_tls = Connection::open_for(https, "localhost", &text("203.0.113.9")).await;
    assert_eq!(forwarded_for(&over_tls.get("/shop/open").await), "203.0.113.9");
    let mut over_tls = Connection::open_for(https, "localhost", &binary([203, 0, 113, 66], 1)).await;
    assert_eq!(over_tls.get("/shop/open").await.status, 403);
    eventually("the access log has the clients", async || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        ["203.0.113.7\"", "203.0.113.8\"", "203.0.113.66\"", "2001:db8::7\""]
            .iter()
            .all(|client| text.contains(client))
            .then_some(())
    })
    .await;
    // Whoever does not begin so is not served.
    let asked_before = backend.requests();
    for before in [
        &b""[..],
        b"PROXY TCP4 999.0.0.1 10.0.0.1 1 2\r\n",
        b"PROXY\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c",
    ] {
        let bytes = exchange(gateway.live.http.unwrap(), &[before, REQUEST.as_bytes()].concat(), |_| false).await;
        assert!(bytes.is_empty(), "{}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(backend.requests(), asked_before);
}

/// Behind the balancer is a proxy that speaks HTTP: the connection is the proxy's, and what it appended is the client.
#[tokio::test]
async fn proxies_behind_balancers_tell_of_clients() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    project.write("policies.yaml", POLICIES);
    project.build().await;
    let config = project.config(
        "[gateway]\ntrustedHops = 1\n[listenerConfig]\nproxyProtocol = 'http'\nproxyProtocolFrom = '192.0.2.0/24'\n",
    );
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let said = async |forwarded: &str| {
        let request = REQUEST.replace("host:", &format!("x-forwarded-for: {forwarded}\r\nhost:"));
        gateway.raw(&[&text("198.51.100.1")[..], request.as_bytes()].concat()).await
    };
    // The proxy's word counts, what the client wrote before it does not, and the balancer tells of the proxy.
    let answer = said("203.0.113.66, 203.0.113.7").await;
    assert_eq!((answer.status, forwarded_for(&answer).as_str()), (200, "203.0.113.66, 203.0.113.7,198.51.100.1"));
    assert_eq!(said("203.0.113.7, 203.0.113.66").await.status, 403);
    for status in [200, 200, 200, 429] {
        assert_eq!(said("203.0.113.99, 203.0.113.70").await.status, status);
    }
    assert_eq!(said("203.0.113.70, 203.0.113.71").await.status, 200);
}

#[tokio::test]
async fn without_the_setting_such_bytes_are_an_error() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    // One listener alone has it.
    let config = project.config("[listenerConfig]\nproxyProtocol = 'https'\nproxyProtocolFrom = '192.0.2.0/24'\n");
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    for before in [text("203.0.113.7"), binary([203, 0, 113, 8], 1)] {
        let answer = asked(&gateway, &before).await;
        assert!(answer.status != 200 && answer.echo().is_none(), "{}", answer.head);
    }
    assert_eq!(backend.requests(), 0);
    assert_eq!(asked(&gateway, b"").await.status, 200);
}

#[tokio::test]
async fn others_than_the_balancers_are_not_let_in() {
    if !envoy_is_here() {
        return;
    }
    // This host may always connect, so another of its addresses is needed that is not loopback.
    let Some(own) = other_address() else {
        eprintln!("SKIPPED: this host has no address but loopback");
        return;
    };
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let gateway = async |from: &str| {
        let config = project.config(&format!(
            "[listenerConfig]\nhost = '0.0.0.0'\nproxyProtocol = 'http'\nproxyProtocolFrom = ['{from}']\n"
        ));
        Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await
    };
    let request = [&text("203.0.113.7")[..], REQUEST.as_bytes()].concat();
    let named = gateway(&own.to_string()).await;
    let port = named.live.http.unwrap().port();
    assert_eq!(RawAnswer::of((own, port).into(), &request).await.status, 200);
    drop(named);
    // What they say of themselves does not help.
    let gateway = gateway("203.0.113.7").await;
    let port = gateway.live.http.unwrap().port();
    assert_eq!(RawAnswer::of(([127, 0, 0, 1], port).into(), &request).await.status, 200);
    let bytes = exchange((own, port).into(), &request, |_| false).await;
    assert!(bytes.is_empty(), "{}", String::from_utf8_lossy(&bytes));
    assert_eq!(backend.requests(), 2);
}

/// As balancers on this host connect, or those of several networks.
#[tokio::test]
async fn ranges_may_be_within_others() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    for from in ["'127.0.0.0/8', '127.0.0.1'", "'10.1.2.3/8', '10.0.0.0/8', '10.2.0.0/16'", "'0.0.0.0/0', '::/0'"] {
        let config = project
            .config(&format!("[listenerConfig]\nproxyProtocol = ['http', 'https']\nproxyProtocolFrom = [{from}]\n"));
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
        let answer = asked(&gateway, &text("203.0.113.7")).await;
        assert_eq!((answer.status, forwarded_for(&answer).as_str()), (200, "203.0.113.7"), "{from}");
    }
}

#[tokio::test]
async fn the_token_listener_can_be_behind_one_as_well() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let config = project.config(&format!(
        "[listenerConfig]\ntokenListenerPort = 0\nproxyProtocol = 'token'\nproxyProtocolFrom = '192.0.2.0/24'\n\
         [keyManager]\nserverUrl = 'http://{}'\nusername = 'gw'\npassword = 'secret7'\n",
        backend.address
    ));
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let token = gateway.live.token.unwrap();
    let mut told = Connection::open_for(token, "localhost", &text("203.0.113.7")).await;
    assert_eq!(forwarded_for(&told.get("/userinfo").await), "203.0.113.7");
    assert!(!Connection::is_possible(token).await);
}

/// An Envoy that was started by somebody else is looked at as well.
#[tokio::test]
async fn a_gateway_that_serves_looks_at_such_listeners() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let config =
        project.config("[listenerConfig]\nproxyProtocol = 'http, https'\nproxyProtocolFrom = '192.0.2.0/24'\n");
    let ports = ["http", "https"].map(|name| format!("--listenerConfig.{name}Port={}", free_port()));
    let sockets = project.directory().join("sockets");
    let arguments = ["--sockets", sockets.to_str().unwrap(), &config, &ports[0], &ports[1]];
    let mut gateway = Gateway::start(project.directory(), "serve", "shop/target/shop.mgw", &arguments);
    let envoy = Envoy::start(project.directory(), "shop/target/shop.mgw", &sockets, |_| {}).await;
    let live = gateway.wait_until_live().await;
    assert_eq!(live.state, "live");
    let (http, _) = envoy.addresses().await;
    let answer = RawAnswer::of(http, &[&text("203.0.113.7")[..], REQUEST.as_bytes()].concat()).await;
    assert_eq!((answer.status, forwarded_for(&answer).as_str()), (200, "203.0.113.7"));
}

fn other_address() -> Option<std::net::IpAddr> {
    // Nothing is sent: it only has to choose an address.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback() && !address.is_unspecified())
}
