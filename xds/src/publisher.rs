//! Publishing as a transaction: a candidate is live when every connected Envoy ACKed it and the probe has seen it;
//! otherwise the last good generation keeps serving.

mod bisection;
mod rules;
mod transaction;

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use microgw_compiler::snapshot::{Fallbacks, Generation, Snapshot};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use crate::ledger::{Ledger, unix_now};
use crate::located::{Endpoints, Located};
use crate::offer::{Inconsistent, Offer};
use crate::status::{Fault, Metrics, Publication, State, Status};
use transaction::Transactions;

#[derive(Clone, Debug)]
pub struct Config {
    /// Envoys ask for it by `node.cluster`.
    pub project: String,
    /// Clusters that Envoy's bootstrap defines: snapshots may refer to them.
    pub static_clusters: BTreeSet<Arc<str>>,
    /// An Envoy silent for this long is not waited for; a probe that sees nothing for this long has failed.
    pub publish_timeout: Duration,
    /// How long the rules and clusters of the generation before stay.
    pub retire_after: Duration,
    /// Where backends are that clusters do not name. Known before their snapshot is offered: when its rules are armed at the
    /// latest.
    pub located: Located,
}

/// Where rules are enforced.
pub trait RuleSink: Send + Sync {
    /// Arms the rules beside those of other generations. Called before the snapshot is offered.
    ///
    /// # Errors
    /// Why they cannot be armed: the snapshot is then rejected. [`Self::retire`] follows all the same.
    fn load(&self, snapshot: &Snapshot) -> Result<(), String>;
    /// In the place of [`Self::load`] where they are armed still, though others may have been loaded since.
    fn renew(&self, _generation: &Generation) {}
    /// Called when no connected Envoy refers to the generation any more.
    fn retire(&self, generation: &Generation);
}

/// Looks at the gateway from outside.
pub trait Probe: Send + Sync {
    /// Does every listener answer with the generation now? Asked again until it does; may be dropped at any time.
    fn sees<'a>(&'a self, generation: &'a Generation) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>;
}

/// The candidate's snapshot with some APIs in fallback. May be slow; runs on a thread for blocking work.
pub type Reassemble = Arc<dyn Fn(&Fallbacks) -> Result<Snapshot, String> + Send + Sync>;

pub struct Candidate {
    pub snapshot: Snapshot,
    /// Called only if Envoy refuses the snapshot. `Fallback::Previous` is the content of the generation that is live.
    pub reassemble: Reassemble,
}

/// How a publish ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Live {
        generation: Generation,
    },
    /// Live, with some APIs in fallback. The generation is that of the reassembled snapshot.
    Degraded {
        generation: Generation,
        faults: Vec<Fault>,
    },
    /// The generation that was live before, if any, keeps serving.
    Rejected(Rejection),
    /// No Envoy has accepted it yet; it stays on offer. [`Publisher::subscribe`] tells when it is live.
    Pending {
        generation: Generation,
    },
    /// It is live already.
    Unchanged,
    /// A newer candidate came while this one waited for its turn.
    Superseded,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the snapshot is inconsistent")]
    Inconsistent(#[from] Inconsistent),
    #[error("Envoy refuses it, whatever APIs are left out: {envoy_text}")]
    Refused { envoy_text: String },
    #[error("Envoy refuses the generation that was live before: {envoy_text}")]
    PreviousRefused { envoy_text: String },
    #[error("Envoy accepted it, but the listeners do not answer with it")]
    Unseen,
    #[error("no Envoy answers")]
    Silent,
    #[error("cannot be reassembled without the APIs at fault: {0}")]
    Reassembly(String),
    #[error("its rules cannot be armed: {0}")]
    Rules(String),
    #[error("the publisher is closed")]
    Closed,
}

/// Publishes the snapshots of one project. Cheap to clone; closed when the last clone is dropped.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
    _transactions: Arc<Task>,
}

/// What the transactions, the streams and the handles share.
struct Shared {
    config: Config,
    ledger: Ledger,
    offers: watch::Sender<Option<Arc<Offer>>>,
    publication: watch::Sender<Publication>,
    waiting: Waiting,
}

