//! Public keys that verify tokens, and which algorithm each may be used with (RFC 8725 section 3.1).

mod jwks;
mod pem;
mod roca;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::signature::{self as verifying, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use sha2::{Digest, Sha256};

use crate::json::Object;

/// Signature algorithms of RFC 7518 section 3.1 and RFC 8037. Asymmetric only: a gateway that could verify an HMAC could forge one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// Bytes of an RSA key's exponent; nearly all have 3.
const MAX_EXPONENT: usize = 8;

/// One public key. Shared with the facts of every token that it verified: they die with it.
pub struct Key {
    name: Name,
    /// The only algorithm it may be used with, when its owner says so.
    algorithm: Option<Algorithm>,
    material: Material,
    /// Hash of all of the above.
    identity: [u8; 32],
    withdrawn: AtomicBool,
}

/// What a token's `kid` is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Kid(Box<str>),
    /// A key set's entry without a name: serves only tokens without one.
    Unnamed,
    /// Configured by hand as PEM: whatever the token calls it.
    Any,
}

enum Material {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    P256(ParsedPublicKey),
    P384(ParsedPublicKey),
    Ed25519(ParsedPublicKey),
}

/// The keys of one issuer. Immutable.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Box<[Arc<Key>]>,
    skipped: usize,
}

/// Why key material was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the key set is no JSON object with an array `keys`, or repeats a member")]
    NotAKeySet,
    #[error("the key set has more than 256 entries")]
    TooMany,
    #[error("no PEM block `CERTIFICATE` or `PUBLIC KEY` was found, or it is damaged")]
    NotPem,
    #[error("a private or secret key stands where a public key is expected")]
    Private,
    #[error("the key is of a kind that is not supported (RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519 are)")]
    Unsupported,
    #[error("the key is not meant for verifying signatures")]
    OtherUse,
    #[error("the key is one of those that can be factored (CVE-2017-15361)")]
    Weak,
    #[error("the key is malformed")]
    Malformed,
}

/// Which key a token wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection<'a> {
    Key(&'a Arc<Key>),
    /// None fits: it may have been published since.
    Unknown,
    /// Several fit.
    Ambiguous,
}

// === impl Algorithm ===

impl Algorithm {
    pub const ALL: [Algorithm; 9] = [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ];

    /// The JOSE name.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::EdDsa => "EdDSA",
        }
    }
}

impl FromStr for Algorithm {
    type Err = KeyError;

    /// By the exact JOSE name.
    fn from_str(name: &str) -> Result<Algorithm, KeyError> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == name).ok_or(KeyError::Unsupported)
    }
}

// === impl Key ===

impl Key {
    fn new(name: Name, algorithm: Option<Algorithm>, material: Material) -> Result<Key, KeyError> {
        let mut hash = Sha256::new();
        match &name {
            Name::Kid(kid) => hash.update(format!("kid {} {kid}\n", kid.len())),
            Name::Unnamed => hash.update("unnamed\n"),
            Name::Any => hash.update("any\n"),
        }
        hash.update(algorithm.map_or("any", Algorithm::as_str));
        match &material {
            Material::Rsa(rsa) => {
                hash.update(format!("\nRSA {} ", rsa.n.len()));
                hash.update(&rsa.n);
                hash.update(&rsa.e);
            }
            Material::P256(key) | Material::P384(key) | Material::Ed25519(key) => {
                hash.update("\n");
                hash.update(key.as_ref());
            }
        }
        let key =
            Key { name, algorithm, material, identity: hash.finalize().into(), withdrawn: AtomicBool::new(false) };
        // An algorithm that its own key cannot carry out is a mistake of the issuer, not a key.
        if algorithm.is_some_and(|algorithm| !key.fits(algorithm)) { Err(KeyError::Malformed) } else { Ok(key) }
    }

    /// The public key that a proof of possession brings along, and its thumbprint (RFC 7638).
    pub(crate) fn of_proof(jwk: &Object) -> Result<(Key, [u8; 32]), KeyError> {
        Ok((jwks::key(jwk)?, jwks::thumbprint(jwk)?))
    }

    /// True once its issuer no longer publishes it: what it verified is no longer valid.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }

    /// The key answers to any name: that it fails to verify does not prove that the token is forged.
    pub(crate) fn is_guess(&self) -> bool {
        self.name == Name::Any
    }

    /// Whether the key may be used with `algorithm`.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm)
            && match self.material {
                Material::Rsa(_) => rsa_parameters(algorithm).is_some(),
                Material::P256(_) => algorithm == Algorithm::Es256,
                Material::P384(_) => algorithm == Algorithm::Es384,
                Material::Ed25519(_) => algorithm == Algorithm::EdDsa,
            }
    }

    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        match &self.material {
            Material::Rsa(rsa) => {
                rsa_parameters(algorithm).is_some_and(|parameters| rsa.verify(parameters, message, signature).is_ok())
            }
            Material::P256(key) | Material::P384(key) | Material::Ed25519(key) => {
                key.verify_sig(message, signature).is_ok()
            }
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.identity == other.identity
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.material {
            Material::Rsa(_) => "RSA",
            Material::P256(_) => "P-256",
            Material::P384(_) => "P-384",
            Material::Ed25519(_) => "Ed25519",
        };
        f.debug_struct("Key").field("name", &self.name).field("kind", &kind).finish_non_exhaustive()
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &verifying::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &verifying::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &verifying::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &verifying::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &verifying::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &verifying::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
    })
}

