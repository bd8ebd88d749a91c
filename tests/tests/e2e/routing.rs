//! Which operation answers a path: what Envoy does is what `PathTemplate` says.

use std::collections::{BTreeMap, BTreeSet};

use microgw_compiler::artifact;
use microgw_compiler::model::{
    Access, Api, BackendUrl, Endpoint, EndpointId, Method, Model, Operation, Position, Transports,
};
use microgw_compiler::path::PathTemplate;
use microgw_compiler::path::normal::{Version, normalise};
use microgw_proto::contracts::v1::Schemas;
use microgw_proto::traffic::v1::{ApiTraffic, OperationTraffic};
use microgw_tests::backend::Backend;
use microgw_tests::envoy_is_here;
use microgw_tests::gateway::{Answer, Gateway, replace};
use microgw_tests::http2;
use microgw_tests::project::{Project, definition, get};
use microgw_tests::raw::RawAnswer;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;
use tempfile::TempDir;

const PROJECTS: usize = 12;
const REQUESTS: usize = 60;
const BASES: [&str; 3] = ["", "/a", "/a/b"];

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-c]{1,2}", 2 => Just("{p}".to_owned()), 1 => "[ab]\\{q\\}", 1 => "\\{q\\}\\.[ab]"]
}

fn template() -> impl Strategy<Value = String> {
    (prop::collection::vec(segment(), 1..5), prop_oneof![6 => Just(""), 1 => Just("/"), 1 => Just("/*")])
        .prop_map(|(segments, end)| format!("/{}{end}", segments.join("/")))
}

fn request() -> impl Strategy<Value = String> {
    let segment = prop_oneof![8 => "[a-c]{1,2}", 2 => "[a-c]\\.[a-c]", 1 => "[a-c]%20[ab]", 1 => "[ab];x"];
    let end = prop_oneof![4 => Just(""), 1 => Just("/"), 1 => Just("?a=/b/c"), 1 => Just("/?x")];
    (prop::collection::vec(segment, 1..6), end).prop_map(|(segments, end)| format!("/{}{end}", segments.join("/")))
}

/// Each operation has a backend path of its own: the backend tells which one answered.
struct Site {
    model: Model,
    /// By base path: templates with it in front, and their backend paths.
    areas: BTreeMap<&'static str, Vec<(PathTemplate, String)>>,
}

// === impl Site ===

impl Site {
    fn new(backend: &Backend, templates: &[(usize, String)]) -> Site {
        let mut model = Model { project: "shop".to_owned(), files: vec!["made".to_owned()], ..Model::default() };
        let mut areas: BTreeMap<&str, Vec<(PathTemplate, String)>> = BTreeMap::new();
        let source = Position { file: 0, line: 1, column: 1 };
        for (index, base) in BASES.into_iter().enumerate() {
            let mut shapes = BTreeSet::new();
            let mut operations = Vec::new();
            for (_, text) in templates.iter().filter(|(area, _)| *area == index) {
                let path = PathTemplate::parse(text).unwrap();
                if !shapes.insert(path.shape()) {
                    continue;
                }
                let behind = format!("/op{}", model.endpoints.len());
                areas.entry(base).or_default().push((path.under(base).unwrap(), behind.clone()));
                let production = Some(EndpointId(u32::try_from(model.endpoints.len()).unwrap()));
                let host = backend.address.ip().to_string();
                let url = BackendUrl { tls: false, host, port: backend.address.port(), path: behind };
                model.endpoints.push(Endpoint::of(vec![url]));
                operations.push(Operation {
                    method: Method::Get,
                    path,
                    operation_id: None,
                    access: Access::Public,
                    production,
                    sandbox: None,
                    traffic: OperationTraffic::default(),
                    transforms: microgw_compiler::model::Transforms::default(),
                    bodies: microgw_proto::bodies::v1::OperationBodies::default(),
                    limit: None,
                    cost: None,
                    contract: None,
                    interceptors: microgw_proto::interceptors::v1::OperationInterceptors::default(),
                    source,
                });
            }
            if !operations.is_empty() {
                model.apis.push(Api {
                    name: format!("api{index}"),
                    version: "1".to_owned(),
                    base_path: base.to_owned(),
                    owner: None,
                    transports: Transports { http: true, https: true },
                    credential_header: None,
                    limit: None,
                    traffic: ApiTraffic::default(),
                    schemas: Schemas::default(),
                    source,
                    operations,
                });
            }
        }
        Site { model, areas }
    }

