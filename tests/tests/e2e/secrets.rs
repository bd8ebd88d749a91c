//! Nothing secret is written down: not in a log, not in `/status`, not in the artifact or what shows it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use microgw_tests::backend::Backend;
use microgw_tests::gateway::{Gateway, command};
use microgw_tests::issuer::TokenKey;
use microgw_tests::project::{Project, definition, get};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::json;

const ISSUER: &str = "https://idp.example/";
const PASSWORD: &str = "correct horse battery staple";
/// SHA-256 of [`PASSWORD`].
const PASSWORD_HASH: &str = "c4bbcb1fbec99d65bf59d85c8cb62ee2db963f0fe106f483d9afa73bd4e39a8a";

/// The lines of a PEM file that are worth hiding.
fn lines(pem: &str) -> impl Iterator<Item = String> + '_ {
    pem.lines().filter(|line| !line.starts_with('-') && line.len() > 20).map(str::to_owned)
}

#[tokio::test]
async fn nothing_secret_is_written_down() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("shop").await;
    let key = TokenKey::new("one");
    let project = Project::new();
    let paths = json!({
        "/query": get(&json!([{ "query_key": [] }])),
        "/header": get(&json!([{ "key": [] }])),
        "/token": get(&json!([{ "oauth": [] }])),
    });
    project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
    project.build().await;
    let directory = project.directory();
    std::fs::write(directory.join("one.jwks"), json!({ "keys": [key.jwk()] }).to_string()).unwrap();
    let config = project.config(&format!(
        "[[jwtTokenConfig]]\nissuer = \"{ISSUER}\"\njwksURL = \"file:one.jwks\"\n\n\
         [b7a.users.alice]\npassword = \"$file{{alice}}\"\n"
    ));
    std::fs::write(directory.join("alice"), format!("@sha256:{{{PASSWORD_HASH}}}\n")).unwrap();
    let access_log = directory.join("access.log");
    let log_to = format!("--b7a.http.accesslog.path={}", access_log.display());
    let gateway = Gateway::run(directory, "shop/target/shop.mgw", &[&config, &log_to, "--b7a.log.level=TRACE"]).await;

    let log_in = |password: &str| gateway.client.get(gateway.https("/apikey")).basic_auth("alice", Some(password));
    let response = log_in(PASSWORD).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let api_key = response.text().await.unwrap();
    assert_eq!(log_in("a wrong password").send().await.unwrap().status(), 401);
    let token = key.token(ISSUER, &json!({}));
    let wrong = TokenKey::new("one").token(ISSUER, &json!({}));
    let bearer = |token: &str| format!("Bearer {token}");
    for (path, headers, status) in [
        (format!("/shop/query?a=b&key={api_key}"), vec![], 200),
        (format!("/shop/query?key={wrong}"), vec![], 401),
        (format!("/shop/nothing?key={api_key}"), vec![], 404),
        ("/shop/header".to_owned(), vec![("x-api-key", api_key.clone())], 200),
        ("/shop/header".to_owned(), vec![("x-api-key", wrong.clone())], 401),
        ("/shop/token".to_owned(), vec![("authorization", bearer(&token))], 200),
        ("/shop/token".to_owned(), vec![("authorization", bearer(&wrong))], 401),
        ("/shop/token".to_owned(), vec![("authorization", bearer(&api_key))], 401),
    ] {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = gateway.get(&gateway.http(&path), &headers).await;
        assert_eq!(answer.status, status, "{path}");
    }

    let written = eventually("all of it is in the access log", async || {
        std::fs::read_to_string(&access_log).ok().filter(|log| log.matches("/shop/").count() >= 8)
    })
    .await;
    let inspect = |more: &'static [&'static str]| async {
        let arguments = [&["inspect", "shop/target/shop.mgw"][..], more, &[&config]].concat();
        let output = command(directory, &arguments).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let read = |path: &str| String::from_utf8_lossy(&std::fs::read(directory.join(path)).unwrap()).into_owned();
    let places = [
        ("access log", written),
        ("log", gateway.log()),
        ("/status", gateway.status().await.to_string()),
        ("/metrics", gateway.get(&gateway.admin("/metrics"), &[]).await.body),
        ("inspect", inspect(&[]).await),
        ("inspect --envoy", inspect(&["--envoy"]).await),
        ("artifact", read("shop/target/shop.mgw")),
        ("last live artifact", read("data/live-shop.mgw")),
        ("last live rules", read("data/live-shop.rules")),
    ];
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let mut secrets = vec![signature(&api_key), signature(&token), signature(&wrong)];
    secrets.extend([PASSWORD.to_owned(), PASSWORD_HASH.to_owned(), "a wrong password".to_owned()]);
    secrets.extend([PASSWORD, "a wrong password"].map(|password| STANDARD.encode(format!("alice:{password}"))));
    for file in ["data/tls.key", "data/apikey-signing.pem"] {
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(directory.join(file)).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{file}");
        secrets.extend(lines(&read(file)));
    }
    assert!(secrets.len() >= 12, "{}", secrets.len());
    for (place, text) in &places {
        assert!(!text.is_empty(), "{place}");
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} is in the {place}");
        }
    }
}
