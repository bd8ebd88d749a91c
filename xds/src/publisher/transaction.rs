//! The one task that decides what is offered. Rules first, then the offer, then Envoys' answers, then the probe.

mod isolation;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use microgw_compiler::snapshot::{ApiSource, Generation, ResourceType, Resources, Snapshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{Instrument as _, Span};

use super::rules::{Armed, Armory};
use super::{Candidate, Outcome, Probe, Reassemble, Rejection, RuleSink, Shared};
use crate::ledger::{Refusal, Settlement, unix_now};
use crate::offer::{Offer, check};
use crate::status::{Fault, State};

/// Between two looks at the gateway.
const PROBE_INTERVAL: Duration = Duration::from_millis(10);
/// An Envoy that never catches up would keep every generation alive: the oldest goes when there are more than these.
const MAX_RETIRING: usize = 8;

pub(super) struct Transactions {
    shared: Arc<Shared>,
    armory: Arc<Armory>,
    probe: Arc<dyn Probe>,
    /// Of the last offer.
    sequence: u64,
    /// What a failed publish falls back to: what is live, or was before the service restarted.
    base: Option<Arc<Served>>,
    /// Offered, and not accepted by any Envoy yet.
    pending: Option<Attempt>,
    /// Oldest first.
    retiring: VecDeque<Retiring>,
    /// Rules of the last trials of [`isolation`].
    on_trial: VecDeque<Arc<Armed>>,
}

/// A snapshot whose rules are armed. The rule book itself is not kept.
struct Served {
    generation: Generation,
    resources: Resources,
    sources: Vec<ApiSource>,
    armed: Arc<Armed>,
}

/// A snapshot on its way to be live.
struct Attempt {
    next: Arc<Served>,
    /// Of its last offer.
    sequence: u64,
    reassemble: Option<Reassemble>,
    standing: Standing,
    /// What it is part of.
    span: Span,
}

/// What it means when an attempt is live.
enum Standing {
    Whole,
    Degraded(Vec<Fault>),
    /// It stands in for a candidate that was rejected for this reason.
    InPlaceOf(Rejection),
}

/// What the generation before still needs: requests under way refer to it, and so may Envoys that are behind.
struct Retiring {
    since: Instant,
    _armed: Arc<Armed>,
    /// Clusters and secrets.
    resources: Resources,
}

enum Sight {
    Seen,
    Unseen,
    /// No Envoy accepted it yet.
    Silent,
    Refused(Refusal),
}

// === impl Transactions ===

impl Transactions {
    pub(super) fn new(shared: Arc<Shared>, rules: Arc<dyn RuleSink>, probe: Arc<dyn Probe>) -> Transactions {
        Transactions {
            shared,
            armory: Arc::new(Armory::new(rules)),
            probe,
            sequence: 0,
            base: None,
            pending: None,
            retiring: VecDeque::new(),
            on_trial: VecDeque::new(),
        }
    }

