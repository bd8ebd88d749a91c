//! The `micro-gw` command. Called as `gateway` it is `micro-gw run`, as in the old product.

mod allocator;
mod args;
mod build;
mod demo_backend;
mod explain;
mod explain_code;
mod gateway;
mod health;
mod init;
mod inspect;
mod keys;
mod logging;
mod manual;
mod output;
mod password;
mod policy;
mod preflight;
mod project;
mod reference;
mod report;
mod revoke;
mod stop;
mod user;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use args::{Cli, Command, Gateway, Page};
use clap::{CommandFactory as _, Parser as _};
use micro_gw::{certificates, config};
use microgw_compiler::settings::Protocol;
use microgw_extproc::traces::{Destination, SpanCounts, Traces};
use tracing::Level;

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
            if let Some(refused) = error.downcast_ref::<config::Refused>() {
                // Each problem says what it is.
                logging::say(Level::ERROR, &refused.to_string());
                if let Some(problem) = refused.0.first() {
                    report::hint(problem.code.in_table());
                }
            } else if let Some(preflight::Refused(problems)) = error.downcast_ref() {
                logging::say(Level::ERROR, &error.to_string());
                if let Some(problem) = problems.first() {
                    report::hint(problem.code);
                }
            } else if !error.is::<build::DoesNotBuild>() {
                // That one has been shown already.
                logging::say(Level::ERROR, &format!("error: {error:#}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let gateway =
        arguments.first().is_some_and(|name| Path::new(name).file_name().is_some_and(|name| name == "gateway"));
    // A copy called `gateway` still has to be able to become Envoy.
    let envoy = arguments.get(1).is_some_and(|first| first == microgw_envoy::EXEC_SUBCOMMAND);
    if gateway && !envoy {
        Command::Run(Gateway::parse_from(args::with_settings(arguments, &Gateway::command())).run)
    } else {
        Cli::parse_from(args::with_settings(arguments, &Cli::command())).command
    }
}

fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Init(args) => runtime()?.block_on(init::init(&args)),
        Command::Build(args) => build::build(&args),
        Command::Check(args) => build::check(&args),
        Command::Run(args) => {
            service(&args.serving, async |config, spans| Box::pin(gateway::run(&args, config, spans)).await)
        }
        Command::Serve(args) => {
            service(&args.serving, async |config, spans| Box::pin(gateway::serve(&args, config, spans)).await)
        }
        Command::Bootstrap(args) => {
            let config = settings(&args.target, &args.settings, false)?;
            gateway::bootstrap::print(&args, &config)
        }
        Command::Health(args) => {
            let url = health::url(&args)?;
            runtime()?.block_on(health::check(&url))
        }
        Command::Drain(args) => {
            let config = settings_of(args.target.as_deref(), &args.settings)?;
            runtime()?.block_on(gateway::drain(&args, &config))
        }
        Command::HashPassword => password::hash(),
        Command::Revoke(args) => {
            let config = settings_of(args.target.as_deref(), &args.settings)?;
            runtime()?.block_on(revoke::revoke(&args, &config))
        }
        Command::User(args) => user::user(&args),
        Command::Keys(args) => runtime()?.block_on(keys::keys(args)),
        Command::Policy(args) => policy::policy(args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::ExplainCode(args) => explain_code::explain(&args),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
        Command::DemoBackend(args) => runtime()?.block_on(demo_backend::serve(args.listen)),
        Command::Wit => {
            output::data(microgw_interceptors::WIT);
            Ok(())
        }
        Command::Version => {
            output::line(&format!("micro-gw {}", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
        Command::Reference { page } => {
            let page = match page {
                Page::Configuration => reference::configuration(),
                Page::Diagnostics => reference::diagnostics(),
                Page::Metrics => reference::metrics(),
                Page::Errors => reference::errors(),
            };
            output::line(page.trim_end());
            Ok(())
        }
        Command::EnvoyExec(args) => Err(microgw_envoy::exec_child(args.command).into()),
    }
}

/// A service: logs from when its settings are known, and sends its last spans when it has ended.
fn service(
    serving: &args::Serving,
    serve: impl AsyncFnOnce(config::Config, Option<&SpanCounts>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let kept = allocator::be_thrifty();
    let loaded = load(&serving.target, &serving.settings, serving.compile.allow_unenforced)?;
    let runtime = service_runtime()?;
    let destination = destination(&loaded.config)?;
    let traces = destination.map(|destination| Traces::start(destination, runtime.handle())).transpose()?;
    logging::start(loaded.config.log_level, loaded.config.envoy.shown(), loaded.config.log_format, traces.as_ref());
    let config = remarked(loaded);
    if let Err(error) = kept {
        tracing::warn!(%error, "memory that was freed is not given back");
    }
    let ended = runtime.block_on(serve(config, traces.as_ref().map(Traces::counts)));
    if let Some(traces) = traces {
        traces.finish();
    }
    ended
}

/// Where the service's own spans go: where Envoy's do.
fn destination(config: &config::Config) -> anyhow::Result<Option<Destination>> {
    let Some(settings) = &config.tracing else { return Ok(None) };
    let authorities =
        if settings.collector.tls { certificates::backend_trust(config.trust.backends.as_ref())? } else { None };
    let (url, http) = match settings.protocol {
        Protocol::Grpc => (settings.base_url(), false),
        Protocol::Http => (settings.traces_url(), true),
    };
    Ok(Some(Destination {
        url,
        http,
        headers: settings.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect(),
        authorities: authorities.map(|store| store.0),
        service_name: settings.service_name.clone(),
    }))
}

/// The settings for `target`: a project's own conf/ is looked at, too.
pub fn settings(target: &Path, args: &args::Settings, allow_unenforced: bool) -> anyhow::Result<config::Config> {
    Ok(remarked(load(target, args, allow_unenforced)?))
}

fn load(target: &Path, args: &args::Settings, allow_unenforced: bool) -> anyhow::Result<config::Loaded> {
    Ok(config::load(&config::Request {
        file: args.config.as_deref(),
        project: home(target),
        overrides: &args.overrides,
        allow_unenforced,
    })?)
}

/// The settings, once it is told what there is to say about them.
fn remarked(loaded: config::Loaded) -> config::Config {
    for warning in &loaded.warnings {
        logging::say(Level::WARN, &warning.to_string());
    }
    if let Some(file) = &loaded.file {
        logging::say(Level::INFO, &format!("settings from {}", file.display()));
    }
    loaded.config
}

/// The settings of a gateway that runs, for those who deal with it from outside.
pub fn settings_of(target: Option<&Path>, args: &args::Settings) -> anyhow::Result<config::Config> {
    settings(target.unwrap_or(Path::new("")), args, false)
}

/// The project whose conf/ applies: the target itself, or the one in whose target/ the artifact still lies.
fn home(target: &Path) -> Option<&Path> {
    if target.is_dir() {
        return Some(target);
    }
    let parent = target.parent()?;
    let home = parent.parent().filter(|_| parent.file_name().is_some_and(|name| name == "target"))?;
    Some(if home.as_os_str().is_empty() { Path::new(".") } else { home })
}

/// For publishing, the admin interface and all that is not a decision: those have threads of their own.
fn service_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
