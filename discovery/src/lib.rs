//! Where backends are: what is looked up is followed for as long as it is wanted, and told whenever it changes.
//!
//! ```text
//! follow(wanted) ── target ──┬── source: etcd, srv, consul ── places (hosts and ports)
//!                            └── host: each place's name ──── addresses ── board ── found()
//! ```
//!
//! What was found stays when whoever said it is gone. What servers answer is bounded and never trusted to make sense.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod backoff;
mod board;
mod consul;
mod dns;
mod etcd;
mod health;
mod host;
mod settings;
mod shared;
mod source;
mod srv;
mod target;
mod tls;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use microgw_compiler::model::{BackendUrl, Lookup};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use board::Finds;
pub use health::{SourceKind, SourceStatus};
pub use settings::{Consul, Dns, Etcd, Family, Settings, Tls};

use board::Board;
use shared::Task;
use target::Sources;

/// What is looked up, and what is used until an answer comes.
pub type Wanted = (Lookup, BackendUrl);

/// Everybody who is asked where backends are. Ends with its last clone.
#[derive(Clone)]
pub struct Discovery {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Handle,
    sources: Arc<Sources>,
    board: Arc<Board>,
    followed: Mutex<BTreeMap<Wanted, Task>>,
    _publisher: Task,
}

// === impl Discovery ===

impl Discovery {
    /// On the runtime that it is called on. Asks nobody before something is wanted.
    pub fn start(settings: &Settings) -> Discovery {
        let runtime = Handle::current();
        let board = Arc::new(Board::default());
        let publisher = Task::spawn(&runtime, Board::publish(board.clone()));
        let sources = Arc::new(Sources::new(settings, &runtime));
        Discovery {
            inner: Arc::new(Inner { runtime, sources, board, followed: Mutex::default(), _publisher: publisher }),
        }
    }

    /// All that is wanted from now on. What was wanted before and is not any more is forgotten, and nobody is asked about it.
    pub fn follow(&self, wanted: impl IntoIterator<Item = Wanted>) {
        let wanted: BTreeSet<Wanted> = wanted.into_iter().collect();
        let Inner { runtime, sources, board, followed, .. } = &*self.inner;
        let mut followed = followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.retain(|target, _| wanted.contains(target));
        board.retain(&wanted);
        sources.wanted(wanted.iter().map(|(lookup, _)| lookup));
        for target in wanted {
            followed.entry(target).or_insert_with_key(|target| {
                Task::spawn(runtime, target::follow(target.clone(), sources.clone(), board.clone()))
            });
        }
    }

    /// Every target has an answer, or its source has failed to give one. `false`: not in time.
    pub async fn settled(&self, at_most: Duration) -> bool {
        let mut waiting = self.inner.board.waiting();
        let settled = waiting.wait_for(|waiting| *waiting == 0);
        matches!(tokio::time::timeout(at_most, settled).await, Ok(Ok(_)))
    }

    /// What was found last, and whenever that changes. Targets that nothing was found for are not in it.
    pub fn found(&self) -> watch::Receiver<Arc<Finds>> {
        self.inner.board.found()
    }

    /// Of each source that is, or was, asked.
    pub fn status(&self) -> Vec<SourceStatus> {
        self.inner.sources.status()
    }
}
