//! The key that signs API keys.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use microgw_engine::{KeySet, apikey};

/// A private key: P-256 or RSA.
pub struct SigningKey {
    key: EncodingKey,
    header: Header,
    public: KeySet,
    thumbprint: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    #[error(
        "no private key of P-256 or of RSA with at least 2048 bits was found in the PEM text (an EC key must be in PKCS #8 form)"
    )]
    Unusable,
    #[error("the key could not be generated")]
    Generation,
    #[error("the key could not sign")]
    Signing,
}

/// A private key in PKCS #8, as PEM.
pub(crate) fn private_pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII: every index is a boundary.
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

impl SigningKey {
    /// A new P-256 key as PKCS #8 PEM, for [`SigningKey::from_pem`].
    pub fn generate() -> Result<String, SigningKeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| SigningKeyError::Generation)?;
        Ok(private_pem(document.as_ref()))
    }

    /// Named by its thumbprint, RFC 7638: the same name wherever the key is used.
    pub fn from_pem(pem: &str) -> Result<SigningKey, SigningKeyError> {
        SigningKey::named(pem, None)
    }

    /// Named as it is called where it comes from.
    pub fn from_pem_as(pem: &str, kid: &str) -> Result<SigningKey, SigningKeyError> {
        SigningKey::named(pem, Some(kid.to_owned()))
    }

    fn named(pem: &str, kid: Option<String>) -> Result<SigningKey, SigningKeyError> {
        let ec = || EncodingKey::from_ec_pem(pem.as_bytes()).map(|key| (key, Algorithm::ES256));
        let rsa = || EncodingKey::from_rsa_pem(pem.as_bytes()).map(|key| (key, Algorithm::RS256));
        let (key, algorithm) = ec().or_else(|_| rsa()).map_err(|_| SigningKeyError::Unusable)?;
        let mut jwk = Jwk::from_encoding_key(&key, algorithm).map_err(|_| SigningKeyError::Unusable)?;
        let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| SigningKeyError::Unusable)?;
        let kid = kid.unwrap_or_else(|| thumbprint.clone());
        jwk.common.key_id = Some(kid.clone());
        let public = serde_json::json!({ "keys": [jwk] }).to_string();
        let public = KeySet::from_jwks(public.as_bytes()).map_err(|_| SigningKeyError::Unusable)?;
        if public.is_empty() {
            return Err(SigningKeyError::Unusable);
        }
        let mut header = Header::new(algorithm);
        header.typ = Some(apikey::TYPE.to_owned());
        header.kid = Some(kid);
        Ok(SigningKey { key, header, public, thumbprint: thumbprint.into() })
    }

    /// What verifies its signatures.
    pub fn key_set(&self) -> KeySet {
        self.public.clone()
    }

    /// RFC 7638: the same whatever the key is called.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Takes up to a millisecond with RSA: not for a request thread.
    pub fn sign(&self, claims: &apikey::Claims<'_>) -> Result<String, SigningKeyError> {
        jsonwebtoken::encode(&self.header, claims, &self.key).map_err(|_| SigningKeyError::Signing)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}
