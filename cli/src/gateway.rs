//! `run` and `serve`: the whole gateway in one process, with or without an Envoy of its own.

pub mod addresses;
pub mod bootstrap;
mod data;
mod last_live;
mod lookups;
mod observer;
pub mod probe;
mod programs;
mod publishing;
mod remote;
mod renewal;
mod services;
mod source;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use micro_gw::certificates::{Certificates, RemoteTls, Watch};
use microgw_compiler::assemble::{Input, assemble, conflict, names, unheard, untrusting};
use microgw_compiler::model::Model;
use microgw_compiler::settings::{CertificateRequest, Settings};
use microgw_compiler::snapshot::{Assignments, Fallbacks, Snapshot};
use microgw_discovery::Discovery;
use microgw_envoy::{Admin, AdminError, Bootstrap, Launch, LogLevel, SocketDir, SocketPaths, Supervisor, sockets};
use microgw_extproc::traces::SpanCounts;
use microgw_xds::{Candidate, Outcome, Publisher, Rejection, Xds};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::Instrument as _;

use self::addresses::Addresses;
use self::last_live::{LastLive, Loaded};
use self::observer::Observer;
use self::probe::{HealthProbe, Targets};
use self::publishing::Publishing;
use self::remote::Remote;
use self::services::Services;
use self::source::Source;
use crate::args;
use crate::config::{Config, with_secrets};
use crate::output;
use crate::stop;

/// Serves with an Envoy of our own until told to stop.
pub async fn run(args: &args::Run, mut config: Config, spans: Option<&SpanCounts>) -> anyhow::Result<()> {
    if config.remote.host.take().is_some() {
        tracing::warn!("`remoteConfig` has no effect with `run`: `serve` serves Envoys on other hosts");
    }
    // That of the Envoy that is started here is ours.
    config.backends.health_events = Some(microgw_envoy::log::EVENTS.to_owned());
    let envoy = microgw_envoy::find(args.envoy.as_deref().or(config.envoy.path.as_deref()))?;
    envoy.check_version().await?;
    free(&config)?;
    if matches!(config.envoy.log_level, LogLevel::Debug | LogLevel::Trace) {
        tracing::warn!(
            "with this envoyConfig.logLevel Envoy shows requests with their credentials: for debugging only"
        );
    }
    let directory = SocketDir::private()?;
    let paths = directory.sockets();
    let admin = Admin::new(&paths.admin);
    let gateway = Gateway::start(&args.serving, &config, &paths, Targets::Envoy(admin.clone())).await?;
    if let Some(counts) = spans {
        gateway.services.metrics().show_spans(counts);
    }
    // What does not build starts no Envoy.
    let opening = gateway.open(&args.serving)?;
    let bootstrap = Bootstrap {
        overload: config.envoy.overload,
        ..Bootstrap::local("micro-gw", gateway.publisher.project(), &paths)
    };
    sockets::write_private(&directory.bootstrap(), bootstrap.to_json().as_bytes())?;
    let launch = Launch {
        envoy,
        launcher: std::env::current_exe().context("cannot find our own program")?,
        bootstrap: directory.bootstrap(),
        admin: paths.admin.clone(),
        concurrency: config.envoy.concurrency,
        log_level: config.envoy.log_level,
        drain: config.envoy.drain,
    };
    let mut supervisor = None;
    // It finds the first artifact on offer, however long that took to compile, and not what was live before.
    let served = gateway
        .serve(&args.serving, opening, Some(admin), |first| {
            anyhow::ensure!(!matches!(first, Outcome::Rejected(_)), "the artifact cannot be served");
            supervisor = Some(Supervisor::start(launch)?);
            Ok(())
        })
        .await;
    // Requests that come while Envoy drains are decided, too: the gateway ends after it.
    if let Some(supervisor) = supervisor {
        supervisor.drain_and_stop().await;
    }
    gateway.services.leave().await;
    drop(gateway);
    served
}

