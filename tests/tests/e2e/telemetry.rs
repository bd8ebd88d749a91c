//! Logs, metrics and traces of one gateway, as those who look after it meet them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use microgw_extproc::metrics::families;
use microgw_tests::backend::Backend;
use microgw_tests::collector::{Collector, Span};
use microgw_tests::gateway::{Answer, Gateway, free_port};
use microgw_tests::issuer::{JwksServer, TokenKey};
use microgw_tests::project::{Project, definition, get};
use microgw_tests::tls::Identity;
use microgw_tests::{envoy_is_here, eventually};
use nix::sys::signal::Signal;
use regex::Regex;
use serde_json::{Value, json};
use tokio::process::Command;

mod dashboard;

const ISSUER: &str = "https://idp.example/";

/// `/shop/header`, `/shop/query` and `/shop/token` are guarded; `/shop/open/{id}` is not.
struct Shop {
    project: Project,
    _backend: Backend,
    key: TokenKey,
    idp: JwksServer,
}

impl Shop {
    async fn new() -> Shop {
        let (backend, key, project) = (Backend::start("shop").await, TokenKey::new("one"), Project::new());
        let paths = json!({
            "/open/{id}": get(&json!([])),
            "/header": get(&json!([{ "key": [] }])),
            "/query": get(&json!([{ "query_key": [] }])),
            "/token": get(&json!([{ "oauth": ["read"] }])),
        });
        project.define("shop", &definition("Shop", "/shop", backend.address, &paths));
        project.build().await;
        let idp = JwksServer::start(vec![key.jwk()]).await;
        Shop { project, _backend: backend, key, idp }
    }

    async fn run(&self, settings: &[&str]) -> Gateway {
        let issuer = format!("[[jwtTokenConfig]]\nissuer = \"{ISSUER}\"\njwksURL = \"{}\"\n", self.idp.url());
        let config = self.project.config(&issuer);
        Gateway::run(self.project.directory(), "shop/target/shop.mgw", &[&[config.as_str()], settings].concat()).await
    }
}

/// The span of the service that continues what Envoy began, and all above it, up to the root.
fn line_of(spans: &[Span], span: &Span) -> Vec<Span> {
    let mut line = vec![span.clone()];
    while let Some(parent) = spans.iter().find(|above| line.last().is_some_and(|below| below.parent == above.id)) {
        line.push(parent.clone());
    }
    line
}

