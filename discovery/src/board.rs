//! What was found, for those who wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use microgw_compiler::snapshot::Found;
use tokio::sync::{Notify, watch};

use crate::Wanted;

/// Targets that nothing was found for are not in it.
pub type Finds = BTreeMap<Wanted, Found>;

/// Many changes at once are told together.
const GATHER: Duration = Duration::from_millis(20);

pub(crate) struct Board {
    state: Mutex<State>,
    changed: Notify,
    found: watch::Sender<Arc<Finds>>,
    /// Targets that have neither an answer nor failed to get one.
    waiting: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    found: Finds,
    waiting: BTreeSet<Wanted>,
    settled: BTreeSet<Wanted>,
}

// === impl Board ===

impl Default for Board {
    fn default() -> Board {
        let (found, waiting) = (watch::Sender::default(), watch::Sender::default());
        Board { state: Mutex::default(), changed: Notify::new(), found, waiting }
    }
}

impl Board {
    pub(crate) fn found(&self) -> watch::Receiver<Arc<Finds>> {
        self.found.subscribe()
    }

    pub(crate) fn waiting(&self) -> watch::Receiver<usize> {
        self.waiting.subscribe()
    }

    /// `None`: nothing, and nothing was known before.
    pub(crate) fn put(&self, target: &Wanted, found: Option<Found>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is not wanted any more may still be about to end.
        let known = state.waiting.remove(target) || state.settled.contains(target);
        if !known {
            return;
        }
        state.settled.insert(target.clone());
        if let Some(found) = found {
            state.found.insert(target.clone(), found);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// What is used while a source is waited for: it may be better than nothing, and settles nothing.
    pub(crate) fn put_early(&self, target: &Wanted, found: Found) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.waiting.contains(target) || state.settled.contains(target) {
            state.found.insert(target.clone(), found);
        }
        drop(state);
        self.changed.notify_one();
    }

    pub(crate) fn retain(&self, wanted: &BTreeSet<Wanted>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.found.retain(|target, _| wanted.contains(target));
        state.settled.retain(|target| wanted.contains(target));
        let waiting = wanted.difference(&state.settled).cloned().collect();
        state.waiting = waiting;
        // At once: whoever asks next whether all is settled asks about these.
        self.waiting.send_replace(state.waiting.len());
        drop(state);
        self.changed.notify_one();
    }

    pub(crate) async fn publish(board: Arc<Board>) {
        loop {
            board.changed.notified().await;
            let (found, waiting) = {
                let state = board.state.lock().unwrap_or_else(PoisonError::into_inner);
                (state.found.clone(), state.waiting.len())
            };
            board.found.send_if_modified(|last| {
                let changed = **last != found;
                if changed {
                    *last = Arc::new(found);
                }
                changed
            });
            // After what was found: whoever learns that all is settled finds it.
            board.waiting.send_if_modified(|last| std::mem::replace(last, waiting) != waiting);
            tokio::time::sleep(GATHER).await;
        }
    }
}
