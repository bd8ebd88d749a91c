//! Several certificates: which one a client meets, and others while the gateway runs.

use std::net::SocketAddr;

use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Gateway, command, replace};
use microgw_tests::load::Visitors;
use microgw_tests::project::Project;
use microgw_tests::tls::{Connection, Identity, anonymous, old_store};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::Value;

use super::shop;

const LISTED: &str = "[listenerConfig]\ncertificatePath = 'own.crt'\nprivateKeyPath = 'own.key'\n\
     [[listenerConfig.certificates]]\ncertificatePath = 'one.crt'\nprivateKeyPath = 'one.key'\n\
     [[listenerConfig.certificates]]\ncertificatePath = 'wild.crt'\nprivateKeyPath = 'wild.key'\n\
     [[listenerConfig.certificates]]\nkeyStorePath = 'keys.p12'\nkeyStorePassword = 'secret7'\ncertificateAlias = 'a'\n\
     serverNames = ['Other.example', '*.other.example']\n";

fn put(project: &Project, name: &str, identity: &Identity) {
    replace(&project.directory().join(format!("{name}.crt")), identity.certificate_pem().as_bytes());
    replace(&project.directory().join(format!("{name}.key")), identity.key_pem().as_bytes());
}

fn put_store(project: &Project, identity: &Identity) {
    replace(&project.directory().join("keys.p12"), &old_store(&[("a", identity)], &[], "secret7"));
}

async fn meets(address: SocketAddr, name: &str, identity: &Identity) {
    eventually(&format!("`{name}` meets its certificate"), async || {
        (Connection::open_for(address, name, b"").await.certificate() == identity.der()).then_some(())
    })
    .await;
}

/// New connections all the time, for that name.
fn visitors(address: SocketAddr, name: &'static str, http2: bool) -> Visitors {
    let client = move || anonymous(http2).resolve(name, address).build().unwrap();
    Visitors::of(client, format!("https://{name}:{}/shop/open", address.port()))
}

/// Why the first of the list is not what its files are.
fn problem(status: &Value) -> &Value {
    let parts = status["certificates"].as_array().unwrap();
    &parts.iter().find(|part| part["role"] == "listener certificates[0]").unwrap()["problem"]
}

#[tokio::test]
async fn the_name_that_is_asked_for_decides() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    // Of both kinds of keys: which a client likes better is not what counts.
    for (own, one) in [
        (Identity::rsa("own.example"), Identity::new("one.example")),
        (Identity::new("own.example"), Identity::rsa("one.example")),
    ] {
        let (wild, other) = (Identity::new("*.wild.example"), Identity::rsa("whatever.example"));
        for (name, identity) in [("own", &own), ("one", &one), ("wild", &wild)] {
            put(&project, name, identity);
        }
        put_store(&project, &other);
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&project.config(LISTED)]).await;
        let address = gateway.live.https.unwrap();
        for (name, identity) in [
            ("own.example", &own),
            ("one.example", &one),
            ("ONE.example", &one),
            ("a.wild.example", &wild),
            ("a.b.wild.example", &wild),
            ("wild.example", &own),
            ("other.example", &other),
            ("a.other.example", &other),
            ("A.b.Other.example", &other),
            ("whatever.example", &own),
            ("unknown.example", &own),
            // No server name at all.
            ("127.0.0.1", &own),
        ] {
            let mut connection = Connection::open_for(address, name, b"").await;
            assert!(connection.certificate() == identity.der(), "{name}");
            assert_eq!(connection.get("/shop/open").await.status, 200, "{name}");
        }
    }
}

