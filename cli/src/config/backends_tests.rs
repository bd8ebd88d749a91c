use super::super::{Config, IdentityFiles, Refused, Sources, resolve};
use super::*;

fn resolved(lines: &str) -> Result<(Config, Vec<ConfigDiagnostic>), Refused> {
    let file = format!("[httpClients]\n{lines}");
    resolve(&Sources { file: Some(("/etc/gw/micro-gw.conf".into(), file)), ..Sources::default() })
}

fn config(lines: &str) -> Config {
    let (config, warnings) = resolved(lines).unwrap();
    assert_eq!(warnings, [], "{lines}");
    config
}

fn errors(lines: &str) -> Vec<String> {
    let Err(Refused(problems)) = resolved(lines) else { panic!("{lines} is accepted") };
    problems.into_iter().filter(ConfigDiagnostic::is_error).map(|problem| problem.message).collect()
}

#[test]
fn everything_about_backends() {
    let config = config(
        "enableHttp2 = false\n[httpClients.poolConfig]\nmaxActiveConnections = 7\nmaxActiveStreamsPerConnection = 9\n\
         [httpClients.responseLimits]\nmaxHeaderSize = 2048\n\
         [httpClients.sslConfig]\nkeyStorePath = 'client.p12'\nkeyStorePassword = 'x'\ncertificateAlias = 'me'",
    );
    let Backends { http2, max_connections, max_streams, max_response_header, .. } = config.backends;
    assert_eq!((http2, max_connections, max_streams, max_response_header), (false, Some(7), Some(9), Some(2048)));
    let Some(IdentityFiles::Store(entry)) = config.backend_identity else { panic!("no identity") };
    assert_eq!((entry.store.path.to_str(), entry.alias.as_deref()), (Some("/etc/gw/client.p12"), Some("me")));
    let none = errors("poolConfig.maxActiveConnections = 0");
    assert_eq!(none, ["`httpClients.poolConfig.maxActiveConnections` is 0: nothing would reach a backend"]);
}

#[test]
fn what_is_not_verified_is_told() {
    for (lines, verification) in [
        ("disableSslVerification = true", Verification::Nothing),
        ("verifyHostname = false", Verification::AnyName),
        ("verifyHostname = false\ndisableSslVerification = true", Verification::Nothing),
    ] {
        let (config, warnings) = resolved(lines).unwrap();
        assert_eq!(config.backends.verification, verification, "{lines}");
        assert_eq!(warnings.iter().map(|warning| warning.code).collect::<Vec<_>>(), [Code::Insecure], "{lines}");
        assert_eq!(config.insecure, [warnings[0].message.clone()]);
    }
    assert!(config("verifyHostname = true\ndisableSslVerification = false").insecure.is_empty());
}

#[test]
fn the_proxy() {
    let proxy = |host: &str| settings::Proxy { host: host.to_owned(), port: 3128, login: None };
    for (host, expected) in [("proxy.corp", "proxy.corp"), ("10.0.0.1", "10.0.0.1"), ("::1", "::1"), ("[::1]", "::1")] {
        let lines = format!("proxy.enable = true\nproxy.host = '{host}'\nproxy.port = 3128");
        assert_eq!(config(&lines).backends.proxy, Some(proxy(expected)), "{host}");
    }
    let services = "proxy.enableInternalServices = true\nproxy.host = 'p'\nproxy.port = 3128\nproxy.username = 'u'\nproxy.password = 'hunter2'";
    let services = config(services);
    let expected =
        ServicesProxy { proxy: proxy("p"), user: Some("u".to_owned()), password: Secret::new("hunter2".to_owned()) };
    assert_eq!((services.backends.proxy.clone(), services.services_proxy.clone()), (None, Some(expected)));
    assert!(!format!("{services:?}").contains("hunter2"));
    let own = config(
        "proxy.enable = true\nproxy.host = 'p'\nproxy.port = 3128\nproxy.username = 'gw'\nproxy.password = 'hunter2'",
    );
    let login = own.backends.proxy.as_ref().unwrap().login.as_ref().unwrap();
    assert_eq!((login.name.as_str(), login.value.as_str()), ("proxy-authorization", "Basic Z3c6aHVudGVyMg=="));
    assert!(!format!("{own:?}").contains("Z3c6") && !format!("{own:?}").contains("hunter2"));
    let off = config("proxy.enable = false\nproxy.host = 'p'\nproxy.port = 3128");
    assert_eq!((off.backends.proxy, off.services_proxy), (None, None));
}

#[test]
fn mistakes_about_the_proxy() {
    for (login, expected) in [
        ("username = 'a:b'", "`httpClients.proxy.username` has a colon in it, which ends a user's name"),
        ("password = 'hunter2'", "`httpClients.proxy.password` needs `httpClients.proxy.username`"),
        (
            "username = 'u'\nproxy.password = \"hunter2\\n\"",
            "`httpClients.proxy.password` has control characters in it",
        ),
    ] {
        let lines = format!("proxy.enable = true\nproxy.host = 'p'\nproxy.port = 1\nproxy.{login}");
        assert_eq!(errors(&lines), [expected]);
    }
    assert_eq!(
        errors("proxy.enable = true\nproxy.host = 'p'"),
        ["`httpClients.proxy.port` is missing: a proxy has a port"]
    );
    for host in ["", "http://p", "p/x", "u:hunter2@p", "a b", "p?"] {
        let errors = errors(&format!("proxy.enable = true\nproxy.port = 1\nproxy.host = '{host}'"));
        assert_eq!(errors, ["`httpClients.proxy.host` must be the name or IP address of the proxy"], "{host}");
    }
    // For backends and for the gateway's own connections, and said once.
    let both = "proxy.enable = true\nproxy.enableInternalServices = true\nproxy.host = 'p'";
    assert_eq!(errors(both), ["`httpClients.proxy.port` is missing: a proxy has a port"]);
}

#[test]
fn a_proxy_that_nobody_uses_is_told() {
    let (config, warnings) = resolved("proxy.host = 'p'\nproxy.port = 3128").unwrap();
    assert_eq!(config.backends.proxy, None);
    assert_eq!(warnings[0].message, "`httpClients.proxy.host` has no effect: `httpClients.proxy.enable` is `false`");
    for said in ["proxy.enable = false", "proxy.enable = true", "proxy.enableInternalServices = true"] {
        assert_eq!(resolved(&format!("proxy.host = 'p'\nproxy.port = 3128\n{said}")).unwrap().1, [], "{said}");
    }
}
