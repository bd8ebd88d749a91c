//! What Envoy answers by itself, on operations that are guarded and on such that are not: the service has no work of it.

use std::io;

use serde_json::json;

use super::round;
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::{self, Target};
use crate::project::{KEY_HEADER, Operation, Project, definition};
use crate::report::{Goal, Report, median};

const ORIGIN: &str = "https://shop.example.com";

pub fn measure(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let directory = bench.directory.path().join("answers");
    let artifact = directory.join("shop.mgw");
    let operations = [Operation { template: "/items/{id}".to_owned(), path: "/items/1".to_owned(), guarded: true }];
    let mut api = definition("shop", "/v1", bench.backend, &operations);
    if let Some(api) = api.as_object_mut() {
        let cors = json!({ "accessControlAllowOrigins": [ORIGIN], "accessControlAllowHeaders": [KEY_HEADER] });
        api.insert("x-wso2-cors".to_owned(), cors);
        let done = json!({ "description": "done", "content": { "application/json": { "example": { "id": 1 } } } });
        let mock = json!({ "security": [], "x-microgw-mock": true, "responses": { "200": done } });
        let redirect = json!({ "security": [], "x-microgw-redirect": { "to": "https://example.com/new", "status": 301 },
            "responses": { "301": { "description": "moved" } } });
        if let Some(paths) = api.get_mut("paths").and_then(|paths| paths.as_object_mut()) {
            paths.insert("/mock".to_owned(), json!({ "get": mock }));
            paths.insert("/redirect".to_owned(), json!({ "get": redirect }));
        }
    }
    let project = Project::create(directory.join("shop"))?;
    project.define("shop", &api)?;
    project.build(&bench.gateway, &artifact)?;
    let (gateway, live) = Gateway::run(bench, &artifact, &directory.join("data"))?;
    let headers =
        [("origin", ORIGIN), ("access-control-request-method", "GET"), ("access-control-request-headers", KEY_HEADER)];
    let (envoy, service) = (gateway.envoy()?, Some(gateway.service()));
    let asked = [
        ("preflight", 200, load::request("OPTIONS", "/v1/items/1", &headers)),
        ("mock", 200, load::get("/v1/mock", &[])),
        ("redirect", 301, load::get("/v1/redirect", &[])),
    ];
    for (name, status, request) in asked {
        let target = Target { status, ..Target::new(live.http, vec![request]) };
        let rounds =
            (0..bench.rounds).map(|_| round(bench, &target, envoy, service)).collect::<io::Result<Vec<_>>>()?;
        let failed: u64 = rounds.iter().map(|round| round.failed).sum();
        if failed > 0 {
            return Err(io::Error::other(format!("{name}: {failed} requests failed")));
        }
        report.add(format!("{name}: Envoy"), median(rounds.iter().map(|round| round.envoy)), "us/request", Goal::None);
        // What it does once a second, whoever calls, is in it.
        let service = median(rounds.iter().map(|round| round.service));
        report.add(format!("{name}: service"), service, "us/request", Goal::AtMost(0.5));
    }
    Ok(())
}
