//! Whether a credential is genuine and valid here: from memory, or by asking.

use std::sync::Arc;

use super::credential::{self, Challenge, Failure, Slot};
use super::judge::Verdict;
use super::sign::Signing;
use super::spend::Spent;
use super::{Answer, Exchange, Lookup, Sensitive, Step};
use crate::basic;
use crate::dpop::{self, Novelty, ProofError};
use crate::facts::{CredentialDigest, OpaqueKey, UnixTime};
use crate::identity::{Confirmation, Identity};
use crate::jwt::{TokenError, Unverified};
use crate::key::KeySet;
use crate::opaque::{self, KeyHash};
use crate::realm::{CredentialKind, KeySource};
use crate::reason::Reason;
use crate::revocation::{self, Revoked, Standing};
use crate::subscription::{Says, Subscribed};

/// A credential that waits for an answer.
pub(super) struct Pending {
    credential: usize,
    digest: CredentialDigest,
    wanted: Wanted,
}

/// What is asked for.
enum Wanted {
    /// Keys to verify a token by.
    Keys(Box<WantedKeys>),
    /// Whom it stands for.
    Identity,
}

struct WantedKeys {
    source: KeySource,
    token: Unverified,
    refreshed: bool,
    /// If nothing else helps, the authorization server is asked about this.
    opaque: Option<Sensitive>,
}

/// How far an answer leads.
enum Progress {
    Genuine(Arc<Identity>),
    Refused(Failure),
    Ask(Wanted, Lookup),
}

