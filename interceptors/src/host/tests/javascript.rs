//! Components that others' toolchains make: what they need of WASI is there, and what they do wrong stays theirs.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::*;

const GUESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests");

/// `None`: there is nothing here that makes it.
fn component_of(engine: &str) -> Option<Vec<u8>> {
    let guests = Path::new(GUESTS);
    if !guests.join("node_modules").is_dir() {
        assert!(std::env::var_os("CI").is_none(), "CI needs what makes components of JavaScript: run `make guests`");
        eprintln!("SKIPPED: nothing makes components of JavaScript: `make guests` installs it, and needs npm");
        return None;
    }
    let output = std::env::temp_dir().join(format!("microgw-everything-{engine}-{}.wasm", std::process::id()));
    let made = Command::new("node")
        .current_dir(guests)
        .args([Path::new("componentize.js"), Path::new("everything.js"), Path::new("body-interceptor"), &output])
        .arg(engine)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let code = std::fs::read(&output).unwrap();
    std::fs::remove_file(output).unwrap();
    Some(code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quickjs() {
    everything("quickjs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spidermonkey() {
    everything("").await;
}

async fn everything(engine: &str) {
    let Some(code) = component_of(engine) else { return };
    let host = Arc::new(Host::default());
    let interceptor = fixtures::hosted(code, LONG, 64 << 20);
    let stage = Stage::of(&host, &interceptor, "POST").await;
    let asked = [("x-a", "1"), ("authorization", "Bearer secret")];
    for _ in 0..3 {
        let (message, attributes) = passed(stage.request(&asked, b"{}").await);
        let told: Value = serde_json::from_slice(message.body().unwrap()).unwrap();
        let expected = json!({
            "calls": 1, "refused": "forbidden", "method": "POST", "path": "/v2/pet/a%20b", "id": "a b", "x": "1",
            "credential": null, "names": ["x-a"], "caller": null, "api": "pets", "parameters": {"n": 1}, "body": "{}",
            "clock": true, "random": true
        });
        assert_eq!(told, expected, "{engine}");
        assert_eq!((message.path(), header(&message, "x-seen")), ("/v2/pet/2?x=1&y=a%20b", Some("by script")));
        assert_eq!(header(&message, "content-type"), Some("application/json"));
        let call = stage.scene.response(200, &[("content-type", "text/plain")], b"text", &attributes).unwrap();
        let (message, _) = passed(host.call(call).await);
        assert_eq!((message.status(), message.body()), (202, Some(&b"TEXT"[..])));
        assert_eq!((header(&message, "x-attribute"), header(&message, "x-asked")), (Some("1"), Some("POST")));
    }
    let Verdict::Respond(answer) = stage.request(&[("x-do", "respond")], b"").await else { panic!() };
    assert_eq!(
        (answer.status(), answer.body(), header(&answer, "x-why")),
        (418, Some(&b"answered"[..]), Some("asked"))
    );
    for (what, expected) in [("throw", InterceptorFailure::Trap), ("memory", InterceptorFailure::Memory)] {
        assert_eq!(failure_of(stage.request(&[("x-do", what)], b"").await), expected, "{engine}: {what}");
    }
    // Engines find out themselves, and throw.
    failure_of(stage.request(&[("x-do", "recurse")], b"").await);
    let short = Stage::of(&host, &proto::Interceptor { timeout_milliseconds: 100, ..interceptor }, "POST").await;
    assert_eq!(failure_of(short.request(&[("x-do", "loop")], b"").await), InterceptorFailure::Timeout);
}
