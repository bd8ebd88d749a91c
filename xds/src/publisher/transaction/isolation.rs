//! Finding the APIs that Envoy refuses, and serving the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use microgw_compiler::snapshot::{ApiKey, ApiSource, Fallback, Fallbacks};
use tokio::task::spawn_blocking;
use tracing::Span;

use super::{Attempt, Served, Standing, Transactions};
use crate::ledger::{Refusal, Settlement};
use crate::publisher::bisection::Bisection;
use crate::publisher::{Reassemble, Rejection};
use crate::status::Fault;

/// Trials whose rules stay: the last one may serve on an Envoy until the next offer has settled.
const TRIALS_KEPT: usize = 2;

impl Transactions {
    /// Offers what serves again, first of all. Then tries the candidate without some of its APIs, until it is known
    /// which are at fault. What remains is on offer, and accepted, when this returns.
    pub(super) async fn isolate(&mut self, attempt: Attempt, refusal: Refusal) -> Result<Attempt, Rejection> {
        let Some(reassemble) = attempt.reassemble else {
            return Err(Rejection::Refused { envoy_text: refusal.text });
        };
        let previous = self.base.as_ref().map_or(&[][..], |base| &base.sources);
        let suspects = suspects(previous, &attempt.next.sources);
        let locations = locations(&attempt.next.sources);
        // Its rules stay for a while, its resources are of no use any more.
        drop(attempt.next);
        self.restore().await?;

        let mut bisection = Bisection::new(suspects, refusal.text);
        let mut accepted: Option<(Arc<Served>, u64)> = None;
        while let Some(fallbacks) = bisection.trial() {
            tracing::info!(in_fallback = fallbacks.len(), "looking for the APIs at fault");
            let trial = self.reassemble(&reassemble, fallbacks).await?;
            self.on_trial.push_back(Arc::clone(&trial.armed));
            let sequence = self.offer(&trial);
            match self.settle(sequence).await {
                Settlement::Acked => {
                    bisection.accepted();
                    accepted = Some((trial, sequence));
                }
                Settlement::Refused(refusal) => bisection.refused(refusal.text),
                Settlement::Silent => return Err(Rejection::Silent),
            }
            while self.on_trial.len() > TRIALS_KEPT {
                self.on_trial.pop_front();
            }
        }

        let faulty = bisection.finish().map_err(|envoy_text| Rejection::Refused { envoy_text })?;
        let (next, sequence) = accepted.ok_or(Rejection::Silent)?;
        let faults: Vec<Fault> = faulty
            .into_iter()
            .map(|faulty| Fault {
                location: locations.get(&faulty.api).cloned().unwrap_or_default(),
                api: faulty.api,
                fallback: faulty.fallback,
                envoy_text: faulty.text,
            })
            .collect();
        let standing = if faults.is_empty() { Standing::Whole } else { Standing::Degraded(faults) };
        if sequence == self.sequence {
            Ok(Attempt { next, sequence, reassemble: None, standing, span: Span::current() })
        } else {
            Ok(self.attempt(next, None, standing))
        }
    }

    async fn restore(&mut self) -> Result<(), Rejection> {
        let Some(base) = self.base.clone() else { return Ok(()) };
        let sequence = self.offer(&base);
        match self.settle(sequence).await {
            Settlement::Acked => Ok(()),
            Settlement::Refused(refusal) => Err(Rejection::PreviousRefused { envoy_text: refusal.text }),
            Settlement::Silent => Err(Rejection::Silent),
        }
    }

    async fn reassemble(&self, reassemble: &Reassemble, fallbacks: Fallbacks) -> Result<Arc<Served>, Rejection> {
        let reassemble = Arc::clone(reassemble);
        let snapshot = spawn_blocking(move || reassemble(&fallbacks))
            .await
            .map_err(|panic| Rejection::Reassembly(panic.to_string()))?
            .map_err(Rejection::Reassembly)?;
        self.arm(snapshot).await
    }
}

/// The APIs whose content is new, and what can stand in for each.
fn suspects(previous: &[ApiSource], next: &[ApiSource]) -> Vec<(ApiKey, Fallback)> {
    let contents: BTreeMap<_, _> = previous.iter().map(|api| (&api.key, &api.content)).collect();
    next.iter()
        .filter_map(|api| match contents.get(&api.key) {
            Some(content) if **content == api.content => None,
            Some(_) => Some((api.key.clone(), Fallback::Previous)),
            None => Some((api.key.clone(), Fallback::Unavailable)),
        })
        .collect()
}

fn locations(sources: &[ApiSource]) -> BTreeMap<ApiKey, String> {
    sources.iter().map(|api| (api.key.clone(), api.location.clone())).collect()
}
