//! What decisions are made from without asking anybody.

use std::sync::Arc;

use microgw_engine::backend_jwt::{Assertion, Order};
use microgw_engine::interceptors::InterceptorFailure;
use microgw_engine::limits::Expression;
use microgw_engine::limits::{Charge, Level, Spending};
use microgw_engine::opaque::KeyHash;
use microgw_engine::{
    Api, CredentialDigest, Facts, Identity, Novelty, OpaqueKey, ProofId, RevocationName, Standing, Subscribed, UnixTime,
};

use prometheus_client::metrics::counter::Counter;

use crate::fact_cache::FactCache;
use crate::limits::Limits;
use crate::opaque_keys::OpaqueKeys;
use crate::revocations::Revocations;
use crate::seldom::Seldom;
use crate::subscriptions::Subscriptions;

/// Everything that is kept at hand.
pub struct Known {
    pub cache: FactCache,
    /// `None`: there are none.
    pub opaque_keys: Option<Arc<OpaqueKeys>>,
    /// `None`: nobody tells what was revoked, and rules that want to know let nobody in.
    pub revocations: Option<Arc<Revocations>>,
    /// `None`: they are kept nowhere, and who must be subscribed has to say so himself.
    pub subscriptions: Option<Arc<Subscriptions>>,
    /// What was used of limits.
    pub limits: Arc<Limits>,
    /// Expressions that had no result.
    pub failed_expressions: Counter,
    complaints: Seldom,
}

// === impl Known ===

impl Known {
    pub fn new(cache: FactCache, limits: Arc<Limits>) -> Known {
        Known {
            cache,
            opaque_keys: None,
            revocations: None,
            subscriptions: None,
            limits,
            failed_expressions: Counter::default(),
            complaints: Seldom::default(),
        }
    }
}

impl Facts for Known {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.cache.get(digest)
    }

    fn put(&self, digest: CredentialDigest, identity: Arc<Identity>) {
        self.cache.put(digest, identity);
    }

    fn prove(&self, proof: &ProofId, now: UnixTime, until: UnixTime) -> Novelty {
        self.cache.prove(proof, now, until)
    }

    fn assertion(&self, order: &Order) -> Option<Assertion> {
        self.cache.assertion(order)
    }

    fn secret(&self) -> Option<&[u8; 32]> {
        self.cache.secret()
    }

    fn opaque_key(&self, hash: &KeyHash) -> OpaqueKey {
        self.opaque_keys.as_deref().map_or(OpaqueKey::Unknown, |keys| keys.get(hash))
    }

    fn subscription(&self, client: &str, api: &Api) -> Subscribed {
        self.subscriptions.as_deref().map_or(Subscribed::Unknown, |subscriptions| subscriptions.of(client, api))
    }

    fn failed(&self, expression: &Expression) {
        self.failed_expressions.inc();
        if self.complaints.now() {
            tracing::warn!(expression = expression.text(), "an expression has no result for a request");
        }
    }

    fn not_transformed(&self, step: &str, why: &str) {
        if self.complaints.now() {
            tracing::warn!(step, why, "a message could not be transformed");
        }
    }

    fn not_intercepted(&self, program: &str, used_at: &str, failure: InterceptorFailure) {
        if self.complaints.now() {
            tracing::warn!(program, used_at, %failure, "an interceptor failed");
        }
    }

    fn spend(&self, charges: &[Charge<'_>]) -> Spending {
        self.limits.spend(charges)
    }

    fn unknown_tier(&self, level: Level, tier: &str) {
        self.limits.unknown_tier(level, tier);
    }

    fn standing(&self, names: &[RevocationName]) -> Standing {
        self.revocations.as_deref().map_or(Standing::Unknown, |revocations| revocations.standing(names))
    }
}
