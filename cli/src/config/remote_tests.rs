use std::net::Ipv4Addr;

use super::super::{Config, Refused, Sources, resolve};
use super::*;

const TLS_FILES: &str = "certificatePath = 'gw.crt'\nprivateKeyPath = 'gw.key'\nclientCaPath = '/ca.crt'";

fn resolved(section: &str) -> Result<(Config, Vec<ConfigDiagnostic>), Refused> {
    let file = format!("[remoteConfig]\n{section}");
    resolve(&Sources { file: Some(("/etc/gw/micro-gw.conf".into(), file)), ..Sources::default() })
}

fn remote(section: &str) -> Remote {
    let (config, warnings) = resolved(section).unwrap();
    assert_eq!(warnings, [], "{section}");
    config.remote
}

fn errors(section: &str) -> Vec<String> {
    let Err(Refused(problems)) = resolved(section) else { panic!("{section} is accepted") };
    problems.into_iter().filter(ConfigDiagnostic::is_error).map(|problem| problem.message).collect()
}

#[test]
fn nothing_is_served_to_other_hosts_unless_asked_for() {
    assert_eq!((remote("").host, remote("").ports(), remote("").tls), (None, [9191, 9192, 9193], None));
}

#[test]
fn all_of_it() {
    let section = format!(
        "host = '0.0.0.0'\nxdsPort = 1\nauthzPort = 0\nissuerPort = 0\n{TLS_FILES}\nclientNames = ['edge-1', 'edge-2']"
    );
    let identity =
        IdentityFiles::Pem { certificate_chain: "/etc/gw/gw.crt".into(), private_key: "/etc/gw/gw.key".into() };
    assert_eq!(
        remote(&section),
        Remote {
            host: Some(Ipv4Addr::UNSPECIFIED.into()),
            xds_port: 1,
            authz_port: 0,
            issuer_port: 0,
            tls: Some(MutualTls {
                identity,
                client_ca: "/ca.crt".into(),
                client_names: vec!["edge-1".to_owned(), "edge-2".to_owned()],
            }),
        }
    );
}

#[test]
fn half_of_tls_is_none() {
    for (given, message) in [
        ("certificatePath = 'a'", "`remoteConfig.certificatePath` needs `remoteConfig.privateKeyPath`"),
        (
            "certificatePath = 'a'\nprivateKeyPath = 'b'",
            "`remoteConfig.certificatePath` needs `remoteConfig.clientCaPath`",
        ),
        ("clientCaPath = 'c'", "`remoteConfig.clientCaPath` needs `remoteConfig.certificatePath`"),
        ("clientNames = 'edge-1'", "`remoteConfig.clientNames` needs `remoteConfig.clientCaPath`"),
    ] {
        assert_eq!(errors(&format!("host = '0.0.0.0'\n{given}")), [message]);
    }
}

#[test]
fn names_are_whole() {
    for name in ["*.example.com", "", "edge 1"] {
        let section = format!("host = '::1'\n{TLS_FILES}\nclientNames = ['edge-1', '{name}']");
        assert!(errors(&section)[0].contains("compared whole"), "{name}");
    }
}

#[test]
fn bad_addresses_and_ports_are_told() {
    assert!(errors("host = 'gateway.example.com'")[0].contains("must be an IP address"));
    assert_eq!(
        errors("host = '::1'\nxdsPort = 9193"),
        ["`remoteConfig.xdsPort` and `remoteConfig.issuerPort` are both 9193"]
    );
    assert!(errors("host = '::1'\nauthzPort = 70000")[0].contains("from 0 to 65535"));
}

#[test]
fn what_has_no_effect_without_an_address_is_told() {
    let (_, warnings) = resolved(TLS_FILES).unwrap();
    let told = warnings.iter().filter(|warning| warning.message.contains("`remoteConfig.host` is not given"));
    assert_eq!(told.count(), 3);
}

#[test]
fn whoever_serves_other_hosts_has_no_password_that_all_know() {
    for (host, known) in [("127.0.0.1", true), ("0.0.0.0", false)] {
        let (config, _) = resolved(&format!("host = '{host}'")).unwrap();
        assert_eq!(config.users(|| "random".to_owned()).generated.is_none(), known, "{host}");
    }
    let file =
        "[remoteConfig]\nhost = '0.0.0.0'\n[b7a.users.admin]\npassword = 'd033e22ae348aeb5660fc2140aec35850c4da997'";
    let sources = Sources { file: Some(("/micro-gw.conf".into(), file.to_owned())), ..Sources::default() };
    assert!(resolve(&sources).unwrap_err().to_string().contains("everybody knows"));
}