impl<'a> Exchange<'a> {
    /// Takes the answer to the lookup that the last step asked for.
    pub fn resume(&mut self, answer: Answer, now: UnixTime) -> Step<'a> {
        self.now = now;
        match std::mem::replace(&mut self.signing, Signing::NotYet) {
            Signing::Ordered(order) => return self.signed(order, answer),
            other => self.signing = other,
        }
        if let Spent::Asked(_) = self.spent
            && let Spent::Asked(charges) = std::mem::replace(&mut self.spent, Spent::NotYet)
        {
            return self.spent(&charges, answer);
        }
        let Some(pending) = self.pending.take() else {
            return self.deny(Failure { reason: Reason::Internal, ..Failure::MISSING });
        };
        let (credential, digest) = (pending.credential, pending.digest);
        let kind = self.kind(credential);
        let progress = match (pending.wanted, answer) {
            (Wanted::Keys(wanted), Answer::Keys(keys)) => self.verify(kind, *wanted, &keys, digest),
            (Wanted::Identity, Answer::Identity(identity)) if identity.kind == kind => Progress::Genuine(identity),
            (Wanted::Identity, Answer::Slowed { seconds }) => {
                self.retry_after = self.retry_after.max(Some(seconds));
                Progress::Refused(Failure { reason: Reason::TooManyLogins, ..Failure::MISSING })
            }
            (Wanted::Identity, Answer::Refused(error)) => Progress::Refused(Failure::invalid(kind, error)),
            // What answers another question answers none.
            _ => Progress::Refused(Failure::NO_ANSWER),
        };
        let slot = match progress {
            Progress::Genuine(identity) => {
                let identity = self.named(credential, identity);
                if kind != CredentialKind::User || self.facts.secret().is_some() {
                    self.facts.put(digest, Arc::clone(&identity));
                }
                Slot::Verified(identity)
            }
            Progress::Refused(failure) => Slot::Refused(failure),
            Progress::Ask(wanted, lookup) => {
                self.pending = Some(Pending { credential, digest, wanted });
                return Step::Ask(lookup);
            }
        };
        if let Some(place) = self.slots.get_mut(credential) {
            *place = slot;
        }
        self.proceed()
    }

    /// Finds out whether a credential is valid for this API.
    pub(super) fn settle(&mut self, credential: usize) -> Verdict {
        let kind = self.kind(credential);
        let Some(slot) = self.slots.get(credential) else { return Verdict::Failed(Failure::MISSING) };
        if let Slot::Certificate = slot {
            let settled = self.client_certificate().map_or_else(Slot::Refused, Slot::Verified);
            if let Some(place) = self.slots.get_mut(credential) {
                *place = settled;
            }
        } else if let Slot::Presented(presented) = slot {
            let opaque = if kind == CredentialKind::ApiKey { opaque::hash(presented) } else { None };
            let settled = if let Some(hash) = opaque {
                self.opaque_key(&hash)
            } else {
                let secret = if kind == CredentialKind::User { self.facts.secret() } else { None };
                let digest = CredentialDigest::new(&self.rule.realm, kind, presented, secret);
                match self.facts.get(&digest).filter(|identity| !identity.is_withdrawn()) {
                    Some(identity) => Slot::Verified(identity),
                    None => match self.begin(kind, presented, digest) {
                        Ok((wanted, lookup)) => {
                            self.pending = Some(Pending { credential, digest, wanted });
                            return Verdict::Ask(lookup);
                        }
                        Err(error) => Slot::Refused(Failure::invalid(kind, error)),
                    },
                }
            };
            if let Some(place) = self.slots.get_mut(credential) {
                *place = settled;
            }
        }
        match self.slots.get(credential) {
            Some(Slot::Refused(failure)) => Verdict::Failed(*failure),
            Some(Slot::Verified(identity)) => {
                let identity = Arc::clone(identity);
                match self.check(kind, &identity) {
                    Ok(()) => Verdict::Satisfied(identity),
                    Err(failure) => Verdict::Failed(failure),
                }
            }
            Some(Slot::Presented(_) | Slot::Certificate) | None => Verdict::Failed(Failure::MISSING),
        }
    }

    /// An opaque key is known or it is none: nobody is asked, and nothing is cached, so that one that is revoked is gone.
    fn opaque_key(&self, hash: &KeyHash) -> Slot<'a> {
        let invalid = |error| Slot::Refused(Failure::invalid(CredentialKind::ApiKey, error));
        match self.facts.opaque_key(hash) {
            OpaqueKey::Known(identity) if identity.kind != CredentialKind::ApiKey => invalid(TokenError::UnknownKey),
            OpaqueKey::Known(identity)
                if identity.allowed_apis.is_none() && self.rule.realm.requires_allowed_apis() =>
            {
                invalid(TokenError::Claim("allowedAPIs"))
            }
            // Its id is among its names; the host that knows it by its hash does not keep another of that.
            OpaqueKey::Known(_) if self.rule.realm.revocable && self.is_revoked(Revoked::Token(hash.0)) => {
                Slot::Refused(Failure {
                    reason: Reason::Revoked,
                    ..Failure::invalid(CredentialKind::ApiKey, TokenError::Revoked)
                })
            }
            OpaqueKey::Known(identity) => Slot::Verified(identity),
            OpaqueKey::Unknown => invalid(TokenError::OpaqueKey),
            OpaqueKey::Unavailable => Slot::Refused(Failure {
                reason: Reason::Unavailable,
                cause: Some(TokenError::NoAnswer),
                challenge: Challenge::Plain,
            }),
        }
    }

    fn is_revoked(&self, what: Revoked<'_>) -> bool {
        self.facts.standing(&[what.name()]) == Standing::Revoked
    }

    /// What is asked about a credential that nothing is known of. What can be refused without asking is refused here.
    fn begin(
        &self,
        kind: CredentialKind,
        presented: &str,
        digest: CredentialDigest,
    ) -> Result<(Wanted, Lookup), TokenError> {
        if kind == CredentialKind::User {
            let (user, password) = basic::read(presented)?;
            let lookup = Lookup::Password { digest, user: Sensitive(user), password: Sensitive(password) };
            return Ok((Wanted::Identity, lookup));
        }
        let realm = &self.rule.realm;
        let introspection = realm.introspection.as_ref().filter(|_| kind == CredentialKind::AccessToken);
        let opaque = || Sensitive(presented.into());
        match (Unverified::read(realm, kind, presented), introspection) {
            (Ok((issuer, token)), introspection) => {
                let source = issuer.source.clone();
                let opaque = introspection.filter(|introspection| introspection.failed_jwts).map(|_| opaque());
                let lookup = Lookup::Keys(source.clone());
                Ok((Wanted::Keys(Box::new(WantedKeys { source, token, refreshed: false, opaque })), lookup))
            }
            (Err(error), Some(reader)) if error != TokenError::TooLong => {
                // Two dots make a JWT, RFC 7515 section 7.1. What no token may look like is nobody's.
                if !is_token(presented) || opaque::hash(presented).is_some() {
                    Err(TokenError::Presentation)
                } else if presented.matches('.').count() < 2 || reader.failed_jwts && is_of_no_issuer(error) {
                    Ok((
                        Wanted::Identity,
                        Lookup::Introspection { digest, token: opaque(), reader: Arc::clone(reader) },
                    ))
                } else {
                    Err(error)
                }
            }
            (Err(error), _) => Err(error),
        }
    }

    /// What `keys` make of a token.
    fn verify(
        &self,
        kind: CredentialKind,
        mut wanted: WantedKeys,
        keys: &KeySet,
        digest: CredentialDigest,
    ) -> Progress {
        match wanted.token.verify(keys) {
            Ok(identity) => Progress::Genuine(Arc::new(identity)),
            Err(TokenError::UnknownKey) if !wanted.refreshed => {
                wanted.refreshed = true;
                let lookup = Lookup::FreshKeys(wanted.source.clone());
                Progress::Ask(Wanted::Keys(Box::new(wanted)), lookup)
            }
            Err(error) => match (wanted.opaque, &self.rule.realm.introspection) {
                (Some(token), Some(reader)) if error == TokenError::UnknownKey => {
                    let reader = Arc::clone(reader);
                    Progress::Ask(Wanted::Identity, Lookup::Introspection { digest, token, reader })
                }
                _ => Progress::Refused(Failure::invalid(kind, error)),
            },
        }
    }

    /// What is kept of a genuine credential: the names to revoke it by, in place of the id of a token, and neither where
    /// nothing can be revoked.
    fn named(&self, credential: usize, identity: Arc<Identity>) -> Arc<Identity> {
        let revocable = self.rule.realm.revocable;
        let id_of_token = identity.kind == CredentialKind::AccessToken && identity.id.is_some();
        if !revocable && !id_of_token {
            return identity;
        }
        let Some(Slot::Presented(presented)) = self.slots.get(credential) else { return identity };
        let mut identity = Arc::unwrap_or_clone(identity);
        if revocable {
            identity.names = revocation::names(&identity, presented);
        }
        if id_of_token {
            identity.id = None;
        }
        Arc::new(identity)
    }

    /// What is checked on every request, however well the credential is known.
    fn check(&mut self, kind: CredentialKind, identity: &Identity) -> Result<(), Failure> {
        identity.check_time(self.now).map_err(|(reason, error)| match kind {
            // That it could be renewed is said of what the caller got from somebody who renews it.
            CredentialKind::Certificate => Failure::invalid(kind, error),
            _ => Failure { reason, ..Failure::invalid(kind, error) },
        })?;
        self.confirm(&identity.confirmation).map_err(|error| Failure::invalid(kind, error))?;
        if self.rule.realm.revocable {
            match self.facts.standing(&identity.names) {
                Standing::Good if !identity.names.is_empty() => {}
                // Not even that the password was right is for whoever has it now.
                Standing::Revoked if kind == CredentialKind::User => {
                    return Err(Failure::invalid(kind, TokenError::Revoked));
                }
                Standing::Revoked => {
                    return Err(Failure { reason: Reason::Revoked, ..Failure::invalid(kind, TokenError::Revoked) });
                }
                // Nor can anybody tell of what has no name.
                Standing::Unknown | Standing::Good => {
                    let error = TokenError::RevocationsUnknown;
                    return Err(Failure { reason: Reason::RevocationsUnknown, ..Failure::invalid(kind, error) });
                }
            }
        }
        self.check_possession(kind, identity.confirmation.key.as_ref())?;
        let api = &self.rule.api;
        if identity.membership.required {
            self.check_subscription(identity)?;
        }
        if !identity.allows(&api.name, &api.version) {
            return Err(Failure {
                reason: Reason::ApiForbidden,
                cause: Some(TokenError::OtherApi),
                challenge: Challenge::Plain,
            });
        }
        Ok(())
    }

    /// RFC 9449 section 7.1: a token that is bound to a key is presented as such, and no other.
    fn check_possession(&mut self, kind: CredentialKind, bound_to: Option<&[u8; 32]>) -> Result<(), Failure> {
        let refused = |error, challenge| Err(Failure { challenge, ..Failure::invalid(kind, error) });
        match (self.by_proof && kind == CredentialKind::AccessToken, bound_to) {
            (false, None) => Ok(()),
            (false, Some(_)) => refused(TokenError::Bound, Challenge::Bound),
            (true, None) => refused(TokenError::Unbound, Challenge::InvalidToken),
            (true, Some(bound_to)) => match self.proved {
                Some(proved) => proved,
                None => *self.proved.insert(self.prove(bound_to)),
            },
        }
    }

    /// Only the proof of a genuine token is looked at, and only one that holds is remembered: nobody else can fill that memory.
    fn prove(&self, bound_to: &[u8; 32]) -> Result<(), Failure> {
        let refused = |error| Failure {
            reason: Reason::InvalidProof,
            cause: Some(TokenError::Proof(error)),
            challenge: Challenge::Proof,
        };
        let head = self.head.ok_or(refused(ProofError::Missing))?;
        let proof = head.headers.get(dpop::HEADER).ok_or(refused(ProofError::Missing))?;
        let token = credential::token(&self.rule.policy.credential_header, head);
        let proof = self.rule.realm.dpop.verify(proof, &head, token, bound_to, self.now).map_err(refused)?;
        match self.facts.prove(&proof.id, self.now, proof.until) {
            Novelty::Fresh => Ok(()),
            Novelty::Seen => Err(refused(ProofError::Replayed)),
            Novelty::Unknown => Err(Failure {
                reason: Reason::Unavailable,
                cause: Some(TokenError::NoAnswer),
                challenge: Challenge::Plain,
            }),
        }
    }

    /// Only of those that need one. A token that names no client is nobody's.
    fn check_subscription(&self, identity: &Identity) -> Result<(), Failure> {
        let failure = |reason, cause| Failure { reason, cause: Some(cause), challenge: Challenge::Plain };
        let refused = |reason| failure(reason, TokenError::Subscription);
        match self.subscribed(identity) {
            Subscribed::Known(subscription, key_type) => {
                subscription.state.admits(key_type.unwrap_or(identity.key_type)).map_err(refused)
            }
            Subscribed::Unknown => Err(refused(Reason::NotSubscribed)),
            Subscribed::Unavailable => Err(failure(Reason::SubscriptionsUnknown, TokenError::SubscriptionsUnknown)),
        }
    }

    /// As the token says, which its issuer has signed; or as stores know, by the client that it was issued to.
    pub(super) fn subscribed(&self, identity: &Identity) -> Subscribed {
        let api = &self.rule.api;
        match (identity.membership.says(&api.name, &api.version), identity.client()) {
            (Says::Yes(subscription), _) => Subscribed::Known(Arc::clone(subscription), None),
            (Says::No, _) | (Says::Nothing, None) => Subscribed::Unknown,
            (Says::Nothing, Some(client)) => self.facts.subscription(client, api),
        }
    }

    /// Whether the caller has what the credential is bound to.
    fn confirm(&self, bound_to: &Confirmation) -> Result<(), TokenError> {
        match bound_to.certificate {
            Some(bound_to) if self.thumbprint() != Some(bound_to) => Err(TokenError::Certificate),
            // Whoever has its key may not be the one any more whom the token was given to.
            Some(bound_to) if self.is_revoked_certificate(bound_to) => Err(TokenError::Certificate),
            _ => Ok(()),
        }
    }

    pub(super) fn is_revoked_certificate(&self, thumbprint: [u8; 32]) -> bool {
        self.rule.realm.revocable && self.is_revoked(Revoked::Certificate(thumbprint))
    }
}

/// Whether the token names no issuer that is known. What breaks the rules of one that is known is no better for what
/// another server says of it.
fn is_of_no_issuer(error: TokenError) -> bool {
    matches!(error, TokenError::Form | TokenError::Json | TokenError::Claim("iss") | TokenError::UnknownIssuer)
}

/// `b64token`, RFC 6750 section 2.1.
fn is_token(text: &str) -> bool {
    let text = text.trim_end_matches('=');
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}
