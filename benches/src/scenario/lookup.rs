//! Envoy's processor time per request with 10 and with 10,000 public operations, by the shape of their paths.

use std::io;

use super::{Round, round};
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::Target;
use crate::project::{Project, Shape, definition, requests};
use crate::report::{Goal, Report, median};

const FEW: usize = 10;
const MANY: usize = 10_000;

pub fn measure(bench: &Bench, report: &mut Report) -> io::Result<()> {
    for shape in Shape::ALL {
        let few = Side::start(bench, shape, FEW)?;
        let many = Side::start(bench, shape, MANY)?;
        let mut rounds = Vec::new();
        for _ in 0..bench.rounds {
            rounds.push((few.round(bench)?, many.round(bench)?));
        }
        let failed: u64 = rounds.iter().map(|(few, many)| few.failed + many.failed).sum();
        if failed > 0 {
            return Err(io::Error::other(format!("{}: {failed} requests failed", shape.title())));
        }
        let title = shape.title();
        report.add(
            format!("{title}: Envoy at 10"),
            median(rounds.iter().map(|(few, _)| few.envoy)),
            "us/request",
            Goal::None,
        );
        let ratio = median(rounds.iter().map(|(few, many)| many.envoy / few.envoy));
        report.add(format!("{title}: 10,000 over 10"), ratio, "", Goal::AtMost(1.1));
    }
    Ok(())
}

/// One gateway and the requests that it answers.
struct Side {
    gateway: Gateway,
    target: Target,
}

impl Side {
    fn start(bench: &Bench, shape: Shape, count: usize) -> io::Result<Side> {
        let directory = bench.directory.path().join(format!("lookup-{shape:?}-{count}"));
        let operations = shape.operations(count);
        let project = Project::create(directory.join("shop"))?;
        project.define("shop", &definition("shop", "", bench.backend, &operations))?;
        let artifact = directory.join("shop.mgw");
        project.build(&bench.gateway, &artifact)?;
        let (gateway, live) = Gateway::run(bench, &artifact, &directory.join("data"))?;
        Ok(Side { gateway, target: Target { address: live.http, requests: requests("", &operations, &[]).into() } })
    }

    fn round(&self, bench: &Bench) -> io::Result<Round> {
        round(bench, &self.target, self.gateway.envoy()?, None)
    }
}
