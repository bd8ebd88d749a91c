//! What the host knows without asking anybody. Facts, never a decision.

use std::fmt;
use std::sync::Arc;

use microgw_expressions::Expression;
use sha2::{Digest, Sha256};

use crate::backend_jwt::{Assertion, Order};
use crate::dpop::{Novelty, ProofId};
use crate::interceptors::InterceptorFailure;
use crate::limits::{Charge, Level, Spending};
use crate::opaque::KeyHash;
use crate::revocation::{RevocationName, Standing};
use crate::rules::Api;
use crate::subscription::Subscribed;
use crate::{CredentialKind, Identity, Realm};

/// Seconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub u64);

/// The host's cache of what genuine credentials say. Losing an entry costs time, never safety.
pub trait Facts: Sync {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>>;
    fn put(&self, digest: CredentialDigest, identity: Arc<Identity>);

    /// What only this process knows. Without it passwords are verified each time: the hash that names one in the cache
    /// would help whoever sees it to guess the password.
    fn secret(&self) -> Option<&[u8; 32]> {
        None
    }

    /// The opaque API key with this hash, as it is now.
    fn opaque_key(&self, _: &KeyHash) -> OpaqueKey {
        OpaqueKey::Unknown
    }

    /// Whether the application of an OAuth2 client is subscribed to an API. Asked only where rules look at subscriptions.
    fn subscription(&self, _client: &str, _api: &Api) -> Subscribed {
        Subscribed::Unavailable
    }

    /// Of a credential with these names. Asked on every request, and only where rules say that credentials can be revoked.
    fn standing(&self, _names: &[RevocationName]) -> Standing {
        Standing::Unknown
    }

    /// Remembers a proof of possession until then, unless it does already. A host that remembers none lets none pass.
    fn prove(&self, _proof: &ProofId, _now: UnixTime, _until: UnixTime) -> Novelty {
        Novelty::Unknown
    }

    /// An expression has no result for a request. What follows is decided already; somebody should be told.
    fn failed(&self, _: &Expression) {}

    /// A step of a transformation failed, and its message goes nowhere. Where the step was written, and why.
    fn not_transformed(&self, _step: &str, _why: &str) {}

    /// A program failed, where it is used.
    fn not_intercepted(&self, _program: &str, _used_at: &str, _failure: InterceptorFailure) {}

    /// Debits all of these counters or none. [`Spending::Ask`]: some are kept where somebody has to be asked.
    fn spend(&self, _: &[Charge<'_>]) -> Spending {
        Spending::Unavailable
    }

    /// Is told of a tier that a credential or a store names and no policy has. The name is whatever they say.
    fn unknown_tier(&self, _: Level, _: &str) {}

    /// A JWT for backends that was signed before.
    fn assertion(&self, _: &Order) -> Option<Assertion> {
        None
    }
}

/// What is known of an opaque API key.
#[derive(Clone, Debug)]
pub enum OpaqueKey {
    Known(Arc<Identity>),
    /// There is none, or none any more.
    Unknown,
    /// Nobody can tell: the keys could not be read, or not for too long.
    Unavailable,
}

/// Names a credential in a cache that must not hold it: a hash of the credential, of how it was presented, and of the
/// realm that judges it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CredentialDigest([u8; 32]);

// === impl CredentialDigest ===

impl CredentialDigest {
    /// `secret` is for credentials that could be guessed.
    pub(crate) fn new(
        realm: &Realm,
        kind: CredentialKind,
        credential: &str,
        secret: Option<&[u8; 32]>,
    ) -> CredentialDigest {
        let mut hash: Sha256 = realm.hash(kind).clone();
        if let Some(secret) = secret {
            hash.update(secret);
        }
        hash.update(credential);
        CredentialDigest(hash.finalize().into())
    }

    /// A certificate, among what is known under the rules that `hash` stands for.
    pub(crate) fn of_certificate(hash: &Sha256, thumbprint: &[u8; 32]) -> CredentialDigest {
        CredentialDigest(hash.clone().chain_update(thumbprint).finalize().into())
    }
}

impl fmt::Debug for CredentialDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialDigest(..)")
    }
}
