//! Programs that messages go through, over the wire: components and services, good ones and hostile ones.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use microgw_interceptors::fixtures::{self, component};
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway, client, free_port};
use microgw_tests::project::{Project, definition};
use microgw_tests::scripted::{Reply, Scripted};
use serde_json::{Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const LABEL: &str = include_str!("../../../examples/interceptors/interceptors/label.wat");
const LABEL_WASM: &[u8] = include_bytes!("../../../examples/interceptors/interceptors/label.wasm");

/// The component of the example is its text.
#[test]
fn the_example_is_what_it_says() {
    let made = wat::parse_str(LABEL).unwrap();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(Path::new(ROOT).join("examples/interceptors/interceptors/label.wasm"), &made).unwrap();
        return;
    }
    assert!(made == LABEL_WASM, "UPDATE_REFERENCE=1 writes it");
}

/// A public operation.
fn operation(said: &Value) -> Value {
    let mut operation = json!({ "security": [], "responses": { "200": { "description": "done" } } });
    operation.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
    operation
}

fn through(name: &str) -> Value {
    operation(&json!({ "x-microgw-interceptors": { "request": [name] } }))
}

/// A component whose request's part is this.
fn bomb(core: &str) -> Vec<u8> {
    let core = format!("(func (export \"on-request\") (result i32) {core})");
    wat::parse_str(component(&[], &["on-request"], &core)).unwrap()
}

