//! Envoy says no. It takes an Envoy that is stricter than ours: one with a low limit for long paths.

use microgw_tests::backend::Backend;
use microgw_tests::envoy::Envoy;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Gateway, client, command};
use microgw_tests::load::{Load, Seen, tally};
use microgw_tests::project::{Project, definition, get};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Of regular expressions, in RE2's own measure: enough for the gateway's own.
const LIMIT: u32 = 800;

/// Over the limit as a regular expression.
fn long() -> String {
    format!("/{{a}}/{}", "x".repeat(980))
}

fn api(name: &str, backend: &Backend, more: Option<&str>) -> Value {
    let mut paths = json!({ "/open": get(&json!([])) });
    if let Some(path) = more {
        paths[path] = get(&json!([]));
    }
    definition(name, &format!("/{name}"), backend.address, &paths)
}

#[tokio::test]
async fn apis_that_envoy_refuses_are_found_and_the_others_served() {
    if !envoy_is_here() {
        return;
    }
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let project = Project::new();
    for name in ["one", "two", "three"] {
        project.define(name, &api(name, &old, None));
    }
    project.build().await;
    let sockets = project.directory().join("sockets");
    let serving = ["--sockets", sockets.to_str().unwrap()];
    let mut gateway = Gateway::start(project.directory(), "serve", "shop/target/shop.mgw", &serving);
    let envoy = Envoy::start(project.directory(), "shop/target/shop.mgw", &sockets, |bootstrap| {
        let limit = &mut bootstrap["layered_runtime"]["layers"][0]["static_layer"]["re2.max_program_size.error_level"];
        assert!(limit.is_number());
        *limit = LIMIT.into();
    })
    .await;
    let (http, _) = envoy.addresses().await;
    let first = gateway.wait_until_live().await;
    assert_eq!(first.state, "live");
    let client = client();
    let ask = async |path: &str| {
        let response = client.get(format!("http://{http}{path}")).send().await.unwrap();
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        (status, body["backend"].as_str().unwrap_or_default().to_owned())
    };
    let now = |status: u16, backend: &str| (status, backend.to_owned());

    // What was good goes on while the fault is looked for.
    let steady = ["/two/open", "/three/open"].map(|path| Load::start(&client, &format!("http://{http}{path}"), &[], 1));
    for load in &steady {
        load.answers(10).await;
    }

    // One API is better, one was good before and is bad now, one is new and bad, one is new and good.
    project.define("one", &api("one", &new, None));
    project.define("two", &api("two", &new, Some(&long())));
    project.define("four", &api("four", &new, Some(&long())));
    project.define("five", &api("five", &new, None));
    project.build().await;
    gateway.signal(Signal::SIGHUP);
    let second = gateway.wait_until_live().await;
    assert_eq!(second.state, "degraded", "{}", gateway.log());
    assert_ne!(second.generation, first.generation);
    for (path, answer) in [
        ("/one/open", now(200, "new")),
        ("/two/open", now(200, "old")),
        ("/three/open", now(200, "old")),
        ("/four/open", now(503, "")),
        ("/five/open", now(200, "new")),
        (&format!("/two{}", long().replace("{a}", "1")), now(404, "")),
    ] {
        assert_eq!(ask(path).await, answer, "{path}");
    }
    for load in steady {
        load.answers(10).await;
        let seen = tally(&load.stop().await);
        assert_eq!(seen.keys().collect::<Vec<_>>(), [&Seen { status: 200, backend: "old".to_owned() }]);
    }
    let status = gateway.status().await;
    assert_eq!((&status["state"], &status["ready"]), (&"degraded".into(), &true.into()), "{status:#}");
    let faults = status["faults"].as_array().unwrap();
    let found: Vec<_> = faults.iter().map(|fault| (fault["api"].clone(), fault["fallback"].clone())).collect();
    assert_eq!(found, [("four:1.0".into(), "unavailable".into()), ("two:1.0".into(), Value::from("previous"))]);
    for fault in faults {
        let name = fault["api"].as_str().unwrap().split(':').next().unwrap();
        let location = fault["location"].as_str().unwrap();
        let position = location.strip_prefix(&format!("api_definitions/{name}.json:")).unwrap();
        assert!(position.split(':').all(|number| number.parse::<u32>().unwrap() > 0), "{location}");
        let text = fault["envoy_text"].as_str().unwrap();
        assert!(text.contains("regex") && text.contains("program"), "{text}");
    }
    assert!(status["metrics"]["nacks"].as_u64().unwrap() > 0);
    assert!(gateway.log().contains("api_definitions/four.json"), "{}", gateway.log());

    // Made good, all of it is served.
    for name in ["two", "four"] {
        project.define(name, &api(name, &new, None));
    }
    project.build().await;
    gateway.signal(Signal::SIGHUP);
    let third = gateway.wait_until_live().await;
    assert_eq!(third.state, "live");
    for path in ["/one/open", "/two/open", "/four/open", "/five/open"] {
        assert_eq!(ask(path).await, now(200, "new"), "{path}");
    }
    let status = gateway.status().await;
    assert_eq!((&status["state"], status["faults"].as_array().unwrap().len()), (&"live".into(), 0));
}

#[tokio::test]
async fn a_preflight_names_what_envoy_refuses() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("only").await;
    let project = Project::new();
    project.define("good", &api("good", &backend, None));
    project.define("bad", &api("bad", &backend, Some(&long())));
    // It gets its bootstrap from the trial, and lowers the limit in it.
    let envoy = microgw_envoy::find(None).unwrap();
    let strict = project.directory().join("strict");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" != --config-path ] || sed -Ei 's/(error_level\": )[0-9]+/\\1{LIMIT}/' \"$2\"\nexec '{}' \"$@\"\n",
        envoy.path().display()
    );
    std::fs::write(&strict, script).unwrap();
    std::fs::set_permissions(&strict, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let strict = strict.to_str().unwrap();
    let arguments = ["build", "shop", "--preflight", "--format", "json", "--envoy", strict];
    let build = async || {
        let output = command(project.directory(), &arguments).await;
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), report)
    };

    let (code, report) = build().await;
    let refused: Vec<_> =
        report["diagnostics"].as_array().unwrap().iter().filter(|found| found["severity"] == "error").collect();
    assert_eq!((code, refused.len()), (Some(1), 1), "{report:#}");
    assert_eq!(
        (&refused[0]["code"], &refused[0]["location"]["file"]),
        (&"MGW-1001".into(), &"api_definitions/bad.json".into())
    );
    assert!(refused[0]["location"]["line"].as_u64().unwrap() > 1, "{report:#}");
    let message = refused[0]["message"].as_str().unwrap();
    assert!(message.starts_with("Envoy refuses API `bad:1.0`: ") && message.contains("regex"), "{message}");
    assert!(report["artifact"].is_null() && !project.artifact().exists(), "{report:#}");

    // What it has nothing against is built.
    project.define("bad", &api("bad", &backend, None));
    let (code, report) = build().await;
    assert_eq!(code, Some(0), "{report:#}");
    assert!(project.artifact().exists());
}
