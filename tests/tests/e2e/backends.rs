//! `[httpClients]` and what else the settings say about backends: verification, client certificates, the forward proxy.

use std::net::SocketAddr;

use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Answer, Gateway, command, replace};
use microgw_tests::issuer::{JwksServer, TokenKey};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::proxy::Proxy;
use microgw_tests::tls::{Connection, Identity, old_store};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::json;

/// An API per backend: base path and URL.
async fn project(apis: &[(&str, String)]) -> Project {
    let project = Project::new();
    for (base, url) in apis {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let paths = json!({ "/open": get(&json!([])), "/held": get(&json!([])), "/long-head": get(&json!([])), "/token": get(&json!([{ "oauth": [] }])) });
        let mut definition = definition(base.trim_start_matches('/'), base, nobody, &paths);
        definition["servers"][0]["url"] = format!("{url}{base}").into();
        project.define(base.trim_start_matches('/'), &definition);
    }
    project.build().await;
    project
}

async fn status(gateway: &Gateway, path: &str) -> u16 {
    gateway.get(&gateway.http(path), &[]).await.status
}

#[tokio::test]
async fn backends_are_verified_by_the_configured_store_and_see_our_certificate() {
    if !envoy_is_here() {
        return;
    }
    let (ca, other_ca, clients) =
        (Identity::authority("ca"), Identity::authority("other"), Identity::authority("clients"));
    let ours = clients.issue("gateway");
    let trusted = Backend::start_tls("trusted", &ca.issue("localhost"), None).await;
    let misnamed = Backend::start_tls("misnamed", &ca.issue("elsewhere"), None).await;
    let stranger = Backend::start_tls("stranger", &other_ca.issue("localhost"), None).await;
    let asking = Backend::start_tls("asking", &ca.issue("localhost"), Some(&clients)).await;
    let https = |backend: &Backend| format!("https://localhost:{}", backend.address.port());
    let backends = [("/trusted", &trusted), ("/misnamed", &misnamed), ("/stranger", &stranger), ("/asking", &asking)];
    let project = project(&backends.map(|(base, backend)| (base, https(backend)))).await;
    let directory = project.directory();
    replace(&directory.join("trust.p12"), &old_store(&[], &[("ca", &ca)], "two"));
    replace(&directory.join("client.p12"), &old_store(&[("me", &ours)], &[], "three"));
    let seen = async |settings: &str| {
        let config = project
            .config(&format!("[listenerConfig]\ntrustStorePath = 'trust.p12'\ntrustStorePassword = 'two'\n{settings}"));
        let gateway = Gateway::run(directory, "shop/target/shop.mgw", &[&config]).await;
        let mut seen = Vec::new();
        for (base, _) in backends {
            seen.push(status(&gateway, &format!("{base}/open")).await == 200);
        }
        (seen, gateway)
    };
    let (verified, gateway) = seen("").await;
    assert_eq!(verified, [true, false, false, false]);
    assert_eq!(gateway.status().await["insecure"], json!([]));
    // Another store, while it runs.
    replace(&directory.join("trust.p12"), &old_store(&[], &[("ca", &ca), ("other", &other_ca)], "two"));
    eventually("the other authority is trusted", async || {
        (status(&gateway, "/stranger/open").await == 200).then_some(())
    })
    .await;
    drop(gateway);
    replace(&directory.join("trust.p12"), &old_store(&[], &[("ca", &ca)], "two"));

    let client = "[httpClients.sslConfig]\nkeyStorePath = 'client.p12'\nkeyStorePassword = 'three'\n";
    let (with_certificate, gateway) = seen(client).await;
    assert_eq!(with_certificate, [true, false, false, true]);
    // Ours is another one from now on: that of a stranger.
    replace(&directory.join("client.p12"), &old_store(&[("me", &Identity::new("nobody"))], &[], "three"));
    // Open connections live on: who finds all of them in use needs a new one.
    let mut held = Vec::new();
    eventually("the new key is presented", async || {
        let before = asking.requests();
        let request = tokio::spawn(gateway.client.get(gateway.http("/asking/held")).send());
        eventually("it is held or refused", async || {
            (request.is_finished() || asking.requests() > before).then_some(())
        })
        .await;
        let refused = request.is_finished();
        held.push(request);
        refused.then_some(())
    })
    .await;
    asking.release();
    let refused = held.pop().unwrap().await.unwrap().unwrap();
    assert!(matches!(refused.status().as_u16(), 502 | 503), "{refused:?}");
    for request in held {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
    drop(gateway);

    let (any_name, gateway) = seen("[httpClients]\nverifyHostname = false").await;
    assert_eq!(any_name, [true, true, false, false]);
    assert_eq!(gateway.status().await["insecure"].as_array().map(Vec::len), Some(1));
    drop(gateway);
    let (nothing, gateway) = seen("[httpClients]\ndisableSslVerification = true").await;
    assert_eq!(nothing, [true, true, true, false]);
    assert!(gateway.log().contains("backends are not verified"), "{}", gateway.log());
    let insecure = gateway.status().await["insecure"].to_string();
    assert!(insecure.contains("`httpClients.disableSslVerification`"), "{insecure}");
}

#[tokio::test]
async fn each_host_of_an_endpoint_is_verified_by_its_own_name() {
    if !envoy_is_here() {
        return;
    }
    let ca = Identity::authority("ca");
    let named = Backend::start_tls("named", &ca.issue("localhost"), None).await;
    let numbered = Backend::start_tls("numbered", &ca.issue("127.0.0.1"), None).await;
    let swapped = Backend::start_tls("swapped", &ca.issue("localhost"), None).await;
    let project = Project::new();
    let urls = |named: &Backend, numbered: &Backend| {
        json!({ "urls": [
            format!("https://localhost:{}", named.address.port()), format!("https://127.0.0.1:{}", numbered.address.port())
        ] })
    };
    for (base, endpoints) in [("/both", urls(&named, &numbered)), ("/half", urls(&named, &swapped))] {
        let paths = json!({ "/open": get(&json!([])) });
        let mut definition = definition(&base[1..], base, named.address, &paths);
        definition["x-wso2-production-endpoints"] = endpoints;
        project.define(&base[1..], &definition);
    }
    project.build().await;
    replace(&project.directory().join("ca.pem"), ca.certificate_pem().as_bytes());
    let config = project.config("[listenerConfig]\ntrustStorePath = 'ca.pem'");
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    for _ in 0..4 {
        assert_eq!(status(&gateway, "/both/open").await, 200);
    }
    assert!(named.requests() > 0 && numbered.requests() > 0);
    // A certificate for the one is none for the other: its host is never asked, and the other takes its place.
    for _ in 0..4 {
        let answer = gateway.get(&gateway.http("/half/open"), &[]).await;
        assert_eq!(answer.json()["backend"], "named");
    }
    assert_eq!(swapped.requests(), 0);
}

#[tokio::test]
async fn backends_behind_a_forward_proxy() {
    if !envoy_is_here() {
        return;
    }
    let ca = Identity::authority("ca");
    let secured = Backend::start_tls("secured", &ca.issue("backend.test"), None).await;
    let plain = Backend::start("plain").await;
    let here = Backend::start("here").await;
    let (to_secured, to_plain) = (Proxy::to(secured.address).await, Proxy::to(plain.address).await);
    // Nobody can resolve these names.
    let apis = [
        ("/secured", "https://backend.test".to_owned()),
        ("/plain", "http://backend.test:8080".to_owned()),
        ("/here", format!("http://{}", here.address)),
    ];
    let project = project(&apis).await;
    replace(&project.directory().join("ca.pem"), ca.certificate_pem().as_bytes());
    let run = async |proxy: &Proxy| {
        let config = project.config(&format!(
            "[httpClients.proxy]\nenable = true\nhost = 'localhost'\nport = {}\n\
             [httpClients.sslConfig]\ntrustStorePath = 'ca.pem'",
            proxy.address.port()
        ));
        Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await
    };
    let gateway = run(&to_secured).await;
    let answer = gateway.get(&gateway.http("/secured/open"), &[]).await;
    assert_eq!(
        (answer.status, answer.json()["headers"]["host"].as_str()),
        (200, Some("backend.test")),
        "{}",
        answer.body
    );
    assert_eq!(status(&gateway, "/here/open").await, 200, "what is on this host is reached directly");
    let asked = to_secured.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].starts_with("CONNECT backend.test:443 HTTP/1.1\r\nhost: backend.test:443\r\n"), "{asked:?}");
    drop(gateway);

    let gateway = run(&to_plain).await;
    let answer = gateway.get(&gateway.http("/plain/open"), &[]).await;
    assert_eq!((answer.status, answer.json()["headers"]["host"].as_str()), (200, Some("backend.test:8080")));
    assert!(to_plain.asked()[0].starts_with("CONNECT backend.test:8080 "), "{:?}", to_plain.asked());
    // A tunnel is no client's connection: what is kept open is used again.
    assert_eq!(status(&gateway, "/plain/open").await, 200);
    assert_eq!(to_plain.asked().len(), 1);
    drop(to_plain);
    eventually("without the proxy there is no backend", async || {
        (status(&gateway, "/secured/open").await == 503).then_some(())
    })
    .await;
}