fn access_lines(log: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

#[tokio::test]
async fn one_request_is_one_trace_and_no_credential_is_in_it() {
    if !envoy_is_here() {
        return;
    }
    let (shop, collector) = (Shop::new().await, Collector::grpc().await);
    let log = shop.project.directory().join("access.log");
    let gateway = shop
        .run(&[
            &format!("--telemetry.otlpEndpoint={}", collector.url()),
            "--telemetry.headers.authorization=Bearer sesame",
            "--telemetry.headers.x-tenant=shop",
            &format!("--b7a.http.accesslog.path={}", log.display()),
            "--b7a.log.format=json",
            "--b7a.log.level=TRACE",
        ])
        .await;
    let key = gateway.api_key().await;
    let token = shop.key.token(ISSUER, &json!({ "scope": "read", "azp": "app" }));
    let forged = TokenKey::new("one").token(ISSUER, &json!({ "scope": "read" }));
    // Nobody outside says which trace a request belongs to, nor that it is recorded.
    let claimed = "00-11111111111111111111111111111111-2222222222222222-01";
    let foreign =
        [("traceparent", claimed), ("tracestate", "a=b"), ("x-client-trace-id", "1"), ("x-envoy-force-trace", "1")];
    for (path, header, operation) in [
        (format!("/shop/query?a=b&key={key}"), ("x-nothing", String::new()), "GET /shop/query"),
        ("/shop/header".to_owned(), ("x-api-key", key.clone()), "GET /shop/header"),
        ("/shop/token".to_owned(), ("authorization", format!("Bearer {token}")), "GET /shop/token"),
        (format!("/shop/open/1?key={key}"), ("authorization", format!("Bearer {token}")), "GET /shop/open/{id}"),
    ] {
        let headers = [&foreign[..], &[(header.0, header.1.as_str())]].concat();
        let seen = gateway.get(&gateway.http(&path), &headers).await;
        assert_eq!(seen.status, 200, "{path}");
        let parent = seen.json()["headers"]["traceparent"].as_str().unwrap().to_owned();
        let [_, trace, id, "01"] = parent.split('-').collect::<Vec<_>>()[..] else { panic!("{parent}") };
        assert_ne!(trace, claimed.split('-').nth(1).unwrap());
        assert_eq!(seen.json()["headers"]["tracestate"], "", "Envoy sends it, and nothing of the client's in it");
        let root = |span: &Span| span.trace == trace && span.parent.is_empty();
        let root = collector.span("the server's span", root).await;
        assert_eq!((root.name.as_str(), root.kind, root.scope.as_str()), (operation, 2, "envoy"));
        assert_eq!(
            (root.attributes["microgw.api"].as_str(), root.attributes["microgw.version"].as_str()),
            ("Shop", "1.0")
        );
        assert_eq!(root.attributes["microgw.operation"], operation);
        assert_eq!(root.attributes["http.url"], path.split('?').next().unwrap());
        collector.span("the backend is called within the trace", |span| span.trace == trace && span.id == id).await;
        if path.contains("open") {
            assert!(!collector.spans().iter().any(|span| span.trace == trace && span.name == "decision"));
            continue;
        }
        let decision = collector.span("the decision", |span| span.trace == trace && span.name == "decision").await;
        let line = line_of(&collector.spans(), &decision);
        assert_eq!(line.last(), Some(&root), "{line:?}");
        assert_eq!((decision.service.as_str(), decision.kind), ("micro-gw", 2));
        assert_eq!(decision.attributes["microgw.operation"], operation);
        assert!(!decision.attributes.contains_key("microgw.reason"));
        // The first time a key or a token is seen its issuer's keys are looked up.
        let cached = operation == "GET /shop/header";
        assert_eq!(decision.attributes["microgw.cached"], cached.to_string());
        let lookup = collector.spans().into_iter().find(|span| span.parent == decision.id);
        assert_eq!(lookup.map(|lookup| lookup.name), (!cached).then(|| "lookup".to_owned()));
    }

    let refused = gateway.get(&gateway.http("/shop/token"), &[("authorization", &format!("Bearer {forged}"))]).await;
    assert_eq!(refused.status, 401);
    let refused =
        |span: &Span| span.attributes.get("microgw.reason").is_some_and(|reason| reason == "invalid_credentials");
    collector.span("the denied request", |span| refused(span) && span.scope == "envoy" && span.parent.is_empty()).await;
    let denied = collector.span("the denial", |span| refused(span) && span.name == "decision").await;
    collector.span("keys were fetched", |span| span.name == "fetch keys").await;
    let publish = collector.span("the publish", |span| span.name == "publish").await;
    assert_eq!(publish.attributes["outcome"], "live");
    assert_eq!(publish.attributes["generation"], gateway.live.generation);
    let parts = ["load", "assemble", "arm", "settle", "probe"];
    for part in parts {
        collector.span(part, |span| span.trace == publish.trace && span.name == part).await;
    }
    assert!(!collector.everything().contains("/health"), "balancers' questions are no traces");

    let lines = eventually("the requests are in the log", async || {
        Some(access_lines(&log)).filter(|lines| lines.iter().any(|line| line["status"] == 401))
    })
    .await;
    let of = |operation: &str, status: u16| {
        let found = lines.iter().find(|line| line["operation"] == operation && line["status"] == status);
        found.unwrap_or_else(|| panic!("{operation}: {lines:?}")).clone()
    };
    let by_key = of("GET /shop/query", 200);
    assert_eq!(
        (&by_key["api"], &by_key["version"], &by_key["path"]),
        (&"Shop".into(), &"1.0".into(), &"/shop/query".into())
    );
    assert_eq!(
        (&by_key["caller"], &by_key["key_type"], &by_key["reason"]),
        (&"admin".into(), &"PRODUCTION".into(), &Value::Null)
    );
    assert!(by_key["key_id"].as_str().is_some_and(|id| !key.contains(id)));
    let by_token = of("GET /shop/token", 200);
    assert_eq!((&by_token["caller"], &by_token["client_id"]), (&"alice".into(), &"app".into()));
    let denial = of("GET /shop/token", 401);
    assert_eq!((&denial["reason"], &denial["caller"]), (&"invalid_credentials".into(), &Value::Null));
    assert_eq!(denial["trace_id"], denied.trace);
    let public = of("GET /shop/open/{id}", 200);
    assert_eq!((&public["api"], &public["caller"], &public["reason"]), (&"Shop".into(), &Value::Null, &Value::Null));

    // One of the service's lines belongs to the trace.
    let own: Vec<Value> =
        gateway.log().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let told = own.iter().find(|line| line["message"] == "refused a request").unwrap();
    assert_eq!((&told["trace_id"], &told["span_id"]), (&denied.trace.as_str().into(), &denied.id.as_str().into()));
    assert_eq!(told["spans"][0]["name"], "decision");

    for headers in collector.headers() {
        assert_eq!(
            (headers["authorization"].as_str(), headers["x-tenant"].as_str()),
            ("Bearer sesame", "shop"),
            "{headers:?}"
        );
    }
    let secret = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let config = gateway.envoy_config().await;
    let metrics = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
    let access_log = std::fs::read_to_string(&log).unwrap();
    for (place, text) in [
        ("spans", collector.everything()),
        ("access log", access_log),
        ("log", gateway.log()),
        ("metrics", metrics),
        ("Envoy's configuration", config),
        ("/status", gateway.status().await.to_string()),
    ] {
        for secret in [secret(&key), secret(&token), secret(&forged), "sesame".to_owned()] {
            assert!(!text.contains(&secret), "{secret} is in the {place}");
        }
    }
}

/// Backends may be asked for another path than the gateway, which is the one that is told of.
#[tokio::test]
async fn the_path_that_is_told_of_is_the_one_that_was_asked_for() {
    if !envoy_is_here() {
        return;
    }
    let (backend, collector, project) = (Backend::start("shop").await, Collector::grpc().await, Project::new());
    let paths = json!({ "/open/{id}": get(&json!([])), "/guarded": get(&json!([{ "query_key": [] }])) });
    let mut shop = definition("Shop", "/shop", backend.address, &paths);
    shop["servers"] = json!([{ "url": format!("http://{}/elsewhere", backend.address) }]);
    project.define("shop", &shop);
    project.build().await;
    let log = project.directory().join("access.log");
    let settings = [
        format!("--b7a.http.accesslog.path={}", log.display()),
        format!("--telemetry.otlpEndpoint={}", collector.url()),
    ];
    let settings = settings.each_ref().map(String::as_str);
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &settings).await;
    let key = gateway.api_key().await;
    let long = format!("/shop/open/{}", "x".repeat(300));
    // What a client says of another path is not believed.
    let claimed = [("x-envoy-original-path", "/claimed")];
    for (path, told, backend) in [
        ("/shop/open/1?a=b", "/shop/open/1", "/elsewhere/open/1?a=b"),
        (&format!("/shop/guarded?key={key}&c=d"), "/shop/guarded", "/elsewhere/guarded?c=d"),
        (&long, &long, &long.replace("/shop", "/elsewhere")),
    ] {
        let seen = gateway.get(&gateway.http(path), &claimed).await;
        assert_eq!((seen.status, seen.json()["path"].as_str()), (200, Some(backend)), "{path}");
        assert!(!seen.body.contains("original-path"), "{}", seen.body);
        let url = told.get(..256).unwrap_or(told);
        let root = |span: &Span| span.parent.is_empty() && span.attributes.get("http.url").is_some_and(|at| at == url);
        collector.span(told, root).await;
    }
    // Also of what gets nowhere.
    for (path, status) in [("/nowhere?e=f", 404), ("/shop/guarded?key=g", 401), ("/shop/open/a%2Fb?h=i", 400)] {
        assert_eq!(gateway.get(&gateway.http(path), &claimed).await.status, status, "{path}");
    }
    let lines = eventually("all are in the log", async || {
        let lines = access_lines(&log);
        let told = lines.iter().filter_map(|line| line["path"].as_str()).filter(|path| *path != "/health");
        let told = told.map(str::to_owned).collect::<Vec<_>>();
        (told.len() >= 6).then_some(told)
    })
    .await;
    let refused = ["/nowhere", "/shop/guarded"];
    for path in ["/shop/open/1", "/shop/guarded", &long].into_iter().chain(refused) {
        assert!(lines.iter().any(|line| line == path), "{path}: {lines:?}");
    }
    let text = std::fs::read_to_string(&log).unwrap() + &collector.everything();
    assert!(!text.contains("claimed") && !text.contains("elsewhere") && !text.contains(&key), "{text}");
}

