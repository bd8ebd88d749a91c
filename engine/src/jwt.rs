//! JSON Web Tokens, RFC 7519, read as RFC 8725 advises: bounded, strict, the algorithm bound to the key.

pub(crate) mod claims;
pub(crate) mod mapping;
mod profile;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::dpop::ProofError;
use crate::identity::Identity;
use crate::json::{self, Json, Object};
use crate::key::{Algorithm, KeySet, Selection};
use crate::realm::{CredentialKind, Issuer, Realm};

/// Bytes; a longer token is refused unread.
pub const MAX_TOKEN_LENGTH: usize = 16 * 1024;

/// What is wrong with a token. For the log: clients are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the credential is not presented as its scheme says")]
    Presentation,
    #[error("the token is longer than {MAX_TOKEN_LENGTH} bytes")]
    TooLong,
    #[error("the token is not a JWT in compact form")]
    Form,
    #[error("the header or the claims are no JSON object, repeat a member, or nest too deeply")]
    Json,
    #[error("the header has a critical extension")]
    Critical,
    #[error("the header has a member of the wrong kind")]
    Header,
    #[error("the algorithm is none that is accepted")]
    Algorithm,
    #[error("the token is of another type")]
    Type,
    #[error("the authorization server says that the token is not active")]
    Inactive,
    #[error("the password is wrong, or there is no such user")]
    Password,
    #[error("there is no such API key, or it was revoked")]
    OpaqueKey,
    #[error("the issuer is unknown")]
    UnknownIssuer,
    #[error("the token is meant for another audience")]
    Audience,
    #[error("the claims that backends would be told of are longer than {} bytes", crate::backend_jwt::MAX_PASSED_ON)]
    TooManyClaims,
    #[error("claim `{0}` is missing or of the wrong kind")]
    Claim(&'static str),
    #[error("a claim that is mapped is neither text nor a list of texts")]
    Mapping,
    #[error("no key of the issuer fits the token")]
    UnknownKey,
    #[error("several keys of the issuer fit the token")]
    AmbiguousKey,
    #[error("the signature is wrong")]
    Signature,
    #[error("the credential has expired")]
    Expired,
    #[error("the credential was revoked")]
    Revoked,
    #[error("the application is not subscribed, or its subscription does not let it in")]
    Subscription,
    #[error("who is subscribed is not known at the moment")]
    SubscriptionsUnknown,
    #[error("what was revoked is not known at the moment")]
    RevocationsUnknown,
    #[error("the credential is not valid yet")]
    NotYetValid,
    #[error("the token is bound to a certificate that the client does not have")]
    Certificate,
    #[error("the certificate cannot be read")]
    CertificateForm,
    #[error("the certificate is none of those that are accepted here, and of none of their authorities")]
    CertificateUnknown,
    #[error("the certificate has none of the names that are accepted here")]
    CertificateName,
    #[error("the certificate is not meant for clients")]
    CertificateUsage,
    #[error("the key is not meant for this API")]
    OtherApi,
    #[error("the token lacks a scope")]
    Scope,
    #[error("the operation has no endpoint for the credential's key type")]
    Environment,
    #[error("the token is bound to a key, and was presented as if it were not")]
    Bound,
    #[error("the token is bound to no key, and was presented as if it were")]
    Unbound,
    #[error(transparent)]
    Proof(ProofError),
    #[error("what verifies the credential could not be had")]
    NoAnswer,
}

/// A token that was read and whose claims suit their issuer, if it is the issuer that signed them.
pub(crate) struct Unverified {
    algorithm: Algorithm,
    kid: Option<Box<str>>,
    identity: Identity,
    signing_input: Box<[u8]>,
    signature: Box<[u8]>,
}

impl Unverified {
    /// Everything that can be refused without a key is refused here.
    pub(crate) fn read<'r>(
        realm: &'r Realm,
        kind: CredentialKind,
        token: &str,
    ) -> Result<(&'r Issuer, Unverified), TokenError> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(TokenError::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
        let (header, payload) = signing_input.split_once('.').ok_or(TokenError::Form)?;
        // A dot that is left is refused with every other byte outside the alphabet.
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header = json::object(&header).map_err(|_| TokenError::Json)?;
        let algorithm = check_header(&header, kind)?;

        let mut payload = json::object(&payload).map_err(|_| TokenError::Json)?;
        let name = payload.get("iss").and_then(Json::as_str).ok_or(TokenError::Claim("iss"))?;
        let issuer = realm.issuer(kind, name).ok_or(TokenError::UnknownIssuer)?;
        if !issuer.algorithms.contains(&algorithm) {
            return Err(TokenError::Algorithm);
        }
        if issuer.rfc9068 {
            profile::check(&header, &payload)?;
        }
        mapping::apply(&issuer.claims, &mut payload)?;
        let identity = claims::read(&payload, kind, issuer)?;
        let kid = match header.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str().ok_or(TokenError::Header)?.into()),
        };
        let signing_input = signing_input.as_bytes().into();
        Ok((issuer, Unverified { algorithm, kid, identity, signing_input, signature: signature.into() }))
    }

    /// [`TokenError::UnknownKey`] may be mended by fresher keys; every other error is final.
    pub(crate) fn verify(&self, keys: &KeySet) -> Result<Identity, TokenError> {
        let key = match keys.select(self.kid.as_deref(), self.algorithm) {
            Selection::Key(key) if !key.is_withdrawn() => key,
            Selection::Key(_) | Selection::Unknown => return Err(TokenError::UnknownKey),
            Selection::Ambiguous => return Err(TokenError::AmbiguousKey),
        };
        if key.verifies(self.algorithm, &self.signing_input, &self.signature) {
            Ok(Identity { key: Some(Arc::clone(key)), ..self.identity.clone() })
        } else if key.is_guess() {
            Err(TokenError::UnknownKey)
        } else {
            Err(TokenError::Signature)
        }
    }
}

/// Refuses every extension (RFC 7515 section 4.1.11, RFC 7797), and tokens that were made for another purpose
/// (RFC 8725 section 3.11).
fn check_header(header: &Object, kind: CredentialKind) -> Result<Algorithm, TokenError> {
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(TokenError::Critical);
    }
    if let Some(kind_of_token) = header.get("typ") {
        let name = kind_of_token.as_str().ok_or(TokenError::Header)?;
        let own = match kind {
            CredentialKind::ApiKey => crate::apikey::TYPE,
            _ => "at+jwt",
        };
        let short = short_type(name);
        if !short.eq_ignore_ascii_case("JWT") && !short.eq_ignore_ascii_case(own) {
            return Err(TokenError::Type);
        }
    }
    let algorithm = header.get("alg").and_then(Json::as_str).ok_or(TokenError::Header)?;
    algorithm.parse().map_err(|_| TokenError::Algorithm)
}

/// A media type without its usual beginning, RFC 7515 section 4.1.9.
fn short_type(name: &str) -> &str {
    match name.split_at_checked("application/".len()) {
        Some((prefix, short)) if prefix.eq_ignore_ascii_case("application/") => short,
        _ => name,
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Form)
}

#[cfg(test)]
mod tests;
