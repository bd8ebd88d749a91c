//! One changed operation among ten thousand: how soon it is live, and whether anybody notices.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::milliseconds;
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::{Connection, Load, Target, get};
use crate::project::{Operation, Project, Shape, definition, requests};
use crate::report::{Goal, Report, median};

const DEFINITIONS: usize = 100;
const OPERATIONS: usize = 100;
/// The operation that changes is asked without a key: 200 while it is public, 401 while it is guarded.
const CHANGING: &str = "/changing";
/// Between two looks at it.
const INTERVAL: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(20);

pub fn measure(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let directory = bench.directory.path().join("publish");
    let project = Project::create(directory.join("shop"))?;
    let steady = Shape::Concrete.operations(OPERATIONS);
    let mut asked = Vec::new();
    for index in 0..DEFINITIONS {
        let base = format!("/api{index}");
        project.define(&format!("api{index}"), &definition(&base, &base, bench.backend, &steady))?;
        asked.extend(requests(&base, &steady, &[]));
    }
    let variants = [directory.join("public.mgw"), directory.join("guarded.mgw")];
    for (artifact, guarded) in variants.iter().zip([false, true]) {
        let changing = Operation { template: CHANGING.to_owned(), path: CHANGING.to_owned(), guarded };
        project.define("changing", &definition("changing", "/one", bench.backend, &[changing]))?;
        project.build(&bench.gateway, artifact)?;
    }
    let artifact = directory.join("shop.mgw");
    let [public, guarded] = &variants;
    fs::copy(public, &artifact)?;
    let (gateway, live) = Gateway::run(bench, &artifact, &directory.join("data"))?;
    let target = Target::new(live.http, asked);

    let change = |index: usize| -> io::Result<(f64, f64)> {
        let (next, status) = if index.is_multiple_of(2) { (guarded, 401) } else { (public, 200) };
        replace(next, &artifact)?;
        let started = Instant::now();
        gateway.reload()?;
        let seen = seen(bench, &target, status, started)?;
        Ok((seen, milliseconds(gateway.wait_until_live()?.at - started)))
    };
    let quiet: Vec<(f64, f64)> = (0..bench.rounds).map(change).collect::<io::Result<_>>()?;
    let load = Load::start(bench.runtime.handle(), &target);
    let loaded: io::Result<Vec<(f64, f64)>> = (bench.rounds..2 * bench.rounds).map(change).collect();
    let count = load.stop(bench.runtime.handle());
    let loaded = loaded?;

    for (name, times) in [("quiet", quiet), ("under load", loaded)] {
        let (seen, live): (Vec<f64>, Vec<f64>) = times.into_iter().unzip();
        report.add(format!("publish, {name}: first request that sees it"), median(seen), "ms", Goal::None);
        report.add(format!("publish, {name}: live"), median(live), "ms", Goal::AtMost(200.0));
    }
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let (answered, failed) = (count.answered as f64, count.failed as f64);
    report.add("publish: requests answered meanwhile", answered, "", Goal::None);
    report.add("publish: requests failed", failed, "", Goal::AtMost(0.0));
    Ok(())
}

/// As `build` does it: readers see the old artifact or the new.
fn replace(next: &Path, artifact: &Path) -> io::Result<()> {
    let fresh = artifact.with_extension("fresh");
    fs::copy(next, &fresh)?;
    fs::rename(fresh, artifact)
}

/// Milliseconds from `started` until the changing operation is answered with `status`.
fn seen(bench: &Bench, target: &Target, status: u16, started: Instant) -> io::Result<f64> {
    let request = get(&format!("/one{CHANGING}"), &[]);
    bench.runtime.block_on(async {
        let mut connection = Connection::open(target.address).await?;
        while connection.ask(&request).await? != status {
            if started.elapsed() > PATIENCE {
                return Err(io::Error::other("the change was never seen"));
            }
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(milliseconds(started.elapsed()))
    })
}
