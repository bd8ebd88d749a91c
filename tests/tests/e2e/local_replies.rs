//! Answers of Envoy that take long, or a proxy in trouble, to provoke: the gateway's own listener, with the waiting cut
//! short.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, client, command, free_port};
use microgw_tests::project::{Project, definition, get};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// An Envoy that answers by itself.
struct Alone {
    http: SocketAddr,
    _process: Child,
    project: Project,
}

/// Nobody reads what is sent to it.
async fn hanging() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

// === impl Alone ===

impl Alone {
    /// The HTTP listener as `inspect --envoy` shows it, with these routes and clusters.
    async fn start(routes: &Value, clusters: &Value, change: impl FnOnce(&mut Value, &mut Value)) -> Alone {
        let project = Project::new();
        let paths = json!({ "/x": get(&json!([])) });
        project.define("shop", &definition("Shop", "/shop", ([127, 0, 0, 1], 9).into(), &paths));
        project.build().await;
        let shown = command(project.directory(), &["inspect", "shop/target/shop.mgw", "--envoy"]).await;
        assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        let http = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut listener = find(&shown, &|value| value["name"] == "http" && value.get("filter_chains").is_some())
            .unwrap_or_else(|| panic!("no listener in {shown:#}"));
        for field in ["@type", "bind_to_port"] {
            listener.as_object_mut().unwrap().remove(field);
        }
        listener["address"]["socket_address"]["port_value"] = json!(http.port());
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        manager.as_object_mut().unwrap().remove("rds");
        manager["route_config"] = json!({ "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] });
        let filters = manager["http_filters"].as_array_mut().unwrap();
        filters.retain(|filter| filter["name"] != "envoy.filters.http.ext_authz");
        // As in the gateway's own: what takes headers away is one expression.
        let runtime = json!({ "name": "static", "static_layer": { "re2.max_program_size.error_level": 10_000 } });
        let mut bootstrap =
            json!({ "static_resources": { "clusters": clusters }, "layered_runtime": { "layers": [runtime] } });
        change(manager, &mut bootstrap);
        bootstrap["static_resources"]["listeners"] = json!([listener]);
        let path = project.directory().join("alone.json");
        std::fs::write(&path, bootstrap.to_string()).unwrap();
        let log = std::fs::File::create(project.directory().join("alone.log")).unwrap();
        let process = Command::new(microgw_envoy::find(None).unwrap().path())
            .arg("--config-path")
            .arg(&path)
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let alone = Alone { http, _process: process, project };
        let up = async { while tokio::net::TcpStream::connect(alone.http).await.is_err() {} };
        let listens = tokio::time::timeout(Duration::from_secs(20), up).await;
        let log = std::fs::read_to_string(alone.project.directory().join("alone.log"));
        assert!(listens.is_ok(), "Envoy does not listen: {log:?}");
        alone
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::of(client().get(format!("http://{}{path}", self.http))).await
    }
}

/// The first object below `value` of which this holds.
fn find(value: &Value, holds: &dyn Fn(&Value) -> bool) -> Option<Value> {
    if value.is_object() && holds(value) {
        return Some(value.clone());
    }
    let below: Vec<&Value> = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(entries) => entries.iter().collect(),
        _ => Vec::new(),
    };
    below.into_iter().find_map(|value| find(value, holds))
}

fn cluster(name: &str, backend: SocketAddr) -> Value {
    let address = json!({ "socket_address": { "address": backend.ip().to_string(), "port_value": backend.port() } });
    let endpoint = json!({ "endpoint": { "address": address } });
    json!({ "name": name, "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] } })
}

#[tokio::test]
async fn backends_that_do_not_answer_are_told_apart() {
    if !envoy_is_here() {
        return;
    }
    let (_listener, backend) = hanging().await;
    let mut busy = cluster("busy", backend);
    busy["circuit_breakers"] = json!({ "thresholds": [{ "max_requests": 0, "max_pending_requests": 0 }] });
    let route = |path: &str, action: Value| json!({ "match": { "path": path }, "route": action });
    let routes = json!([
        route("/slow", json!({ "cluster": "slow", "timeout": "0.2s" })),
        route("/idle", json!({ "cluster": "slow", "timeout": "0s", "idle_timeout": "0.2s" })),
        route("/busy", json!({ "cluster": "busy" })),
        route("/empty", json!({ "cluster": "empty" })),
    ]);
    let clusters = json!([cluster("slow", backend), busy, { "name": "empty" }]);
    let alone = Alone::start(&routes, &clusters, |_, _| {}).await;
    for (path, status, code) in
        [("/slow", 504, 101_504), ("/idle", 504, 101_504), ("/busy", 503, 101_503), ("/empty", 503, 101_503)]
    {
        let answer = alone.get(path).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn an_overloaded_proxy_says_so_in_kind() {
    if !envoy_is_here() {
        return;
    }
    let routes = json!([{ "match": { "prefix": "/" }, "direct_response": { "status": 200 } }]);
    let heap = "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig";
    let alone = Alone::start(&routes, &json!([]), |_, bootstrap| {
        bootstrap["overload_manager"] = json!({
            "refresh_interval": "0.05s",
            "resource_monitors": [{
                "name": "envoy.resource_monitors.fixed_heap",
                "typed_config": { "@type": heap, "max_heap_size_bytes": 1000 }
            }],
            "actions": [{
                "name": "envoy.overload_actions.stop_accepting_requests",
                "triggers": [{ "name": "envoy.resource_monitors.fixed_heap", "threshold": { "value": 0.9 } }]
            }]
        });
    })
    .await;
    let refused = async {
        loop {
            let answer = alone.get("/").await;
            if answer.status != 200 {
                break answer;
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(30), refused).await.unwrap();
    assert_eq!((answer.status, answer.code(), answer.header("retry-after")), (503, 503, "1"), "{answer:?}");
    assert!(answer.body.contains("overloaded"), "{answer:?}");
}