// === impl Material ===

impl Material {
    /// Big-endian modulus and exponent, with or without leading zeros.
    fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Material, KeyError> {
        let (n, e) = (without_leading_zeros(modulus), without_leading_zeros(exponent));
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if !(2048..=8192).contains(&bits) {
            return Err(KeyError::Unsupported);
        }
        if n.last().is_none_or(|last| last % 2 == 0) {
            return Err(KeyError::Malformed);
        }
        // With 1 a signature would be the message itself, an even one is no key, and a long one only takes time.
        if e == [1] || e.len() > MAX_EXPONENT || e.last().is_none_or(|last| last % 2 == 0) {
            return Err(KeyError::Malformed);
        }
        if roca::is_marked(n) {
            return Err(KeyError::Weak);
        }
        let key = RsaPublicKeyComponents { n: n.to_vec(), e: e.to_vec() };
        key.to_parsed_public_key(&verifying::RSA_PKCS1_2048_8192_SHA256).map_err(|_| KeyError::Malformed)?;
        Ok(Material::Rsa(key))
    }

    /// An uncompressed point, SEC 1 section 2.3.3; the curve follows from its length.
    fn ec(point: &[u8]) -> Result<Material, KeyError> {
        match point.len() {
            65 => parse(&verifying::ECDSA_P256_SHA256_FIXED, point).map(Material::P256),
            97 => parse(&verifying::ECDSA_P384_SHA384_FIXED, point).map(Material::P384),
            _ => Err(KeyError::Unsupported),
        }
    }

    fn ed25519(point: &[u8]) -> Result<Material, KeyError> {
        match point.len() {
            32 => parse(&verifying::ED25519, point).map(Material::Ed25519),
            _ => Err(KeyError::Malformed),
        }
    }
}

fn parse(algorithm: &'static dyn verifying::VerificationAlgorithm, point: &[u8]) -> Result<ParsedPublicKey, KeyError> {
    ParsedPublicKey::new(algorithm, point).map_err(|_| KeyError::Malformed)
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

// === impl KeySet ===

impl KeySet {
    /// Reads a JWK set, RFC 7517 section 5. Entries that cannot verify anything here are skipped, private and secret ones too.
    pub fn from_jwks(text: &[u8]) -> Result<KeySet, KeyError> {
        jwks::read(text)
    }

    /// Reads PEM certificates and public keys. They serve tokens with any `kid`, whatever the certificate's dates.
    pub fn from_pem(text: &[u8]) -> Result<KeySet, KeyError> {
        pem::read(text)
    }

    /// The keys of several sets.
    pub fn join(sets: impl IntoIterator<Item = KeySet>) -> KeySet {
        let (mut keys, mut skipped) = (Vec::new(), 0);
        for set in sets {
            keys.extend(set.keys);
            skipped += set.skipped;
        }
        KeySet { keys: keys.into(), skipped }
    }

    /// This set in the place of `previous`: keys that both have stay the same object, so that the facts they verified live
    /// on, and those that only `previous` has are withdrawn.
    #[must_use]
    pub fn succeed(mut self, previous: &KeySet) -> KeySet {
        for old in &previous.keys {
            match self.keys.iter_mut().find(|new| *new == old) {
                Some(new) => new.clone_from(old),
                None => old.withdrawn.store(true, Ordering::Release),
            }
        }
        self
    }

    /// The set for others to verify with, RFC 7517 section 5. Public keys are all that a set has.
    pub fn to_jwks(&self) -> String {
        jwks::write(&self.keys)
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Entries that were skipped.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The one key for a token. A token without `kid` gets one only if there is no choice.
    pub(crate) fn select(&self, kid: Option<&str>, algorithm: Algorithm) -> Selection<'_> {
        let fitting = |wanted: &dyn Fn(&Name) -> bool| {
            let mut found = Selection::Unknown;
            for key in self.keys.iter().filter(|key| wanted(&key.name) && key.fits(algorithm)) {
                if found != Selection::Unknown {
                    return Selection::Ambiguous;
                }
                found = Selection::Key(key);
            }
            found
        };
        match kid {
            None => fitting(&|_| true),
            Some(kid) => match fitting(&|name| matches!(name, Name::Kid(own) if **own == *kid)) {
                Selection::Unknown => fitting(&|name| *name == Name::Any),
                found => found,
            },
        }
    }
}

#[cfg(test)]
mod tests;
