//! Listeners: which certificates they present, where they lead, and what of it is part of the generation.

use std::net::IpAddr;

use envoy_types::pb::envoy::config::listener::v3::Listener;
use prost::Message as _;

use super::tests::{model, resource, settings, snapshot};
use super::*;
use crate::settings::{Balanced, ListedCertificate, Proxy, SecretHeader, TlsIdentity};

fn api(name: &str, transports: &str) -> String {
    format!(
        r#"{{ "openapi": "3.0.3", "info": {{ "title": "{name}", "version": "1" }}, "x-wso2-basePath": "/{name}",
             "x-wso2-transports": {transports}, "servers": [{{ "url": "http://backend.test" }}],
             "paths": {{ "/items": {{ "get": {{ "security": [], "responses": {{}} }} }} }} }}"#
    )
}

fn identity(key: &str) -> TlsIdentity {
    TlsIdentity { certificate_chain: "certificate".to_owned(), private_key: key.to_owned() }
}

fn login(value: &str) -> SecretHeader {
    SecretHeader { name: "proxy-authorization".to_owned(), value: value.to_owned() }
}

/// All of it at once.
fn everything() -> Settings {
    let mut settings = settings();
    let listed = |name: &str| ListedCertificate { server_names: vec![name.to_owned()], identity: identity("hidden") };
    settings.listeners.certificates = vec![listed("one.example"), listed("*.two.example")];
    settings.listeners.https_redirect = Some(443);
    let from = vec![(IpAddr::from([10, 0, 0, 0]), 8)];
    settings.listeners.balanced = Balanced { http: true, https: true, token: false, from };
    settings.backends.proxy = Some(Proxy { host: "proxy".to_owned(), port: 3128, login: Some(login("hidden")) });
    settings
}