async fn open(project: &Project, backend: &Scripted, paths: &Value, settings: &str) -> Gateway {
    project.define("shop", &definition("shop", "/shop", backend.address, paths));
    project.build().await;
    let config = project.config(settings);
    Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn components_see_requests_and_responses() {
    if !envoy_is_here() {
        return;
    }
    let (project, backend) = (Project::new(), Scripted::start().await);
    let both = operation(&json!({ "x-wso2-request-interceptor": "label", "x-wso2-response-interceptor": "label" }));
    let writer = component(
        &[&fixtures::BODY],
        &["on-request", "on-response"],
        r#"(data (i32.const 64) "instead") (data (i32.const 80) "text/plain")
        (func $write (result i32)
          (call $body-set-text (i32.const 64) (i32.const 7) (i32.const 1) (i32.const 80) (i32.const 10) (i32.const 40))
          (if (i32.load8_u (i32.const 40)) (then unreachable))
          (i32.const 0))
        (export "on-request" (func $write)) (export "on-response" (func $write))"#,
    );
    let bodies = json!({ "x-microgw-interceptors": { "request": ["writer"], "response": ["writer", "label"] } });
    let paths = json!({ "/pets/{id}": { "get": both.clone(), "head": both.clone(), "post": both },
        "/bodies": { "post": operation(&bodies), "get": operation(&bodies) } });
    project.write_bytes("interceptors/label.wasm", LABEL_WASM);
    project.write_bytes("interceptors/writer.wasm", &wat::parse_str(writer).unwrap());
    let gateway = open(&project, &backend, &paths, "").await;
    backend.replies(Reply {
        body: b"hello".to_vec(),
        headers: vec![("x-label", "old".to_owned())],
        ..Reply::default()
    });
    let two = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    for client in [client(), two] {
        let answer = Answer::of(client.get(gateway.http("/shop/pets/1"))).await;
        assert_eq!((answer.status, answer.header("x-label"), &*answer.body), (200, "checked", "hello"));
        assert_eq!(backend.one().path, "/shop/pets/1");
        let stopped = Answer::of(client.get(gateway.http("/shop/pets/1")).header("X-Stop", "1")).await;
        assert_eq!((stopped.status, &*stopped.body, stopped.header("content-length")), (403, "stopped", "7"));
        let stopped = Answer::of(client.head(gateway.http("/shop/pets/1")).header("X-Stop", "1")).await;
        assert_eq!((stopped.status, &*stopped.body), (403, ""));
        assert_eq!(backend.take().len(), 0);

        // Whatever bodies were, they are others, and as long as is said.
        let sent = client.post(gateway.http("/shop/bodies")).header("content-type", "application/json").body("{}");
        let answer = Answer::of(sent).await;
        assert_eq!(
            (&*answer.body, answer.header("content-length"), answer.header("content-type")),
            ("instead", "7", "text/plain")
        );
        assert_eq!(answer.header("x-label"), "checked");
        let seen = backend.one();
        assert_eq!(
            (&*seen.body, seen.header("content-length"), seen.header("content-type")),
            (&b"instead"[..], "7", "text/plain")
        );
        let answer = Answer::of(client.get(gateway.http("/shop/bodies"))).await;
        assert_eq!(&*answer.body, "instead");
        assert_eq!(backend.one().body, b"instead");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_contained_while_others_are_served() {
    if !envoy_is_here() {
        return;
    }
    let (project, backend) = (Project::new(), Scripted::start().await);
    let bombs = [
        ("loop", bomb("(loop $again (br $again)) unreachable")),
        ("memory", bomb("(loop $again (drop (memory.grow (i32.const 1))) (br $again)) unreachable")),
        ("trap", bomb("unreachable")),
        (
            "recursion",
            wat::parse_str(component(
                &[],
                &["on-request"],
                "(func $down (param i64) (result i64) (i64.add (i64.const 1) (call $down (local.get 0))))
                (func (export \"on-request\") (result i32) (drop (call $down (i64.const 1))) (i32.const 0))",
            ))
            .unwrap(),
        ),
    ];
    let mut paths = json!({ "/good": { "get": through("label") } });
    project.write_bytes("interceptors/label.wasm", LABEL_WASM);
    for (name, code) in &bombs {
        project.write_bytes(&format!("interceptors/{name}.wasm"), code);
        paths[format!("/{name}")] = json!({ "get": through(name) });
    }
    // Until then they run.
    project.write("interceptors/loop.yaml", "component: loop.wasm\ntimeoutMs: 1500\n");
    let gateway = open(&project, &backend, &paths, "").await;
    let client = client();
    let send = |path: &str| {
        let request = client.get(gateway.http(&format!("/shop/{path}")));
        tokio::spawn(async move { Answer::of(request).await })
    };
    let loops: Vec<_> = (0..6).map(|_| send("loop")).collect();
    let others: Vec<_> = bombs.iter().flat_map(|(name, _)| [send(name), send(name)]).collect();
    let mut served = 0;
    while !loops.iter().all(tokio::task::JoinHandle::is_finished) {
        let answer = send("good").await.unwrap();
        assert_eq!(answer.status, 200);
        served += 1;
    }
    // Each of them would have waited for a loop's end.
    assert!(served > 10, "{served}");
    for bomb in loops.into_iter().chain(others) {
        let answer = bomb.await.unwrap();
        assert!([500, 504].contains(&answer.status), "{}", answer.body);
        assert!(answer.body.contains(". A policy of the API "), "{}", answer.body);
        assert!(!answer.body.contains("wasm"), "{}", answer.body);
    }
    let metrics = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    for outcome in ["timeout", "memory", "trap", "continued"] {
        assert!(
            metrics.lines().any(|line| line.starts_with("microgw_interceptions_total") && line.contains(outcome)),
            "{outcome}: {metrics}"
        );
    }
    assert!(backend.take().iter().all(|seen| seen.path == "/shop/good"), "what failed went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_asked_over_http() {
    if !envoy_is_here() {
        return;
    }
    let (project, backend, service) = (Project::new(), Scripted::start().await, Scripted::start().await);
    let paths = json!({
        "/pets/{id}": { "post": operation(&json!({ "x-microgw-interceptors": { "request": [{ "name": "audit", "with": { "level": "full" } }], "response": ["audit"] } })) },
        "/down": { "get": through("down") },
    });
    project.write(
        "interceptors/audit.yaml",
        "service: {url: 'http://audit.example.com/'}\nbody: true\nparameters: {type: object, properties: {level: {type: string, default: low}}}\n",
    );
    project.write(
        "interceptors/down.yaml",
        &format!("service: {{url: 'http://127.0.0.1:{}/'}}\nbody: false\n", free_port()),
    );
    let settings = format!(
        "[[interceptors]]\nname = 'audit'\nurl = 'http://{}/v1'\nheader = 'X-Key'\nvalue = 'the-secret'\n",
        service.address
    );
    let gateway = open(&project, &backend, &paths, &settings).await;
    let says = |answer: &Value| {
        let headers = vec![("content-type", "application/json".to_owned())];
        service.replies(Reply { headers, body: answer.to_string().into_bytes(), ..Reply::default() });
    };
    let post = async || {
        let request = client()
            .post(gateway.http("/shop/pets/a%20b?x=1"))
            .header("x-a", "1")
            .header("authorization", "Basic eDp5")
            .body("hello");
        Answer::of(request).await
    };

    says(
        &json!({ "headers": { "set": { "x-said": "yes" } }, "body": { "text": "other", "contentType": "text/plain" }, "attributes": { "n": "1" } }),
    );
    let answer = post().await;
    assert_eq!((answer.status, answer.header("x-said"), &*answer.body), (200, "yes", "other"));
    let seen = backend.one();
    assert_eq!((seen.header("x-said"), &*seen.body), ("yes", &b"other"[..]));
    let asked = service.take();
    let questions: Vec<Value> = asked.iter().map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect();
    assert_eq!((asked[0].header("x-key"), &*asked[0].path, &*asked[0].method), ("the-secret", "/v1", "POST"));
    assert_eq!((&questions[0]["direction"], &questions[1]["direction"]), (&"request".into(), &"response".into()));
    assert_eq!(
        (&questions[0]["request"]["body"]["text"], &questions[0]["parameters"]["level"]),
        (&"hello".into(), &"full".into())
    );
    assert_eq!(questions[0]["request"]["pathParameters"]["id"], "a b");
    assert_eq!((&questions[1]["attributes"]["n"], &questions[1]["parameters"]["level"]), (&"1".into(), &"low".into()));
    assert!(!questions[0].to_string().contains("eDp5"), "credentials are nobody's business");

    says(&json!({ "respond": { "status": 402, "body": { "text": "pay", "contentType": "text/plain" } } }));
    let answer = post().await;
    assert_eq!((answer.status, &*answer.body, answer.header("content-type")), (402, "pay", "text/plain"));
    assert_eq!(backend.take().len(), 0);

    // What is not an answer, and nobody there.
    says(&json!({ "headers": { "set": { "host": "evil" } } }));
    assert_eq!(post().await.status, 500);
    service.replies(Reply { status: 500, ..Reply::default() });
    assert_eq!(post().await.status, 500);
    let down = gateway.get(&gateway.http("/shop/down"), &[]).await;
    let told = down.json()["fault"].clone();
    assert_eq!((down.status, &told["code"], down.header("retry-after")), (503, &503.into(), "1"), "{told}");
    assert_eq!(told["description"], "Service Unavailable. A policy of the API can not be applied at the moment");
    let metrics = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    for told in ["interceptor_failed", "interceptor_unavailable"] {
        let line =
            |line: &str| line.starts_with("microgw_decisions_total") && line.contains(told) && !line.ends_with(" 0");
        assert!(metrics.lines().any(line), "{told}: {metrics}");
    }
    assert_eq!(backend.take().len(), 0);
    assert!(!gateway.log().contains("the-secret"));
    assert!(!gateway.get(&gateway.admin("/status"), &[]).await.body.contains("the-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_compiles_nothing_that_was_compiled_before() {
    if !envoy_is_here() {
        return;
    }
    let (project, backend) = (Project::new(), Scripted::start().await);
    project.write_bytes("interceptors/label.wasm", LABEL_WASM);
    let paths = json!({ "/pets": { "get": operation(&json!({ "x-wso2-response-interceptor": "label" })) } });
    let mut gateway = open(&project, &backend, &paths, "").await;
    let config = project.config("");
    // How often it was compiled, and how often that was not needed.
    for (compiled, found) in [(1, 0), (1, 1), (2, 1), (2, 2)] {
        let answer = gateway.get(&gateway.http("/shop/pets"), &[]).await;
        assert_eq!((answer.status, answer.header("x-label")), (200, "checked"));
        gateway.stop().await;
        let log = gateway.log();
        let times = |what: &str| log.matches(what).count();
        assert_eq!(
            (times("compiled the interceptor"), times("the interceptor was compiled before")),
            (compiled, found),
            "{log}"
        );
        if (compiled, found) == (1, 1) {
            let kept = std::fs::read_dir(project.directory().join("data/compiled/code/modules")).unwrap();
            let kept = kept.flat_map(|version| std::fs::read_dir(version.unwrap().path()).unwrap());
            for code in kept.map(|file| file.unwrap().path()).filter(|path| path.extension().is_none()) {
                std::fs::File::options().write(true).open(code).unwrap().set_len(100).unwrap();
            }
        }
        gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[&config]).await;
    }
}

/// Envoy waits for as long as a project says, with bodies that are collected and without; and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn services_may_take_their_time() {
    if !envoy_is_here() {
        return;
    }
    let (project, backend) = (Project::new(), Scripted::start().await);
    let (slow, dead) = (Scripted::start().await, Scripted::start().await);
    slow.replies(Reply { status: 204, after: Duration::from_secs(3), ..Reply::default() });
    dead.replies(Reply { after: Duration::from_secs(3600), ..Reply::default() });
    let mut paths = json!({});
    for (name, service, timeout) in [("slow", &slow, 20_000), ("dead", &dead, 2_500)] {
        for body in [false, true] {
            let name = format!("{name}-{body}");
            let described = format!("service: {{url: 'http://{}/'}}\nbody: {body}\n", service.address);
            project.write(&format!("interceptors/{name}.yaml"), &format!("{described}timeoutMs: {timeout}\n"));
            for direction in ["request", "response"] {
                let uses = json!({ "x-microgw-interceptors": { direction: [name] } });
                paths[format!("/{name}/{direction}")] = json!({ "post": operation(&uses) });
            }
        }
    }
    let gateway = open(&project, &backend, &paths, "").await;
    let client = client();
    let post = |path: String| {
        let request = client.post(gateway.http(&format!("/shop/{path}"))).body("hello");
        tokio::spawn(async move { (Answer::of(request).await, path) })
    };
    let all: Vec<_> = paths.as_object().unwrap().keys().map(|path| post(path[1..].to_owned())).collect();
    for answer in all {
        let (answer, path) = answer.await.unwrap();
        let expected = if path.starts_with("slow") { 200 } else { 504 };
        assert_eq!(answer.status, expected, "{path}: {}", answer.body);
        assert!(expected == 200 || answer.body.contains("policy of the API did not answer in time"), "{}", answer.body);
    }
    let mut seen: Vec<_> = backend.take().into_iter().map(|seen| seen.path).collect();
    seen.sort();
    // Of those that are dead only the responses are looked at by then.
    let expected = ["dead-false/response", "dead-true/response", "slow-false/request", "slow-false/response"];
    let expected = expected.into_iter().chain(["slow-true/request", "slow-true/response"]);
    assert_eq!(seen, expected.map(|path| format!("/shop/{path}")).collect::<Vec<_>>());
}

/// Backends are to see them; programs are not.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_backends_see_are_hidden_from_programs() {
    if !envoy_is_here() {
        return;
    }
    let (project, backend, service) = (Project::new(), Scripted::start().await, Scripted::start().await);
    let guarded =
        |scheme: &str| json!({ "security": [{ scheme: [] }], "x-microgw-interceptors": { "request": ["audit"] } });
    let paths = json!({ "/query": { "get": operation(&guarded("query_key")) }, "/header": { "get": operation(&guarded("key")) } });
    project
        .write("interceptors/audit.yaml", &format!("service: {{url: 'http://{}/'}}\nbody: false\n", service.address));
    let settings = "[authConfig]\nremoveAuthHeaderFromOutMessage = false\n";
    let gateway = open(&project, &backend, &paths, settings).await;
    let says = |answer: Value| {
        let headers = vec![("content-type", "application/json".to_owned())];
        service.replies(Reply { headers, body: answer.to_string().into_bytes(), ..Reply::default() });
    };
    says(json!({ "query": { "set": { "b": "2" } } }));
    let key = gateway.api_key().await;
    let answer = gateway.get(&gateway.https(&format!("/shop/query?a=1&key={key}")), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(backend.one().path, format!("/shop/query?a=1&b=2&key={key}"));
    // Nor does anybody else show one.
    for edit in ["set", "remove"] {
        let value = if edit == "set" { json!({ "key": "forged" }) } else { json!(["key"]) };
        says(json!({ "query": { edit: value } }));
        assert_eq!(gateway.get(&gateway.https(&format!("/shop/query?key={key}")), &[]).await.status, 500, "{edit}");
        assert!(backend.take().is_empty());
    }
    says(json!({ "query": { "set": { "b": "2" } } }));
    let by_header = async || gateway.get(&gateway.https("/shop/header"), &[("x-api-key", &key)]).await.status;
    assert_eq!(by_header().await, 200);
    assert_eq!(backend.one().header("x-api-key"), key);
    // Nobody says who calls but the gateway, in whatever spelling.
    for name in ["x-api-key", "X_API_Key"] {
        says(json!({ "headers": { "set": { name: "forged" } } }));
        assert_eq!(by_header().await, 500, "{name}");
        assert!(backend.take().is_empty());
    }
    for asked in service.take() {
        assert!(!String::from_utf8_lossy(&asked.body).contains(&key), "a program sees a key");
    }
}

/// As examples/interceptors has it.
#[tokio::test(flavor = "multi_thread")]
async fn javascript_is_made_into_components() {
    let guests = Path::new(ROOT).join("tests/guests");
    let here = guests.join("node_modules").is_dir();
    assert!(
        here || std::env::var_os("CI").is_none(),
        "CI needs what makes components of JavaScript: run `make guests`"
    );
    if !here {
        eprintln!("SKIPPED: nothing makes components of JavaScript: `make guests` installs it, and needs npm");
    }
    if !here || !envoy_is_here() {
        return;
    }
    let (project, backend) = (Project::new(), Scripted::start().await);
    let uses = json!({ "request": [{ "name": "greet", "with": { "forbidden": "eve" } }], "response": ["greet"] });
    let paths = json!({
        "/pet/{id}": { "get": operation(&json!({ "x-microgw-interceptors": uses })) },
        "/checked": { "get": through("check") },
    });
    project.write(
        "interceptors/greet.yaml",
        "component: greet.wasm\nparameters: {type: object, properties: {forbidden: {type: string, default: root}}}\n",
    );
    // What the page says, of the packages that are here.
    let make = |world: &str, js: &Path, output: &str| {
        let made = Command::new(guests.join("node_modules/.bin/componentize-qjs"))
            .current_dir(ROOT)
            .args(["--sync", "--wit", "interceptors/wit", "--world", world, "--js"])
            .arg(js)
            .arg("--output")
            .arg(project.path(output))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    make("body-interceptor", Path::new("examples/interceptors/javascript/greet.js"), "interceptors/greet.wasm");
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/interceptors.md")).unwrap();
    let shown = page.split("```js\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    project.write("check.js", shown);
    make("request-interceptor", &project.path("check.js"), "interceptors/check.wasm");
    let gateway = open(&project, &backend, &paths, "").await;
    let headers = vec![("content-type", "application/json".to_owned())];
    backend.replies(Reply { headers, body: br#"{"id":1,"owner":"Ann"}"#.to_vec(), ..Reply::default() });
    let url = gateway.http("/shop/pet/1");
    let answer = gateway.get(&url, &[("X-Name", "Bob")]).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "id": 1, "greeting": "Hello, Bob!" })));
    let answer = gateway.get(&url, &[("X-Name", "eve")]).await;
    assert_eq!((answer.status, answer.header("x-why"), &*answer.body), (403, "name", ""));
    let checked = gateway.http("/shop/checked");
    assert_eq!(gateway.get(&checked, &[]).await.status, 400, "as the page has it");
    assert_eq!(gateway.get(&checked, &[("x-tenant", "a")]).await.status, 200);
    // A program that throws: the backend's body is no JSON.
    backend.replies(Reply { body: b"no JSON".to_vec(), ..Reply::default() });
    assert_eq!(gateway.get(&url, &[]).await.status, 500);
}
