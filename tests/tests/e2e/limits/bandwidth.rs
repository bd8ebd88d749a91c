//! Bandwidth: what bodies took is charged when Envoy tells of it.

use std::time::Duration;

use microgw_tests::bodies::Bodies;
use microgw_tests::gateway::{Answer, Gateway};
use microgw_tests::project::{Project, definition};
use microgw_tests::{envoy_is_here, eventually};
use serde_json::{Value, json};

const MEGABYTE: usize = 1_000_000;
const SETTINGS: [&str; 1] = ["--throttlingConfig.bandwidth=true"];

fn operations(tier: &str) -> Value {
    json!({ "post": {
        "security": [], "x-wso2-throttling-tier": tier, "responses": { "200": { "description": "done" } },
    } })
}

async fn project(bodies: &Bodies, policies: &str, tiers: &[&str]) -> Project {
    let project = Project::new();
    let paths: serde_json::Map<String, Value> =
        tiers.iter().map(|tier| (format!("/{tier}/bytes/{{count}}"), operations(tier))).collect();
    project.define("shop", &definition("Shop", "/shop", bodies.address, &Value::Object(paths)));
    project.write("policies.yaml", policies);
    project.build().await;
    project
}

/// What is left of the limit that an answer tells of.
fn left(answer: &Answer) -> usize {
    let told = answer.header("ratelimit");
    told.split(';').find_map(|part| part.strip_prefix("r=")?.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

#[tokio::test]
async fn a_megabyte_is_a_megabyte_and_what_was_in_flight() {
    if !envoy_is_here() {
        return;
    }
    let bodies = Bodies::start().await;
    let limit =
        |name: &str, more: &str| format!("  - {name}: {{bandwidth: 1 MB, unitTime: 1, timeUnit: year{more}}}\n");
    let policies = [
        "resourcePolicies:\n",
        &limit("Both", ""),
        &limit("Up", ", direction: request"),
        &limit("Down", ", direction: response"),
        &limit("Gone", ""),
        &limit("Long", ""),
    ]
    .concat();
    let project = project(&bodies, &policies, &["Both", "Up", "Down", "Gone", "Long"]).await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &SETTINGS).await;
    let http = |tier: &str, count: usize| gateway.http(&format!("/shop/{tier}/bytes/{count}"));
    let post = |tier: &str, count: usize| gateway.client.post(http(tier, count));
    let told = async |tier: &str, least: usize| {
        eventually("what was used is counted", async || {
            let answer = Answer::of(post(tier, 0)).await;
            (answer.status == 200 && left(&answer) <= least).then_some(left(&answer))
        })
        .await
    };
    let refused = async |tier: &str| {
        let answer = eventually("it is used up", async || {
            Some(Answer::of(post(tier, 0)).await).filter(|answer| answer.status == 429)
        })
        .await;
        assert_eq!((answer.code(), answer.json()["fault"]["policy"].as_str()), (900_802, Some(tier)), "{answer:?}");
        let wait: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=366 * 86_400).contains(&wait), "{wait}");
        assert!(answer.header("ratelimit").starts_with(&format!("\"{tier}\";r=0;t={wait}")), "{answer:?}");
        assert!(answer.header("ratelimit-policy").contains("q=1000000;qu=\"content-bytes\";w=31536000"), "{answer:?}");
    };

    // Both ways: with a length, in chunks, over HTTP/2. Heads do not count.
    let answer = Answer::of(post("Both", 100_000).body(vec![0; 200_000])).await;
    assert_eq!((answer.status, answer.body.len()), (200, 100_000));
    assert_eq!(told("Both", MEGABYTE - 300_000).await, MEGABYTE - 300_000);
    let head = "POST /shop/Both/bytes/0 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let chunk = [b"c350\r\n" as &[u8], "0".repeat(50_000).as_bytes(), b"\r\n"].concat();
    let answer = gateway.raw(&[head.as_bytes(), &chunk, &chunk, b"0\r\n\r\n"].concat()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(told("Both", MEGABYTE - 400_000).await, MEGABYTE - 400_000);
    let client = microgw_tests::tls::anonymous(true).danger_accept_invalid_certs(true).build().unwrap();
    let https = gateway.https("/shop/Both/bytes/100000");
    let response = client.post(https).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(response.bytes().await.unwrap().len(), 100_000);
    assert_eq!(told("Both", MEGABYTE - 500_000).await, MEGABYTE - 500_000);
    // The last one may be as long as it likes.
    assert_eq!(Answer::of(post("Both", 2 * MEGABYTE)).await.body.len(), 2 * MEGABYTE);
    refused("Both").await;
    println!("1 MB, of which half was used: one request of 2 MB more, and {} bytes in all", 500_000 + 2 * MEGABYTE);

    // One way.
    assert_eq!(Answer::of(post("Up", 0).body(vec![0; 600_000])).await.status, 200);
    assert_eq!(Answer::of(post("Up", 2 * MEGABYTE)).await.status, 200);
    assert_eq!(told("Up", MEGABYTE - 600_000).await, MEGABYTE - 600_000);
    assert_eq!(Answer::of(post("Down", 300_000).body(vec![0; 2 * MEGABYTE])).await.status, 200);
    assert_eq!(told("Down", MEGABYTE - 300_000).await, MEGABYTE - 300_000);
    assert_eq!(Answer::of(post("Down", MEGABYTE)).await.status, 200);
    refused("Down").await;

    // Whoever goes away has taken what was sent.
    let mut response = post("Gone", 100 * MEGABYTE).send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap().len();
    drop(response);
    let used = MEGABYTE.saturating_sub(
        eventually("what was sent is counted", async || {
            let answer = Answer::of(post("Gone", 0)).await;
            if answer.status == 429 { Some(0) } else { Some(left(&answer)).filter(|left| *left < MEGABYTE) }
        })
        .await,
    );
    println!("an aborted download: the client saw {first} bytes, {used} of the quota were used");
    assert!(used > 0);

    // One that lasts is counted on the way: others are refused before it is over.
    let request = post("Long", 500 * MEGABYTE).timeout(Duration::from_secs(60));
    let mut response = request.send().await.unwrap();
    let mut taken = 0;
    while taken < 2 * MEGABYTE {
        taken += response.chunk().await.unwrap().unwrap().len();
    }
    refused("Long").await;
    println!("a download of 500 MB: others were refused while the client had taken {taken} bytes");
    drop(response);
}

#[tokio::test]
async fn what_is_not_measured_is_refused() {
    if !envoy_is_here() {
        return;
    }
    let bodies = Bodies::start().await;
    let policies = "resourcePolicies:\n  - Down: {bandwidth: 1 MB, unitTime: 1, timeUnit: year}\n";
    let project = project(&bodies, policies, &["Down"]).await;
    let mut gateway = Gateway::start(project.directory(), "run", "shop/target/shop.mgw", &[]);
    assert!(!gateway.child.wait().await.unwrap().success());
    assert!(gateway.log().contains("throttlingConfig.bandwidth"), "{}", gateway.log());
}
