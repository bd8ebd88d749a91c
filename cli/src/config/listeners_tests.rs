//! [`super`] by examples.

use microgw_compiler::settings::Connections;

use crate::config::diagnostic::ConfigDiagnostic;
use crate::config::{Config, Refused, Sources, resolve};

fn resolved(file: &str) -> Result<(Config, Vec<ConfigDiagnostic>), Refused> {
    resolve(&Sources { file: Some(("/etc/gw/gw.conf".into(), file.to_owned())), ..Sources::default() })
}

fn config(lines: &str) -> Config {
    resolved(&format!("[listenerConfig]\n{lines}")).unwrap().0
}

fn said(lines: &str) -> Vec<String> {
    let (Err(Refused(problems)) | Ok((_, problems))) = resolved(&format!("[listenerConfig]\n{lines}"));
    problems.into_iter().map(|problem| problem.message).collect()
}

#[test]
fn certificates_and_whom_they_are_for() {
    let two = "[[listenerConfig.certificates]]\ncertificatePath = 'a.crt'\nprivateKeyPath = 'a.key'\n\
               [[listenerConfig.certificates]]\nkeyStorePath = 'b.p12'\nserverNames = ['B.Example.', '*.b.example', 'b.example']";
    let found = config(two).listeners.certificates;
    assert_eq!(
        found.iter().map(|found| found.server_names.join(" ")).collect::<Vec<_>>(),
        ["", "b.example *.b.example"]
    );
    assert!(format!("{:?}", found[0].files).contains("/etc/gw/a.crt"), "{found:?}");
    let entry =
        |rest: &str| format!("[[listenerConfig.certificates]]\ncertificatePath = 'a'\nprivateKeyPath = 'b'\n{rest}\n");
    let path = "`listenerConfig.certificates[0].serverNames`";
    for name in ["10.0.0.1", "::1", "[::1]", "a.example:443", "*", "a.*.example", "https://a.example", "a b"] {
        let expected = format!("{path} has `{name}` in it, which is no name of a server");
        assert_eq!(said(&entry(&format!("serverNames = ['{name}']"))), [expected]);
    }
    let empty = format!("{path} is empty: leave it out, and the certificate is for the names that are in it");
    assert_eq!(said(&entry("serverNames = []")), [empty]);
    let twice = "`listenerConfig.certificates[1].serverNames` has `a.example` in it, which another certificate is for";
    assert_eq!(said(&(entry("serverNames = ['a.example']") + &entry("serverNames = ['A.example']"))), [twice]);
    let names = "[[listenerConfig.certificates]]\nserverNames = ['a.example']";
    assert_eq!(said(names), ["`listenerConfig.certificates[0]` names no certificate"]);
    let half = "[[listenerConfig.certificates]]\ncertificatePath = 'a.crt'";
    let missing =
        "`listenerConfig.certificates[0].certificatePath` needs `listenerConfig.certificates[0].privateKeyPath`";
    assert_eq!(said(half), [missing]);
}

#[test]
fn where_requests_over_http_are_led() {
    let port = |lines: &str| config(&format!("httpsRedirect = true\n{lines}")).listeners.https_redirect;
    assert_eq!(config("").listeners.https_redirect, None);
    assert_eq!(port(""), Some(9095));
    assert_eq!(port("[gateway]\npublicUrl = 'https://a.example'"), Some(443));
    assert_eq!(port("[gateway]\npublicUrl = 'https://a.example:8443'"), Some(8443));
    let needs = "`listenerConfig.httpsRedirect` needs a port to lead to: `listenerConfig.httpsPort`, or that of `gateway.publicUrl`";
    assert_eq!(said("httpsRedirect = true\nhttpsPort = 0"), [needs]);
    let http = "`listenerConfig.httpsRedirect` leads to HTTPS, and `gateway.publicUrl` says that clients use http";
    assert_eq!(said("httpsRedirect = true\n[gateway]\npublicUrl = 'http://localhost:9090'"), [http]);
}