/// The newest candidate that waits for its turn.
#[derive(Default)]
struct Waiting {
    submission: Mutex<Option<Submission>>,
    arrived: Notify,
}

struct Submission {
    candidate: Candidate,
    outcome: oneshot::Sender<Outcome>,
    /// What it is part of.
    span: tracing::Span,
}

struct Task(JoinHandle<()>);

// === impl Config ===

impl Config {
    /// The defaults: no static clusters, 10 s, 60 s, no backends but those that clusters name.
    pub fn new(project: impl Into<String>) -> Config {
        Config {
            project: project.into(),
            static_clusters: BTreeSet::new(),
            publish_timeout: Duration::from_secs(10),
            retire_after: Duration::from_mins(1),
            located: Located::default(),
        }
    }
}

// === impl Publisher ===

impl Publisher {
    /// `last_live` is what was live before the service restarted: an Envoy that outlived it is answered by its rules,
    /// and a publish that fails falls back to it. Must be called within a tokio runtime.
    pub fn new(
        config: Config,
        rules: Arc<dyn RuleSink>,
        probe: Arc<dyn Probe>,
        last_live: Option<Snapshot>,
    ) -> Publisher {
        let publication = Publication {
            state: State::Starting,
            live: None,
            offered: None,
            since: unix_now(),
            faults: Vec::new(),
            rejection: None,
        };
        let shared = Arc::new(Shared {
            config,
            ledger: Ledger::default(),
            offers: watch::Sender::new(None),
            publication: watch::Sender::new(publication),
            waiting: Waiting::default(),
        });
        let mut transactions = Transactions::new(Arc::clone(&shared), rules, probe);
        if let Some(snapshot) = last_live {
            transactions.resume_with(&snapshot);
        }
        let task = Task(tokio::spawn(transactions.run()));
        Publisher { shared, _transactions: Arc::new(task) }
    }

    pub fn project(&self) -> &str {
        &self.shared.config.project
    }

    /// One publish at a time; of those that wait only the newest is kept.
    pub async fn publish(&self, candidate: Candidate) -> Outcome {
        let (sender, outcome) = oneshot::channel();
        self.shared.waiting.submit(Submission { candidate, outcome: sender, span: tracing::Span::current() });
        outcome.await.unwrap_or(Outcome::Rejected(Rejection::Closed))
    }

    /// Something is live, and an Envoy that is in step is connected.
    pub fn ready(&self) -> bool {
        self.shared.publication.borrow().live.is_some() && self.shared.ledger.has_audience()
    }

    /// Each change of the state of publishing.
    pub fn subscribe(&self) -> watch::Receiver<Publication> {
        self.shared.publication.subscribe()
    }

    pub fn status(&self) -> Status {
        Status {
            project: self.project().to_owned(),
            ready: self.ready(),
            publication: self.shared.publication.borrow().clone(),
            envoys: self.shared.ledger.envoys(),
            metrics: self.metrics(),
        }
    }

    pub fn metrics(&self) -> Metrics {
        self.shared.ledger.metrics()
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    pub(crate) fn offers(&self) -> watch::Receiver<Option<Arc<Offer>>> {
        self.shared.offers.subscribe()
    }

    pub(crate) fn endpoints(&self) -> watch::Receiver<Arc<Endpoints>> {
        self.shared.config.located.subscribe()
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("project", &self.project()).finish_non_exhaustive()
    }
}

// === impl Waiting ===

impl Waiting {
    fn submit(&self, submission: Submission) {
        let superseded = self.submission.lock().unwrap_or_else(PoisonError::into_inner).replace(submission);
        self.arrived.notify_one();
        if let Some(superseded) = superseded {
            // Whoever published it may not wait for the outcome.
            let _ = superseded.outcome.send(Outcome::Superseded);
        }
    }

    async fn next(&self) -> Submission {
        loop {
            if let Some(submission) = self.submission.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return submission;
            }
            self.arrived.notified().await;
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