#[tokio::test]
async fn a_collector_that_is_away_costs_no_request_anything() {
    if !envoy_is_here() {
        return;
    }
    let (shop, port) = (Shop::new().await, free_port());
    let endpoint = format!("--telemetry.otlpEndpoint=http://127.0.0.1:{port}/otlp");
    let mut gateway = shop.run(&[&endpoint, "--telemetry.protocol=http"]).await;
    let key = gateway.api_key().await;
    let ask = async || gateway.get(&gateway.http("/shop/header"), &[("x-api-key", &key)]).await.status;
    let spans = async |outcome: &str| {
        let page = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
        let name = format!("microgw_spans_total{{outcome=\"{outcome}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok()).unwrap()
    };
    eventually("spans fail", async || {
        assert_eq!(ask().await, 200);
        (spans("failed").await > 3).then_some(())
    })
    .await;
    assert_eq!(spans("exported").await, 0);
    assert_eq!(gateway.log().matches("spans cannot be sent to the collector").count(), 1, "{}", gateway.log());

    let collector = Collector::http("/otlp", Some(port)).await;
    eventually("spans arrive", async || {
        assert_eq!(ask().await, 200);
        (spans("exported").await > 0).then_some(())
    })
    .await;
    assert_eq!(gateway.log().matches("spans are sent to the collector again").count(), 1);
    collector.span("Envoy's, too", |span| span.scope == "envoy").await;

    // What has not been sent yet is sent at the end.
    let last = ask().await;
    assert_eq!(last, 200);
    let decisions = || collector.spans().iter().filter(|span| span.name == "decision").count();
    let before = decisions();
    assert!(gateway.stop().await.success());
    assert!(decisions() > before, "{before}");
}

#[tokio::test]
async fn a_collector_over_tls_must_be_the_one_that_is_trusted() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::new().await;
    let (authority, stranger) = (Identity::authority("authority"), Identity::authority("stranger"));
    let trusted = Collector::grpc_over_tls(&authority.issue("localhost")).await;
    let other = Collector::grpc_over_tls(&stranger.issue("localhost")).await;
    let store = shop.project.directory().join("authorities.pem");
    std::fs::write(&store, authority.certificate_pem()).unwrap();
    let store = format!("--httpClients.sslConfig.trustStorePath={}", store.display());
    for (collector, trust) in [(&trusted, true), (&other, false)] {
        let endpoint = format!("--telemetry.otlpEndpoint=https://localhost:{}", collector.address.port());
        let secret = "--telemetry.headers.authorization=Bearer sesame";
        let gateway = shop.run(&[&endpoint, &store, secret]).await;
        let key = gateway.api_key().await;
        let ask = async || gateway.get(&gateway.http("/shop/header"), &[("x-api-key", &key)]).await.status;
        assert_eq!(ask().await, 200);
        if trust {
            collector.span("Envoy's span", |span| span.scope == "envoy" && span.name.contains("header")).await;
            collector.span("the service's span", |span| span.name == "decision").await;
            assert!(collector.headers().iter().all(|headers| headers["authorization"] == "Bearer sesame"));
        } else {
            eventually("the service gives up", async || gateway.log().contains("spans cannot be sent").then_some(()))
                .await;
            assert_eq!(ask().await, 200);
            assert!(collector.headers().is_empty(), "whoever is not trusted sees no header");
        }
    }
}

