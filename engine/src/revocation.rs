//! What can be taken back before it ends: each credential by the names that those who revoke it know it by.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{CredentialKind, Identity};

/// One name of a credential, hashed: a memory of revoked ones holds no token, and each costs the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevocationName(u128);

/// What is revoked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Revoked<'a> {
    /// `jti` of an access token or of a self-contained API key.
    TokenId(&'a str),
    /// SHA-256 of a token or API key as it is presented; or of a JWT without its signature, which survives those who write
    /// the same signature in another way (ECDSA takes `s` and `n - s`).
    Token([u8; 32]),
    /// What follows the last dot of a JWT, by which the old product knew them.
    Signature(&'a str),
    /// The id of an API key, self-contained or not.
    KeyId(&'a str),
    /// Who logs in with a password; tokens that stand for such a user are not meant.
    User(&'a str),
    /// SHA-256 of a client's certificate.
    Certificate([u8; 32]),
}

/// What is known of a credential that is genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Good,
    Revoked,
    /// Nobody can tell: those who would say so have not been heard of for too long.
    Unknown,
}

// === impl RevocationName ===

impl RevocationName {
    /// For those who pass it on.
    pub fn to_bits(self) -> u128 {
        self.0
    }

    pub fn from_bits(bits: u128) -> RevocationName {
        RevocationName(bits)
    }
}

// === impl Revoked ===

impl Revoked<'_> {
    pub fn name(&self) -> RevocationName {
        let (kind, text): (u8, &[u8]) = match self {
            Revoked::TokenId(id) => (1, id.as_bytes()),
            Revoked::Token(digest) => (2, digest),
            Revoked::Signature(text) => (3, text.as_bytes()),
            Revoked::KeyId(id) => (4, id.as_bytes()),
            Revoked::User(name) => (5, name.as_bytes()),
            Revoked::Certificate(digest) => (6, digest),
        };
        let digest: [u8; 32] = Sha256::new().chain_update([kind]).chain_update(text).finalize().into();
        let [half, _] = digest.as_chunks::<16>().0 else { return RevocationName(0) };
        RevocationName(u128::from_be_bytes(*half))
    }
}

/// Every name of a credential. Of its text as it was presented nothing is kept but hashes.
pub(crate) fn names(identity: &Identity, presented: &str) -> Box<[RevocationName]> {
    let id = identity.id.as_deref();
    let mut names = Vec::with_capacity(5);
    match identity.kind {
        CredentialKind::User => names.extend(identity.subject.as_deref().map(|name| Revoked::User(name).name())),
        CredentialKind::Certificate => {
            names.extend(identity.thumbprint.map(|thumbprint| Revoked::Certificate(thumbprint).name()));
        }
        CredentialKind::AccessToken | CredentialKind::ApiKey => {
            names.extend(id.map(|id| Revoked::TokenId(id).name()));
            if identity.kind == CredentialKind::ApiKey {
                names.extend(id.map(|id| Revoked::KeyId(id).name()));
            }
            names.push(Revoked::Token(Sha256::digest(presented).into()).name());
            names.extend(signed(presented).map(|signed| Revoked::Token(Sha256::digest(signed).into()).name()));
            names.extend(signature(presented).map(|signature| Revoked::Signature(signature).name()));
        }
    }
    names.into()
}

/// What a JWT's signature is over, RFC 7515 section 5.2.
pub fn signed(token: &str) -> Option<&str> {
    let (signed, signature) = token.rsplit_once('.')?;
    (signed.contains('.') && !signature.is_empty()).then_some(signed)
}

/// Of a JWT.
pub fn signature(token: &str) -> Option<&str> {
    let mut parts = token.splitn(3, '.').skip(2);
    parts.next().filter(|signature| !signature.is_empty())
}

// Names of those who log in say who they are.
impl fmt::Debug for Revoked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Revoked::TokenId(_) => "TokenId(..)",
            Revoked::Token(_) => "Token(..)",
            Revoked::Signature(_) => "Signature(..)",
            Revoked::KeyId(_) => "KeyId(..)",
            Revoked::User(_) => "User(..)",
            Revoked::Certificate(_) => "Certificate(..)",
        })
    }
}

impl fmt::Debug for RevocationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RevocationName({:08x}..)", self.0 >> 96)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_has_another_name_in_each_role() {
        let digest: [u8; 32] = std::array::from_fn(|_| b'a');
        let text = "a".repeat(32);
        let names = [
            Revoked::TokenId(&text).name(),
            Revoked::Token(digest).name(),
            Revoked::Signature(&text).name(),
            Revoked::KeyId(&text).name(),
            Revoked::User(&text).name(),
            Revoked::Certificate(digest).name(),
        ];
        let distinct: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert_ne!(Revoked::TokenId("a").name(), Revoked::TokenId("b").name());
    }

    #[test]
    fn a_signature_is_what_follows_the_second_dot() {
        assert_eq!(signature("a.b.c"), Some("c"));
        assert_eq!(signed("a.b.c"), Some("a.b"));
        for token in ["", "a", "a.b", "a.b."] {
            assert_eq!(signature(token), None, "{token}");
            assert_eq!(signed(token), None, "{token}");
        }
    }
}
