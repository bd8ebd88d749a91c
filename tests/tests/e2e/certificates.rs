//! Certificates of one's own: in PEM files and in the stores of an old installation, and others while the gateway runs.

use std::os::unix::fs::symlink;
use std::path::Path;

use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Answer, Gateway, client, replace};
use microgw_tests::issuer::{TokenKey, now};
use microgw_tests::load::Visitors;
use microgw_tests::project::{Project, definition, get};
use microgw_tests::tls::{Connection, Identity, old_store};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::json;

const ISSUER: &str = "https://apim.example/";
const API_KEYS: &str = "https://localhost:9095/apikey";

async fn shop(backend: &Backend) -> Project {
    let project = Project::new();
    let paths = json!({
        "/open": get(&json!([])),
        "/key": get(&json!([{ "key": [] }])),
        "/token": get(&json!([{ "oauth": [] }])),
    });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.build().await;
    project
}

/// A pair in a directory, each file replaced by rename.
fn put(directory: &Path, certificate: &Identity, key: &Identity) {
    replace(&directory.join("tls.crt"), certificate.certificate_pem().as_bytes());
    replace(&directory.join("tls.key"), key.key_pem().as_bytes());
}

async fn presents(gateway: &Gateway, identity: &Identity) {
    let address = gateway.live.https.unwrap();
    eventually("the certificate is presented", async || {
        (Connection::open(address).await.certificate() == identity.der()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn another_certificate_is_presented_and_no_connection_ends() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let [first, second, third, fourth] = ["one", "two", "three", "four"].map(Identity::new);
    let versions = project.directory().join("tls");
    put(&versions.join("v1"), &first, &first);
    // As Kubernetes mounts a secret.
    symlink("v1", versions.join("..data")).unwrap();
    for file in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(file), versions.join(file)).unwrap();
    }
    let config = project.config("[listenerConfig]\ncertificatePath = 'tls/tls.crt'\nprivateKeyPath = 'tls/tls.key'");
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let generation = gateway.live.generation.clone();
    let mut kept = Connection::open(gateway.live.https.unwrap()).await;
    assert_eq!(kept.certificate(), first.der());
    assert_eq!(kept.get("/shop/open").await.status, 200);
    let visitors = Visitors::of(client, gateway.https("/shop/open"));

    // In place: the certificate first, which does not go with the key that is still there.
    replace(&versions.join("v1/tls.crt"), second.certificate_pem().as_bytes());
    let refused =
        gateway.status_where("the pair is refused", |status| status["certificates"][0]["problem"].is_string()).await;
    let problem = refused["certificates"][0]["problem"].as_str().unwrap();
    assert!(problem.contains("certificate and key do not go together"), "{problem}");
    presents(&gateway, &first).await;
    replace(&versions.join("v1/tls.key"), second.key_pem().as_bytes());
    presents(&gateway, &second).await;
    gateway.status_where("no problem is left", |status| status["certificates"][0]["problem"].is_null()).await;

    // The link to the directory is replaced, and the old directory removed.
    put(&versions.join("v2"), &third, &third);
    symlink("v2", versions.join("..next")).unwrap();
    std::fs::rename(versions.join("..next"), versions.join("..data")).unwrap();
    std::fs::remove_dir_all(versions.join("v1")).unwrap();
    presents(&gateway, &third).await;

    // Half of a file.
    let whole = fourth.certificate_pem();
    std::fs::write(versions.join("v2/tls.crt"), &whole[..whole.len() / 2]).unwrap();
    gateway.status_where("half a file is refused", |status| status["certificates"][0]["problem"].is_string()).await;
    presents(&gateway, &third).await;
    put(&versions.join("v2"), &fourth, &fourth);
    presents(&gateway, &fourth).await;

    visitors.served(20).await;
    assert_eq!(visitors.failures().await, 0, "{}", gateway.log());
    let answer = kept.get("/shop/open").await;
    assert!(answer.status == 200 && !answer.head.to_lowercase().contains("connection: close"), "{}", answer.head);
    let status = gateway.status().await;
    assert_eq!((status["live"].as_str(), status["state"].as_str()), (Some(generation.as_str()), Some("live")));
    let metrics = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    assert!(metrics.contains("microgw_certificate_expiry_timestamp_seconds{role=\"listener\"} "), "{metrics}");
    for secret in fourth.key_pem().lines().filter(|line| !line.starts_with('-')) {
        assert!(!gateway.log().contains(secret) && !status.to_string().contains(secret));
    }
}

#[tokio::test]
async fn sighup_reads_what_no_watch_can_see() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let [first, second] = ["one", "two"].map(Identity::new);
    let old = std::time::SystemTime::UNIX_EPOCH;
    // The same file, as long and as old as before.
    let put = |name: &str, text: &str| {
        let path = project.directory().join(name);
        std::fs::write(&path, format!("{text:2000}")).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    };
    let pair = |identity: &Identity| {
        put("tls.crt", &identity.certificate_pem());
        put("tls.key", &identity.key_pem());
    };
    pair(&first);
    let config = project.config("[listenerConfig]\ncertificatePath = 'tls.crt'\nprivateKeyPath = 'tls.key'");
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    presents(&gateway, &first).await;
    pair(&second);
    gateway.signal(nix::sys::signal::Signal::SIGHUP);
    presents(&gateway, &second).await;
}

