//! The `micro-gw` command. Called as `gateway` it is `micro-gw run`, as in the old product.

mod args;
mod build;
mod demo_backend;
mod init;
mod inspect;
mod output;
mod preflight;
mod project;

use std::path::Path;
use std::process::ExitCode;

use args::{Cli, Command, Gateway};
use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One provider for the whole process: nothing may fall back to another.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        output::note("error: another crypto provider is installed");
        return ExitCode::FAILURE;
    }
    match dispatch(command()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // It has been shown already.
            if !error.is::<build::DoesNotBuild>() {
                output::note(&format!("error: {error:#}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let arguments = args::with_settings(std::env::args());
    let gateway = arguments.first().is_some_and(|name| Path::new(name).file_name().is_some_and(|name| name == "gateway"));
    if gateway { Command::Run(Gateway::parse_from(arguments).run) } else { Cli::parse_from(arguments).command }
}

fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Init(args) => runtime()?.block_on(init::init(&args)),
        Command::Build(args) => build::build(&args),
        Command::Check(args) => build::check(&args),
        Command::Run(_) | Command::Serve(_) | Command::Bootstrap(_) => anyhow::bail!("soon"),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::DemoBackend(args) => runtime()?.block_on(demo_backend::serve(args.listen)),
        Command::Version => {
            output::line(&format!("micro-gw {}", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
        Command::EnvoyExec(args) => Err(microgw_envoy::exec_child(args.command).into()),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
