//! Envoy's processor time per request with 10 and with 10,000 public operations, by the shape of their paths.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use super::{Round, round};
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::{Load, Target};
use crate::project::{Project, Shape, definition, requests};
use crate::report::{Goal, Report, median};

const FEW: usize = 10;
const MANY: usize = 10_000;
/// Requests for each operation before anything is measured.
const VISITS: u64 = 4;

pub fn measure(bench: &Bench, report: &mut Report) -> io::Result<()> {
    for shape in Shape::ALL {
        let few = Side::start(bench, shape, FEW)?;
        let many = Side::start(bench, shape, MANY)?;
        let mut rounds = Vec::new();
        for _ in 0..bench.rounds {
            let hot = many.round(bench, &many.hot())?;
            rounds.push((few.round(bench, &few.target)?, many.round(bench, &many.target)?, hot));
        }
        let failed: u64 = rounds.iter().map(|(few, many, hot)| few.failed + many.failed + hot.failed).sum();
        if failed > 0 {
            return Err(io::Error::other(format!("{}: {failed} requests failed", shape.title())));
        }
        let title = shape.title();
        report.add(
            format!("{title}: Envoy at 10"),
            median(rounds.iter().map(|(few, ..)| few.envoy)),
            "us/request",
            Goal::None,
        );
        let ratio = median(rounds.iter().map(|(few, _, hot)| hot.envoy / few.envoy));
        report.add(format!("{title}: 10,000 over 10, asked for ten"), ratio, "", Goal::AtMost(1.1));
        let ratio = median(rounds.iter().map(|(few, many, _)| many.envoy / few.envoy));
        report.add(format!("{title}: 10,000 over 10, asked for all"), ratio, "", Goal::AtMost(1.1));
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
        let target = Target::new(live.http, requests("", &operations, &[]));
        warm(bench, &target);
        Ok(Side { gateway, target })
    }

    /// The same gateway, asked for a few of its operations only.
    fn hot(&self) -> Target {
        let step = (self.target.requests.len() / FEW).max(1);
        let requests: Vec<_> = self.target.requests.iter().step_by(step).cloned().collect();
        Target::new(self.target.address, requests)
    }

    fn round(&self, bench: &Bench, target: &Target) -> io::Result<Round> {
        round(bench, target, self.gateway.envoy()?, None)
    }
}

/// Asks for each operation a few times: Envoy's expressions make their automata when they are first used.
fn warm(bench: &Bench, target: &Target) {
    let runtime = bench.runtime.handle();
    let load = Load::start(runtime, target);
    let wanted = VISITS * target.requests.len() as u64;
    while load.count().answered < wanted {
        sleep(Duration::from_millis(10));
    }
    load.stop(runtime);
}
