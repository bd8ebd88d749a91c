//! The key that signs backend JWTs.

use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::RsaKeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey};
use microgw_engine::KeySet;
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::signing::{self, SigningKey, SigningKeyError};

/// How backend JWTs are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    Rs256,
    Es256,
}

/// A private key, and what backends know it by.
pub struct BackendKey {
    key: EncodingKey,
    algorithm: Algorithm,
    /// The JOSE header, encoded.
    header: Box<str>,
    /// RFC 7638.
    id: Box<str>,
    public: KeySet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendKeyError {
    #[error("there is no private RSA key of at least 2048 bits in it, which RS256 needs (PEM: PKCS #8 or PKCS #1)")]
    NoRsa,
    #[error("there is no private P-256 key in it, which ES256 needs (PEM: PKCS #8)")]
    NoP256,
    #[error("the key could not be generated")]
    Generation,
    #[error("the key could not sign")]
    Signing,
}

// === impl SigningAlgorithm ===

impl SigningAlgorithm {
    /// The JOSE name.
    pub fn as_str(self) -> &'static str {
        match self {
            SigningAlgorithm::Rs256 => "RS256",
            SigningAlgorithm::Es256 => "ES256",
        }
    }

    fn unusable(self) -> BackendKeyError {
        match self {
            SigningAlgorithm::Rs256 => BackendKeyError::NoRsa,
            SigningAlgorithm::Es256 => BackendKeyError::NoP256,
        }
    }
}

// === impl BackendKey ===

impl BackendKey {
    /// A new key as PKCS #8 PEM, for [`BackendKey::from_pem`]. RSA takes its time.
    pub fn generate(algorithm: SigningAlgorithm) -> Result<String, BackendKeyError> {
        match algorithm {
            SigningAlgorithm::Es256 => SigningKey::generate().map_err(|_: SigningKeyError| BackendKeyError::Generation),
            SigningAlgorithm::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| BackendKeyError::Generation)?;
                let der = pair.as_der().map_err(|_| BackendKeyError::Generation)?;
                Ok(signing::private_pem(der.as_ref()))
            }
        }
    }

    /// `certificate`, DER, is what backends of the old product look the key up by.
    pub fn from_pem(
        pem: &str,
        algorithm: SigningAlgorithm,
        certificate: Option<&[u8]>,
    ) -> Result<BackendKey, BackendKeyError> {
        let unusable = |_| algorithm.unusable();
        let (key, jose) = match algorithm {
            SigningAlgorithm::Rs256 => (EncodingKey::from_rsa_pem(pem.as_bytes()), Algorithm::RS256),
            SigningAlgorithm::Es256 => (EncodingKey::from_ec_pem(pem.as_bytes()), Algorithm::ES256),
        };
        let key = key.map_err(unusable)?;
        let mut jwk = Jwk::from_encoding_key(&key, jose).map_err(unusable)?;
        let id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(unusable)?;
        jwk.common.key_id = Some(id.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        // Too small a key, or another curve, verifies nothing here.
        let public = KeySet::from_jwks(json!({ "keys": [jwk] }).to_string().as_bytes());
        let public = public.ok().filter(|keys| keys.len() == 1).ok_or(algorithm.unusable())?;
        let mut header = json!({ "typ": "JWT", "alg": algorithm.as_str(), "kid": id });
        if let (Some(members), Some(der)) = (header.as_object_mut(), certificate) {
            // RFC 7515 sections 4.1.7 and 4.1.8.
            members.insert("x5t".to_owned(), URL_SAFE_NO_PAD.encode(Sha1::digest(der)).into());
            members.insert("x5t#S256".to_owned(), URL_SAFE_NO_PAD.encode(Sha256::digest(der)).into());
        }
        let header = URL_SAFE_NO_PAD.encode(header.to_string()).into();
        Ok(BackendKey { key, algorithm: jose, header, id: id.into(), public })
    }

    /// `kid`: the key's thumbprint, the same wherever it is used.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What verifies its signatures.
    pub fn public(&self) -> &KeySet {
        &self.public
    }

    /// Takes up to a millisecond with RSA: not for a request thread. `claims` are JSON.
    pub fn sign(&self, claims: &str) -> Result<String, BackendKeyError> {
        let mut text = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let signature = jsonwebtoken::crypto::sign(text.as_bytes(), &self.key, self.algorithm);
        text.push('.');
        text.push_str(&signature.map_err(|_| BackendKeyError::Signing)?);
        Ok(text)
    }
}

impl fmt::Debug for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendKey").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}