/// Envoy would share a port with another Envoy without a word, and both would get some of the requests.
fn free(config: &Config) -> anyhow::Result<()> {
    let token = config.oauth.as_ref().and_then(|oauth| oauth.port);
    for port in [config.listeners.http_port, config.listeners.https_port].into_iter().chain(token) {
        let address = SocketAddr::new(config.listeners.host, port);
        std::net::TcpListener::bind(address).with_context(|| format!("cannot listen on `{address}`"))?;
    }
    Ok(())
}

/// Serves Envoys that are started elsewhere until told to stop.
pub async fn serve(args: &args::Serve, mut config: Config, spans: Option<&SpanCounts>) -> anyhow::Result<()> {
    config.insecure.extend(remote::check(&config.remote, args.insecure)?);
    let directory = SocketDir::open(&socket_directory(args.sockets.as_deref(), &config))?;
    let targets = elsewhere(&config);
    let gateway = Gateway::start(&args.serving, &config, &directory.sockets(), targets).await?;
    if let Some(counts) = spans {
        gateway.services.metrics().show_spans(counts);
    }
    let opening = gateway.open(&args.serving)?;
    // An Envoy that outlived us is served what it had, if the first artifact is not fit to be.
    let served = gateway.serve(&args.serving, opening, None, |_| Ok(())).await;
    // Whoever stops it drains Envoy first.
    gateway.services.leave().await;
    served
}

/// Has an Envoy that was started elsewhere end its requests.
pub async fn drain(args: &args::Drain, config: &Config) -> anyhow::Result<()> {
    let envoy = Admin::new(&SocketPaths::within(&socket_directory(args.sockets.as_deref(), config)).admin);
    if args.on_stop {
        stop::told()?.await;
    }
    match microgw_envoy::drain(&envoy, config.envoy.drain).await {
        // What is gone needs no draining.
        Err(error @ AdminError::Connect { .. }) if args.on_stop => {
            output::note(&format!("warning: {:#}", anyhow::Error::new(error)));
            Ok(())
        }
        drained => drained.context("Envoy is not drained"),
    }
}

fn socket_directory(given: Option<&Path>, config: &Config) -> PathBuf {
    let configured = given.map(Path::to_owned).or_else(|| config.gateway.socket_dir.clone());
    configured.unwrap_or_else(|| config.gateway.data_dir.join("sockets"))
}

/// Where an Envoy that was started elsewhere can be looked at: as configured, or the listeners' own addresses. With
/// free ports, or on another host, nobody knows them, and Envoy's ACK has to do.
fn elsewhere(config: &Config) -> Targets {
    if !config.gateway.probe.is_empty() {
        return Targets::Urls(config.gateway.probe.clone());
    }
    if config.remote.host.is_some() {
        tracing::warn!("no `gateway.probe`: what remote Envoys have accepted counts as live, and nobody looks");
        return Targets::Urls(Vec::new());
    }
    let listeners = &config.listeners;
    let address = |port: u16| (port != 0).then(|| SocketAddr::new(listeners.host, port));
    Targets::Listeners([address(listeners.http_port), address(listeners.https_port)])
}

fn workers(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    config.envoy.concurrency.map_or_else(cores, |workers| usize::try_from(workers.get()).unwrap_or(1))
}

/// The parts that outlive a single publish.
struct Gateway {
    publisher: Publisher,
    config: Config,
    certificates: Arc<Mutex<Certificates>>,
    settings: ArcSwap<Settings>,
    source: Source,
    last_live: Arc<LastLive>,
    addresses: Addresses,
    services: Services,
    observer: Observer,
    remote: Option<Remote>,
    _stop_xds: oneshot::Sender<()>,
}

/// What is served first, and what comes after it: listened to from before the first is read.
struct Opening {
    first: Loaded,
    publishing: Publishing,
    hangup: Signal,
    rotated: Signal,
    terminate: Signal,
    interrupt: Signal,
    changes: watch::Changes,
    certificates: Watch,
}

