//! The numbers of docs/performance.md. Starts the real gateway and the real Envoy and loads them over 127.0.0.1; nothing
//! here is a test, and no number fails a build.

#![allow(clippy::disallowed_methods)] // a benchmark runs for a time

mod backend;
mod bare;
mod gateway;
mod load;
mod process;
mod project;
mod report;
mod scenario;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::report::Report;
use crate::scenario::Scenario;

/// Measure the gateway.
#[derive(Debug, Parser)]
#[command(name = "microgw-bench")]
struct Arguments {
    /// What to measure; all of it unless named.
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Write the figures there, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Of each measurement; the median counts.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// The program to measure [default: the one beside this].
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// The Envoy to use [default: $`MICROGW_ENVOY`, PATH, the pinned install].
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
}

/// What every scenario needs.
pub struct Bench {
    pub gateway: PathBuf,
    pub envoy: PathBuf,
    pub rounds: usize,
    /// Of the load and the backend.
    pub runtime: Runtime,
    pub backend: SocketAddr,
    /// Gone at the end.
    pub directory: TempDir,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> io::Result<()> {
    if std::thread::available_parallelism()?.get() < 2 {
        return Err(io::Error::other("two processors are needed: one is Envoy's alone"));
    }
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return Err(io::Error::other("another crypto provider is installed"));
    }
    let bench = Bench::new(arguments)?;
    let scenarios = if arguments.scenarios.is_empty() { Scenario::ALL.to_vec() } else { arguments.scenarios.clone() };
    let mut report = Report::default();
    for scenario in scenarios {
        let started = Instant::now();
        scenario.measure(&bench, &mut report)?;
        eprintln!("{scenario:?}: {} s", started.elapsed().as_secs());
    }
    print!("{report}");
    if let Some(file) = &arguments.json {
        fs::write(file, format!("{:#}\n", report.json()))?;
    }
    Ok(())
}

// === impl Bench ===

impl Bench {
    fn new(arguments: &Arguments) -> io::Result<Bench> {
        let beside = std::env::current_exe()?.with_file_name("micro-gw");
        let envoy = microgw_envoy::find(arguments.envoy.as_deref()).map_err(io::Error::other)?;
        // All threads of this process: load and backend stay off Envoy's processor.
        process::pin(std::process::id(), process::SERVICE_CORE)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let backend = runtime.block_on(backend::start())?;
        Ok(Bench {
            gateway: arguments.gateway.clone().unwrap_or(beside),
            envoy: envoy.path().to_owned(),
            rounds: arguments.rounds,
            backend,
            runtime,
            directory: TempDir::new()?,
        })
    }
}
