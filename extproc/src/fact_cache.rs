//! The cache of token facts, bounded by bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use microgw_engine::backend_jwt::{Assertion, Order};
use microgw_engine::{CredentialDigest, Facts, Identity, Novelty, ProofId, UnixTime};
use prometheus_client::metrics::counter::Counter;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::backend_jwt::AssertionCache;
use crate::proofs::Proofs;

/// What an entry costs beside its facts: the digest and the cache's own bookkeeping.
const OVERHEAD: usize = 128;
/// What entries are reckoned at when a capacity is given in entries.
const TYPICAL_WEIGHT: usize = 512;

/// Facts of verified tokens, least useful first out. Cheap to clone: all clones are one cache.
#[derive(Clone)]
pub struct FactCache {
    cache: Arc<Cache<CredentialDigest, Entry, ByWeight>>,
    /// How long a token is remembered, its own end and its own bound apart.
    lifetime: Duration,
    /// `None`: there is no randomness, and passwords are not remembered.
    secret: Option<Arc<[u8; 32]>>,
    proofs: Arc<Proofs>,
    /// `None`: there are none.
    assertions: Option<AssertionCache>,
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
}

#[derive(Clone)]
struct Entry {
    facts: Arc<Identity>,
    until: Instant,
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<CredentialDigest, Entry> for ByWeight {
    fn weight(&self, _: &CredentialDigest, entry: &Entry) -> u64 {
        (OVERHEAD + entry.facts.weight()) as u64
    }
}

impl FactCache {
    /// About `entries` tokens of ordinary size, each for `lifetime` at most. 0: nothing is kept.
    pub fn new(entries: usize, lifetime: Duration) -> FactCache {
        let bytes = entries.saturating_mul(TYPICAL_WEIGHT) as u64;
        let cache = Arc::new(Cache::with_weighter(entries, bytes, ByWeight));
        let mut secret = [0; 32];
        let secret = aws_lc_rs::rand::fill(&mut secret).is_ok().then(|| Arc::new(secret));
        FactCache {
            cache,
            lifetime,
            secret,
            proofs: Arc::default(),
            assertions: None,
            hits: Counter::default(),
            misses: Counter::default(),
        }
    }

    /// The same, with room for so many proofs of possession.
    #[must_use]
    pub fn with_proofs(self, capacity: usize) -> FactCache {
        FactCache { proofs: Arc::new(Proofs::new(capacity)), ..self }
    }

    /// The same, with JWTs for backends.
    #[must_use]
    pub fn with_assertions(self, assertions: AssertionCache) -> FactCache {
        FactCache { assertions: Some(assertions), ..self }
    }

    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Bytes, about.
    pub fn weight(&self) -> u64 {
        self.cache.weight()
    }

    /// Random, of this process.
    pub fn secret(&self) -> Option<&[u8; 32]> {
        self.secret.as_deref()
    }

    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }
}

impl Facts for FactCache {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        let known = self.cache.get(digest).filter(|entry| Instant::now() < entry.until);
        let counter = if known.is_some() { &self.hits } else { &self.misses };
        counter.inc();
        known.map(|entry| entry.facts)
    }

    fn put(&self, digest: CredentialDigest, facts: Arc<Identity>) {
        let lifetime = facts.remembered().map_or(self.lifetime, |bound| bound.min(self.lifetime));
        self.cache.insert(digest, Entry { facts, until: Instant::now() + lifetime });
    }

    fn prove(&self, proof: &ProofId, now: UnixTime, until: UnixTime) -> Novelty {
        self.proofs.prove(proof, now, until)
    }

    fn assertion(&self, order: &Order) -> Option<Assertion> {
        self.assertions.as_ref()?.get(order)
    }
}
