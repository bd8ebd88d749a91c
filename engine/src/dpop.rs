//! Proof of possession of a key, RFC 9449: what a token that is bound to one is worth depends on it, for every request anew.

mod url;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use microgw_proto::rules::v1 as proto;
use sha2::{Digest, Sha256};

use crate::exchange::RequestHead;
use crate::facts::UnixTime;
use crate::json::{self, Json, Object};
use crate::jwt::claims;
use crate::key::{Algorithm, Key};

/// Carries the proof.
pub(crate) const HEADER: &str = "dpop";
/// Bytes; a longer proof is refused unread. One with the longest RSA key that is accepted has half of that.
const MAX_LENGTH: usize = 8 * 1024;

/// How proofs are judged.
#[derive(Debug)]
pub(crate) struct Dpop {
    /// What clients know the gateway by, before the path. Empty: what each request says.
    origins: Box<[Box<str>]>,
    max_age_seconds: u64,
    skew_seconds: u64,
}

/// Names a proof, and the key that made it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ProofId([u8; 32]);

/// Whether a proof was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// It was not, and is from now on.
    Fresh,
    Seen,
    /// Nobody can tell, or remember it.
    Unknown,
}

/// A proof that holds for this request, if it was not used for another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) id: ProofId,
    /// It is refused from then on, for its age.
    pub(crate) until: UnixTime,
}

/// What is wrong with a proof. For the log: clients are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("there is no proof of possession")]
    Missing,
    #[error("the proof is no JWT of moderate length, or there are several")]
    Form,
    #[error("the proof's header is not that of a proof with an asymmetric key")]
    Header,
    #[error("the proof's key is none that can be used, or is a private one")]
    Key,
    #[error("the token is bound to another key")]
    OtherKey,
    #[error("claim `{0}` of the proof is missing or of the wrong kind")]
    Claim(&'static str),
    #[error("the proof is for another method")]
    Method,
    #[error("the proof is for another URL")]
    Url,
    #[error("the proof is for another token")]
    OtherToken,
    #[error("the proof is too old, or of the future")]
    Age,
    #[error("the signature of the proof is wrong")]
    Signature,
    #[error("the proof was used before")]
    Replayed,
}

// === impl Dpop ===

impl Dpop {
    pub(crate) fn load(settings: &proto::Dpop) -> Dpop {
        Dpop {
            origins: settings.origins.iter().map(|origin| origin.trim_end_matches('/').into()).collect(),
            max_age_seconds: settings.max_age_seconds.into(),
            skew_seconds: settings.skew_seconds.into(),
        }
    }

    /// Section 4.3, cheapest first. The caller sees to it that the token is genuine, and that the proof is used once.
    pub(crate) fn verify(
        &self,
        proof: &str,
        head: &RequestHead<'_>,
        token: &str,
        bound_to: &[u8; 32],
        now: UnixTime,
    ) -> Result<Proof, ProofError> {
        if proof.len() > MAX_LENGTH {
            return Err(ProofError::Form);
        }
        let (signing_input, signature) = proof.rsplit_once('.').ok_or(ProofError::Form)?;
        let (header, payload) = signing_input.split_once('.').ok_or(ProofError::Form)?;
        // Several headers of this name are one value with commas, which are outside the alphabet.
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header = json::object(&header).map_err(|_| ProofError::Form)?;
        let claims = json::object(&payload).map_err(|_| ProofError::Form)?;

        let algorithm = check_header(&header)?;
        let jwk = header.get("jwk").and_then(Json::as_object).ok_or(ProofError::Header)?;
        let (key, thumbprint) = Key::of_proof(jwk).map_err(|_| ProofError::Key)?;
        if thumbprint != *bound_to {
            return Err(ProofError::OtherKey);
        }
        let id = required(&claims, "jti")?;
        if required(&claims, "htm")? != head.method {
            return Err(ProofError::Method);
        }
        if required(&claims, "ath")? != URL_SAFE_NO_PAD.encode(Sha256::digest(token)) {
            return Err(ProofError::OtherToken);
        }
        if !self.is_for(required(&claims, "htu")?, head) {
            return Err(ProofError::Url);
        }
        let until = self.check_age(&claims, now)?;
        if !key.verifies(algorithm, signing_input.as_bytes(), &signature) {
            return Err(ProofError::Signature);
        }
        Ok(Proof { id: ProofId::of(&thumbprint, id), until })
    }

    /// Compares as RFC 3986 section 6.2 does, by syntax and scheme; the query does not count.
    fn is_for(&self, told: &str, head: &RequestHead<'_>) -> bool {
        let Some(told) = url::normal(told) else { return false };
        let path = head.path.split(['?', '#']).next().unwrap_or_default();
        let is_own = |own: String| url::normal(&own).is_some_and(|own| own == told);
        if self.origins.is_empty() {
            is_own(format!("{}://{}{path}", head.scheme, head.authority))
        } else {
            self.origins.iter().any(|origin| is_own(format!("{origin}{path}")))
        }
    }

    /// When it becomes too old.
    fn check_age(&self, proof: &Object, now: UnixTime) -> Result<UnixTime, ProofError> {
        let made = claims::date(proof, "iat", f64::floor).ok().flatten().ok_or(ProofError::Claim("iat"))?;
        let until = made.0.saturating_add(self.max_age_seconds).saturating_add(self.skew_seconds).saturating_add(1);
        if made.0 > now.0.saturating_add(self.skew_seconds) || now.0 >= until {
            return Err(ProofError::Age);
        }
        Ok(UnixTime(until))
    }
}

// === impl ProofId ===

impl ProofId {
    /// Of the proof with this `jti` that the key with this thumbprint made.
    pub fn of(thumbprint: &[u8; 32], id: &str) -> ProofId {
        ProofId(Sha256::new().chain_update(thumbprint).chain_update(id).finalize().into())
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn check_header(header: &Object) -> Result<Algorithm, ProofError> {
    let text = |name: &str| header.get(name).and_then(Json::as_str).ok_or(ProofError::Header);
    if header.contains_key("crit") || header.contains_key("b64") || text("typ")? != "dpop+jwt" {
        return Err(ProofError::Header);
    }
    // None of those that are known is symmetric.
    text("alg")?.parse().map_err(|_| ProofError::Header)
}

fn required<'a>(claims: &'a Object, name: &'static str) -> Result<&'a str, ProofError> {
    claims.get(name).and_then(Json::as_str).filter(|text| !text.is_empty()).ok_or(ProofError::Claim(name))
}

fn decode(part: &str) -> Result<Vec<u8>, ProofError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| ProofError::Form)
}