#[tokio::test]
async fn the_stores_of_an_old_installation() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = shop(&backend).await;
    let (gateway_key, apim, other) = (Identity::rsa("gateway"), Identity::new("apim"), Identity::new("apim"));
    let old_keys = Identity::new("old");
    let keys = old_store(&[("gw", &gateway_key), ("signer", &Identity::rsa("signer"))], &[], "one");
    replace(&project.directory().join("keys.p12"), &keys);
    let trust = |apim: &Identity| old_store(&[], &[("wso2apim310", apim), ("old", &old_keys)], "two");
    replace(&project.directory().join("trust.p12"), &trust(&apim));
    std::fs::write(project.directory().join("password"), "one\n").unwrap();
    let config = project.config(&format!(
        "[listenerConfig]\nkeyStorePath = 'keys.p12'\nkeyStorePassword = '$file{{password}}'\ncertificateAlias = 'gw'\n\
         trustStorePath = 'trust.p12'\ntrustStorePassword = 'two'\n\
         [[jwtTokenConfig]]\nissuer = '{ISSUER}'\ncertificateAlias = 'wso2apim310'\n\
         [apikey.tokenConfigs]\ncertificateAlias = 'old'\n\
         [apikey.issuer.tokenConfig]\nkeyStorePath = 'keys.p12'\ncertificateAlias = 'signer'"
    ));
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    assert_eq!(Connection::open(gateway.live.https.unwrap()).await.certificate(), gateway_key.der());

    // Keys that are made are RS256, and named by their alias.
    let key = gateway.api_key().await;
    let header = jsonwebtoken::decode_header(&key).unwrap();
    assert_eq!((header.alg, header.kid.as_deref()), (jsonwebtoken::Algorithm::RS256, Some("signer")));
    let with_key = async |key: &str| gateway.get(&gateway.http("/shop/key"), &[("x-api-key", key)]).await.status;
    assert_eq!(with_key(&key).await, 200);
    // Those of before live on.
    let claims = json!({ "iss": API_KEYS, "sub": "admin", "iat": now(), "exp": now() + 600, "keytype": "PRODUCTION" });
    let old = TokenKey::from_pem("ballerina", &old_keys.key_pem());
    assert_eq!(with_key(&old.sign_as(&json!({ "typ": "JWT" }), &claims)).await, 200);
    assert_eq!(with_key(&TokenKey::new("ballerina").sign_as(&json!({ "typ": "JWT" }), &claims)).await, 401);

    let token = TokenKey::from_pem("any", &apim.key_pem()).token(ISSUER, &json!({}));
    let with_token = async |token: &str| {
        let authorization = format!("Bearer {token}");
        Answer::of(gateway.client.get(gateway.http("/shop/token")).header("authorization", authorization)).await.status
    };
    assert_eq!((with_token(&token).await, with_token(&token).await), (200, 200), "also from the cache");
    // Another certificate under that alias: what the old one verified is dead at once.
    replace(&project.directory().join("trust.p12"), &trust(&other));
    eventually("the old key is withdrawn", async || (with_token(&token).await == 401).then_some(())).await;
    let token = TokenKey::from_pem("any", &other.key_pem()).token(ISSUER, &json!({}));
    assert_eq!(with_token(&token).await, 200);
    assert_eq!(with_key(&key).await, 200);
    let status = gateway.status().await;
    for secret in ["\"one\"", "\"two\""] {
        assert!(!status.to_string().contains(secret) && !gateway.log().contains(secret));
    }
}
