//! How sources are doing: what `/status` and metrics tell, and what is logged of it.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    Dns,
    Srv,
    Etcd,
    Consul,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    pub source: SourceKind,
    /// Targets that are looked up there; a name of DNS that another source names is not counted.
    pub targets: usize,
    /// What it was asked last was answered. Before it was asked anything: `true`.
    pub reachable: bool,
    pub last_success: Option<SystemTime>,
    /// Questions without an answer.
    pub failures: u64,
    /// Answers that could not be used.
    pub refused: u64,
    /// Why the last one failed. Never what an answer said.
    pub last_error: Option<String>,
}

/// Kept by a source.
pub(crate) struct Health {
    kind: SourceKind,
    state: Mutex<State>,
}

struct State {
    status: SourceStatus,
    failed: Spoken,
    refused: Spoken,
}

/// When it was last said.
#[derive(Default)]
struct Spoken(Option<Instant>);

/// Between two lines of one kind in the log.
const SELDOM: Duration = Duration::from_secs(5);
const MAX_ERROR: usize = 200;

// === impl SourceKind ===

impl SourceKind {
    pub fn as_str(self) -> &'static str {
        match self {
            SourceKind::Dns => "dns",
            SourceKind::Srv => "srv",
            SourceKind::Etcd => "etcd",
            SourceKind::Consul => "consul",
        }
    }
}

// === impl Health ===

impl Health {
    pub(crate) fn new(kind: SourceKind) -> Health {
        let status = SourceStatus {
            source: kind,
            targets: 0,
            reachable: true,
            last_success: None,
            failures: 0,
            refused: 0,
            last_error: None,
        };
        Health { kind, state: Mutex::new(State { status, failed: Spoken::default(), refused: Spoken::default() }) }
    }

    pub(crate) fn status(&self) -> SourceStatus {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).status.clone()
    }

    pub(crate) fn wanted(&self, targets: usize) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).status.targets = targets;
    }

    pub(crate) fn succeeded(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let back = !std::mem::replace(&mut state.status.reachable, true);
        state.status.last_success = Some(SystemTime::now());
        state.status.last_error = None;
        drop(state);
        if back {
            tracing::info!(source = self.kind.as_str(), "discovery answers again");
        }
    }

    /// Nobody says where it is: as if it never answered, and that is said once for each name.
    pub(crate) fn unconfigured(&self, name: &str) {
        let source = self.kind.as_str();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.status.reachable = false;
        state.status.last_error = Some("it is not configured: default URLs are used".to_owned());
        drop(state);
        tracing::warn!(source, name, "discovery is not configured: the default URL is used");
    }

    /// `name`: what was asked about.
    pub(crate) fn failed(&self, name: &str, error: &dyn std::fmt::Display) {
        let error = bounded(&error.to_string());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.status.reachable = false;
        state.status.failures += 1;
        state.status.last_error = Some(error.clone());
        let say = state.failed.again();
        drop(state);
        if say {
            let source = self.kind.as_str();
            tracing::warn!(source, name, %error, "discovery has no answer: what was known last is used");
        }
    }

    /// The answer is not shown: it could be a secret in the wrong place.
    pub(crate) fn refused(&self, name: &str, reason: &dyn std::fmt::Display) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.status.refused += 1;
        let say = state.refused.again();
        drop(state);
        if say {
            let source = self.kind.as_str();
            tracing::warn!(source, name, %reason, "discovery: an answer is refused, and what was known last is used");
        }
    }
}

// === impl Spoken ===

impl Spoken {
    fn again(&mut self) -> bool {
        let again = self.0.is_none_or(|last| last.elapsed() >= SELDOM);
        if again {
            self.0 = Some(Instant::now());
        }
        again
    }
}

/// One line of it, and not too long.
fn bounded(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_ERROR).collect()
}
