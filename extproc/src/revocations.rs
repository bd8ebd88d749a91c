//! What was revoked: a bounded memory, and the feeds that fill it.
//!
//! ```text
//! file ────> Listed (replaced whole) ─┐
//! stream ──> Told   (grows)          ─┴─> standing(names): good, revoked, or unknown
//! ```
//!
//! Each feed has a clock: what it says counts until [`STALE`] after it was last known to be complete.

mod entry;
mod file;
mod stream;
mod told;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use microgw_engine::{RevocationName, Standing};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::clock::now;
use crate::metrics::families;
use crate::metrics::{Metrics, Reading, Value};
use crate::redis::Redis;
pub use entry::{Entry, EntryError, Hex};
pub use file::{FileError, add_to_file};
pub use stream::{AnnounceError, announce};
use told::Told;

/// A feed that was not complete for this long is no longer believed.
pub const STALE: Duration = Duration::from_secs(5);
/// Seconds that an entry outlives its own end: tokens are accepted for as long, as `server.timestampSkew` may have it.
const MARGIN: u64 = 600;
/// Between two looks for entries that have ended.
const SWEEP: Duration = Duration::from_secs(10);

/// How revocations are heard of and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationSettings {
    /// Entries of both feeds together.
    pub most: usize,
    /// How long an entry is kept that has no end of its own. `None`: for good.
    pub keep: Option<Duration>,
    /// While a feed is stale: let those in who are not known to be revoked.
    pub allow_stale: bool,
    pub file: Option<PathBuf>,
    /// Redis tells, too.
    pub stream: bool,
}

/// What was revoked, as far as it is known.
#[derive(Debug)]
pub struct Revocations {
    settings: RevocationSettings,
    listed: ArcSwap<Ends>,
    told: Told,
    file: Option<Feed>,
    stream: Option<Feed>,
}

/// When each may be forgotten, in seconds since 1970.
type Ends = HashMap<RevocationName, u64>;

/// One source, and how far it can be trusted.
#[derive(Debug)]
struct Feed {
    name: &'static str,
    started: Instant,
    /// Milliseconds since `started` at which all that had been said was known, and 1 more. 0: never.
    complete: AtomicU64,
    /// There was no room for all of it.
    full: AtomicBool,
}

// === impl Revocations ===

impl Revocations {
    /// Nothing is known until feeds have been heard: see [`Self::follow_file`].
    pub fn new(settings: RevocationSettings, metrics: &Metrics) -> Arc<Revocations> {
        let revocations = Arc::new(Revocations::silent(settings));
        metrics.show_revocations(&revocations);
        revocations
    }

    fn silent(settings: RevocationSettings) -> Revocations {
        Revocations {
            listed: ArcSwap::default(),
            told: Told::default(),
            file: settings.file.is_some().then(|| Feed::new("file")),
            stream: settings.stream.then(|| Feed::new("redis")),
            settings,
        }
    }

    /// Of a credential with these names. What is known to be revoked is so however old the news are.
    pub fn standing(&self, names: &[RevocationName]) -> Standing {
        let listed = self.listed.load();
        if names.iter().any(|name| listed.contains_key(name) || self.told.contains(*name)) {
            return Standing::Revoked;
        }
        let mut feeds = self.feeds();
        let unknown = feeds.any(|feed| feed.is_full() || (!self.settings.allow_stale && feed.lag() >= STALE));
        if unknown { Standing::Unknown } else { Standing::Good }
    }

    /// Whether every feed has been heard whole at least once.
    pub fn is_complete(&self) -> bool {
        self.feeds().all(|feed| feed.complete.load(Ordering::Acquire) != 0)
    }

