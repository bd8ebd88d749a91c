//! The quick start of the README, word for word but for the ports.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use microgw_tests::gateway::{Answer, Gateway, client, command, micro_gw};
use microgw_tests::{PATIENCE, envoy_is_here};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

const WRONG_PASSWORDS: usize = 5;

/// `micro-gw demo-backend`, and where it listens.
async fn demo_backend(directory: &Path) -> (Child, String) {
    let mut child = Command::new(micro_gw())
        .current_dir(directory)
        .args(["demo-backend", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let address = line.strip_prefix("petstore on http://").and_then(|line| line.strip_suffix("/v2"));
    (child, address.unwrap_or_else(|| panic!("{line}")).to_owned())
}

/// `examples/petstore`, its backend at `address`.
fn definition(address: &str) -> Value {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/petstore/swagger.json");
    let mut definition: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert!(definition["host"].is_string());
    definition["host"] = address.into();
    definition
}

async fn petstore(directory: &Path, definition: &Value) -> Gateway {
    std::fs::write(directory.join("swagger.json"), definition.to_string()).unwrap();
    for arguments in [&["init", "petstore", "-a", "swagger.json"][..], &["build", "petstore"]] {
        let output = command(directory, arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Gateway::run(directory, "petstore/target/petstore.mgw", &[]).await
}

fn assert_fault(answer: &Answer, status: u16, code: u64) {
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
}

#[tokio::test]
async fn a_petstore_is_guarded() {
    if !envoy_is_here() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let (_backend, address) = demo_backend(directory.path()).await;
    let definition = definition(&address);
    let gateway = petstore(directory.path(), &definition).await;

    let key = gateway.api_key().await;
    for url in [gateway.https("/v2/pet/1"), gateway.http("/v2/pet/1")] {
        let answer = gateway.get(&url, &[("accept", "application/json"), ("api_key", &key)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["name"], "Rex");
        assert_fault(&gateway.get(&url, &[]).await, 401, 900_902);
        // A key is no access token.
        let bearer = format!("Bearer {key}");
        assert_eq!(gateway.get(&url, &[("authorization", &bearer)]).await.status, 401);
    }
    // Of two alternatives, an access token and a key, the one that is presented counts.
    let inventory = gateway.get(&gateway.https("/v2/store/inventory"), &[("api_key", &key)]).await;
    assert_eq!(inventory.json()["available"], 1);
    // An operation for access tokens alone takes no key.
    let by_status = gateway.https("/v2/pet/findByStatus?status=sold");
    assert_eq!(gateway.get(&by_status, &[("api_key", &key)]).await.status, 401);

    every_operation_is_guarded(&gateway, &definition).await;

    assert_fault(&gateway.get(&gateway.https("/v2/nothing"), &[]).await, 404, 404);
    assert_fault(&gateway.get(&gateway.http("/"), &[]).await, 404, 404);
    let wrong_method = Answer::of(gateway.client.patch(gateway.https("/v2/pet/1"))).await;
    assert_fault(&wrong_method, 405, 405);
    assert_eq!(wrong_method.header("allow"), "DELETE, GET, POST");
}

async fn every_operation_is_guarded(gateway: &Gateway, definition: &Value) {
    let mut operations = 0;
    for (path, item) in definition["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let url = gateway.http(&format!("/v2{path}"));
            assert_fault(&Answer::of(gateway.client.request(method, url)).await, 401, 900_902);
            operations += 1;
        }
    }
    assert_eq!(operations, 10);
}

#[tokio::test]
async fn listeners_speak_both_protocols_and_know_what_is_theirs() {
    if !envoy_is_here() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let gateway = petstore(directory.path(), &definition("127.0.0.1:9")).await;

    for url in [gateway.http("/health"), gateway.https("/health")] {
        let answer = gateway.get(&url, &[]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-microgw-generation"), gateway.live.generation);
    }
    let response = gateway.client.get(gateway.https("/health")).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    let http1 = reqwest::Client::builder().danger_accept_invalid_certs(true).no_proxy().http1_only().build().unwrap();
    let response = http1.get(gateway.https("/health")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_11));
    let clear = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let response = clear.get(gateway.http("/health")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));

    for path in ["/apikey", "/apikey/", "/apikey/more"] {
        let plain = client().get(gateway.http(path)).basic_auth("admin", Some("admin"));
        assert_fault(&Answer::of(plain).await, 404, 404);
    }
    // A client cannot say that it came through the other listener.
    let pretending = client().get(gateway.http("/apikey")).basic_auth("admin", Some("admin"));
    let pretending = pretending.header("x-microgw-listener", "https").header("x-forwarded-proto", "https");
    assert_fault(&Answer::of(pretending).await, 404, 404);

    for (path, expected) in [("/live", 200), ("/ready", 200), ("/status", 200), ("/metrics", 200), ("/nothing", 404)] {
        assert_eq!(gateway.get(&gateway.admin(path), &[]).await.status, expected, "{path}");
    }
    let status = gateway.status().await;
    assert_eq!((&status["state"], &status["ready"]), (&"live".into(), &true.into()));
    assert_eq!(status["live"], gateway.live.generation.as_str());
}

#[tokio::test]
async fn guessing_passwords_is_slow() {
    if !envoy_is_here() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let gateway = petstore(directory.path(), &definition("127.0.0.1:9")).await;
    let url = gateway.https("/apikey");
    let log_in = async |password: &str, spoofed: &str| {
        let request = gateway.client.get(&url).basic_auth("admin", Some(password));
        Answer::of(request.header("x-forwarded-for", spoofed)).await
    };

    let missing = Answer::of(gateway.client.get(&url)).await;
    assert_eq!((missing.status, missing.header("www-authenticate").starts_with("Basic ")), (401, true));
    let mut refused = 0;
    for attempt in 0..2 * WRONG_PASSWORDS {
        // An address of one's own choice for each guess does not help.
        let answer = log_in(&format!("guess{attempt}"), &format!("203.0.113.{attempt}")).await;
        if answer.status == 429 {
            let seconds: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=60).contains(&seconds), "{answer:?}");
            break;
        }
        assert_fault(&answer, 401, 900_911);
        refused += 1;
    }
    assert_eq!(refused, WRONG_PASSWORDS);
    // Nor does the right one: nobody learns from the answer that it was right.
    assert_eq!(log_in("admin", "203.0.113.99").await.status, 429);
}
