//! Certificates beside other credentials, tokens that are bound to them, sessions that are resumed, and listeners that insist.

use microgw_tests::PATIENCE;
use microgw_tests::issuer::TokenKey;
use microgw_tests::tls::Connection;
use rustls::version::{TLS12, TLS13};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::*;

const ISSUER: &str = "https://idp.example/";

fn guarded(security: &Value, application: Option<Value>) -> Value {
    let mut path = get(security);
    if let Some(application) = application {
        path["get"]["x-wso2-application-security"] = application;
    }
    path
}

/// With and without a certificate, a key and a token: what the documents say, and nothing else.
#[tokio::test]
async fn certificates_beside_other_credentials() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let (project, people) = (Project::new(), People::new());
    let keys = |optional: bool| Some(json!({ "security-types": ["api_key"], "optional": optional }));
    let both = json!({ "/key": guarded(&json!([]), keys(false)), "/alone": guarded(&json!([]), keys(true)) });
    project.define("Both", &api("Both", &backend, Some("mandatory"), &both));
    project.define(
        "Maybe",
        &api("Maybe", &backend, Some("optional"), &json!({ "/key": guarded(&json!([]), keys(false)) })),
    );
    let schemes = json!({
        "/and": get(&json!([{ "certificate": [], "key": [] }])),
        "/or": get(&json!([{ "certificate": [] }, { "key": [] }])),
        "/token": get(&json!([{ "oauth": [] }])),
        "/token-and": get(&json!([{ "oauth": ["read"], "certificate": [] }])),
    });
    project.define("Schemes", &api("Schemes", &backend, None, &schemes));
    project.build().await;

    let idp = TokenKey::new("idp");
    std::fs::write(project.directory().join("idp.jwks"), json!({ "keys": [idp.jwk()] }).to_string()).unwrap();
    replace(&project.directory().join("pinned.pem"), people.pinned.certificate_pem().as_bytes());
    let config = format!(
        "[[jwtTokenConfig]]\nissuer = \"{ISSUER}\"\njwksURL = \"file://{}\"\n\
         [[mutualSSLConfig.api.certificates]]\nname = \"*\"\nversion = \"*\"\ncertificatePath = \"pinned.pem\"\n",
        project.directory().join("idp.jwks").display()
    );
    let config = project.config(&config);
    let gateway = Gateway::run(project.directory(), ARTIFACT, &[&config]).await;
    let api_key = gateway.api_key().await;

    let clients = [false, true].map(|http2| {
        [anonymous(http2).build().unwrap(), people.pinned.https(&[], http2), people.stranger.https(&[], http2)]
    });
    // Nobody, a good certificate, a bad one; without a key, and with one.
    let (missing, bad) = (Err(900_902), Err(900_901));
    for (path, without, with) in [
        // What is not there is told first.
        ("/both/key", [missing, missing, missing], [missing, Ok(()), bad]),
        ("/both/alone", [missing, Ok(()), bad], [missing, Ok(()), bad]),
        ("/maybe/key", [missing, missing, missing], [Ok(()), Ok(()), bad]),
        ("/schemes/and", [missing, missing, missing], [missing, Ok(()), bad]),
        ("/schemes/or", [missing, Ok(()), bad], [Ok(()), Ok(()), Ok(())]),
    ] {
        for (client, (without, with)) in (0..3).zip(without.into_iter().zip(with)) {
            for clients in &clients {
                let what = format!("{path}, client {client}");
                let url = gateway.https(path);
                is(&Answer::of(clients[client].get(&url)).await, without, &what);
                is(&Answer::of(clients[client].get(&url).header("x-api-key", &api_key)).await, with, &what);
            }
        }
    }

    let free = idp.token(ISSUER, &json!({ "scope": "read" }));
    let bound_to = |thumbprint: &str| idp.token(ISSUER, &json!({ "scope": "read", "cnf": { "x5t#S256": thumbprint } }));
    let (bound, strangers) = (bound_to(&people.pinned.thumbprint()), bound_to(&people.stranger.thumbprint()));
    for [nobody, pinned, stranger] in &clients {
        let url = gateway.https("/schemes/token");
        for (client, token, expected) in [
            (nobody, &free, Ok(())),
            (pinned, &free, Ok(())),
            (nobody, &bound, bad),
            (stranger, &bound, bad),
            (pinned, &bound, Ok(())),
            // What binds a token is the key; whose certificate is good is another question.
            (stranger, &strangers, Ok(())),
            (pinned, &strangers, bad),
        ] {
            for _ in 0..2 {
                let answer = Answer::of(client.get(&url).bearer_auth(token)).await;
                is(&answer, expected, "a token");
                if expected.is_err() {
                    let challenge = "Bearer realm=\"micro-gw\", error=\"invalid_token\"";
                    assert!(answer.header("www-authenticate").starts_with(challenge), "{answer:?}");
                }
            }
        }
        let url = gateway.https("/schemes/token-and");
        is(&Answer::of(pinned.get(&url).bearer_auth(&bound)).await, Ok(()), "both");
        assert_eq!(Answer::of(stranger.get(&url).bearer_auth(&strangers)).await.status, 401);
        // Not over a connection without TLS.
        let open = gateway.client.get(gateway.http("/schemes/token")).bearer_auth(&bound);
        is(&Answer::of(open).await, bad, "http");
    }
}

