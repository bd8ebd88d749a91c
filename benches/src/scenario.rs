//! What is measured.

mod answers;
mod bodies;
mod build;
mod discovery;
mod guarded;
mod interceptors;
mod kept;
mod limits_shared;
mod lookup;
mod memory;
mod publish;
mod start;
mod validation;

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::Bench;
use crate::load::{Count, Load, Target};
use crate::process::cpu;
use crate::report::Report;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Scenario {
    /// From exec to the first answer.
    Start,
    /// Large projects to artifacts.
    Build,
    /// What finding an operation costs among many.
    Lookup,
    /// What a rule costs, and what its absence does.
    Guarded,
    /// What a limit costs that gateways share, by how they do.
    LimitsShared,
    /// What answers of Envoy's own cost: preflights, mocks, redirects.
    Answers,
    /// What it costs to collect bodies.
    Bodies,
    /// What a response costs that is kept, and one that is not yet.
    Kept,
    /// What comparing messages with their contract takes.
    Validation,
    /// What calling a WebAssembly component costs.
    Interceptors,
    /// Memory of the service with a thousand APIs.
    Memory,
    /// One change among ten thousand operations.
    Publish,
    /// One name among ten thousand that moves.
    Discovery,
}

/// One round of load on one gateway.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Requests per second.
    pub rate: f64,
    /// Processor time per request, in microseconds.
    pub envoy: f64,
    /// The same of the service; 0 where there is none.
    pub service: f64,
    pub failed: u64,
}

/// Until connections are open and everything is warm.
const WARM_UP: Duration = Duration::from_millis(300);
const ROUND: Duration = Duration::from_millis(1200);

// === impl Scenario ===

impl Scenario {
    pub const ALL: [Scenario; 13] = [
        Scenario::Start,
        Scenario::Build,
        Scenario::Lookup,
        Scenario::Guarded,
        Scenario::LimitsShared,
        Scenario::Answers,
        Scenario::Bodies,
        Scenario::Kept,
        Scenario::Validation,
        Scenario::Interceptors,
        Scenario::Memory,
        Scenario::Publish,
        Scenario::Discovery,
    ];

    pub fn measure(self, bench: &Bench, report: &mut Report) -> io::Result<()> {
        match self {
            Scenario::Start => start::measure(bench, report),
            Scenario::Build => build::measure(bench, report),
            Scenario::Lookup => lookup::measure(bench, report),
            Scenario::Guarded => guarded::measure(bench, report),
            Scenario::LimitsShared => limits_shared::measure(bench, report),
            Scenario::Answers => answers::measure(bench, report),
            Scenario::Bodies => bodies::measure(bench, report),
            Scenario::Kept => kept::measure(bench, report),
            Scenario::Validation => validation::measure(bench, report),
            Scenario::Interceptors => interceptors::measure(bench, report),
            Scenario::Memory => memory::measure(bench, report),
            Scenario::Publish => publish::measure(bench, report),
            Scenario::Discovery => discovery::measure(bench, report),
        }
    }
}

/// One of those that are loaded in turn.
struct Side {
    name: &'static str,
    target: Target,
    /// Pids.
    envoy: u32,
    service: Option<u32>,
}

/// Loads each in turn, as often as is asked for.
fn rounds<const N: usize>(bench: &Bench, sides: &[Side; N]) -> io::Result<Vec<[Round; N]>> {
    let each = |Side { name, target, envoy, service }: &Side| {
        let measured = round(bench, target, *envoy, *service)?;
        let failed = || io::Error::other(format!("{name}: {} requests failed", measured.failed));
        if measured.failed > 0 { Err(failed()) } else { Ok(measured) }
    };
    let whole = |_| {
        let measured: Vec<Round> = sides.iter().map(each).collect::<io::Result<_>>()?;
        measured.try_into().map_err(|_| io::Error::other("a side was not measured"))
    };
    (0..bench.rounds).map(whole).collect()
}

/// Loads `target` for a moment.
fn round(bench: &Bench, target: &Target, envoy: u32, service: Option<u32>) -> io::Result<Round> {
    let runtime = bench.runtime.handle();
    let spent =
        || -> io::Result<(Duration, Duration)> { Ok((cpu(envoy)?, service.map(cpu).transpose()?.unwrap_or_default())) };
    let load = Load::start(runtime, target);
    sleep(WARM_UP);
    let (started, before, spent_before) = (Instant::now(), load.count(), spent()?);
    sleep(ROUND);
    let (elapsed, after, spent_after) = (started.elapsed(), load.count(), spent()?);
    let Count { failed, .. } = load.stop(runtime);
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let requests = (after.answered - before.answered).max(1) as f64;
    let each = |before: Duration, after: Duration| (after.saturating_sub(before)).as_secs_f64() * 1e6 / requests;
    Ok(Round {
        rate: requests / elapsed.as_secs_f64(),
        envoy: each(spent_before.0, spent_after.0),
        service: each(spent_before.1, spent_after.1),
        failed,
    })
}

/// In milliseconds.
fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// In megabytes of 10^6 bytes.
#[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
