//! One gateway, one Redis beside it: a limit of its own, one that is leased and one that is counted exactly.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde_json::json;

use super::{Round, Side, rounds};
use crate::Bench;
use crate::gateway::{Gateway, free_port};
use crate::load::Target;
use crate::process::{Process, SERVICE_CORE};
use crate::project::{KEY_HEADER, Operation, Project, definition, requests};
use crate::report::{Goal, Report, median};

const MODES: [&str; 4] = ["none", "local", "leased", "exact"];

pub fn measure(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let directory = bench.directory.path().join("limits");
    let artifact = directory.join("shop.mgw");
    let operation = |name: &str| Operation { template: format!("/{name}"), path: format!("/{name}"), guarded: true };
    let operations = MODES.map(operation);
    let mut shop = definition("shop", "/v1", bench.backend, &operations);
    let mut policies = "resourcePolicies:\n".to_owned();
    for mode in MODES.into_iter().skip(1) {
        let pointer = format!("/paths/~1{mode}/get");
        if let Some(get) = shop.pointer_mut(&pointer).and_then(serde_json::Value::as_object_mut) {
            get.insert("x-wso2-throttling-tier".to_owned(), json!(mode));
        }
        // Never exhausted.
        let terms = format!("count: 1000000000, unitTime: 1, timeUnit: day, shared: {mode}");
        let _ = writeln!(policies, "  - {mode}: {{{terms}}}");
    }
    let project = Project::create(directory.join("shop"))?;
    project.define("shop", &shop)?;
    project.policies(&policies)?;
    project.build(&bench.gateway, &artifact)?;

    let port = free_port()?.to_string();
    let arguments = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port];
    let _redis = Process::start(SERVICE_CORE, Path::new("redis-server"), arguments, &directory.join("redis.log"))?;
    let place = format!("--throttlingConfig.redis.url=redis://127.0.0.1:{port}");
    let (gateway, live) = Gateway::run_with(bench, &artifact, &directory.join("data"), &[place])?;
    let key = Gateway::api_key(bench, &live)?;
    let headers = [(KEY_HEADER, key.as_str())];
    let (envoy, service) = (gateway.envoy()?, Some(gateway.service()));
    let [none, local, leased, exact] = operations;
    let side = |name, operation| {
        let target = Target::new(live.http, requests("/v1", &[operation], &headers));
        Side { name, target, envoy, service }
    };
    let sides = [side("none", none), side("local", local), side("leased", leased), side("exact", exact)];
    let rounds = rounds(bench, &sides)?;
    let of = |figure: fn(&[Round; 4]) -> f64| median(rounds.iter().map(figure));
    report.add("local over none", of(|[none, local, ..]| local.rate / none.rate), "", Goal::None);
    report.add("leased over local", of(|[_, local, leased, _]| leased.rate / local.rate), "", Goal::AtLeast(0.95));
    report.add("exact over local", of(|[_, local, _, exact]| exact.rate / local.rate), "", Goal::None);
    report.add("local: service", of(|[_, local, ..]| local.service), "us/request", Goal::None);
    report.add("leased: service", of(|[_, _, leased, _]| leased.service), "us/request", Goal::None);
    report.add("exact: service", of(|[.., exact]| exact.service), "us/request", Goal::None);
    Ok(())
}
