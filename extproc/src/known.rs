//! What decisions are made from without asking anybody.

use std::sync::Arc;

use microgw_engine::{CredentialDigest, Facts, Identity, RevocationName, Standing};

use crate::fact_cache::FactCache;
use crate::revocations::Revocations;

/// Everything that is kept at hand.
pub struct Known {
    pub cache: FactCache,
    /// `None`: nobody tells what was revoked, and rules that want to know let nobody in.
    pub revocations: Option<Arc<Revocations>>,
}

// === impl Known ===

impl Known {
    pub fn new(cache: FactCache) -> Known {
        Known { cache, revocations: None }
    }
}

impl Facts for Known {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.cache.get(digest)
    }

    fn put(&self, digest: CredentialDigest, identity: Arc<Identity>) {
        self.cache.put(digest, identity);
    }

    fn standing(&self, names: &[RevocationName]) -> Standing {
        self.revocations.as_deref().map_or(Standing::Unknown, |revocations| revocations.standing(names))
    }
}
