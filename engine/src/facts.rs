//! What is known about a token once its signature was verified. Facts, never a decision: the same token may be enough for
//! one operation and not for the next.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::key::Key;
use crate::reason::Reason;
use crate::{CredentialKind, Realm, TokenError};

/// Seconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub u64);

/// The host's cache of facts. Losing an entry costs time, never safety.
pub trait Facts: Sync {
    fn get(&self, digest: &TokenDigest) -> Option<Arc<TokenFacts>>;
    fn put(&self, digest: TokenDigest, facts: Arc<TokenFacts>);
}

/// Names a token in a cache that must not hold it: a hash of the token, of how it was presented, and of the realm that
/// judges it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

/// Verified claims, reduced to what decisions need.
#[derive(Clone)]
pub struct TokenFacts {
    pub(crate) key: Arc<Key>,
    /// Skew is already allowed for in both.
    pub(crate) not_before: UnixTime,
    pub(crate) expires: Option<UnixTime>,
    pub(crate) subject: Option<Box<str>>,
    pub(crate) client: Option<Box<str>>,
    pub(crate) id: Option<Box<str>>,
    pub(crate) key_type: KeyType,
    pub(crate) scopes: Box<[Box<str>]>,
    /// `None`: not limited.
    pub(crate) allowed_apis: Option<Box<[ApiGrant]>>,
}

/// Which endpoints a credential is meant for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyType {
    #[default]
    Production,
    Sandbox,
}

/// An API that a key may call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiGrant {
    pub name: Box<str>,
    /// `*`: every version.
    pub version: Box<str>,
}

// === impl KeyType ===

impl KeyType {
    /// As tokens call it.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyType::Production => "PRODUCTION",
            KeyType::Sandbox => "SANDBOX",
        }
    }
}

// === impl TokenDigest ===

impl TokenDigest {
    pub(crate) fn new(realm: &Realm, kind: CredentialKind, token: &str) -> TokenDigest {
        let mut hash: Sha256 = realm.hash(kind).clone();
        hash.update(token);
        TokenDigest(hash.finalize().into())
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

// === impl TokenFacts ===

impl TokenFacts {
    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The OAuth2 client: `consumerKey`, else `azp`, else `client_id`, else a single `aud`.
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// `jti` of an API key: names the key, and opens nothing.
    pub fn key_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// Bytes that a cache should count for this entry.
    pub fn weight(&self) -> usize {
        let texts =
            self.subject.iter().chain(&self.client).chain(&self.id).chain(&self.scopes).map(|text| text.len() + 16);
        let grants = self
            .allowed_apis
            .iter()
            .flat_map(|grants| grants.iter().map(|api| api.name.len() + api.version.len() + 32));
        size_of::<TokenFacts>() + texts.chain(grants).sum::<usize>()
    }

    /// RFC 7519 sections 4.1.4 and 4.1.5: on `exp` a token is no longer valid, on `nbf` it already is.
    pub(crate) fn check_time(&self, now: UnixTime) -> Result<(), (Reason, TokenError)> {
        if self.expires.is_some_and(|expires| now >= expires) {
            Err((Reason::Expired, TokenError::Expired))
        } else if now < self.not_before {
            Err((Reason::InvalidCredentials, TokenError::NotYetValid))
        } else {
            Ok(())
        }
    }

    pub(crate) fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|own| **own == *scope)
    }

    pub(crate) fn allows(&self, api: &str, version: &str) -> bool {
        self.allowed_apis.as_deref().is_none_or(|grants| grants.iter().any(|grant| grant.covers(api, version)))
    }
}

impl fmt::Debug for TokenFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFacts").field("key", &self.key).field("expires", &self.expires).finish_non_exhaustive()
    }
}

// === impl ApiGrant ===

impl ApiGrant {
    /// Names and versions are compared exactly.
    pub fn covers(&self, name: &str, version: &str) -> bool {
        *self.name == *name && (&*self.version == "*" || *self.version == *version)
    }
}