    /// What the backend should see. `None`: nothing, and the client 404.
    fn expected(&self, request: &str) -> Option<String> {
        let bare = request.split('?').next().unwrap();
        let below = |base: &str| request.starts_with(&format!("{base}/"));
        let (base, templates) = self.areas.iter().filter(|(base, _)| below(base)).max_by_key(|(base, _)| base.len())?;
        let matching = templates.iter().filter(|(template, _)| template.matches(bare));
        let (_, behind) = matching.min_by(|(a, _), (b, _)| a.precedence(b))?;
        Some(format!("{behind}{}", request.strip_prefix(base).unwrap()))
    }
}

#[tokio::test]
async fn envoy_routes_as_templates_match() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("any").await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("shop.mgw");
    let mut runner = TestRunner::deterministic();
    let mut draw = |strategy: &dyn Fn(&mut TestRunner) -> String| strategy(&mut runner);
    let mut gateway: Option<Gateway> = None;
    let (mut found, mut missed) = (0, 0);
    for round in 0..PROJECTS {
        let size = if round % 3 == 0 { 200 } else { 30 };
        let templates: Vec<(usize, String)> = (0..size)
            .map(|index| (index % BASES.len(), draw(&|runner| template().new_tree(runner).unwrap().current())))
            .collect();
        let site = Site::new(&backend, &templates);
        let bytes = artifact::encode(&site.model);
        let live = if let Some(gateway) = &mut gateway {
            gateway.publish(&file, &bytes).await
        } else {
            replace(&file, &bytes);
            gateway.insert(Gateway::run(directory.path(), "shop.mgw", &[]).await).live.clone()
        };
        assert_eq!(live.state, "live");
        let gateway = gateway.as_ref().unwrap();
        for _ in 0..REQUESTS {
            let mut path = draw(&|runner| request().new_tree(runner).unwrap().current());
            // Half of them look like a template.
            if found <= missed {
                let (area, template) = &templates[(found + missed) % templates.len()];
                path = format!("{}{}", BASES[*area], template.replace(['{', '}', '*'], ""));
            }
            let answer = gateway.get(&gateway.http(&path), &[]).await;
            let expected = site.expected(&path);
            let seen = (answer.status == 200).then(|| answer.json()["path"].as_str().unwrap().to_owned());
            assert_eq!(seen, expected, "round {round}: {path}: {answer:?}");
            if expected.is_some() {
                found += 1;
                let posted = Answer::of(gateway.client.post(gateway.http(&path))).await;
                assert_eq!((posted.status, posted.header("allow")), (405, "GET"), "{path}");
            } else {
                missed += 1;
                assert_eq!(answer.status, 404, "{path}");
            }
        }
    }
    assert!(found > 100 && missed > 100, "{found} found, {missed} missed");
}

