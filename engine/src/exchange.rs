//! One request, from its head to the decision.

mod credential;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::facts::{Facts, TokenDigest, TokenFacts, UnixTime};
use crate::jwt::{TokenError, Unverified};
use crate::key::KeySet;
use crate::policy::{Alternative, Credential, Requirement};
use crate::query;
use crate::realm::{CredentialKind, KeySource};
use crate::reason::Reason;
use crate::rules::Rule;
use credential::{Challenge, Failure, Slot, present};

/// The headers of a request, by lower-case name. Several of one name are one value joined by `,`.
pub trait Headers: Sync {
    fn get(&self, name: &str) -> Option<&str>;
}

/// What the engine reads of a request's head.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// With its query, as received.
    pub path: &'a str,
    pub headers: &'a dyn Headers,
}

/// What the host does next.
#[derive(Debug)]
pub enum Step<'a> {
    Done(Decision<'a>),
    /// Find it out, and [`Exchange::resume`].
    Ask(Lookup),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The issuer's keys, as they are known; fetched if they never were.
    Keys(KeySource),
    /// A token names a key that the issuer is not known to have: fetched again, unless that happened just now.
    FreshKeys(KeySource),
}

impl Lookup {
    /// A stable name for logs and counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Lookup::Keys(_) => "keys",
            Lookup::FreshKeys(_) => "fresh_keys",
        }
    }
}

/// What the host found out.
#[derive(Clone, Debug)]
pub enum Answer {
    Keys(Arc<KeySet>),
    /// It could not be found out in time.
    Unavailable,
}

#[derive(Debug)]
pub enum Decision<'a> {
    Allow(Allow<'a>),
    Deny(Deny<'a>),
}

/// The request may pass, changed like this.
#[derive(Debug)]
pub struct Allow<'a> {
    /// Headers to remove, present or not.
    pub remove_headers: &'a [Box<str>],
    /// The new `:path`, if a credential was cut out of it.
    pub path: Option<String>,
    /// The value to give [`crate::ENVIRONMENT_HEADER`].
    pub environment: Option<&'static str>,
    /// Who calls.
    pub identity: Arc<TokenFacts>,
}

/// The request is refused.
#[derive(Debug)]
pub struct Deny<'a> {
    pub reason: Reason,
    /// For the log, not for the client.
    pub cause: Option<TokenError>,
    /// Values of `WWW-Authenticate`.
    pub challenges: &'a [Box<str>],
    /// Who calls, where a credential was genuine and still not enough.
    pub identity: Option<Arc<TokenFacts>>,
}

/// The state machine of one request.
pub struct Exchange<'a> {
    rule: &'a Rule,
    facts: &'a dyn Facts,
    now: UnixTime,
    head: Option<RequestHead<'a>>,
    /// One for each of the policy's credentials.
    slots: SmallVec<[Slot<'a>; 3]>,
    /// The alternative that is tried.
    position: usize,
    /// The best failure so far.
    failure: Failure,
    pending: Option<Pending>,
}

/// A token that waits for keys.
struct Pending {
    credential: usize,
    digest: TokenDigest,
    source: KeySource,
    token: Box<Unverified>,
    refreshed: bool,
}

enum Verdict {
    Satisfied(Arc<TokenFacts>),
    Failed(Failure),
    Ask(Lookup),
}

impl<S: BuildHasher + Sync> Headers for HashMap<String, String, S> {
    fn get(&self, name: &str) -> Option<&str> {
        HashMap::get(self, name).map(String::as_str)
    }
}

// === impl Exchange ===

