//! Whether a caller has what an alternative of the policy asks for.

use std::sync::Arc;

use super::credential::{Challenge, Failure, Slot};
use super::{Exchange, Lookup, NOBODY};
use crate::identity::{Identity, KeyType};
use crate::jwt::TokenError;
use crate::policy::{Alternative, Credential, Requirement};
use crate::realm::CredentialKind;
use crate::reason::Reason;

pub(super) enum Verdict {
    Satisfied(Arc<Identity>),
    Failed(Failure),
    Ask(Lookup),
}

/// Whether a credential of one kind tells more about the caller than one of another: a token speaks of a user and an
/// application, a password of a user, a key of an application at most. A certificate tells of the machine.
pub(super) fn says_more(kind: CredentialKind, than: CredentialKind) -> bool {
    rank(kind) > rank(than)
}

pub(super) fn rank(kind: CredentialKind) -> u8 {
    match kind {
        CredentialKind::AccessToken => 3,
        CredentialKind::User => 2,
        CredentialKind::ApiKey => 1,
        CredentialKind::Certificate => 0,
    }
}

impl Exchange<'_> {
    pub(super) fn judge(&mut self, alternative: &Alternative) -> Verdict {
        // What is not there is found out before anything is looked up.
        for requirement in &alternative.0 {
            match requirement {
                Requirement::Unenforceable => return Verdict::Failed(Failure::MISSING),
                Requirement::Credential { credential, optional, .. } => match self.slots.get(*credential) {
                    Some(Slot::Refused(failure)) if !(*optional && failure.is_missing()) => {
                        return Verdict::Failed(*failure);
                    }
                    _ => {}
                },
            }
        }
        let mut identity: Option<Arc<Identity>> = None;
        self.key_type = KeyType::Production;
        for (index, requirement) in alternative.0.iter().enumerate() {
            let Requirement::Credential { credential, scopes, optional } = requirement else { continue };
            let facts = match self.settle(*credential) {
                Verdict::Satisfied(facts) => facts,
                Verdict::Failed(failure) if *optional && failure.is_missing() => continue,
                other => return other,
            };
            if let Some(scopes) = scopes
                && !scopes.granted_to(&facts)
            {
                let challenge = Challenge::Scope(self.position, index);
                return Verdict::Failed(Failure {
                    reason: Reason::InsufficientScope,
                    cause: Some(TokenError::Scope),
                    challenge,
                });
            }
            // What is meant for the sandbox reaches no production, whatever comes with it.
            if facts.key_type == KeyType::Sandbox {
                self.key_type = KeyType::Sandbox;
            }
            if identity.as_ref().is_none_or(|other| says_more(facts.kind, other.kind)) {
                identity = Some(facts);
            }
        }
        // Nobody in particular, where nothing is needed and nothing was shown.
        let identity = identity.unwrap_or_else(|| Arc::clone(&NOBODY));
        match self.rule.policy.check_environment(self.key_type) {
            Ok(()) => Verdict::Satisfied(identity),
            Err(reason) => {
                Verdict::Failed(Failure { reason, cause: Some(TokenError::Environment), challenge: Challenge::Plain })
            }
        }
    }

    pub(super) fn kind(&self, credential: usize) -> CredentialKind {
        self.rule.policy.credentials.get(credential).map_or(CredentialKind::ApiKey, Credential::kind)
    }

    /// A credential in the header for tokens, where the policy asks for nothing in that header.
    pub(super) fn presents_something_else(&self) -> bool {
        let policy = &self.rule.policy;
        let header = &policy.credential_header;
        let asked_for = |credential: &Credential| match credential {
            Credential::Bearer | Credential::Basic => true,
            Credential::HeaderKey(name) => name == header,
            Credential::QueryKey(_) | Credential::CookieKey(_) | Credential::Certificate => false,
        };
        !policy.credentials.iter().any(asked_for)
            && self.head.and_then(|head| head.headers.get(header)).is_some_and(|value| !value.is_empty())
    }
}