#[tokio::test]
async fn key_sets_over_the_proxy_and_with_its_password() {
    if !envoy_is_here() {
        return;
    }
    let (key, backend) = (TokenKey::new("one"), Backend::start("shop").await);
    let jwks = JwksServer::start(vec![key.jwk()]).await;
    let proxy = Proxy::to(jwks.address).await;
    let ca = Identity::authority("ca");
    let front = Backend::start_tls("jwks", &ca.issue("idp.test"), None).await;
    let to_front = Proxy::to(front.address).await;
    let project = project(&[("/shop", format!("http://{}", backend.address))]).await;
    replace(&project.directory().join("ca.pem"), ca.certificate_pem().as_bytes());
    let config = |url: &str, proxy: &Proxy| {
        project.config(&format!(
            "[listenerConfig]\ntrustStorePath = 'ca.pem'\n\
             [[jwtTokenConfig]]\nissuer = 'https://idp.test/'\njwksURL = '{url}'\nallowInsecureJwks = true\n\
             [httpClients.proxy]\nenableInternalServices = true\nhost = '127.0.0.1'\nport = {}\nusername = 'gw'\npassword = 'hunter2'",
            proxy.address.port()
        ))
    };
    let with_token = async |gateway: &Gateway| {
        let token = key.token("https://idp.test/", &json!({}));
        let request =
            gateway.client.get(gateway.http("/shop/token")).header("authorization", format!("Bearer {token}"));
        Answer::of(request).await.status
    };
    // The proxy of the test tunnels only: a key set in the clear is asked for without a tunnel, and refused.
    let gateway =
        Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config("http://idp.test/jwks", &proxy)]).await;
    assert_eq!(with_token(&gateway).await, 503);
    let asked = eventually("it is asked", async || proxy.asked().first().cloned()).await;
    assert!(asked.starts_with("GET http://idp.test/jwks HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains("proxy-authorization: basic z3c6ahvudgvymg=="), "{asked}");
    assert!(!gateway.log().contains("hunter2") && !gateway.status().await.to_string().contains("hunter2"));
    drop(gateway);
    // Over TLS, by the configured authority: what comes back is no key set.
    let gateway =
        Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config("https://idp.test/jwks", &to_front)]).await;
    assert_eq!(with_token(&gateway).await, 503);
    eventually("the server is trusted and answers", async || (front.requests() > 0).then_some(())).await;
    assert!(to_front.asked()[0].starts_with("CONNECT idp.test:443 "), "{:?}", to_front.asked());
}