    /// Offers what was live before the service restarted. It is live again when an Envoy holds it.
    pub(super) fn resume_with(&mut self, snapshot: &Snapshot) {
        if let Err(error) = check(&snapshot.resources, &self.shared.config.static_clusters) {
            tracing::error!(%error, generation = %snapshot.generation, "the last live snapshot is not served");
            return;
        }
        let served = match Served::new(snapshot, &self.armory) {
            Ok(served) => Arc::new(served),
            Err(error) => {
                tracing::error!(%error, generation = %snapshot.generation, "the last live snapshot is not served");
                return;
            }
        };
        if let Err(error) = self.shared.config.located.check(&served.resources) {
            tracing::error!(%error, generation = %snapshot.generation, "the last live snapshot is not served");
            return;
        }
        self.base = Some(Arc::clone(&served));
        self.pending = Some(self.attempt(served, None, Standing::Whole));
    }

    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                submission = self.shared.waiting.next() => {
                    let outcome = self.publish(submission.candidate).instrument(submission.span).await;
                    // Whoever published it may not wait for the outcome.
                    let _ = submission.outcome.send(outcome);
                }
                () = self.audience() => {
                    if let Some(attempt) = self.pending.take() {
                        let span = attempt.span.clone();
                        self.conclude(attempt).instrument(span).await;
                    }
                }
                () = self.retirement() => self.retire(),
            }
        }
    }

    async fn publish(&mut self, candidate: Candidate) -> Outcome {
        if self.is_live(&candidate.snapshot) {
            if self.withdraw() {
                self.offer_again();
            }
            let degraded = !self.shared.publication.borrow().faults.is_empty();
            self.announce(if degraded { State::Degraded } else { State::Live }, None);
            return Outcome::Unchanged;
        }
        let next = match self.arm(candidate.snapshot).await {
            Ok(next) => next,
            Err(rejection) => return self.refuse(rejection), // never offered: nothing to take back
        };
        self.withdraw();
        let attempt = self.attempt(next, Some(candidate.reassemble), Standing::Whole);
        self.announce(State::Publishing, None);
        self.conclude(attempt).await
    }

    /// Drops what is pending, if anything is.
    fn withdraw(&mut self) -> bool {
        let Some(Attempt { next, .. }) = self.pending.take() else { return false };
        if !self.is_base(&next) {
            self.retire_later(&next, true);
        }
        true
    }

    fn is_base(&self, served: &Arc<Served>) -> bool {
        self.base.as_ref().is_some_and(|base| Arc::ptr_eq(base, served))
    }

    /// Same generation and same resources: a secret can change without the generation.
    fn is_live(&self, snapshot: &Snapshot) -> bool {
        let live = self.shared.publication.borrow().live.clone();
        live.as_ref() == Some(&snapshot.generation)
            && self.base.as_ref().is_some_and(|base| base.resources == snapshot.resources)
    }

    async fn arm(&self, snapshot: Snapshot) -> Result<Arc<Served>, Rejection> {
        check(&snapshot.resources, &self.shared.config.static_clusters)?;
        let armory = Arc::clone(&self.armory);
        let span = tracing::info_span!("arm", generation = %snapshot.generation);
        let armed = spawn_blocking(move || span.in_scope(|| Served::new(&snapshot, &armory))).await;
        let served = armed.map_err(|panic| Rejection::Rules(panic.to_string()))??;
        self.shared.config.located.check(&served.resources)?;
        Ok(Arc::new(served))
    }

    fn attempt(&mut self, next: Arc<Served>, reassemble: Option<Reassemble>, standing: Standing) -> Attempt {
        let sequence = self.offer(&next);
        Attempt { next, sequence, reassemble, standing, span: Span::current() }
    }

    /// The snapshot's resources, and the clusters and secrets that Envoys may still use.
    fn offer(&mut self, served: &Served) -> u64 {
        let mut resources = Resources::new();
        let base = self.base.iter().map(|base| &base.resources);
        for kept in self.retiring.iter().map(|retiring| &retiring.resources).chain(base) {
            merge(&mut resources, &supporting(kept));
        }
        merge(&mut resources, &served.resources);
        self.sequence += 1;
        let offer = Offer::new(self.sequence, served.generation.clone(), resources);
        self.shared.offers.send_replace(Some(Arc::new(offer)));
        self.shared.publication.send_modify(|publication| publication.offered = Some(served.generation.clone()));
        self.sequence
    }

    async fn settle(&self, sequence: u64) -> Settlement {
        let span = tracing::info_span!("settle", sequence);
        self.shared.ledger.settle(sequence, self.shared.config.publish_timeout).instrument(span).await
    }

    async fn conclude(&mut self, mut attempt: Attempt) -> Outcome {
        loop {
            let is_base = self.is_base(&attempt.next);
            match self.sight(&attempt).await {
                Sight::Seen => return self.go_live(attempt),
                // With nothing to go back to, or no Envoy to look at, it may still be seen later.
                Sight::Unseen if self.base.is_some() && !is_base && self.shared.ledger.has_audience() => {
                    self.retire_later(&attempt.next, true);
                    return self.reject(Rejection::Unseen).await;
                }
                Sight::Unseen | Sight::Silent => {
                    let generation = attempt.next.generation.clone();
                    self.pending = Some(attempt);
                    return Outcome::Pending { generation };
                }
                Sight::Refused(Refusal { text, .. }) if is_base => {
                    return self.refuse(Rejection::PreviousRefused { envoy_text: text });
                }
                Sight::Refused(refusal) => {
                    self.retire_later(&attempt.next, false);
                    match self.isolate(attempt, refusal).await {
                        Ok(without_faults) => attempt = without_faults,
                        Err(rejection) => return self.reject(rejection).await,
                    }
                }
            }
        }
    }

    async fn sight(&self, attempt: &Attempt) -> Sight {
        match self.settle(attempt.sequence).await {
            Settlement::Acked => {}
            Settlement::Silent => return Sight::Silent,
            Settlement::Refused(refusal) => return Sight::Refused(refusal),
        }
        let generation = &attempt.next.generation;
        let seen = async {
            while !self.probe.sees(generation).await {
                sleep(PROBE_INTERVAL).await;
            }
        };
        tokio::select! {
            biased;
            refusal = self.shared.ledger.refusal(attempt.sequence) => Sight::Refused(refusal),
            seen = timeout(self.shared.config.publish_timeout, seen.instrument(tracing::info_span!("probe"))) => {
                if seen.is_err() {
                    tracing::error!(%generation, "Envoy accepted it, but the listeners do not answer with it");
                }
                seen.map_or(Sight::Unseen, |()| Sight::Seen)
            }
        }
    }

    fn go_live(&mut self, attempt: Attempt) -> Outcome {
        let Attempt { next, standing, .. } = attempt;
        let generation = next.generation.clone();
        if !self.is_base(&next)
            && let Some(previous) = self.base.replace(next)
        {
            self.retire_later(&previous, true);
        }
        self.on_trial.clear();
        self.shared.publication.send_modify(|publication| {
            publication.live = Some(generation.clone());
            match &standing {
                Standing::Whole => publication.faults.clear(),
                Standing::Degraded(faults) => publication.faults.clone_from(faults),
                Standing::InPlaceOf(_) => {}
            }
        });
        tracing::info!(%generation, "live");
        match standing {
            Standing::Whole => {
                self.announce(State::Live, None);
                Outcome::Live { generation }
            }
            Standing::Degraded(faults) => {
                for fault in &faults {
                    tracing::error!(api = %fault.api, location = fault.location, reason = ?fault.envoy_text, "in fallback");
                }
                self.announce(State::Degraded, None);
                Outcome::Degraded { generation, faults }
            }
            Standing::InPlaceOf(rejected) => {
                self.announce(State::Rejected, Some(rejected));
                Outcome::Live { generation }
            }
        }
    }

    /// Says no, and goes back to what served before.
    async fn reject(&mut self, rejection: Rejection) -> Outcome {
        let outcome = self.refuse(rejection.clone());
        let live = self.shared.publication.borrow().live.is_some();
        if let Some(base) = self.base.clone() {
            let attempt = self.attempt(base, None, Standing::InPlaceOf(rejection));
            let acked = self.settle(attempt.sequence).await == Settlement::Acked;
            if !(live && acked) {
                self.pending = Some(attempt);
            }
        } else {
            self.shared.offers.send_replace(None);
            self.shared.publication.send_modify(|publication| publication.offered = None);
        }
        self.on_trial.clear();
        outcome
    }

    fn refuse(&self, rejection: Rejection) -> Outcome {
        tracing::error!(reason = ?rejection.to_string(), "rejected");
        self.announce(State::Rejected, Some(rejection.clone()));
        Outcome::Rejected(rejection)
    }

    fn announce(&self, state: State, rejection: Option<Rejection>) {
        self.shared.publication.send_modify(|publication| {
            publication.state = state;
            publication.since = unix_now();
            publication.rejection = rejection;
        });
    }

    /// Completes when what is pending can be concluded.
    async fn audience(&self) {
        match &self.pending {
            Some(attempt) => self.shared.ledger.audience(attempt.sequence).await,
            None => std::future::pending().await,
        }
    }
}

