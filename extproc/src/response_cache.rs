//! Responses of public operations, kept for others who ask the same: a shared cache of RFC 9111, in memory and bounded by bytes.
//!
//! Who asks the same asks for the same path of the same host under the same rule, with the same headers: all of them count, but for
//! those that answers seldom depend on ([`says_little`]). So a header that nobody thought of does not mix up responses.

mod expected;
mod request;
mod response;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use http_cache_semantics::BeforeRequest;
use microgw_engine::{Allow, Keep, MAX_MADE, RequestHead, ResponseHead};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::metrics::{Reading, Value, families};
use crate::process::Head;
pub(crate) use expected::{Expected, First, Turn, Waited, Waiting};
pub(crate) use request::{Asked, CONDITIONS};
pub(crate) use response::{Copying, Kept};

/// What an entry costs beside its texts.
const OVERHEAD: usize = 1024;
/// Of all room, what one response may take; and in bytes: Envoy holds all of it for each client that is slow to read it.
const SHARE: usize = 16;
const LONGEST: usize = 128 << 10;
/// Bytes of an ordinary response.
const TYPICAL: usize = 16 * 1024;

/// Whether a request that passes like this is one that a kept response may answer.
pub fn may_answer(keep: &Keep, head: RequestHead<'_>, allow: &Allow<'_>) -> bool {
    Asked::of("", 0, keep, head, allow).is_some()
}

/// Names what was asked: SHA-256.
type Key = [u8; 32];

#[derive(Debug)]
pub struct ResponseCache {
    kept: Cache<Key, Arc<Kept>, ByWeight>,
    /// Bytes of all, and of those that are being copied.
    most: usize,
    copied: Arc<AtomicUsize>,
    pub(crate) expected: Arc<Expected>,
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) stored: Counter,
    pub(crate) revalidated: Counter,
}

#[derive(Clone, Debug)]
struct ByWeight;

impl Weighter<Key, Arc<Kept>> for ByWeight {
    fn weight(&self, _: &Key, kept: &Arc<Kept>) -> u64 {
        (OVERHEAD + kept.weight()) as u64
    }
}

// === impl ResponseCache ===

impl ResponseCache {
    /// With room for so many bytes; responses of a sixteenth of it, or of 128 KiB, are not kept. Requests wait as long as `patience`
    /// for the response to another that asks the same.
    pub fn new(bytes: usize, patience: Duration) -> ResponseCache {
        ResponseCache {
            kept: Cache::with_weighter(bytes / TYPICAL, bytes as u64, ByWeight),
            most: bytes,
            copied: Arc::default(),
            expected: Expected::new(if bytes == 0 { Duration::ZERO } else { patience }),
            hits: Counter::default(),
            misses: Counter::default(),
            stored: Counter::default(),
            revalidated: Counter::default(),
        }
    }

    /// What is known and still good.
    pub(crate) fn get(&self, asked: &Asked) -> Option<Arc<Kept>> {
        let kept = self.kept.get(&asked.key).filter(|kept| Instant::now() < kept.until);
        kept.filter(|kept| {
            matches!(kept.policy.before_request(&asked.request, SystemTime::now()), BeforeRequest::Fresh(_))
        })
    }

    /// What may be good still, if the backend says so: that is a response without a body, which gets the one that is kept.
    pub(crate) fn stale(&self, asked: &Asked) -> Option<Arc<Kept>> {
        let kept = self.kept.get(&asked.key).filter(|kept| asked.validates && kept.body.len() <= MAX_MADE)?;
        let matches = match kept.policy.before_request(&asked.request, SystemTime::now()) {
            BeforeRequest::Stale { matches, .. } => matches,
            BeforeRequest::Fresh(_) => true,
        };
        (matches && kept.validator().is_some()).then_some(kept)
    }

    /// The backend says that it is good still, in `head`. What is answered then; kept, if it may be.
    pub(crate) fn renew(&self, asked: &Asked, stale: &Kept, head: &Head) -> (Arc<Kept>, bool) {
        self.revalidated.inc();
        let renewed = stale.renewed(head);
        let answered =
            ResponseHead { status: renewed.head.status(), headers: &renewed.head, ended: stale.body.is_empty() };
        let copying = Copying::of(self, asked, answered).filter(|_| stale.is_meant(head));
        if let Some(copying) = copying.and_then(|copying| copying.with(&stale.body)) {
            return (self.put(copying), true);
        }
        self.kept.remove(&asked.key);
        (Arc::new(renewed), false)
    }

    /// The rule refuses what is kept: the backend is asked again, which may say something better.
    pub(crate) fn refused(&self, asked: &Asked) {
        self.kept.remove(&asked.key);
    }

    /// Whether a kept response has answered.
    pub(crate) fn count(&self, hit: bool) {
        let counter = if hit { &self.hits } else { &self.misses };
        counter.inc();
    }

    pub(crate) fn put(&self, copying: Copying) -> Arc<Kept> {
        let (key, kept) = copying.finish();
        let kept = Arc::new(kept);
        self.kept.insert(key, Arc::clone(&kept));
        self.stored.inc();
        kept
    }

    /// Bytes of one response.
    fn most_of_one(&self) -> usize {
        (self.most / SHARE).min(LONGEST)
    }

    pub fn len(&self) -> usize {
        self.kept.len()
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Bytes, about.
    pub fn weight(&self) -> u64 {
        self.kept.weight()
    }
}

/// How much is kept, for `/metrics`.
#[derive(Debug)]
pub(crate) struct Shown(pub(crate) Arc<ResponseCache>);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let waiting = Value::Integer(self.0.expected.waiting() as u64);
        Reading::of(&families::RESPONSE_CACHE_WAITING, waiting).encode(&mut encoder)?;
        Reading::of(&families::RESPONSE_CACHE_BYTES, Value::Integer(self.0.weight())).encode(&mut encoder)
    }
}

/// Room that copies take which are not kept yet: given back when it goes.
#[derive(Debug)]
struct Room {
    copied: Arc<AtomicUsize>,
    most: usize,
    taken: usize,
}

impl Room {
    /// `false`: there is not so much.
    fn take(&mut self, bytes: usize) -> bool {
        if self.copied.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.most {
            self.copied.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.taken += bytes;
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.copied.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
