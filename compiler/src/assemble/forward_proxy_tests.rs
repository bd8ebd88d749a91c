//! Backends behind a forward proxy.

use super::tests::{SHOP, model, resource, settings, snapshot};
use super::*;
use crate::settings::{Proxy, Verification};

#[test]
fn backends_behind_a_proxy_and_what_they_are_shown() {
    let shop = model(&[SHOP]);
    let names =
        |snapshot: &Snapshot, kind| snapshot.resources[&kind].keys().map(ToString::to_string).collect::<Vec<_>>();
    let has = |snapshot: &Snapshot, kind, name: &str| names(snapshot, kind).contains(&name.to_owned());
    let direct = snapshot(&shop, &settings());
    assert!(!has(&direct, ResourceType::Listener, names::PROXY_LISTENER));
    assert!(!has(&direct, ResourceType::Secret, names::BACKEND_IDENTITY_SECRET));

    let mut settings = settings();
    settings.backends.proxy = Some(Proxy { host: "proxy".to_owned(), port: 3128, login: None });
    settings.backends.identity = Some(settings.listeners.identity.clone());
    let tunnelled = snapshot(&shop, &settings);
    assert!(has(&tunnelled, ResourceType::Listener, names::PROXY_LISTENER));
    assert!(has(&tunnelled, ResourceType::Cluster, names::PROXY_CLUSTER));
    assert!(has(&tunnelled, ResourceType::Secret, names::BACKEND_IDENTITY_SECRET));
    assert_ne!(direct.generation, tunnelled.generation);
    for name in [names::HTTP_LISTENER, names::HTTPS_LISTENER] {
        let of = |snapshot| resource(snapshot, ResourceType::Listener, name).version;
        assert_eq!(of(&direct), of(&tunnelled), "what clients meet is the same");
    }
    let cluster = tunnelled.resources[&ResourceType::Cluster].values().find(|cluster| cluster.references.len() == 3);
    let references = &cluster.expect("the one over TLS").references;
    assert!(references.contains(&(ResourceType::Listener, names::PROXY_LISTENER.into())), "{references:?}");

    // Who trusts everybody needs no authorities.
    settings.backends.verification = Verification::Nothing;
    assert!(!has(&snapshot(&shop, &settings), ResourceType::Secret, names::BACKEND_TRUST_SECRET));
}

#[test]
fn what_cannot_pass_a_proxy_is_a_conflict() {
    let mut behind = settings();
    behind.backends.proxy = Some(Proxy { host: "proxy".to_owned(), port: 3128, login: None });
    let shop = |endpoints: &str| {
        model(&[&format!(
            r#"{{"openapi": "3.0.3", "info": {{"title": "Shop", "version": "1.0"}}, "servers": [{{"url": "https://shop.example.com/shop"}}],
                "x-wso2-production-endpoints": {endpoints}, "paths": {{"/items": {{"get": {{}}}}}}}}"#
        )])
    };
    let checked = r#""advanceEndpointConfig": {"healthCheck": {"path": "/health"}}"#;
    for (endpoints, conflict) in [
        (r#"{"urls": ["https://a.example"]}"#.to_owned(), None),
        (format!(r#"{{"urls": ["https://a.example"], {checked}}}"#), Some("has a health check")),
        (format!(r#"{{"urls": ["http://127.0.0.1:8080"], {checked}}}"#), None),
        (r#"{"urls": ["http://localhost:1", "http://a.example:1"]}"#.to_owned(), Some("on this host and elsewhere")),
        (r#"{"urls": ["http://[::ffff:127.0.0.1]:1", "http://localhost:1", "http://[::1]:1"]}"#.to_owned(), None),
        (
            r#"{"urls": ["http://[::ffff:127.0.0.1]:1", "http://a.example:1"]}"#.to_owned(),
            Some("on this host and elsewhere"),
        ),
    ] {
        let model = shop(&endpoints);
        let found = super::conflict(&model, &behind);
        assert!(
            found.as_deref().is_some_and(|found| conflict.is_some_and(|part| found.contains(part)))
                || found.is_none() && conflict.is_none(),
            "{endpoints}: {found:?}"
        );
        assert_eq!(super::conflict(&model, &settings()), None);
    }
}
