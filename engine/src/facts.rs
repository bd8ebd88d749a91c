//! What the host knows without asking anybody. Facts, never a decision.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::{CredentialKind, Identity, Realm};

/// Seconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub u64);

/// The host's cache of what genuine credentials say. Losing an entry costs time, never safety.
pub trait Facts: Sync {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>>;
    fn put(&self, digest: CredentialDigest, identity: Arc<Identity>);
}

/// Names a credential in a cache that must not hold it: a hash of the credential, of how it was presented, and of the
/// realm that judges it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CredentialDigest([u8; 32]);

// === impl CredentialDigest ===

impl CredentialDigest {
    pub(crate) fn new(realm: &Realm, kind: CredentialKind, credential: &str) -> CredentialDigest {
        let mut hash: Sha256 = realm.hash(kind).clone();
        hash.update(credential);
        CredentialDigest(hash.finalize().into())
    }
}

impl fmt::Debug for CredentialDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialDigest(..)")
    }
}
