//! Memory of the service with a thousand APIs, some time after it is live.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use super::megabytes;
use crate::Bench;
use crate::gateway::Gateway;
use crate::process::memory;
use crate::project::{Operation, Project, definition};
use crate::report::{Goal, Report};

const APIS: usize = 1000;
const OPERATIONS: usize = 10;
const SETTLED: Duration = Duration::from_secs(10);

pub fn measure(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let directory = bench.directory.path().join("memory");
    let artifact = directory.join("shop.mgw");
    let project = Project::create(directory.join("shop"))?;
    let operation =
        |index: usize| Operation { template: format!("/resource{index}/{{id}}"), path: String::new(), guarded: true };
    let operations: Vec<Operation> = (0..OPERATIONS).map(operation).collect();
    for index in 0..APIS {
        let name = format!("api{index}");
        project.define(&name, &definition(&name, &format!("/api{index}"), bench.backend, &operations))?;
    }
    project.build(&bench.gateway, &artifact)?;
    let data = directory.join("data");
    // What the service says of itself 10 s after it is live; and once more, with the last live artifact to resume.
    for (name, goal) in [("first start", Goal::AtMost(30.0)), ("second start", Goal::AtMost(30.0))] {
        let (gateway, _) = Gateway::run(bench, &artifact, &data)?;
        sleep(SETTLED);
        let service = memory(gateway.service())?;
        report.add(format!("memory: 1,000 APIs, {name}"), megabytes(service.resident), "MB", goal);
        report.add(format!("memory: its peak, {name}"), megabytes(service.peak), "MB", Goal::None);
        let envoy = memory(gateway.envoy()?)?;
        report.add(format!("memory: Envoy, {name}"), megabytes(envoy.resident), "MB", Goal::None);
    }
    Ok(())
}
