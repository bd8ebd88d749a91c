//! Backends that are met by a TLS profile, and those that are not who they should be.

use microgw_tests::gateway::{Gateway, command, replace};
use microgw_tests::load::{Load, tally};
use microgw_tests::misbehaving::{Misbehaving, Mood, Speaks};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::tls::Identity;
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

use super::{Shop, fault};

fn https(backend: &Misbehaving) -> String {
    format!("https://127.0.0.1:{}/shop", backend.address.port())
}

fn put(project: &Project, name: &str, identity: &Identity) {
    replace(&project.directory().join(format!("{name}.crt")), identity.certificate_pem().as_bytes());
    replace(&project.directory().join(format!("{name}.key")), identity.key_pem().as_bytes());
}

const PARTNER: &str = "[[httpClients.tlsProfiles]]\nname = 'partner'\ntrustStorePath = 'ca.crt'\n\
                       certificatePath = 'me.crt'\nprivateKeyPath = 'me.key'\n";

#[tokio::test]
async fn only_the_backend_that_was_meant_gets_requests() {
    if !envoy_is_here() {
        return;
    }
    let (ca, stranger, clients) = (Identity::authority("ca"), Identity::authority("x"), Identity::authority("clients"));
    let right = Misbehaving::start_tls("right", Speaks::Both, &ca.issue("orders.test"), Some(&clients)).await;
    let wrong = [
        ("another authority", stranger.issue("orders.test")),
        ("another name", ca.issue("other.test")),
        ("expired", ca.issue_expired("orders.test")),
    ];
    let mut backends = Vec::new();
    for (_, identity) in &wrong {
        backends.push(Misbehaving::start_tls("wrong", Speaks::Http1, identity, None).await);
    }
    let project = Project::new();
    let define = |name: &str, backend: &Misbehaving, tls: &Value| {
        let base = format!("/{name}");
        let mut definition = definition(name, &base, backend.address, &json!({ "/open": get(&json!([])) }));
        definition["x-wso2-production-endpoints"] = json!({ "urls": [https(backend)], "tls": tls });
        project.define(name, &definition);
    };
    let partner = json!({ "profile": "partner", "serverName": "orders.test" });
    define("right", &right, &partner);
    for (index, backend) in backends.iter().enumerate() {
        define(&format!("wrong{index}"), backend, &partner);
    }
    // The same backend without the profile: nobody trusts it, and it trusts nobody.
    define("plain", &right, &json!({ "serverName": "orders.test" }));
    // What is said of all backends is not said of those of a profile.
    define("nameless", &right, &json!({ "profile": "partner" }));
    // Shown no certificate.
    define("anonymous", &right, &json!({ "profile": "anonymous", "serverName": "orders.test" }));
    project.build().await;
    put(&project, "ca", &ca);
    put(&project, "me", &clients.issue("gateway"));
    let config = project.config(&format!(
        "[httpClients]\nverifyHostname = false\n{PARTNER}[[httpClients.tlsProfiles]]\nname = 'anonymous'\ntrustStorePath = 'ca.crt'"
    ));
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let ask = async |name: &str| gateway.get(&gateway.http(&format!("/{name}/open")), &[]).await;
    let answer = ask("right").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let seen = &right.seen()[0];
    assert_eq!((seen.server_name.as_deref(), seen.version), (Some("orders.test"), 2));
    assert!(seen.client.is_some());
    for (index, (what, _)) in wrong.iter().enumerate() {
        let answer = ask(&format!("wrong{index}")).await;
        assert_eq!(fault(&answer), (503, 101_503), "{what}: {}", answer.body);
        assert_eq!(backends[index].requests(), 0, "{what}");
    }
    for refused in ["plain", "nameless", "anonymous"] {
        let answer = ask(refused).await;
        assert!(matches!(fault(&answer), (502 | 503, 101_503)), "{refused}: {}", answer.body);
    }
    assert_eq!(right.requests(), 1);
}

#[tokio::test]
async fn a_profile_that_nobody_defined_is_told_at_the_start() {
    let endpoint = json!({ "urls": ["https://backend.test"], "tls": { "profile": "partner" } });
    let project = Shop::project(&endpoint).await;
    let config = project.config("[[httpClients.tlsProfiles]]\nname = 'parner'");
    let output = command(project.directory(), &["run", "shop/target/shop.mgw", &config]).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    for word in ["api_definitions/shop.json:", "Shop 1.0", "`partner`", "there are `parner`"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[tokio::test]
async fn certificates_of_backends_and_ours_change_under_load() {
    if !envoy_is_here() {
        return;
    }
    let (old, new) = (Identity::authority("old"), Identity::authority("new"));
    let (clients, later) = (Identity::authority("clients"), Identity::authority("later"));
    let backend = Misbehaving::start_tls("shop", Speaks::Http1, &old.issue("127.0.0.1"), Some(&clients)).await;
    // Each request needs a connection of its own.
    backend.be(Mood::WellAndGone);
    // Tells whether the new authority is trusted yet.
    let probe = Misbehaving::start_tls("probe", Speaks::Http1, &new.issue("127.0.0.1"), None).await;
    let project = Project::new();
    for (name, backend) in [("shop", &backend), ("probe", &probe)] {
        let paths = json!({ "/open": get(&json!([])) });
        let mut definition = definition(name, &format!("/{name}"), backend.address, &paths);
        definition["x-wso2-production-endpoints"] =
            json!({ "urls": [https(backend)], "tls": { "profile": "partner" } });
        project.define(name, &definition);
    }
    project.build().await;
    put(&project, "ca", &old);
    put(&project, "me", &clients.issue("one"));
    let config = project.config(PARTNER);
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let load = Load::start(&gateway.client, &gateway.http("/shop/open"), &[], 4);
    load.answers(50).await;
    let shown = || backend.seen().last().and_then(|seen| seen.client.clone());
    // Another certificate of ours, from the same authority.
    let second = clients.issue("two");
    put(&project, "me", &second);
    eventually("the second certificate is shown", async || (shown().as_deref() == Some(&*second.der())).then_some(()))
        .await;
    // Both authorities are trusted; then the backend changes; then the old one goes.
    let both = format!("{}{}", old.certificate_pem(), new.certificate_pem());
    replace(&project.directory().join("ca.crt"), both.as_bytes());
    let probed = async || gateway.get(&gateway.http("/probe/open"), &[]).await.status;
    eventually("the new authority is trusted", async || (probed().await == 200).then_some(())).await;
    let other = new.issue("127.0.0.1");
    load.answers(100).await;
    backend.present(&other, Some(&clients));
    load.answers(100).await;
    replace(&project.directory().join("ca.crt"), new.certificate_pem().as_bytes());
    load.answers(100).await;
    let seen = tally(&load.stop().await);
    assert!(seen.keys().all(|seen| seen.status == 200), "{seen:?}");
    // What is no longer trusted is not.
    eventually("the old authority is not trusted", async || {
        backend.present(&old.issue("127.0.0.1"), Some(&later));
        let status = gateway.get(&gateway.http("/shop/open"), &[]).await.status;
        (status == 503).then_some(())
    })
    .await;
}
