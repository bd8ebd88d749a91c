//! A response that is kept, against the same Envoy whose backend answers: the hop to the service is in the place of one to the
//! backend, which here is as cheap as can be.

use std::io;

use serde_json::json;

use super::{Round, Side, rounds};
use crate::Bench;
use crate::bare::{Bare, Configuration};
use crate::gateway::Gateway;
use crate::load::{self, Target};
use crate::process::ENVOY_CORE;
use crate::project::{Operation, Project, definition};
use crate::report::{Goal, Report, median};

const PATH: &str = "/v1/items/1";

pub fn measure(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let directory = bench.directory.path().join("kept");
    let artifact = directory.join("shop.mgw");
    let operations = [Operation { template: "/items/{id}".to_owned(), path: "/items/1".to_owned(), guarded: false }];
    let mut api = definition("shop", "/v1", bench.backend, &operations);
    if let Some(api) = api.as_object_mut() {
        api.insert("x-wso2-response-cache".to_owned(), json!({ "enabled": true, "cacheTimeoutInSeconds": 3600 }));
    }
    let project = Project::create(directory.join("shop"))?;
    project.define("shop", &api)?;
    project.build(&bench.gateway, &artifact)?;

    let bare = Bare::start(bench, ENVOY_CORE, &Configuration::without_filter(&artifact, &directory.join("bare"))?)?;
    let (gateway, live) = Gateway::run(bench, &artifact, &directory.join("data"))?;
    let (envoy, service) = (gateway.envoy()?, Some(gateway.service()));
    let fresh = [("cache-control", "no-cache")];
    let sides = [
        Side {
            name: "bare",
            target: Target::new(bare.http, vec![load::get(PATH, &[])]),
            envoy: bare.pid(),
            service: None,
        },
        Side { name: "kept", target: Target::new(live.http, vec![load::get(PATH, &[])]), envoy, service },
        Side { name: "missed", target: Target::new(live.http, vec![load::get(PATH, &fresh)]), envoy, service },
    ];
    let rounds = rounds(bench, &sides)?;
    let of = |figure: fn(&[Round; 3]) -> f64| median(rounds.iter().map(figure));
    report.add("a kept response over bare", of(|[bare, kept, _]| kept.rate / bare.rate), "", Goal::None);
    report.add("a kept response: Envoy", of(|[_, kept, _]| kept.envoy), "us/request", Goal::None);
    report.add("a kept response: service", of(|[_, kept, _]| kept.service), "us/request", Goal::None);
    report.add("one that is asked for, over bare", of(|[bare, _, missed]| missed.rate / bare.rate), "", Goal::None);
    report.add("one that is asked for: service", of(|[.., missed]| missed.service), "us/request", Goal::None);
    Ok(())
}