impl<'a> Exchange<'a> {
    pub fn new(rule: &'a Rule, facts: &'a dyn Facts, now: UnixTime) -> Exchange<'a> {
        Exchange {
            rule,
            facts,
            now,
            head: None,
            slots: SmallVec::new(),
            position: 0,
            failure: Failure::MISSING,
            pending: None,
        }
    }

    pub fn on_request_head(&mut self, head: RequestHead<'a>) -> Step<'a> {
        let policy = &self.rule.policy;
        self.slots =
            policy.credentials.iter().map(|credential| present(credential, &policy.credential_header, head)).collect();
        self.head = Some(head);
        self.position = 0;
        self.proceed()
    }

    /// Takes the answer to the lookup that the last step asked for.
    pub fn resume(&mut self, answer: Answer, now: UnixTime) -> Step<'a> {
        self.now = now;
        let Some(mut pending) = self.pending.take() else {
            return self.deny(Failure { reason: Reason::Internal, ..Failure::MISSING });
        };
        let kind = self.kind(pending.credential);
        let slot = match answer {
            Answer::Unavailable => Slot::Refused(Failure {
                reason: Reason::Unavailable,
                cause: Some(TokenError::NoKeys),
                challenge: Challenge::Plain,
            }),
            Answer::Keys(keys) => match pending.token.verify(&keys) {
                Ok(facts) => {
                    let facts = Arc::new(facts);
                    self.facts.put(pending.digest, Arc::clone(&facts));
                    Slot::Verified(facts)
                }
                Err(TokenError::UnknownKey) if !pending.refreshed => {
                    pending.refreshed = true;
                    let lookup = Lookup::FreshKeys(pending.source.clone());
                    self.pending = Some(pending);
                    return Step::Ask(lookup);
                }
                Err(error) => Slot::Refused(Failure::invalid(kind, error)),
            },
        };
        if let Some(place) = self.slots.get_mut(pending.credential) {
            *place = slot;
        }
        self.proceed()
    }

    /// Tries the alternatives in their order, so that who the caller is does not depend on what is cached.
    fn proceed(&mut self) -> Step<'a> {
        let policy = &self.rule.policy;
        while let Some(alternative) = policy.alternatives.get(self.position) {
            match self.judge(alternative) {
                Verdict::Satisfied(identity) => return self.allow(identity),
                Verdict::Ask(lookup) => return Step::Ask(lookup),
                Verdict::Failed(failure) => self.failure = self.failure.or_better(failure),
            }
            self.position += 1;
        }
        if self.failure.reason == Reason::MissingCredentials && self.presents_something_else() {
            return self.deny(Failure { reason: Reason::InvalidScheme, ..self.failure });
        }
        self.deny(self.failure)
    }

    fn judge(&mut self, alternative: &Alternative) -> Verdict {
        // What is not there is found out before anything is looked up.
        for requirement in &alternative.0 {
            match requirement {
                Requirement::Unenforceable => return Verdict::Failed(Failure::MISSING),
                Requirement::Token { credential, .. } => {
                    if let Some(Slot::Refused(failure)) = self.slots.get(*credential) {
                        return Verdict::Failed(*failure);
                    }
                }
            }
        }
        let mut identity: Option<Arc<TokenFacts>> = None;
        for (index, requirement) in alternative.0.iter().enumerate() {
            let Requirement::Token { credential, scopes } = requirement else { continue };
            let facts = match self.settle(*credential) {
                Verdict::Satisfied(facts) => facts,
                other => return other,
            };
            if let Some(scopes) = scopes
                && !scopes.granted_by(&facts)
            {
                let challenge = Challenge::Scope(self.position, index);
                return Verdict::Failed(Failure {
                    reason: Reason::InsufficientScope,
                    cause: Some(TokenError::Scope),
                    challenge,
                });
            }
            // A user's token says more about the caller than an application's key.
            if identity.is_none() || self.kind(*credential) == CredentialKind::AccessToken {
                identity = Some(facts);
            }
        }
        let Some(identity) = identity else { return Verdict::Failed(Failure::MISSING) };
        match self.rule.policy.check_environment(identity.key_type) {
            Ok(()) => Verdict::Satisfied(identity),
            Err(reason) => {
                Verdict::Failed(Failure { reason, cause: Some(TokenError::Environment), challenge: Challenge::Plain })
            }
        }
    }

    /// Finds out whether a credential is valid for this API.
    fn settle(&mut self, credential: usize) -> Verdict {
        let kind = self.kind(credential);
        let Some(slot) = self.slots.get_mut(credential) else { return Verdict::Failed(Failure::MISSING) };
        if let Slot::Presented(token) = slot {
            let realm = &self.rule.realm;
            let digest = TokenDigest::new(realm, kind, token);
            *slot = match self.facts.get(&digest).filter(|facts| !facts.key.is_withdrawn()) {
                Some(facts) => Slot::Verified(facts),
                None => match Unverified::read(realm, kind, token) {
                    Ok((issuer, token)) => {
                        let source = issuer.source.clone();
                        let lookup = Lookup::Keys(source.clone());
                        let token = Box::new(token);
                        self.pending = Some(Pending { credential, digest, source, token, refreshed: false });
                        return Verdict::Ask(lookup);
                    }
                    Err(error) => Slot::Refused(Failure::invalid(kind, error)),
                },
            };
        }
        let api = &self.rule.api;
        let failure = match slot {
            Slot::Presented(_) => Failure::MISSING,
            Slot::Refused(failure) => *failure,
            Slot::Verified(facts) => match facts.check_time(self.now) {
                Err((reason, error)) => Failure { reason, ..Failure::invalid(kind, error) },
                Ok(()) if facts.allows(&api.name, &api.version) => return Verdict::Satisfied(Arc::clone(facts)),
                Ok(()) => Failure {
                    reason: Reason::ApiForbidden,
                    cause: Some(TokenError::OtherApi),
                    challenge: Challenge::Plain,
                },
            },
        };
        Verdict::Failed(failure)
    }

    fn kind(&self, credential: usize) -> CredentialKind {
        match self.rule.policy.credentials.get(credential) {
            Some(Credential::Bearer) => CredentialKind::AccessToken,
            _ => CredentialKind::ApiKey,
        }
    }

    /// A credential in the header for tokens, where the policy asks for nothing in that header.
    fn presents_something_else(&self) -> bool {
        let policy = &self.rule.policy;
        let header = &policy.credential_header;
        let asked_for = |credential: &Credential| match credential {
            Credential::Bearer => true,
            Credential::HeaderKey(name) => name == header,
            Credential::QueryKey(_) => false,
        };
        !policy.credentials.iter().any(asked_for)
            && self.head.and_then(|head| head.headers.get(header)).is_some_and(|value| !value.is_empty())
    }

    fn allow(&self, identity: Arc<TokenFacts>) -> Step<'a> {
        let policy = &self.rule.policy;
        let path = match self.head {
            Some(head) if !policy.query_cuts.is_empty() => query::cut(head.path, &policy.query_cuts),
            _ => None,
        };
        Step::Done(Decision::Allow(Allow {
            remove_headers: &policy.header_cuts,
            path,
            environment: policy.environment(identity.key_type),
            identity,
        }))
    }

    /// Of the credentials whose signature holds, the one that says most about the caller.
    fn genuine(&self) -> Option<Arc<TokenFacts>> {
        let verified = self.slots.iter().enumerate().filter_map(|(credential, slot)| match slot {
            Slot::Verified(facts) => Some((self.kind(credential) == CredentialKind::AccessToken, facts)),
            Slot::Presented(_) | Slot::Refused(_) => None,
        });
        verified.max_by_key(|(says_more, _)| *says_more).map(|(_, facts)| Arc::clone(facts))
    }

    fn deny(&self, failure: Failure) -> Step<'a> {
        let policy = &self.rule.policy;
        let challenges = match (failure.reason.fault().status(), failure.challenge) {
            (401, Challenge::InvalidToken) => policy.invalid_token_challenges(),
            (401, _) => policy.challenges(),
            (403, Challenge::Scope(alternative, requirement)) => {
                match policy.alternatives.get(alternative).and_then(|alternative| alternative.0.get(requirement)) {
                    Some(Requirement::Token { scopes: Some(scopes), .. }) => std::slice::from_ref(&scopes.challenge),
                    _ => &[],
                }
            }
            _ => &[],
        };
        let Failure { reason, cause, .. } = failure;
        Step::Done(Decision::Deny(Deny { reason, cause, challenges, identity: self.genuine() }))
    }
}

#[cfg(test)]
mod tests;
