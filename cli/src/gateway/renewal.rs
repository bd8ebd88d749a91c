//! Certificates that change while the gateway runs: offered without draining anything, or refused and left as they were.

use std::sync::{Arc, PoisonError};

use micro_gw::certificates::{Certificates, Changes, Watch};
use microgw_xds::Outcome;

use super::Gateway;
use super::last_live::Loaded;
use super::publishing::Publishing;

// === impl Gateway ===

impl Gateway {
    pub(super) fn watch_certificates(&self) -> Watch {
        Watch::new(self.certificates.lock().unwrap_or_else(PoisonError::into_inner).files())
    }

    /// Reads the files again, and serves `latest` with what is in them now. Where nothing is served yet, it will be.
    pub(super) async fn renew(&self, latest: Option<Arc<Loaded>>) {
        let Some(changes) = self.with_certificates(Certificates::reload).await else { return };
        let Changes { settings, services, signers, remote, backend_signer, counters } = changes;
        if services || backend_signer || counters || !signers.is_empty() {
            let certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
            if services {
                self.services.trust(&certificates);
            }
            if counters {
                self.services.count_with(&certificates);
            }
            if backend_signer {
                self.services.sign_with(&certificates);
            }
            for source in &signers {
                self.services.replace_keys(source, &certificates);
            }
        }
        if remote && let Some(served) = &self.remote {
            served.renew(&self.certificates.lock().unwrap_or_else(PoisonError::into_inner));
        }
        if !settings {
            return;
        }
        let config = self.config.clone();
        let Some(settings) = self.with_certificates(move |certificates| certificates.settings(&config)).await else {
            return;
        };
        let settings = Arc::new(settings);
        let outcome = match latest {
            Some(latest) => {
                let publishing = Publishing::begin(self.services.metrics());
                Some(self.publish(latest, settings.clone(), publishing).await)
            }
            None => None,
        };
        let mut certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Outcome::Rejected(rejection)) = &outcome {
            certificates.refused(&rejection.to_string());
        } else {
            certificates.accepted();
            self.settings.store(settings);
        }
    }

    /// Away from the threads that answer: files are read, and keys checked.
    async fn with_certificates<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Certificates) -> T + Send + 'static,
    ) -> Option<T> {
        let certificates = self.certificates.clone();
        let work = move || work(&mut certificates.lock().unwrap_or_else(PoisonError::into_inner));
        let done = tokio::task::spawn_blocking(work).await;
        done.inspect_err(|error| tracing::error!(%error, "reading certificates failed")).ok()
    }
}