#[test]
fn who_may_tell_of_clients() {
    let balanced =
        config("proxyProtocol = 'http, https'\nproxyProtocolFrom = ['10.0.0.0/8', '::1']").listeners.balanced;
    assert!(balanced.http && balanced.https && !balanced.token);
    assert_eq!(balanced.from, [([10, 0, 0, 0].into(), 8), (std::net::Ipv6Addr::LOCALHOST.into(), 128)]);
    let anybody = "`listenerConfig.proxyProtocol` needs `listenerConfig.proxyProtocolFrom`: otherwise anybody could say to be anybody";
    assert_eq!(said("proxyProtocol = 'http'"), [anybody]);
    let other = "`listenerConfig.proxyProtocol` has `ftp` in it, which is no listener";
    assert_eq!(said("proxyProtocol = 'ftp'")[..1], [other]);
    let range = "`listenerConfig.proxyProtocolFrom` has `10.0.0.0/33` in it, which is neither an address nor a range such as `10.0.0.0/8`";
    assert_eq!(said("proxyProtocol = 'http'\nproxyProtocolFrom = ['10.0.0.0/33']"), [range]);
    let token = "`listenerConfig.proxyProtocol` has `token` in it, and there is no `listenerConfig.tokenListenerPort`";
    assert_eq!(said("proxyProtocol = 'token'\nproxyProtocolFrom = ['10.0.0.1']"), [token]);
    let everybody = "`listenerConfig.proxyProtocolFrom` has `0.0.0.0/0` in it: whoever can connect says who he is";
    assert_eq!(said("proxyProtocol = 'http'\nproxyProtocolFrom = ['0.0.0.0/0', '10.1.2.3/8']"), [everybody]);
    let idle = "`listenerConfig.proxyProtocolFrom` has no effect: `listenerConfig.proxyProtocol` names no listener";
    assert_eq!(said("proxyProtocolFrom = ['10.0.0.1']"), [idle]);
}

#[test]
fn how_long_paths_may_be() {
    let longer = "`listenerConfig.maxUriLength` has no effect: a whole head has 8192 bytes at most (`listenerConfig.maxHeaderSize`), \
                  and a longer one is answered 431";
    assert_eq!(said("maxUriLength = 8193"), [longer]);
    for fine in
        ["maxUriLength = 8192", "maxHeaderSize = 1024", "maxUriLength = 0", "maxHeaderSize = 1500\nmaxUriLength = 2048"]
    {
        assert!(said(fine).is_empty(), "{fine}");
    }
}

#[test]
fn how_long_bodies_may_be() {
    let limit = |size: &str| config(&format!("maxEntityBodySize = {size}")).listeners.max_body_size;
    assert_eq!((limit("-1"), limit("1"), limit("4294967295")), (None, Some(1), Some(4_294_967_295)));
    let none = "`listenerConfig.maxEntityBodySize` is 0, and Envoy has no limit below one byte";
    assert_eq!(said("maxEntityBodySize = 0"), [none]);
}

#[test]
fn how_long_connections_may_take() {
    assert_eq!(config("").listeners.connections, Connections::default());
    let all = "idleTimeout = 1\nstreamIdleTimeout = 0\nrequestHeaderTimeout = 100\nrequestTimeout = 3\nmaxConnectionAge = 4\n\
               maxRequestsPerConnection = 5\n[http2]\nmaxConcurrentStreams = 6";
    let expected = Connections {
        idle: 1,
        stream_idle: 0,
        head: 100,
        request: 3,
        lifetime: 4,
        max_requests: Some(5),
        max_streams: 6,
    };
    assert_eq!(config(all).listeners.connections, expected);
    assert_eq!(config("keepAlive = 'NEVER'").listeners.connections.max_requests, Some(1));
    let needless = "`listenerConfig.maxRequestsPerConnection` has no effect: `listenerConfig.keepAlive` is `NEVER`";
    assert_eq!(said("keepAlive = 'NEVER'\nmaxRequestsPerConnection = 9"), [needless]);
    assert!(said("keepAlive = 'ALWAYS'")[0].starts_with("`listenerConfig.keepAlive` has no effect"));
    let bound = "`listenerConfig.requestHeaderTimeout` is 0, and must be from 100 to 600000";
    assert_eq!(said("requestHeaderTimeout = 0"), [bound]);
}