#[test]
fn listeners_follow_the_settings_alone() {
    let (one, other) = (model(&[&api("one", r#"["https"]"#)]), model(&[&api("other", r#"["http", "https"]"#)]));
    let settings = everything();
    let of = |model, artifact| {
        assemble(Input { model, artifact, settings: &settings, fallbacks: &Fallbacks::new(), previous: None })
    };
    let (one, other) = (of(&one, "one"), of(&other, "other"));
    assert_ne!(one.generation, other.generation);
    assert_eq!(one.resources[&ResourceType::Listener], other.resources[&ResourceType::Listener]);
    // `/health` tells the generation on both.
    for name in [names::GATEWAY, names::REDIRECT] {
        let version = |snapshot| resource(snapshot, ResourceType::Route, name).version;
        assert_ne!(version(&one), version(&other), "{name}");
    }
    for (listener, table) in [(names::HTTP_LISTENER, names::REDIRECT), (names::HTTPS_LISTENER, names::GATEWAY)] {
        let references = resource(&one, ResourceType::Listener, listener).references;
        let tables = references.iter().filter(|(kind, _)| *kind == ResourceType::Route).collect::<Vec<_>>();
        assert_eq!(tables, [&(ResourceType::Route, table.into())], "{listener}");
    }
}

#[test]
fn each_certificate_has_a_chain_and_a_secret() {
    let snapshot = snapshot(&model(&[&api("one", r#"["https"]"#)]), &everything());
    let https = resource(&snapshot, ResourceType::Listener, names::HTTPS_LISTENER);
    for (kind, name) in https.references.iter().filter(|(kind, _)| *kind == ResourceType::Secret) {
        assert!(snapshot.resources[kind].contains_key(name), "{name}");
    }
    let listener = Listener::decode(&*https.body).unwrap();
    let matches = listener.filter_chains.iter().map(|chain| chain.filter_chain_match.as_ref().unwrap());
    let (names, sources): (Vec<_>, Vec<_>) =
        matches.map(|found| (found.server_names.join(" "), found.direct_source_prefix_ranges.clone())).unzip();
    assert_eq!(names, ["one.example", "*.two.example", ""]);
    // The balancers and this host, for each.
    let addresses = |ranges: &[envoy_types::pb::envoy::config::core::v3::CidrRange]| {
        ranges.iter().map(|range| range.address_prefix.clone()).collect::<Vec<_>>().join(" ")
    };
    assert!(sources.iter().all(|ranges| addresses(ranges) == "10.0.0.0 127.0.0.0 ::1"), "{sources:?}");
    let filters = listener.listener_filters.iter().map(|filter| filter.name.as_str()).collect::<Vec<_>>();
    assert_eq!(filters, ["envoy.filters.listener.proxy_protocol", "envoy.filters.listener.tls_inspector"]);
}

/// Envoy refuses a listener that has a range twice.
#[test]
fn ranges_of_balancers_are_told_once() {
    let model = model(&[&api("one", r#"["http"]"#)]);
    let told = |from: &[&str]| {
        let mut settings = settings();
        settings.listeners.balanced.http = true;
        settings.listeners.balanced.from = from
            .iter()
            .map(|range| {
                let (address, bits) = range.split_once('/').unwrap();
                (address.parse().unwrap(), bits.parse().unwrap())
            })
            .collect();
        let snapshot = snapshot(&model, &settings);
        let http = &resource(&snapshot, ResourceType::Listener, names::HTTP_LISTENER).body;
        let chain = Listener::decode(&**http).unwrap().filter_chains.remove(0);
        let ranges = chain.filter_chain_match.unwrap().direct_source_prefix_ranges;
        let bits = |range: &envoy_types::pb::envoy::config::core::v3::CidrRange| range.prefix_len.unwrap().value;
        ranges.iter().map(|range| format!("{}/{}", range.address_prefix, bits(range))).collect::<Vec<_>>().join(" ")
    };
    for (from, expected) in [
        (&["192.0.2.7/32"][..], "127.0.0.0/8 192.0.2.7/32 ::1/128"),
        (&["127.0.0.0/8", "127.0.0.1/32"], "127.0.0.0/8 ::1/128"),
        (&["10.1.2.3/8", "10.0.0.0/8", "10.9.0.0/16", "11.0.0.0/8"], "10.0.0.0/8 11.0.0.0/8 127.0.0.0/8 ::1/128"),
        (&["0.0.0.0/0", "10.0.0.0/8"], "0.0.0.0/0 ::1/128"),
        (&["::/0", "10.0.0.0/32"], "10.0.0.0/32 127.0.0.0/8 ::/0"),
        (&["2001:db8::1/33", "2001:db8:7fff::/48"], "127.0.0.0/8 ::1/128 2001:db8::/33"),
    ] {
        assert_eq!(told(from), expected, "{from:?}");
    }
}

#[test]
fn without_settings_nothing_is_looked_at_first() {
    let snapshot = snapshot(&model(&[&api("one", r#"["http"]"#)]), &settings());
    for name in [names::HTTP_LISTENER, names::HTTPS_LISTENER] {
        let listener = Listener::decode(&*resource(&snapshot, ResourceType::Listener, name).body).unwrap();
        assert_eq!((listener.listener_filters.len(), listener.filter_chains.len()), (0, 1));
        assert!(listener.filter_chains[0].filter_chain_match.is_none());
    }
    assert!(!snapshot.resources[&ResourceType::Route].contains_key(names::REDIRECT));
}

#[test]
fn renewed_keys_and_passwords_change_their_secret_and_nothing_else() {
    let model = model(&[&api("one", r#"["https"]"#)]);
    let before = snapshot(&model, &everything());
    let mut renewed = everything();
    renewed.listeners.certificates[1].identity = identity("another");
    renewed.backends.proxy.as_mut().unwrap().login = Some(login("another"));
    let after = snapshot(&model, &renewed);
    assert_eq!(before.generation, after.generation);
    for kind in [ResourceType::Cluster, ResourceType::Listener, ResourceType::Route] {
        assert_eq!(before.resources[&kind], after.resources[&kind]);
        let bytes = after.resources[&kind].values().flat_map(|resource| resource.body.to_vec()).collect::<Vec<_>>();
        assert!(!String::from_utf8_lossy(&bytes).contains("another"));
    }
    let changed = |name: &str| {
        let of = |snapshot| resource(snapshot, ResourceType::Secret, name).version;
        of(&before) != of(&after)
    };
    let secrets = [names::IDENTITY_SECRET.to_owned(), names::listed_secret(0), names::listed_secret(1)];
    assert_eq!(secrets.map(|name| changed(&name)), [false, false, true]);
    assert!(changed(names::PROXY_SECRET));
    assert!(!format!("{:?}", everything()).contains("hidden"));
}

#[test]
fn an_api_for_http_alone_cannot_be_led_away_from_there() {
    let (http, both) = (model(&[&api("old", r#"["http"]"#)]), model(&[&api("new", r#"["http", "https"]"#)]));
    let reason = conflict(&http, &everything()).unwrap();
    assert!(reason.starts_with("API `old:1` is served over http only"), "{reason}");
    assert_eq!((conflict(&http, &settings()), conflict(&both, &everything())), (None, None));
}
