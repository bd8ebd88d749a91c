use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use microgw_extproc::admin::{Admin, Status, router};
use microgw_extproc::login::Login;
use microgw_extproc::metrics::{Metrics, Reading, Value, families};
use reqwest::{Client, StatusCode};
use serde_json::json;

use crate::issuer::{serve, users};

#[derive(Default)]
struct Gateway {
    live: AtomicBool,
}

impl Status for Gateway {
    fn ready(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    fn status(&self) -> serde_json::Value {
        json!({"generation": "g1"})
    }

    fn metrics(&self) -> Vec<Reading> {
        let labels = vec!["shop".to_owned(), "g1".to_owned()];
        vec![Reading { family: &families::GENERATION, samples: vec![(labels, Value::Integer(1))] }]
    }
}

async fn admin(guarded: bool) -> (String, Arc<Gateway>) {
    let (gateway, metrics) = (Arc::new(Gateway::default()), Metrics::new());
    let login = guarded.then(|| Arc::new(Login::new(users(), NonZeroU32::new(5).unwrap(), Arc::clone(&metrics))));
    let status: Arc<dyn Status> = gateway.clone();
    (serve(router(Admin { status, metrics, login, backend_jwts: None })).await, gateway)
}

#[tokio::test]
async fn readiness_follows_the_gateway() {
    let (url, gateway) = admin(false).await;
    let get = async |path: &str| reqwest::get(format!("{url}{path}")).await.unwrap();
    assert_eq!(get("/live").await.status(), StatusCode::OK);
    assert_eq!(get("/ready").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    gateway.live.store(true, Ordering::Relaxed);
    assert_eq!(get("/ready").await.status(), StatusCode::OK);
    assert_eq!(get("/status").await.text().await.unwrap(), r#"{"generation":"g1"}"#);
    assert_eq!(get("/secrets").await.status(), StatusCode::NOT_FOUND);

    let response = get("/metrics").await;
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = response.text().await.unwrap();
    assert!(text.contains("microgw_decisions_total{reason=\"allowed\"} 0\n"), "{text}");
    let generation = "microgw_generation_info{project=\"shop\",generation=\"g1\"} 1\n";
    assert!(text.contains(generation) && text.ends_with("# EOF\n"), "{text}");
    assert_eq!(text.matches("# EOF").count(), 1);
}

#[tokio::test]
async fn metrics_come_in_the_form_that_is_asked_for() {
    let (url, _) = admin(false).await;
    let page = async |accept: &str| {
        let request = Client::new().get(format!("{url}/metrics")).header("accept", accept);
        let response = request.send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        (kind, response.text().await.unwrap())
    };
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    for accept in [prometheus, "*/*", ""] {
        let (kind, text) = page(accept).await;
        assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        assert!(text.contains("# TYPE microgw_decisions counter\n") && text.contains("# TYPE microgw_build info\n"));
    }
    let (kind, text) = page("text/plain").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    for line in
        ["# TYPE microgw_decisions_total counter", "# TYPE microgw_build_info gauge", "microgw_issued_keys_total 0"]
    {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.contains("# HELP microgw_generation_info ") && !text.contains("# EOF"), "{text}");
}

#[tokio::test]
async fn a_page_whose_name_was_rebound_learns_nothing() {
    let (url, _) = admin(false).await;
    let status = async |path: &str, host: &str| {
        Client::new().get(format!("{url}{path}")).header("host", host).send().await.unwrap().status()
    };
    for path in ["/ready", "/status", "/metrics"] {
        for host in
            ["evil.example", "evil.example:9000", "localhost.evil.example", "127.0.0.1.evil.example", "[evil]", ""]
        {
            assert_eq!(status(path, host).await, StatusCode::MISDIRECTED_REQUEST, "{path} {host}");
        }
    }
    for host in ["localhost", "LOCALHOST:9000", "127.0.0.1", "127.0.0.1:9000", "[::1]:9000", "10.0.0.7"] {
        assert_eq!(status("/status", host).await, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn everything_but_probes_can_ask_for_a_password() {
    let (url, _) = admin(true).await;
    let client = Client::new();
    for path in ["/status", "/metrics"] {
        let response = client.get(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic "));
    }
    for (path, expected) in [("/live", StatusCode::OK), ("/ready", StatusCode::SERVICE_UNAVAILABLE)] {
        assert_eq!(client.get(format!("{url}{path}")).send().await.unwrap().status(), expected, "{path}");
    }
    let basic = |password: &str| format!("Basic {}", STANDARD.encode(format!("admin:{password}")));
    let status = async |password: &str| {
        let request = client.get(format!("{url}/status")).header("authorization", basic(password));
        request.send().await.unwrap().status()
    };
    assert_eq!(status("admin").await, StatusCode::OK);
    for _ in 0..5 {
        assert_eq!(status("wrong").await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(status("admin").await, StatusCode::TOO_MANY_REQUESTS);
}
