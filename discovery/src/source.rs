//! What all have in common who say where backends are.

use std::sync::Arc;

use tokio::sync::watch;

use crate::health::Health;
use crate::shared::Following;

/// One way of finding out where backends are. What a source says is followed as long as somebody wants it; its places may
/// have names, which [`crate::host`] resolves.
pub(crate) trait Source: Send + Sync {
    fn follow(&self, name: &str) -> Following<Said>;

    fn health(&self) -> &Health;
}

/// What a source says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Nothing so far.
    Pending,
    /// It was asked in vain, and never said anything before.
    Silent,
    /// That it does not know it.
    Missing,
    /// A value that should be a URL.
    Url(Arc<[u8]>),
    /// None: that there is no such service here.
    Places(Arc<[Place]>),
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// From 0; lower ones first.
    pub priority: u32,
    /// Lower-case name, or an IP address without brackets.
    pub host: String,
    pub port: u16,
    /// Share of the requests, against the others' of the same priority. Never 0.
    pub weight: u32,
}

/// Whether it is something else than what was said last is for whoever hears it.
pub(crate) fn tell(told: &watch::Sender<Said>, said: Said) {
    told.send_if_modified(|last| {
        let changed = *last != said;
        *last = said;
        changed
    });
}

// === impl Said ===

impl Said {
    /// What was said last stays; whoever waits for the first word waits no longer.
    pub(crate) fn nothing_new(told: &watch::Sender<Said>) {
        told.send_if_modified(|last| {
            let waiting = *last == Said::Pending;
            if waiting {
                *last = Said::Silent;
            }
            waiting
        });
    }
}
