//! The cache of signed backend JWTs, bounded by bytes.

use std::fmt;
use std::sync::Arc;

use microgw_engine::backend_jwt::{Assertion, Order};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// What an entry costs beside its text: the key, the cache's own bookkeeping.
const OVERHEAD: usize = 128;
/// What entries are reckoned at when a capacity is given in entries.
const TYPICAL_WEIGHT: usize = 2048;

/// JWTs by the very identity and API that they were made for: what is withdrawn, revoked or found out anew is another
/// identity, and has none. All clones are one cache.
#[derive(Clone)]
pub struct AssertionCache(Arc<Cache<Order, Assertion, ByWeight>>);

#[derive(Clone)]
struct ByWeight;

impl Weighter<Order, Assertion> for ByWeight {
    /// The identity counts, too: the token cache may have dropped it, and it lives on here.
    fn weight(&self, order: &Order, assertion: &Assertion) -> u64 {
        (OVERHEAD + assertion.text().len() + order.identity.weight()) as u64
    }
}

// === impl AssertionCache ===

impl AssertionCache {
    /// About `entries` of ordinary size. 0: nothing is kept.
    pub fn new(entries: usize) -> AssertionCache {
        let bytes = entries.saturating_mul(TYPICAL_WEIGHT) as u64;
        AssertionCache(Arc::new(Cache::with_weighter(entries, bytes, ByWeight)))
    }

    pub fn get(&self, order: &Order) -> Option<Assertion> {
        self.0.get(order)
    }

    pub fn put(&self, order: Order, assertion: Assertion) {
        self.0.insert(order, assertion);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for AssertionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionCache").field("entries", &self.len()).finish_non_exhaustive()
    }
}