#[tokio::test]
async fn who_chooses_the_requests_that_are_traced() {
    if !envoy_is_here() {
        return;
    }
    let (shop, collector) = (Shop::new().await, Collector::grpc().await);
    let endpoint = format!("--telemetry.otlpEndpoint={}", collector.url());
    let recorded = ("traceparent", "00-11111111111111111111111111111111-2222222222222222-01");
    let passed_over = ("traceparent", "00-33333333333333333333333333333333-4444444444444444-00");
    let told = async |gateway: &Gateway, parent: (&str, &str)| {
        let key = gateway.api_key().await;
        let seen = gateway.get(&gateway.http("/shop/header"), &[("x-api-key", &key), parent]).await;
        let parent = seen.json()["headers"]["traceparent"].as_str().unwrap_or_default().to_owned();
        let parts: Vec<_> = parent.split('-').map(str::to_owned).collect();
        (parts.get(1).cloned().unwrap_or_default(), parts.get(3).cloned().unwrap_or_default())
    };
    // Of no request; the backend is told so.
    let gateway = shop.run(&[&endpoint, "--telemetry.sampling=0"]).await;
    let (trace, flags) = told(&gateway, recorded).await;
    assert!(trace.len() == 32 && !trace.starts_with("1111"), "{trace}");
    assert_eq!(flags, "00");
    drop(gateway);
    // As the client says.
    let gateway = shop.run(&[&endpoint, "--telemetry.sampling=0", "--telemetry.trustTraceparent=true"]).await;
    assert_eq!(told(&gateway, recorded).await, ("1".repeat(32), "01".to_owned()));
    assert_eq!(told(&gateway, passed_over).await, ("3".repeat(32), "00".to_owned()));
    let decision = collector.span("the decision", |span| span.name == "decision").await;
    assert_eq!(decision.trace, "1".repeat(32));
    let root = collector.span("the server's span", |span| span.scope == "envoy" && span.kind == 2).await;
    assert_eq!((root.trace, root.parent), ("1".repeat(32), "2222222222222222".to_owned()));
    let requests = collector.spans().into_iter().filter(|span| span.scope == "envoy" || span.name == "decision");
    assert!(requests.into_iter().all(|span| span.trace == "1".repeat(32)), "{:?}", collector.spans());
    drop(gateway);
    // Without a collector the header is none of the gateway's business.
    let gateway = shop.run(&[]).await;
    assert_eq!(told(&gateway, recorded).await, ("1".repeat(32), "01".to_owned()));
}

