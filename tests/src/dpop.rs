//! A client that proves possession of a key, RFC 9449.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::issuer::{TokenKey, now};

/// A P-256 key that tokens are bound to.
pub struct ProofKey(TokenKey);

impl Default for ProofKey {
    fn default() -> ProofKey {
        ProofKey(TokenKey::new(""))
    }
}

// === impl ProofKey ===

impl ProofKey {
    /// Its public half: the members that count, and no other.
    pub fn jwk(&self) -> Value {
        let jwk = self.0.jwk();
        json!({ "kty": "EC", "crv": "P-256", "x": jwk["x"], "y": jwk["y"] })
    }

    /// `cnf.jkt` of tokens that are bound to it, RFC 7638.
    ///
    /// # Panics
    /// Never: a JWK has these members.
    pub fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let member = |name: &str| jwk[name].as_str().expect("it has them all").to_owned();
        // In the order of their names, without a blank.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, member("x"), member("y"));
        hash(&canonical)
    }

    /// A proof for one request; with a token, for a request that carries it.
    pub fn proof(&self, method: &str, url: &str, token: Option<&str>) -> String {
        self.sign(&self.header(), &claims(method, url, token))
    }

    pub fn header(&self) -> Value {
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() })
    }

    /// Signs anything.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.0.sign_text(&header.to_string(), &claims.to_string())
    }
}

/// What a proof says.
pub fn claims(method: &str, url: &str, token: Option<&str>) -> Value {
    static PROOFS: AtomicU64 = AtomicU64::new(0);
    let id = format!("{}-{}", std::process::id(), PROOFS.fetch_add(1, Ordering::Relaxed));
    let mut claims = json!({ "jti": id, "htm": method, "htu": url, "iat": now() });
    if let Some(token) = token {
        claims["ath"] = hash(token).into();
    }
    claims
}

/// SHA-256 in base64url.
pub fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()))
}