/// `gw:hunter2`.
const CREDENTIALS: &str = "Basic Z3c6aHVudGVyMg==";

#[tokio::test]
async fn a_proxy_that_wants_a_password_gets_it_and_nobody_else_does() {
    if !envoy_is_here() {
        return;
    }
    let ca = Identity::authority("ca");
    let secured = Backend::start_tls("secured", &ca.issue("backend.test"), None).await;
    let proxy = Proxy::guarded(secured.address, CREDENTIALS).await;
    let project = project(&[("/secured", "https://backend.test".to_owned())]).await;
    replace(&project.directory().join("ca.pem"), ca.certificate_pem().as_bytes());
    let config = |login: &str| {
        project.config(&format!(
            "[httpClients.sslConfig]\ntrustStorePath = 'ca.pem'\n\
             [httpClients.proxy]\nenable = true\nhost = '127.0.0.1'\nport = {}\n{login}",
            proxy.address.port()
        ))
    };
    let log = project.directory().join("access.log");
    let settings = [format!("--b7a.http.accesslog.path={}", log.display()), "--b7a.log.level=TRACE".to_owned()];
    let right = config("username = 'gw'\npassword = 'hunter2'");
    let arguments = [right.as_str(), &settings[0], &settings[1]];
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &arguments).await;
    let answer = gateway.get(&gateway.http("/secured/open"), &[("proxy-authorization", "Basic bWluZQ==")]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    // For the proxy, and for nobody behind it.
    assert!(!answer.body.contains("Z3c6aHVudGVyMg"), "{}", answer.body);
    assert!(proxy.asked()[0].contains(CREDENTIALS), "{:?}", proxy.asked());
    let inspect = async |more: &[&str]| {
        let arguments = [&["inspect", "shop/target/shop.mgw"][..], more, &[right.as_str()]].concat();
        let output = command(project.directory(), &arguments).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let envoy = gateway.envoy_config().await;
    assert!(envoy.contains("%SECRET(forward-proxy-login)%"), "{envoy}");
    for (place, text) in [
        ("Envoy's configuration", envoy),
        ("what is inspected", inspect(&[]).await),
        ("what is inspected of Envoy", inspect(&["--envoy"]).await),
        ("/status", gateway.status().await.to_string()),
        ("log", gateway.log()),
        ("access log", std::fs::read_to_string(&log).unwrap_or_default()),
        ("metrics", gateway.get(&gateway.admin("/metrics"), &[]).await.body),
    ] {
        for secret in ["hunter2", "Z3c6aHVudGVyMg"] {
            assert!(!text.contains(secret), "{secret} is in the {place}");
        }
    }
    let generation = gateway.live.generation.clone();
    drop(gateway);

    // Another password, and none: the proxy lets nobody through, and nobody goes past it.
    let before = secured.requests();
    let (wrong, none) = ("username = 'gw'\npassword = 'hunter3'", "");
    for login in [wrong, none] {
        let asked = proxy.asked().len();
        let given = config(login);
        let arguments = [given.as_str(), &settings[0], &settings[1]];
        let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &arguments).await;
        let answer = gateway.get(&gateway.http("/secured/open"), &[]).await;
        assert_eq!((answer.status, answer.code()), (503, 101_503), "{}", answer.body);
        assert!(proxy.asked().len() > asked && secured.requests() == before, "{:?}", proxy.asked());
        assert!(!answer.body.contains("407") && !answer.body.contains("roxy"), "{}", answer.body);
        assert_eq!(gateway.live.generation == generation, login == wrong, "a password is no part of it");
    }
}