#[tokio::test]
async fn renewals_under_load_fail_no_request_and_end_no_connection() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let (own, one, other) = (Identity::new("own.example"), Identity::new("one.example"), Identity::rsa("whatever"));
    for (name, identity) in [("own", &own), ("one", &one), ("wild", &Identity::new("*.wild.example"))] {
        put(&project, name, identity);
    }
    put_store(&project, &other);
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&project.config(LISTED)]).await;
    let generation = gateway.live.generation.clone();
    let address = gateway.live.https.unwrap();
    let mut kept = [
        Connection::open_for(address, "one.example", b"").await,
        Connection::open_for(address, "other.example", b"").await,
        Connection::open(address).await,
    ];
    for kept in &mut kept {
        assert_eq!(kept.get("/shop/open").await.status, 200);
    }
    let load = [
        visitors(address, "one.example", false),
        visitors(address, "one.example", true),
        visitors(address, "a.other.example", true),
        visitors(address, "unknown.example", false),
    ];
    for visitors in &load {
        visitors.served(5).await;
    }

    // Others for the same names, again and again.
    let mut latest = Identity::new("own.example");
    for _ in 0..3 {
        let (own, one, other) = (Identity::new("own.example"), Identity::new("one.example"), Identity::rsa("whatever"));
        put(&project, "own", &own);
        put(&project, "one", &one);
        put_store(&project, &other);
        meets(address, "one.example", &one).await;
        meets(address, "a.other.example", &other).await;
        meets(address, "unknown.example", &own).await;
        latest = own;
    }
    put(&project, "one", &one);
    meets(address, "one.example", &one).await;
    // What cannot be used leaves what was there: one for another name, one for nobody, and a pair that is none.
    for (other, expected) in [
        (Identity::new("moved.example"), "does not name `one.example` any more"),
        (Identity::client("nobody", None, |_| {}), "names no server"),
    ] {
        put(&project, "one", &other);
        let is_refused = |status: &Value| problem(status).as_str().is_some_and(|problem| problem.contains(expected));
        gateway.status_where(expected, is_refused).await;
        meets(address, "one.example", &one).await;
        meets(address, "moved.example", &latest).await;
    }
    replace(&project.directory().join("one.key"), own.key_pem().as_bytes());
    let is_refused = |status: &Value| problem(status).as_str().is_some_and(|problem| problem.contains("together"));
    gateway.status_where("the pair is refused", is_refused).await;
    meets(address, "one.example", &one).await;
    put(&project, "one", &one);
    gateway.status_where("no problem is left", |status| problem(status).is_null()).await;

    for visitors in load {
        visitors.served(5).await;
        assert_eq!(visitors.failures().await, 0, "{}", gateway.log());
    }
    for kept in &mut kept {
        let answer = kept.get("/shop/open").await;
        assert!(answer.status == 200 && !answer.head.to_lowercase().contains("connection: close"), "{}", answer.head);
    }
    let (status, log) = (gateway.status().await, gateway.log());
    assert_eq!(status["live"].as_str(), Some(generation.as_str()));
    let metrics = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    assert!(metrics.contains("role=\"listener certificates[0]\""), "{metrics}");
    let key = one.key_pem();
    for secret in key.lines().filter(|line| !line.starts_with('-')).chain(["secret7"]) {
        assert!(!log.contains(secret) && !status.to_string().contains(secret));
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_errors_at_the_start() {
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let (own, one) = (Identity::new("own.example"), Identity::new("one.example"));
    for (name, identity) in [("own", &own), ("one", &one), ("nobody", &Identity::client("nobody", None, |_| {}))] {
        put(&project, name, identity);
    }
    let data = format!("--gateway.dataDir={}", project.directory().join("data").display());
    let entry = |certificate: &str, key: &str| {
        format!("[[listenerConfig.certificates]]\ncertificatePath = '{certificate}'\nprivateKeyPath = '{key}'\n")
    };
    for (listed, expected) in [
        (entry("one.crt", "own.key"), "do not go together"),
        (entry("nobody.crt", "nobody.key"), "nobody.crt` names no server"),
        (entry("none.crt", "one.key"), "none.crt"),
        (entry("one.key", "one.key"), "cannot use the certificate"),
        (entry("one.crt", "one.key").repeat(2), "names `one.example`, which another is for"),
    ] {
        let config = project.config(&listed);
        let output = command(project.directory(), &["run", "shop/target/shop.mgw", &config, &data]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{expected}: {said}");
    }
}
