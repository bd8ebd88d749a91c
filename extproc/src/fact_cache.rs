//! The cache of token facts, bounded by bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use microgw_engine::{Facts, TokenDigest, TokenFacts};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// What an entry costs beside its facts: the digest and the cache's own bookkeeping.
const OVERHEAD: usize = 128;
/// What entries are reckoned at when a capacity is given in entries.
const TYPICAL_WEIGHT: usize = 512;

/// Facts of verified tokens, least useful first out.
pub struct FactCache {
    cache: Cache<TokenDigest, Entry, ByWeight>,
    /// How long a token is remembered, its own end apart.
    lifetime: Duration,
}

#[derive(Clone)]
struct Entry {
    facts: Arc<TokenFacts>,
    until: Instant,
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<TokenDigest, Entry> for ByWeight {
    fn weight(&self, _: &TokenDigest, entry: &Entry) -> u64 {
        (OVERHEAD + entry.facts.weight()) as u64
    }
}

impl FactCache {
    /// About `entries` tokens of ordinary size, each for `lifetime` at most. 0: nothing is kept.
    pub fn new(entries: usize, lifetime: Duration) -> FactCache {
        let bytes = entries.saturating_mul(TYPICAL_WEIGHT) as u64;
        FactCache { cache: Cache::with_weighter(entries, bytes, ByWeight), lifetime }
    }

    pub fn len(&self) -> usize {
        self.cache.len()
    }

    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }
}

impl Facts for FactCache {
    fn get(&self, digest: &TokenDigest) -> Option<Arc<TokenFacts>> {
        let entry = self.cache.get(digest)?;
        (Instant::now() < entry.until).then_some(entry.facts)
    }

    fn put(&self, digest: TokenDigest, facts: Arc<TokenFacts>) {
        self.cache.insert(digest, Entry { facts, until: Instant::now() + self.lifetime });
    }
}