#[tokio::test]
async fn headers_limits_and_tls_of_the_listener() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = project(&[("/shop", format!("http://{}", backend.address))]).await;
    let config = project.config(
        "[listenerConfig]\nkeepAlive = 'NEVER'\n[mutualSSLConfig]\nprotocolVersions = 'TLSv1.3'\n\
         [server]\nheader = 'gateway'\n[[server.headerConf]]\nheaderName = 'User-Agent'\npreserveHeader = false\noverrideValue = 'ballerina'\n\
         [httpClients.responseLimits]\nmaxHeaderSize = 2048",
    );
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let answer = gateway.get(&gateway.http("/shop/open"), &[("user-agent", "curl")]).await;
    assert_eq!((answer.status, answer.json()["headers"]["user-agent"].as_str()), (200, Some("ballerina")));
    assert_eq!(answer.header("server"), "gateway", "the backend sends none");
    assert_eq!(gateway.get(&gateway.http("/nothing"), &[]).await.header("server"), "gateway");
    let mut connection = Connection::open(gateway.live.https.unwrap()).await;
    assert_eq!(connection.version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let answer = connection.get("/shop/open").await;
    assert!(answer.status == 200 && answer.head.to_lowercase().contains("connection: close"), "{}", answer.head);
    let too_long = gateway.get(&gateway.http("/shop/long-head"), &[]).await;
    assert_eq!(too_long.status, 502, "{}", too_long.body);
    drop(gateway);

    let config = project.config(
        "[mutualSSLConfig]\nprotocolVersions = 'TLSv1.2'\nciphers = 'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256'\n\
         [[server.headerConf]]\nheaderName = 'Server'\npreserveHeader = false\noverrideValue = 'mine'",
    );
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    let connection = Connection::open(gateway.live.https.unwrap()).await;
    let suite = rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    assert_eq!((connection.version(), connection.suite()), (Some(rustls::ProtocolVersion::TLSv1_2), Some(suite)));
    assert_eq!(gateway.get(&gateway.http("/shop/open"), &[]).await.header("server"), "mine");
    drop(gateway);
    // Without settings nobody says who answered, and clients' names pass.
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let answer = gateway.get(&gateway.http("/shop/open"), &[("user-agent", "curl")]).await;
    assert_eq!((answer.header("server"), answer.json()["headers"]["user-agent"].as_str()), ("", Some("curl")));
    assert_eq!(status(&gateway, "/shop/long-head").await, 200);
}