#[tokio::test]
async fn the_access_log_can_be_rotated() {
    if !envoy_is_here() {
        return;
    }
    let shop = Shop::new().await;
    let log = shop.project.directory().join("access.log");
    let to = format!("--b7a.http.accesslog.path={}", log.display());
    let gateway = shop.run(&[&to, "--b7a.http.accesslog.caller=false"]).await;
    let key = gateway.api_key().await;
    for signal in [Signal::SIGUSR1, Signal::SIGHUP] {
        let old = log.with_extension(signal.as_str());
        eventually("there is a log to rotate", async || log.exists().then_some(())).await;
        std::fs::rename(&log, &old).unwrap();
        gateway.signal(signal);
        let line = eventually("a request is in the new log", async || {
            assert_eq!(gateway.get(&gateway.http("/shop/header"), &[("x-api-key", &key)]).await.status, 200);
            if !log.exists() {
                return None;
            }
            access_lines(&log).into_iter().find(|line| line["path"] == "/shop/header")
        })
        .await;
        assert_eq!((&line["key_type"], line.get("caller"), line.get("key_id")), (&"PRODUCTION".into(), None, None));
    }
}

/// Families of a page, with the names of their labels.
fn exposed(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let label = Regex::new(r#"([a-z_]+)="(?:[^"\\]|\\.)*""#).unwrap();
    let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line.split_once(['{', ' ']).unwrap();
        let labels = label.captures_iter(labels).map(|found| found[1].to_owned());
        families.entry(name.to_owned()).or_default().extend(labels);
    }
    families
}