/// What is to be done next.
struct Wanted {
    artifact: Option<(Arc<Loaded>, Publishing)>,
    certificates: bool,
}

// === impl Gateway ===

impl Gateway {
    async fn start(
        args: &args::Serving,
        config: &Config,
        paths: &SocketPaths,
        targets: Targets,
    ) -> anyhow::Result<Gateway> {
        let data = &config.gateway.data_dir;
        data::directory(data)?;
        let source = Source::new(&args.target, &args.compile)?;
        let project = source::project_name(&args.target)?;
        let certificates = Certificates::load(config, data)?;
        let settings = Arc::new(certificates.settings(config));
        let mut services = Services::start(config, &certificates, paths)?;
        let remote_credentials = certificates.remote().map(RemoteTls::credentials).transpose()?;
        let certificates = Arc::new(Mutex::new(certificates));
        let last_live = Arc::new(LastLive::new(data, &project));
        let addresses = Addresses::start(Discovery::start(&config.discovery), data.join("addresses.json"));
        let resumed = match last_live.resume() {
            Some((loaded, rules)) => {
                let snapshot = snapshot(&loaded.model()?, &loaded.artifact, &settings, &Fallbacks::new(), None)
                    .map_err(anyhow::Error::msg)?;
                if *snapshot.generation.0 != *rules.generation {
                    // The settings have changed since: routes of then have rules of their own.
                    services.bridge(rules).await;
                }
                services.programs().prepare(&snapshot.rules).await.map_err(anyhow::Error::msg)?;
                Some(snapshot)
            }
            None => None,
        };
        let insists = matches!(settings.client_certificates.request, CertificateRequest::Required(_));
        let shown = insists.then_some(&settings.listeners.identity);
        let probe = HealthProbe::new(targets, workers(config), shown, &settings.listeners.balanced);
        let probe = probe.context("cannot make the probe")?;
        let publisher = Publisher::new(
            microgw_xds::Config {
                located: addresses.located(),
                static_clusters: names::STATIC_CLUSTERS.map(Arc::from).into(),
                publish_timeout: config.gateway.publish_timeout,
                ..microgw_xds::Config::new(project)
            },
            services.rules(&addresses),
            Arc::new(probe),
            resumed,
        );
        services.settle().await;
        services.serve_decisions(paths)?;
        let observer = Observer::new(publisher.clone(), last_live.clone(), certificates.clone(), config)
            .with_opaque_keys(services.opaque_keys())
            .with_limits(services.limits())
            .with_addresses(&addresses);
        services.serve_admin(config, observer.clone()).await?;
        let listener = tokio::net::UnixListener::from_std(sockets::bind(&paths.xds)?)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let xds = Xds::new([publisher.clone()]);
        let remote = Remote::start(&config.remote, remote_credentials, &services, xds.clone()).await?;
        tokio::spawn(async move {
            // Ends with the sender.
            if let Err(error) = xds.serve(listener, async { drop(stopped.await) }).await {
                tracing::error!(%error, "the xDS server failed");
            }
        });
        Ok(Gateway {
            publisher,
            config: config.clone(),
            certificates,
            settings: ArcSwap::new(settings),
            source,
            last_live,
            addresses,
            services,
            observer,
            remote,
            _stop_xds: stop,
        })
    }

    /// What cannot be loaded at the start is an error; later, the last good generation keeps serving.
    fn open(&self, args: &args::Serving) -> anyhow::Result<Opening> {
        let hangup = signal(SignalKind::hangup())?;
        let rotated = signal(SignalKind::user_defined1())?;
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let changes = watch::Changes::of(args.watch.then_some(&self.source))?;
        let certificates = self.watch_certificates();
        let publishing = Publishing::begin(self.services.metrics());
        let first = publishing.load(|| self.source.load())?;
        check_listeners(&first.model()?, &self.settings.load()).map_err(anyhow::Error::msg)?;
        Ok(Opening { first, publishing, hangup, rotated, terminate, interrupt, changes, certificates })
    }