// === retiring ===

impl Transactions {
    /// `with_clusters` unless Envoy refused them.
    fn retire_later(&mut self, served: &Served, with_clusters: bool) {
        let resources = if with_clusters { supporting(&served.resources) } else { Resources::new() };
        self.retiring.push_back(Retiring { since: Instant::now(), _armed: Arc::clone(&served.armed), resources });
        if self.retiring.len() > MAX_RETIRING {
            tracing::warn!("an Envoy does not catch up; the oldest generation is retired all the same");
            self.retiring.pop_front();
        }
    }

    /// Completes when the oldest may go: its time is up, and no connected Envoy is behind.
    async fn retirement(&self) {
        match self.retiring.front() {
            Some(oldest) => {
                sleep_until(oldest.since + self.shared.config.retire_after).await;
                self.shared.ledger.all_hold(self.sequence).await;
            }
            None => std::future::pending().await,
        }
    }

    fn retire(&mut self) {
        self.retiring.pop_front();
        self.offer_again();
    }

    /// The same, without what has been retired or withdrawn.
    fn offer_again(&mut self) {
        if let Some(mut attempt) = self.pending.take() {
            attempt.sequence = self.offer(&attempt.next);
            self.pending = Some(attempt);
        } else if let Some(base) = self.base.clone() {
            self.offer(&base);
        }
    }
}

impl Served {
    fn new(snapshot: &Snapshot, armory: &Armory) -> Result<Served, Rejection> {
        Ok(Served {
            generation: snapshot.generation.clone(),
            resources: snapshot.resources.clone(),
            sources: snapshot.sources.clone(),
            armed: armory.arm(snapshot)?,
        })
    }
}

/// What listeners and routes refer to.
fn supporting(resources: &Resources) -> Resources {
    let kinds = [ResourceType::Cluster, ResourceType::Secret];
    kinds.into_iter().filter_map(|kind| resources.get(&kind).map(|named| (kind, named.clone()))).collect()
}

fn merge(into: &mut Resources, from: &Resources) {
    for (kind, named) in from {
        into.entry(*kind).or_default().extend(named.iter().map(|(name, resource)| (name.clone(), resource.clone())));
    }
}