#[tokio::test]
async fn every_metric_is_exposed_and_the_dashboard_asks_for_no_other() {
    if !envoy_is_here() {
        return;
    }
    let (shop, collector) = (Shop::new().await, Collector::grpc().await);
    let gateway = shop.run(&[&format!("--telemetry.otlpEndpoint={}", collector.url())]).await;
    let key = gateway.api_key().await;
    for headers in [&[("x-api-key", key.as_str())][..], &[]] {
        gateway.get(&gateway.http("/shop/header"), headers).await;
    }
    let token = shop.key.token(ISSUER, &json!({ "scope": "read" }));
    assert_eq!(
        gateway.get(&gateway.http("/shop/token"), &[("authorization", &format!("Bearer {token}"))]).await.status,
        200
    );
    let page = gateway.get(&gateway.admin("/metrics"), &[]).await;
    assert!(page.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    let mut exposed = exposed(&page.body);
    let names: BTreeSet<String> = exposed.keys().cloned().collect();
    // What is not configured has no figures: its own tests look at them.
    let elsewhere = [
        "microgw_contract",
        "microgw_introspection",
        "microgw_revocation",
        "microgw_subscription",
        "microgw_limit_debts",
        "microgw_limit_gateways",
        "microgw_limit_lease",
        "microgw_limit_refusals",
        "microgw_limit_store_reachable",
        "microgw_limit_store_losses",
        "microgw_limit_store_operations",
    ];
    let here = || families::ALL.iter().filter(|family| !elsewhere.iter().any(|name| family.name.starts_with(name)));
    let listed: BTreeSet<String> = here().flat_map(|family| family.samples()).collect();
    assert_eq!(names, listed);
    for family in here() {
        for sample in family.samples() {
            let mut labels: BTreeSet<&str> = family.labels.iter().copied().collect();
            if sample.ends_with("_bucket") {
                labels.insert("le");
            }
            assert_eq!(exposed[&sample].iter().map(String::as_str).collect::<BTreeSet<_>>(), labels, "{sample}");
        }
    }
    assert!(!page.body.contains("alice") && !page.body.contains("/shop/header?"));
    for family in families::ALL {
        for sample in family.samples() {
            let labels = family.labels.iter().copied().map(str::to_owned);
            exposed.entry(sample).or_insert_with(|| labels.collect());
        }
    }
    dashboard::check(&exposed, &names);
    promtool(&gateway).await;
}

/// Prometheus' own opinion, where it is installed.
async fn promtool(gateway: &Gateway) {
    let request = gateway.client.get(gateway.admin("/metrics")).header("accept", "text/plain");
    let page = Answer::of(request).await;
    assert_eq!(page.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let command =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = command else {
        eprintln!("SKIPPED: no promtool (Debian: `prometheus`): the page's form is not checked by Prometheus");
        return;
    };
    tokio::io::AsyncWriteExt::write_all(&mut child.stdin.take().unwrap(), page.body.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.trim().is_empty(), "{complaints}");
}