/// The handshake is shorter, and nothing is forgotten that was shown in the first.
#[tokio::test]
async fn resumed_sessions_are_judged_like_others() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let (project, people) = (Project::new(), People::new());
    project.define("Pins", &api("Pins", &backend, Some("mandatory"), &json!({ "/it": get(&json!([])) })));
    project.build().await;
    let config = project.config(&people.settings(&project));
    let gateway = Gateway::run(project.directory(), ARTIFACT, &[&config]).await;
    let address = gateway.live.https.unwrap();
    for version in [&TLS12, &TLS13] {
        for (client, status) in
            [(&people.pinned, 200), (&people.stranger, 401), (&people.pinned_late, 401), (&people.pinned_server, 401)]
        {
            let config = client.config(version);
            let mut first = Connection::open_as(address, &config).await;
            assert_eq!(first.get("/pins/it").await.status, status);
            assert!(!first.is_resumed());
            drop(first);
            let mut second = Connection::open_as(address, &config).await;
            assert!(second.is_resumed(), "{version:?}");
            assert_eq!(second.get("/pins/it").await.status, status);
        }
    }
}

#[tokio::test]
async fn a_listener_that_insists() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let (project, people) = (Project::new(), People::new());
    project.define("Pins", &api("Pins", &backend, Some("mandatory"), &json!({ "/it": get(&json!([])) })));
    project.build().await;
    let config = project.config(&people.settings(&project));
    let require = "--mutualSSLConfig.sslVerifyClient=require";
    let gateway = Gateway::run(project.directory(), ARTIFACT, &[&config, require]).await;
    for http2 in [false, true] {
        let nobody = anonymous(http2).build().unwrap();
        assert!(nobody.get(gateway.https("/health")).send().await.is_err(), "there is no connection");
        // A bad certificate is no broken handshake.
        for (client, expected) in
            [(&people.pinned, Ok(())), (&people.stranger, Err(900_901)), (&people.pinned_late, Err(900_901))]
        {
            is(&ask(&client.https(&[], http2), &gateway.https("/pins/it")).await, expected, "insists");
        }
    }
    assert_eq!(gateway.get(&gateway.http("/health"), &[]).await.status, 200);
}

/// The listener does as the settings say, whatever an API needs: it is said at once, and nothing starts.
#[tokio::test]
async fn what_cannot_arrive_is_an_error_at_the_start() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let project = Project::new();
    project.define("Pins", &api("Pins", &backend, Some("mandatory"), &json!({ "/it": get(&json!([])) })));
    project.build().await;
    let mut gateway = Gateway::start(project.directory(), "run", ARTIFACT, &[]);
    let ended = timeout(PATIENCE, gateway.child.wait()).await.expect("it ends").unwrap();
    assert!(!ended.success());
    let log = gateway.log();
    assert!(
        log.contains("mutualSSLConfig.sslVerifyClient") && log.contains("Pins 1.0 (api_definitions/Pins.json:"),
        "{log}"
    );
}

/// By the fingerprint as openssl prints it. The certificate is remembered as good, and its connection stays open.
#[tokio::test]
async fn a_certificate_is_revoked() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let (project, people) = (Project::new(), People::new());
    project.define("Pins", &api("Pins", &backend, Some("mandatory"), &json!({ "/alone": guarded(&json!([]), None) })));
    project.build().await;
    let pems = [&people.pinned, &people.stranger].map(Identity::certificate_pem).concat();
    replace(&project.directory().join("pinned.pem"), pems.as_bytes());
    let revoked = project.directory().join("revoked.jsonl");
    std::fs::write(&revoked, "").unwrap();
    let config = project.config(&format!(
        "[[mutualSSLConfig.api.certificates]]\nname = \"*\"\nversion = \"*\"\ncertificatePath = \"pinned.pem\"\n\
         [revocation]\nfile = \"{}\"\n",
        revoked.display()
    ));
    let gateway = Gateway::run(project.directory(), ARTIFACT, &[&config]).await;
    let (client, other) = (people.pinned.https(&[], true), people.stranger.https(&[], true));
    let url = gateway.https("/pins/alone");
    assert_eq!(ask(&client, &url).await.status, 200);

    let digest = Sha256::digest(people.pinned.der());
    let fingerprint = digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let output = tokio::process::Command::new(microgw_tests::gateway::micro_gw())
        .current_dir(project.directory())
        .args(["revoke", &config, "--certificate", &fingerprint])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let refused = async || Some(ask(&client, &url).await).filter(|answer| answer.status != 200);
    is(&eventually("the certificate is refused", refused).await, Err(900_901), "revoked");
    assert_eq!(ask(&other, &url).await.status, 200);
}
