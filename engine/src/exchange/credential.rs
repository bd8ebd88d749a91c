//! Credentials as they are presented, and the ways in which they fail.

use std::borrow::Cow;
use std::sync::Arc;

use super::RequestHead;
use crate::cookie;
use crate::identity::Identity;
use crate::jwt::TokenError;
use crate::policy::Credential;
use crate::query::{self, Found};
use crate::realm::CredentialKind;
use crate::reason::Reason;

/// RFC 9449 section 7.1.
const DPOP: &str = "dpop";

/// What is known about a credential.
pub(super) enum Slot<'a> {
    Presented(Cow<'a, str>),
    /// The client's certificate, if there is one.
    Certificate,
    Verified(Arc<Identity>),
    Refused(Failure),
}

#[derive(Clone, Copy)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) cause: Option<TokenError>,
    pub(super) challenge: Challenge,
}

#[derive(Clone, Copy)]
pub(super) enum Challenge {
    Plain,
    InvalidToken,
    /// It would do, with proof of the key that it is bound to.
    Bound,
    /// The proof is wrong.
    Proof,
    /// Of the requirement at these indexes.
    Scope(usize, usize),
}

/// What a request presents where a policy looks for this credential.
pub(super) fn present<'a>(credential: &Credential, header: &str, head: RequestHead<'a>) -> Slot<'a> {
    let key =
        |value: Cow<'a, str>| if value.is_empty() { Slot::Refused(Failure::MISSING) } else { Slot::Presented(value) };
    let kind = credential.kind();
    let found = |found| match found {
        Found::Nothing => Slot::Refused(Failure::MISSING),
        Found::Once(value) => key(value),
        Found::Unclear => Slot::Refused(Failure::invalid(kind, TokenError::Presentation)),
    };
    match credential {
        Credential::Bearer => authorization(head.headers.get(header).unwrap_or_default(), &["bearer", DPOP], kind),
        Credential::Basic => authorization(head.headers.get(header).unwrap_or_default(), &["basic"], kind),
        Credential::HeaderKey(name) => key(head.headers.get(name).unwrap_or_default().into()),
        Credential::Certificate => Slot::Certificate,
        Credential::QueryKey(name) => found(query::find(head.path, name)),
        Credential::CookieKey(name) => found(cookie::find(head.headers.get("cookie").unwrap_or_default(), name).into()),
    }
}

/// Whether the token in this header is presented by its other scheme, as one that is bound to a key.
pub(super) fn is_by_proof(header: &str, head: RequestHead<'_>) -> bool {
    let scheme = |value: &str| value.split(' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case(DPOP));
    head.headers.get(header).is_some_and(scheme)
}

/// The token itself.
pub(super) fn token<'a>(header: &str, head: RequestHead<'a>) -> &'a str {
    head.headers
        .get(header)
        .and_then(|value| value.split_once(' '))
        .map_or("", |(_, token)| token.trim_start_matches(' '))
}

/// The scheme in any case and one token, RFC 9110 section 11.4.
fn authorization<'a>(value: &'a str, wanted: &[&str], kind: CredentialKind) -> Slot<'a> {
    if value.is_empty() {
        return Slot::Refused(Failure::MISSING);
    }
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !wanted.iter().any(|wanted| scheme.eq_ignore_ascii_case(wanted)) {
        return Slot::Refused(Failure { reason: Reason::InvalidScheme, ..Failure::MISSING });
    }
    let token = token.trim_start_matches(' ');
    if token.is_empty() || token.contains([' ', ',', '\t']) {
        return Slot::Refused(Failure::invalid(kind, TokenError::Presentation));
    }
    Slot::Presented(Cow::Borrowed(token))
}

// === impl Failure ===

impl Failure {
    pub(super) const MISSING: Failure =
        Failure { reason: Reason::MissingCredentials, cause: None, challenge: Challenge::Plain };

    pub(super) const NO_ANSWER: Failure =
        Failure { reason: Reason::Unavailable, cause: Some(TokenError::NoAnswer), challenge: Challenge::Plain };

    pub(super) fn invalid(kind: CredentialKind, error: TokenError) -> Failure {
        let challenge = match kind {
            CredentialKind::AccessToken => Challenge::InvalidToken,
            CredentialKind::ApiKey | CredentialKind::User | CredentialKind::Certificate => Challenge::Plain,
        };
        let reason = match (kind, error) {
            (CredentialKind::User, TokenError::Presentation) => Reason::MalformedLogin,
            (CredentialKind::User, _) => Reason::LoginFailed,
            _ => Reason::InvalidCredentials,
        };
        Failure { reason, cause: Some(error), challenge }
    }

    pub(super) fn is_missing(self) -> bool {
        self.reason == Reason::MissingCredentials
    }

    /// Of two equally good ones the first.
    pub(super) fn or_better(self, other: Failure) -> Failure {
        if other.reason > self.reason { other } else { self }
    }
}