    /// Waits for that, but no longer than `patience`: who is down shall not keep others from starting.
    pub async fn settle(&self, patience: Duration) {
        let end = Instant::now() + patience;
        while !self.is_complete() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Reads the file, and again whenever it is another. On the current runtime, for as long as `self` is used.
    pub fn follow_file(self: &Arc<Self>) {
        if let (Some(path), Some(_)) = (&self.settings.file, &self.file) {
            tokio::spawn(file::follow(path.clone(), Arc::downgrade(self)));
        }
    }

    /// Listens to Redis. As above.
    pub fn follow_stream(self: &Arc<Self>, redis: Arc<Redis>) {
        tokio::spawn(stream::follow(redis, Arc::downgrade(self)));
    }

    /// Forgets what has ended, for as long as `self` is used.
    pub fn sweep(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(revocations) = weak.upgrade() {
                revocations.forget(now().0);
                drop(revocations);
                tokio::time::sleep(SWEEP).await;
            }
        });
    }

    fn forget(&self, now: u64) {
        self.told.retain(|end| end > now);
        if self.listed.load().values().any(|end| *end <= now) {
            self.listed.rcu(|listed| {
                listed.iter().filter(|(_, end)| **end > now).map(|(name, end)| (*name, *end)).collect::<Ends>()
            });
        }
    }

    /// When the entry may be forgotten. `None`: it can be already.
    fn end(&self, entry: &Entry, now: u64) -> Option<u64> {
        let end = match (entry.end, self.settings.keep) {
            (Some(end), _) => end.saturating_add(MARGIN),
            (None, Some(keep)) => now.saturating_add(keep.as_secs()),
            (None, None) => u64::MAX,
        };
        (end > now).then_some(end)
    }

    /// From the stream. `false`: there is no room for it.
    fn take_in(&self, entry: &Entry) -> bool {
        let room = self.settings.most.saturating_sub(self.listed.load().len());
        self.end(entry, now().0).is_none_or(|end| self.told.insert(entry.name, end, room))
    }

    fn len(&self) -> usize {
        self.listed.load().len() + self.told.len()
    }

    fn feeds(&self) -> impl Iterator<Item = &Feed> {
        self.file.iter().chain(&self.stream)
    }
}

// === impl Feed ===

impl Feed {
    fn new(name: &'static str) -> Feed {
        Feed { name, started: Instant::now(), complete: AtomicU64::new(0), full: AtomicBool::new(false) }
    }

    /// All that had been said at `instant` is known.
    fn complete_at(&self, instant: Instant) {
        let since = instant.saturating_duration_since(self.started).as_millis();
        self.complete.fetch_max(u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1), Ordering::AcqRel);
    }

    /// How old what is known is; of a feed that was never heard, since when it is waited for.
    fn lag(&self) -> Duration {
        let known = self.complete.load(Ordering::Acquire);
        if known == 0 {
            return self.started.elapsed().max(STALE);
        }
        self.started.elapsed().saturating_sub(Duration::from_millis(known - 1))
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    fn set_full(&self, full: bool) {
        if self.full.swap(full, Ordering::AcqRel) != full {
            if full {
                tracing::error!(
                    feed = self.name,
                    "not all revocations are known, being more than `revocation.maxEntries`, or unreadable: credentials that can be revoked are refused"
                );
            } else {
                tracing::info!(feed = self.name, "all revocations are known again");
            }
        }
    }
}

/// On the page of metrics.
pub(crate) struct Shown(pub(crate) Arc<Revocations>);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Shown(revocations) = self;
        let by_feed = |family, value: fn(&Feed) -> Value| Reading {
            family,
            samples: revocations.feeds().map(|feed| (vec![feed.name.to_owned()], value(feed))).collect(),
        };
        by_feed(&families::REVOCATION_LAG, |feed| Value::Float(feed.lag().as_secs_f64())).encode(&mut encoder)?;
        by_feed(&families::REVOCATIONS_FULL, |feed| Value::Integer(feed.is_full().into())).encode(&mut encoder)?;
        Reading::of(&families::REVOCATIONS, Value::Integer(revocations.len() as u64)).encode(&mut encoder)
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

#[cfg(test)]
mod tests;
