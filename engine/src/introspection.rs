//! What an authorization server says about an opaque token, RFC 7662 section 2.2.

use std::sync::Arc;
use std::time::Duration;

use microgw_proto::rules::v1 as proto;

use crate::backend_jwt::Kept;
use crate::json::{self, Json};
use crate::jwt::claims;
use crate::subscription::Membership;
use crate::{CredentialKind, Identity, TokenError, UnixTime};

/// How answers are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// Must equal `iss`, where an answer has one; empty: not checked.
    issuer: Box<str>,
    /// Any one must be in `aud`; empty: not checked.
    audiences: Box<[Box<str>]>,
    skew_seconds: u64,
    /// How long an answer holds.
    remembered: Duration,
    /// JWTs that no issuer vouches for are asked about, too.
    pub(crate) failed_jwts: bool,
    /// Of the answer, what is kept for backends.
    kept: Option<Arc<Kept>>,
    /// Of the answer, what limits look at.
    limiting: Arc<[Box<str>]>,
    user_claims: bool,
    /// Only subscribers are let in.
    validate_subscription: bool,
}

// === impl Introspection ===

impl Introspection {
    pub(crate) fn load(settings: &proto::Introspection) -> Introspection {
        Introspection {
            issuer: settings.issuer.as_str().into(),
            audiences: settings.audiences.iter().map(|audience| audience.as_str().into()).collect(),
            skew_seconds: settings.skew_seconds.into(),
            remembered: Duration::from_millis(settings.remember_milliseconds.into()),
            failed_jwts: settings.failed_jwts,
            kept: None,
            limiting: Arc::default(),
            user_claims: settings.user_claims,
            validate_subscription: settings.validate_subscription,
        }
    }

    /// What of answers is kept for backends, and for limits.
    pub(crate) fn keeping(self, kept: Option<Arc<Kept>>, limiting: &Arc<[Box<str>]>) -> Introspection {
        Introspection { kept, limiting: Arc::clone(limiting), ..self }
    }

    /// Whom the token stands for. [`TokenError::Inactive`] is the server's own word; every other error is about the answer.
    pub fn read(&self, answer: &[u8]) -> Result<Identity, TokenError> {
        let mut answer = json::object(answer).map_err(|_| TokenError::Json)?;
        // About the token, not the caller: no backend is told.
        answer.remove("token_type");
        match answer.remove("active") {
            Some(Json::Bool(true)) => {}
            Some(Json::Bool(false)) => return Err(TokenError::Inactive),
            _ => return Err(TokenError::Claim("active")),
        }
        if ["token_type", "token_use", "typ"].iter().any(|name| names_another_kind(answer.get(*name))) {
            return Err(TokenError::Type);
        }
        let issuer = claims::text(&answer, "iss")?;
        if !self.issuer.is_empty() && issuer.is_some_and(|issuer| *issuer != *self.issuer) {
            return Err(TokenError::UnknownIssuer);
        }
        let audiences = claims::audiences(&answer)?;
        claims::check_audiences(&audiences, &self.audiences)?;
        let expires = claims::date(&answer, "exp", f64::floor)?;
        let not_before = claims::date(&answer, "nbf", f64::ceil)?.unwrap_or_default();
        // `username` is for people to read, and in some servers for people to choose.
        let subject = match claims::text(&answer, "sub")? {
            None => claims::text(&answer, "username")?,
            subject => subject,
        };
        Ok(Identity {
            not_before: UnixTime(not_before.0.saturating_sub(self.skew_seconds)),
            expires: expires.map(|expires| UnixTime(expires.0.saturating_add(self.skew_seconds))),
            subject: subject.map(Box::from),
            client: claims::text(&answer, "client_id")?.map(Box::from),
            id: claims::id(&answer)?,
            key_type: claims::key_type(&answer)?,
            scopes: claims::scopes(&answer)?,
            confirmation: claims::confirmation(&answer)?,
            remembered: Some(self.remembered),
            application: claims::application(&answer),
            claims: claims::limiting(&answer, &self.limiting),
            passed_on: self.kept.as_ref().map(|kept| kept.text(&answer)).transpose()?,
            user_claims: self.user_claims,
            membership: Membership::silent(self.validate_subscription),
            ..Identity::new(CredentialKind::AccessToken)
        })
    }
}

/// Servers answer for refresh tokens and ID tokens, too, and some say which it is: neither opens an API.
fn names_another_kind(kind: Option<&Json>) -> bool {
    let others = ["refresh", "refresh_token", "id", "id_token"];
    kind.and_then(Json::as_str).is_some_and(|kind| others.iter().any(|other| kind.eq_ignore_ascii_case(other)))
}
