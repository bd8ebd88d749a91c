//! Which application may call what: a bounded store, and the loaders that fill it.
//!
//! ```text
//! file ──────────> Tables (records by id, each with its time) ──> Index (by client and API) ──> of(client, api)
//! Redis ── events ──^
//! ```
//!
//! Records are API Manager's: `apis`, `applications`, `subscriptions` and `application-key-mappings`, as its event hub lists
//! them. An event counts only if no later one about the same record has been seen: two that come in the wrong order leave
//! what the later one says.

mod file;
mod index;
mod redis;
mod tables;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use microgw_engine::{Api, Subscribed};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::metrics::families;
use crate::metrics::{Metrics, Reading, Value};
pub use file::FromFile;
use index::Index;
pub use redis::FromRedis;
pub use tables::{Change, RecordError, Table, Tables};

/// Fills a store and keeps it true. Another feed than those that are here is another of these.
pub trait Loader: Send + 'static {
    /// Ends when nobody uses the store any more.
    fn load(self, store: Arc<Subscriptions>) -> impl Future<Output = ()> + Send;
}

/// What is known of subscriptions.
pub struct Subscriptions {
    most: usize,
    tables: Mutex<Tables>,
    full: AtomicBool,
    /// `None`: they have not been loaded, or there is no room for them.
    index: ArcSwapOption<Index>,
}

// === impl Subscriptions ===

impl Subscriptions {
    /// Of `most` records together. Nothing is known until a loader has filled it.
    pub fn new(most: usize, metrics: &Metrics) -> Arc<Subscriptions> {
        let store = Arc::new(Subscriptions {
            most,
            tables: Mutex::default(),
            full: AtomicBool::new(false),
            index: ArcSwapOption::empty(),
        });
        metrics.show_subscriptions(&store);
        store
    }

    /// Has a loader fill it, on the current runtime.
    pub fn fill(self: &Arc<Self>, loader: impl Loader) {
        tokio::spawn(loader.load(Arc::clone(self)));
    }

    /// What the client's application may do.
    pub fn of(&self, client: &str, api: &Api) -> Subscribed {
        match &*self.index.load() {
            None => Subscribed::Unavailable,
            Some(index) => index.of(client, api),
        }
    }

    /// Everything that there is: what was known before is forgotten.
    pub fn replace(&self, tables: Tables) {
        let mut own = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        *own = tables;
        self.show(&own);
    }

    /// Everything that there is, as far as no later news are known.
    pub fn merge(&self, tables: Tables) {
        let mut own = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        own.merge(tables);
        self.show(&own);
    }

    /// What has changed since.
    pub fn apply(&self, changes: Vec<Change>) {
        let mut own = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = false;
        for change in changes {
            changed |= own.apply(change);
        }
        if changed {
            self.show(&own);
        }
    }

    /// How many a reader need not take in to know that it is too much.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Waits until it is loaded, but no longer than `patience`.
    pub async fn settle(&self, patience: Duration) {
        let end = Instant::now() + patience;
        while self.index.load().is_none() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn show(&self, tables: &Tables) {
        let full = tables.len() > self.most;
        if self.full.swap(full, Ordering::AcqRel) != full && full {
            tracing::error!("there is more than `subscriptions.maxEntries`: nobody is let in who must be subscribed");
        }
        self.index.store((!full).then(|| Arc::new(Index::of_tables(tables))));
    }
}

impl std::fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriptions").field("most", &self.most).finish_non_exhaustive()
    }
}

/// On the page of metrics.
#[derive(Debug)]
pub(crate) struct Shown(pub(crate) Arc<Subscriptions>);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Shown(store) = self;
        let loaded = u64::from(store.index.load().is_some());
        let records = store.tables.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        Reading::of(&families::SUBSCRIPTIONS_LOADED, Value::Integer(loaded)).encode(&mut encoder)?;
        Reading::of(&families::SUBSCRIPTION_RECORDS, Value::Integer(records)).encode(&mut encoder)
    }
}

#[cfg(test)]
mod tests;
