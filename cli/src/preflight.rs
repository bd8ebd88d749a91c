//! A real Envoy looks at a snapshot without opening a port: `build --preflight` and `inspect --envoy`.
//!
//! Envoy's own `--mode validate` reads static configuration only. Offering the snapshot over ADS checks what will
//! really be offered, and names the API at fault.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use micro_gw::config::with_pretended_secrets;
use microgw_compiler::assemble::{Input, assemble, names};
use microgw_compiler::diagnostic::{Code, Diagnostic, LineColumn, Place};
use microgw_compiler::model::Model;
use microgw_compiler::settings::Settings;
use microgw_compiler::snapshot::{Fallbacks, Generation, Snapshot};
use microgw_envoy::{Admin, Bootstrap, Launch, LogLevel, SocketDir, Supervisor, sockets};
use microgw_xds::{Candidate, Config, Fault, Located, Outcome, Probe, Publisher, Rejection, RuleSink, Xds};
use tokio::sync::oneshot;

use crate::gateway::addresses::unknown;
use crate::gateway::check_listeners;

/// An Envoy that has taken the snapshot.
pub struct Trial {
    pub admin: Admin,
    supervisor: Supervisor,
    _sockets: SocketDir,
    _stop: oneshot::Sender<()>,
}

/// Envoy does not take the snapshot.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(describe).collect::<Vec<_>>().join("\n\n"))]
pub struct Refused(pub Vec<Diagnostic>);

/// There is no traffic, so there is nothing to arm, nothing to see and nobody to look up.
#[derive(Default)]
struct NoTraffic(Located);

// === impl Trial ===

impl Trial {
    /// Fails, with each API at fault, if Envoy refuses the snapshot.
    pub async fn offer(
        model: Arc<Model>,
        artifact: String,
        settings: Settings,
        envoy: Option<&Path>,
    ) -> anyhow::Result<Trial> {
        let mut settings = with_pretended_secrets(&settings, &model);
        check_listeners(&model, &settings).map_err(anyhow::Error::msg)?;
        settings.listeners.bind = false;
        let envoy = microgw_envoy::find(envoy)?;
        envoy.check_version().await?;
        let directory = SocketDir::private()?;
        let paths = directory.sockets();
        let listener = tokio::net::UnixListener::from_std(sockets::bind(&paths.xds)?)?;
        let nobody = NoTraffic(Located::default());
        let publisher = Publisher::new(
            Config {
                located: nobody.0.clone(),
                static_clusters: names::STATIC_CLUSTERS.map(Arc::from).into(),
                ..Config::new(model.project.clone())
            },
            Arc::new(nobody),
            Arc::new(NoTraffic::default()),
            None,
        );
        let (stop, stopped) = oneshot::channel::<()>();
        let xds = Xds::new([publisher.clone()]);
        tokio::spawn(async move {
            // Ends with the sender.
            let ended = async { drop(stopped.await) };
            if let Err(error) = xds.serve(listener, ended).await {
                tracing::error!(%error, "the xDS server of the trial failed");
            }
        });
        let bootstrap = Bootstrap::local("preflight", &model.project, &paths);
        sockets::write_private(&directory.bootstrap(), bootstrap.to_json().as_bytes())?;
        let supervisor = Supervisor::start(Launch {
            envoy,
            launcher: std::env::current_exe().context("cannot find our own program")?,
            bootstrap: directory.bootstrap(),
            admin: paths.admin.clone(),
            concurrency: std::num::NonZeroU32::new(1),
            log_level: LogLevel::Critical,
            drain: std::time::Duration::ZERO,
        })?;
        let reassemble = {
            let (model, artifact, settings) = (model.clone(), artifact.clone(), settings.clone());
            move |fallbacks: &Fallbacks| -> Result<Snapshot, String> {
                let input =
                    Input { model: &model, artifact: &artifact, settings: &settings, fallbacks, previous: None };
                Ok(assemble(input))
            }
        };
        let snapshot = reassemble(&Fallbacks::new()).map_err(anyhow::Error::msg)?;
        let candidate = Candidate { snapshot, reassemble: Arc::new(reassemble) };
        let mut publications = publisher.subscribe();
        let outcome = match publisher.publish(candidate).await {
            Outcome::Pending { generation } => {
                // Envoy has not connected yet; it will, or the supervisor gives up with it.
                let settled =
                    publications.wait_for(|publication| publication.live.is_some() || publication.rejection.is_some());
                let publication = tokio::time::timeout(std::time::Duration::from_secs(60), settled)
                    .await
                    .context("Envoy did not answer within 60 s")??;
                match &publication.rejection {
                    Some(rejection) => return Err(rejected(rejection)),
                    None if publication.faults.is_empty() => Outcome::Live { generation },
                    None => Outcome::Degraded { generation, faults: publication.faults.clone() },
                }
            }
            outcome => outcome,
        };
        match outcome {
            Outcome::Live { .. } => {
                Ok(Trial { admin: Admin::new(&paths.admin), supervisor, _sockets: directory, _stop: stop })
            }
            Outcome::Degraded { faults, .. } => bail!(Refused(faults.iter().map(fault).collect())),
            Outcome::Rejected(rejection) => Err(rejected(&rejection)),
            Outcome::Unchanged | Outcome::Superseded | Outcome::Pending { .. } => {
                bail!("the trial ended without an answer")
            }
        }
    }

    pub async fn end(self) {
        self.supervisor.drain_and_stop().await;
    }
}

// === impl Refused ===

/// Envoy's refusal is a problem of the project; that there was no answer is none.
fn rejected(rejection: &Rejection) -> anyhow::Error {
    match rejection {
        Rejection::Refused { .. } | Rejection::PreviousRefused { .. } => {
            Refused(vec![Diagnostic::new(Code::RefusedByEnvoy, None, rejection.to_string())]).into()
        }
        rejection => anyhow!("the snapshot could not be tried: {rejection}"),
    }
}

/// The API's definition is the place.
fn fault(fault: &Fault) -> Diagnostic {
    let message = format!("Envoy refuses API `{}`: {}", fault.api, fault.envoy_text);
    Diagnostic::new(Code::RefusedByEnvoy, place(&fault.location), message)
}

/// Of `file:line:column`.
fn place(location: &str) -> Option<Place> {
    let mut parts = location.rsplitn(3, ':');
    let (column, line) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Place::point(parts.next()?, LineColumn { line, column }))
}

fn describe(diagnostic: &Diagnostic) -> String {
    let place = diagnostic.place.as_ref().map(|place| format!("\n  --> {place}")).unwrap_or_default();
    format!("error[{}]: {}{place}", diagnostic.code, diagnostic.message)
}

// === impl NoTraffic ===

impl RuleSink for NoTraffic {
    fn load(&self, snapshot: &Snapshot) -> Result<(), String> {
        let nobody = snapshot.assignments.iter().map(|(name, of)| (name.clone(), unknown(name, of)));
        self.0.replace(Arc::new(nobody.collect()));
        Ok(())
    }

    fn retire(&self, _: &Generation) {}
}

impl Probe for NoTraffic {
    fn sees<'a>(&'a self, _: &'a Generation) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(std::future::ready(true))
    }
}

#[cfg(test)]
#[path = "preflight_tests.rs"]
mod tests;