#[tokio::test]
async fn paths_are_rewritten_for_the_backend_and_queries_are_not() {
    if !envoy_is_here() {
        return;
    }
    let backend = Backend::start("any").await;
    let open = get(&json!([]));
    let paths = json!({ "/": open, "/pets": open, "/pets/{id}": open, "/v{major}.json": open, "/files/*": open });
    let project = Project::new();
    // Base path of the API, and of its backend.
    let bases = [
        ("/same", "/same"),
        ("/gone", ""),
        ("/longer", "/a/much/longer/path"),
        ("/odd", "/a$1\\2.(x)+"),
        ("", "/root"),
    ];
    for (index, (base, behind)) in bases.into_iter().enumerate() {
        let mut api = definition(&format!("API{index}"), base, backend.address, &paths);
        let encoded = behind.replace('\\', "%5C");
        api["servers"] = json!([{ "url": format!("http://{}{encoded}", backend.address) }]);
        project.define(&format!("api{index}"), &api);
    }
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    for (base, behind) in bases {
        let behind = behind.replace('\\', "%5C");
        for path in ["/", "/pets", "/pets/1", "/pets/same", "/v1.json", "/files/", "/files/a/b.c"] {
            for query in ["", "?", "?q=/same/pets&r=%2F&s=$1", "?a&b=&&=c"] {
                let seen = gateway
                    .raw(format!("GET {base}{path}{query} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes())
                    .await;
                assert_eq!(seen.status, 200, "{base}{path}{query}: {seen:?}");
                assert_eq!(seen.echo().unwrap()["path"], format!("{behind}{path}{query}"), "{base}{path}{query}");
            }
        }
        assert_eq!(gateway.get(&gateway.http(&format!("{base}/pets/1/")), &[]).await.status, 404);
    }
}

/// Parts that a request target can be made of, by those who look for a gap.
fn nasty() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => proptest::sample::select(vec![
            "/", "//", "/../", "/..;/", "/.;x/", "/%2e%2E/", "\\", "..", ".", ";", "?", "%", "%%32", "%65", "%3b", "%25", "%00",
            "+", "%2b", "@me", "%40me", ":run", "%3Arun", "%3arun", "|", "%7c", "[", "\"", "#", "%2f", "%5C", "a", "b",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => "%[0-9a-fA-F]{2}".prop_map(String::into_bytes),
        1 => "(%c3%a9|%C3%A9|%E2%82%AC|%c0%af|%ed%a0%80)".prop_map(String::into_bytes),
        1 => "[0-9a-fA-F]".prop_map(String::into_bytes),
        1 => "[!-~]".prop_map(String::into_bytes),
        1 => prop::collection::vec(0x80_u8..=0xff, 1..3),
        1 => Just("\u{e9}".as_bytes().to_vec()),
    ];
    (
        prop_oneof![6 => Just("/a/"), 2 => Just("/files/"), 1 => Just("/"), 1 => Just("http://h/a/"), 1 => Just("")],
        prop::collection::vec(part, 0..7),
    )
        .prop_map(|(start, parts)| [start.as_bytes(), &parts.concat()].concat())
}

/// What the gateway does with any target is what the compiler says, over both versions of HTTP.
#[tokio::test]
async fn envoy_normalises_and_refuses_as_the_compiler_says() {
    if !envoy_is_here() {
        return;
    }
    let templates = ["/a/@me", "/a/{id}", "/a/{id}:run", "/a/é", "/a/b|a", "/a/{x}@{y}/b", "/a/b/*", "/files/*", "/*"];
    let backend = Backend::start("any").await;
    let project = Project::new();
    let open = get(&json!([]));
    // Each operation has a base path of its own behind it, of which some look like what is asked for.
    let paths: serde_json::Map<String, serde_json::Value> = templates
        .iter()
        .enumerate()
        .map(|(index, template)| {
            let mut item = open.clone();
            item["get"]["servers"] = json!([{ "url": format!("http://{}/op{index}/a/b", backend.address) }]);
            ((*template).to_owned(), item)
        })
        .collect();
    project.define("shop", &definition("Shop", "", backend.address, &json!(paths)));
    project.build().await;
    let gateway = Gateway::run(project.directory(), "shop/target/shop.mgw", &[]).await;
    let http = gateway.live.http.unwrap();
    let parsed: Vec<(usize, PathTemplate)> =
        templates.iter().enumerate().map(|(index, text)| (index, PathTemplate::parse(text).unwrap())).collect();
    let respelled = parsed.iter().filter_map(|(index, template)| Some((*index, template.respelled(0)?)));
    let mut all: Vec<(usize, PathTemplate)> = parsed.iter().cloned().chain(respelled).collect();
    all.sort_by(|(_, a), (_, b)| a.precedence(b));
    // 400, or 404, or what the backend sees.
    let expected = |target: &[u8], version: Version| -> Result<String, u16> {
        let normal = normalise(target, version).map_err(|_| 400_u16)?;
        let (index, template) = all.iter().find(|(_, template)| template.matches(&normal.path)).ok_or(404_u16)?;
        let own = parsed.iter().any(|(_, own)| own == template);
        if own { Ok(format!("/op{index}/a/b{normal}")) } else { Err(400) }
    };
    let seen = |answer: &RawAnswer| match answer.echo() {
        Some(echo) => Ok(echo["path"].as_str().unwrap().to_owned()),
        None => Err(answer.status),
    };
    let mut runner = TestRunner::deterministic();
    let mut counts: BTreeMap<u16, u32> = BTreeMap::new();
    for _ in 0..300 {
        let target = nasty().new_tree(&mut runner).unwrap().current();
        let shown = String::from_utf8_lossy(&target).into_owned();
        if shown.starts_with("/health") || shown.contains("apikey") {
            continue;
        }
        let wanted = expected(&target, Version::Http1);
        let answer = RawAnswer::get(http, &target).await;
        assert_eq!(seen(&answer), wanted, "{shown}: {:?}: {answer:?}", normalise(&target, Version::Http1));
        *counts.entry(wanted.as_ref().map_or_else(|status| *status, |_| 200)).or_default() += 1;
        // Envoy ends a connection over HTTP/2 whose client sends what cannot be a path.
        let wanted = expected(&target, Version::Http2);
        let answer = http2::get(http, b"gateway", &target).await;
        let status = if answer.status == 0 { 400 } else { answer.status };
        let got = seen(&answer).map_err(|_| status);
        assert_eq!(got, wanted, "HTTP/2: {shown}: {:?}: {answer:?}", normalise(&target, Version::Http2));
    }
    assert!([200, 400].iter().all(|status| counts.get(status).is_some_and(|count| *count > 40)), "{counts:?}");
}
