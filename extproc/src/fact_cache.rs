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

/// Certificates that nobody vouches for, of each [`TOKENS_EACH`] tokens.
const TOKENS_EACH: usize = 10;

/// Facts of verified tokens, least useful first out. Cheap to clone: all clones are one cache.
#[derive(Clone)]
pub struct FactCache {
    cache: Arc<Cache<CredentialDigest, Entry, ByWeight>>,
    /// What was read of certificates that nobody vouches for: garbage displaces garbage alone.
    unvouched: Arc<Cache<CredentialDigest, Entry>>,
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
        let unvouched = Arc::new(Cache::new(entries.div_ceil(TOKENS_EACH)));
        let mut secret = [0; 32];
        let secret = aws_lc_rs::rand::fill(&mut secret).is_ok().then(|| Arc::new(secret));
        FactCache {
            cache,
            unvouched,
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
        let known = self.cache.get(digest).or_else(|| self.unvouched.get(digest));
        let known = known.filter(|entry| Instant::now() < entry.until);
        let counter = if known.is_some() { &self.hits } else { &self.misses };
        counter.inc();
        known.map(|entry| entry.facts)
    }

    fn put(&self, digest: CredentialDigest, facts: Arc<Identity>) {
        let lifetime = facts.remembered().map_or(self.lifetime, |bound| bound.min(self.lifetime));
        let vouched = facts.is_vouched_for();
        let entry = Entry { facts, until: Instant::now() + lifetime };
        if vouched { self.cache.insert(digest, entry) } else { self.unvouched.insert(digest, entry) }
    }

    fn prove(&self, proof: &ProofId, now: UnixTime, until: UnixTime) -> Novelty {
        self.proofs.prove(proof, now, until)
    }

    fn assertion(&self, order: &Order) -> Option<Assertion> {
        self.assertions.as_ref()?.get(order)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use microgw_engine::{Decision, Exchange, RequestHead, Rule, Step};
    use microgw_proto::rules::v1 as proto;
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn certificate(name: &str) -> (Vec<u8>, String) {
        let pair = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&pair).unwrap();
        (Sha256::digest(made.der()).to_vec(), made.pem().replace('\n', " "))
    }

    #[test]
    fn certificates_that_nobody_vouches_for_displace_nothing_else() {
        let (pin, pinned) = certificate("pinned");
        let certificate_rule = proto::CertificateRule { pins: vec![pin], ..Default::default() };
        let asks = proto::requirement::Kind::ClientCertificate(proto::ClientCertificate { optional: false });
        let book = proto::RuleBook {
            apis: vec![proto::Api::default()],
            policies: vec![proto::Policy {
                alternatives: vec![proto::Alternative { requirements: vec![proto::Requirement { kind: Some(asks) }] }],
                credential_header: "authorization".into(),
                production: true,
                client_trust: Some(proto::ClientTrust { rules: vec![certificate_rule] }),
                ..Default::default()
            }],
            rules: vec![proto::Rule { id: vec![1; 16], ..Default::default() }],
            certificate_header: Some(proto::CertificateHeader {
                name: "x-client-cert".into(),
                addresses: vec![proto::AddressRange { address: vec![10, 0, 0, 0], prefix: 8 }],
                ..Default::default()
            }),
            ..Default::default()
        };
        let rule = Rule::load(&book).unwrap().remove(0).1;
        let facts = FactCache::new(20, Duration::from_hours(1));
        let passes = |text: &str| {
            let headers = HashMap::from([("x-client-cert".to_owned(), text.to_owned())]);
            let head = RequestHead {
                method: "GET",
                scheme: "https",
                authority: "api.example",
                path: "/",
                headers: &headers,
                certificate: None,
                peer: "10.0.0.1",
                has_body: None,
            };
            let now = UnixTime(1_700_000_000);
            matches!(Exchange::new(&rule, &facts, now).on_request_head(head), Step::Done(Decision::Allow(_)))
        };
        assert!(passes(&pinned));
        assert_eq!(facts.len(), 1, "what is known of a good one");
        let weight = facts.weight();
        for index in 0..40 {
            assert!(!passes(&certificate(&format!("garbage-{index}")).1));
        }
        assert_eq!((facts.len(), facts.weight()), (1, weight));
        assert!(facts.unvouched.len() <= 2, "{}", facts.unvouched.len());
        assert!(passes(&pinned));
    }
}
