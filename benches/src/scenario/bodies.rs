//! Bodies of 1 KB, both ways: collected by the service, and passed by it, against the same Envoy without our filters.

use std::io;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{Round, Side, rounds};
use crate::Bench;
use crate::backend;
use crate::bare::{Bare, Configuration};
use crate::gateway::Gateway;
use crate::load::{self, Target};
use crate::process::ENVOY_CORE;
use crate::project::{KEY_HEADER, Project, definition};
use crate::report::{Goal, Report, median};

const KILOBYTE: usize = 1024;

pub fn measure(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let directory = bench.directory.path().join("bodies");
    let artifact = directory.join("shop.mgw");
    let backend = bench.runtime.block_on(backend::start_reading((Ipv4Addr::LOCALHOST, 0).into(), KILOBYTE))?;
    let mut api = definition("shop", "/v1", backend, &[]);
    let operation = |more: Value| {
        let mut post = json!({ "security": [{ "key": [] }], "responses": { "200": { "description": "done" } } });
        if let (Some(post), Value::Object(more)) = (post.as_object_mut(), more) {
            post.extend(more);
        }
        json!({ "post": post })
    };
    // Steps that are never taken, and that would need the whole of a body.
    let request = json!([{ "if": "request.method == 'NONE'", "json": [{ "remove": "/secret" }] }]);
    let response = json!([{ "if": "response.status == 599", "json": [{ "remove": "/secret" }] }]);
    let collected = |steps: Value| operation(json!({ "x-microgw-transform": steps }));
    let paths = json!({
        "/passed": operation(json!({})),
        "/request": collected(json!({ "request": request })),
        "/both": collected(json!({ "request": request, "response": response })),
    });
    if let Some(api) = api.as_object_mut() {
        api.insert("paths".to_owned(), paths);
    }
    let project = Project::create(directory.join("shop"))?;
    project.define("shop", &api)?;
    project.build(&bench.gateway, &artifact)?;

    let bare = Bare::start(bench, ENVOY_CORE, &Configuration::without_filter(&artifact, &directory.join("bare"))?)?;
    let (gateway, live) = Gateway::run(bench, &artifact, &directory.join("data"))?;
    let key = Gateway::api_key(bench, &live)?;
    let (envoy, service) = (gateway.envoy()?, Some(gateway.service()));
    let target = |address, path: &str| {
        Target::new(address, vec![load::post(path, &[(KEY_HEADER, &key)], &vec![b'x'; KILOBYTE])])
    };
    let side = |name, path| Side { name, target: target(live.http, path), envoy, service };
    let sides = [
        Side { name: "bare", target: target(bare.http, "/v1/passed"), envoy: bare.pid(), service: None },
        side("passed", "/v1/passed"),
        side("request", "/v1/request"),
        side("both", "/v1/both"),
    ];
    let rounds = rounds(bench, &sides)?;
    let of = |figure: &dyn Fn(Round, Round) -> f64, side: usize| {
        median(rounds.iter().filter_map(|round| Some(figure(*round.first()?, *round.get(side)?))))
    };
    let goals = [
        ("bodies of 1 KB passed by", 1, Goal::None),
        ("requests of 1 KB collected", 2, Goal::None),
        ("requests and responses of 1 KB collected", 3, Goal::AtLeast(0.33)),
    ];
    for (name, side, goal) in goals {
        report.add(format!("{name}, over bare"), of(&|bare, own| own.rate / bare.rate, side), "", goal);
        report.add(format!("{name}: Envoy"), of(&|_, own| own.envoy, side), "us/request", Goal::None);
        report.add(format!("{name}: service"), of(&|_, own| own.service, side), "us/request", Goal::None);
    }
    Ok(())
}