    /// Publishes, and publishes again when asked to, until told to stop. `offered` is called once, with what became of the first.
    async fn serve(
        &self,
        args: &args::Serving,
        opening: Opening,
        envoy: Option<Admin>,
        offered: impl FnOnce(&Outcome) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Opening { first, publishing, mut hangup, mut rotated, mut terminate, mut interrupt, .. } = opening;
        let Opening { mut changes, mut certificates, .. } = opening;
        let announcer =
            tokio::spawn(self.observer.clone().announce(args.output, envoy.clone(), self.services.admin_address()));
        let mut latest = None;
        let mut wanted = Wanted { artifact: Some((Arc::new(first), publishing)), certificates: false };
        let mut offered = Some(offered);
        loop {
            tokio::select! {
                outcome = self.carry_out(&mut wanted, &mut latest) => {
                    if let Some((outcome, offered)) = outcome.and_then(|outcome| Some((outcome, offered.take()?))) {
                        offered(&outcome)?;
                    }
                }
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
            tokio::select! {
                _ = hangup.recv() => {
                    reopen_logs(envoy.as_ref()).await;
                    wanted = Wanted { artifact: self.load().await?, certificates: true };
                }
                _ = rotated.recv() => reopen_logs(envoy.as_ref()).await,
                () = changes.next() => wanted.artifact = self.load().await?,
                () = certificates.changed() => wanted.certificates = true,
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        announcer.abort();
        Ok(())
    }

    /// Certificates come first, by themselves: it is then known which of the two Envoy refuses. `latest` is what was
    /// published last and not rejected. What became of the artifact, if one was wanted.
    async fn carry_out(&self, wanted: &mut Wanted, latest: &mut Option<Arc<Loaded>>) -> Option<Outcome> {
        if std::mem::take(&mut wanted.certificates) {
            self.renew(latest.clone().or_else(|| self.last_live.current())).await;
        }
        let (loaded, publishing) = wanted.artifact.take()?;
        let outcome = self.publish(loaded.clone(), self.settings.load_full(), publishing).await;
        if !matches!(outcome, Outcome::Rejected(_)) {
            *latest = Some(loaded);
            self.services.programs().report_unknown();
        }
        Some(outcome)
    }

    /// `None`: it cannot be loaded, which has been said.
    async fn load(&self) -> anyhow::Result<Option<(Arc<Loaded>, Publishing)>> {
        let (source, publishing) = (self.source.clone(), Publishing::begin(self.services.metrics()));
        let loading = move || (publishing.load(|| source.load()), publishing);
        Ok(match tokio::task::spawn_blocking(loading).await? {
            (Ok(loaded), publishing) => Some((Arc::new(loaded), publishing)),
            (Err(error), publishing) => {
                publishing.failed();
                if !error.is::<crate::build::DoesNotBuild>() {
                    tracing::error!("{error:#}");
                }
                None
            }
        })
    }

    async fn publish(&self, loaded: Arc<Loaded>, settings: Arc<Settings>, publishing: Publishing) -> Outcome {
        let outcome = self.offer(loaded, settings).instrument(publishing.span.clone()).await;
        publishing.end(&outcome, &self.publisher);
        report(&outcome);
        outcome
    }

    async fn offer(&self, loaded: Arc<Loaded>, settings: Arc<Settings>) -> Outcome {
        let (last_live, observer) = (self.last_live.clone(), self.observer.clone());
        let previous = last_live.current();
        let reassemble = move |fallbacks: &Fallbacks| {
            let model = loaded.model().map_err(|error| format!("{error:#}"))?;
            check_listeners(&model, &settings)?;
            warn_of_untrusting(&model, &settings);
            observer.offering(&model);
            let snapshot = snapshot(&model, &loaded.artifact, &settings, fallbacks, previous.as_deref())?;
            last_live.made(&snapshot, &loaded, fallbacks, previous.as_ref());
            Ok(snapshot)
        };
        let (first, span) = (reassemble.clone(), tracing::info_span!("assemble"));
        let snapshot = match tokio::task::spawn_blocking(move || span.in_scope(|| first(&Fallbacks::new()))).await {
            Ok(Ok(snapshot)) => snapshot,
            Ok(Err(error)) => return Outcome::Rejected(Rejection::Reassembly(error)),
            Err(_) => return Outcome::Rejected(Rejection::Reassembly("assembling failed".to_owned())),
        };
        let prepared =
            self.services.programs().prepare(&snapshot.rules).instrument(tracing::info_span!("compile")).await;
        if let Err(error) = prepared {
            return Outcome::Rejected(Rejection::Rules(error));
        }
        self.addresses.expect(&snapshot.assignments).instrument(tracing::info_span!("resolve")).await;
        let outcome = self.publisher.publish(Candidate { snapshot, reassemble: Arc::new(reassemble) }).await;
        self.addresses.anticipate(&Assignments::new());
        outcome
    }
}

/// The access log may have been renamed: Envoy opens it by its name again. An Envoy that was started elsewhere is told by
/// whoever started it.
async fn reopen_logs(envoy: Option<&Admin>) {
    if let Some(envoy) = envoy
        && let Err(error) = envoy.post("/reopen_logs").await
    {
        tracing::warn!(%error, "Envoy did not open its access log again");
    }
}

fn snapshot(
    model: &Model,
    artifact: &str,
    settings: &Settings,
    fallbacks: &Fallbacks,
    previous: Option<&Loaded>,
) -> Result<Snapshot, String> {
    // Only needed where something falls back to it.
    let previous = previous.filter(|_| !fallbacks.is_empty());
    let previous_model = previous.map(Loaded::model).transpose().map_err(|error| format!("{error:#}"))?;
    let settings = &with_secrets(settings, previous_model.iter().chain([model]));
    let previous = previous_model.as_ref().zip(previous.map(|previous| previous.artifact.as_str()));
    Ok(assemble(Input { model, artifact, settings, fallbacks, previous }))
}

/// Whether all that the APIs ask for can arrive. Listeners do as the settings say, whatever an API needs.
pub fn check_listeners(model: &Model, settings: &Settings) -> Result<(), String> {
    let settings = &with_secrets(settings, [model]);
    if let Some(conflict) = conflict(model, settings) {
        return Err(conflict);
    }
    let unheard = unheard(model, settings);
    if unheard.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the listener asks clients for no certificate, and nobody could call what needs one: {}. Set \
         `mutualSSLConfig.sslVerifyClient` to `optional`, and list whose certificates are good in \
         `[[mutualSSLConfig.api.certificates]]`",
        unheard.join(", ")
    ))
}

fn warn_of_untrusting(model: &Model, settings: &Settings) {
    for api in untrusting(model, settings) {
        tracing::warn!(%api, "no `[[mutualSSLConfig.api.certificates]]` is for this API: it takes nobody's certificate");
    }
}

fn report(outcome: &Outcome) {
    match outcome {
        Outcome::Live { generation } => tracing::info!(%generation, "live"),
        Outcome::Pending { generation } => tracing::info!(%generation, "waiting for an Envoy"),
        Outcome::Unchanged => tracing::info!("nothing changed"),
        Outcome::Superseded => tracing::info!("a newer snapshot came first"),
        Outcome::Rejected(rejection) => tracing::error!("not published: {rejection}"),
        Outcome::Degraded { generation, faults } => {
            for fault in faults {
                tracing::error!(
                    %generation, api = %fault.api, "{}: Envoy refuses this API: {}", fault.location, fault.envoy_text
                );
            }
        }
    }
}
