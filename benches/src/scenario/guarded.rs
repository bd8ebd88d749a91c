//! A guarded and a public operation against the same Envoy without our filter, and against a plain proxy.

use std::io;

use super::{Round, Side, rounds};
use crate::Bench;
use crate::bare::{Bare, Configuration};
use crate::gateway::Gateway;
use crate::load::Target;
use crate::process::ENVOY_CORE;
use crate::project::{KEY_HEADER, Operation, Project, definition, requests};
use crate::report::{Goal, Report, median};

const EACH: usize = 5;

pub fn measure(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let directory = bench.directory.path().join("guarded");
    let artifact = directory.join("shop.mgw");
    let operation = |name: &str, guarded: bool| Operation {
        template: format!("/{name}/{{id}}"),
        path: format!("/{name}/1"),
        guarded,
    };
    let public: Vec<Operation> = (0..EACH).map(|index| operation(&format!("public{index}"), false)).collect();
    let guarded: Vec<Operation> = (0..EACH).map(|index| operation(&format!("guarded{index}"), true)).collect();
    let all = [public.as_slice(), &guarded].concat();
    let project = Project::create(directory.join("shop"))?;
    project.define("shop", &definition("shop", "/v1", bench.backend, &all))?;
    project.build(&bench.gateway, &artifact)?;

    let bare = Bare::start(bench, ENVOY_CORE, &Configuration::without_filter(&artifact, &directory.join("bare"))?)?;
    let plain = Bare::start(bench, ENVOY_CORE, &Configuration::plain(bench.backend, &directory.join("plain"))?)?;
    let (gateway, live) = Gateway::run(bench, &artifact, &directory.join("data"))?;
    let key = Gateway::api_key(bench, &live)?;
    let headers = [(KEY_HEADER, key.as_str())];
    let (envoy, service) = (gateway.envoy()?, Some(gateway.service()));
    let target = |address, operations: &[Operation]| Target::new(address, requests("/v1", operations, &headers));
    let sides = [
        Side { name: "bare", target: target(bare.http, &public), envoy: bare.pid(), service: None },
        Side { name: "public", target: target(live.http, &public), envoy, service },
        Side { name: "guarded", target: target(live.http, &guarded), envoy, service },
        Side { name: "plain", target: target(plain.http, &public), envoy: plain.pid(), service: None },
    ];
    let rounds = rounds(bench, &sides)?;
    let of = |figure: fn(&[Round; 4]) -> f64| median(rounds.iter().map(figure));
    report.add("bare: requests", of(|[bare, ..]| bare.rate), "1/s", Goal::None);
    report.add("bare: Envoy", of(|[bare, ..]| bare.envoy), "us/request", Goal::None);
    report.add("plain over bare", of(|[bare, _, _, plain]| plain.rate / bare.rate), "", Goal::None);
    report.add("public over bare", of(|[bare, public, ..]| public.rate / bare.rate), "", Goal::AtLeast(0.97));
    report.add("public over bare, Envoy CPU", of(|[bare, public, ..]| public.envoy / bare.envoy), "", Goal::None);
    report.add("guarded over bare", of(|[bare, _, guarded, _]| guarded.rate / bare.rate), "", Goal::AtLeast(0.45));
    report.add("guarded: Envoy", of(|[_, _, guarded, _]| guarded.envoy), "us/request", Goal::None);
    report.add("guarded: service", of(|[_, _, guarded, _]| guarded.service), "us/request", Goal::AtMost(15.0));
    Ok(())
}
