//! One request, from its head to the decision.

mod body;
mod certificate;
mod change;
mod credential;
mod decision;
mod head;
mod judge;
mod lookup;
mod settle;
mod sign;
mod spend;
mod validate;

use std::net::IpAddr;
use std::sync::{Arc, LazyLock, OnceLock};

use smallvec::SmallVec;

use crate::backend_jwt::Order;
use crate::cookie;
use crate::facts::{Facts, UnixTime};
use crate::identity::{Identity, KeyType};
use crate::interceptors::Interception;
use crate::policy::Requirement;
use crate::query;
use crate::realm::CredentialKind;
use crate::reason::Reason;
use crate::rules::Rule;
use crate::subscription::{Says, Subscribed, Subscription};
use body::Following;
use credential::{Challenge, Failure, Slot, present};
use judge::{Verdict, says_more};
use settle::Pending;
use sign::Signing;
use spend::Spent;
use validate::Validated;

pub use body::{Edits, MAX_MADE, ResponseHead, ResponseStep};
pub use decision::{Allow, Balance, Balances, Decision, Deny, Respond};
pub use head::{ClientCertificate, Headers, RequestHead, joint};
pub use lookup::{Answer, Lookup, Sensitive};

/// What the host does next.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // Moved once; a box would be an allocation for each request.
pub enum Step<'a> {
    Done(Decision<'a>),
    /// Bring the request's body, and go on with [`Exchange::on_request_body`].
    NeedBody,
    /// Find it out, and [`Exchange::resume`].
    Ask(Lookup),
    /// Let the program see it, and go on with [`Exchange::on_verdict_of_request`].
    Intercept(Box<Interception>),
}

/// The state machine of one request.
pub struct Exchange<'a> {
    rule: &'a Rule,
    facts: &'a dyn Facts,
    now: UnixTime,
    head: Option<RequestHead<'a>>,
    /// One for each of the policy's credentials.
    slots: SmallVec<[Slot<'a>; 6]>,
    /// The alternative that is tried.
    position: usize,
    /// The best failure so far.
    failure: Failure,
    pending: Option<Pending>,
    /// The longest that a credential has to wait.
    retry_after: Option<u64>,
    /// The token was presented as one that is bound to a key (`DPoP`).
    by_proof: bool,
    /// Of the credentials together that satisfy the alternative at hand.
    key_type: KeyType,
    /// Whether the caller has proved to have that key; found out once, for a proof holds once.
    proved: Option<Result<(), Failure>>,
    signing: Signing,
    /// Of the client, as limits ask for it.
    address: OnceLock<Option<IpAddr>>,
    spent: Spent<'a>,
    /// What is left, until it is told.
    balances: Balances<'a>,
    following: Following<'a>,
    validated: Validated,
}

/// A caller of whom nothing is known.
static NOBODY: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::new(CredentialKind::Certificate)));

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
            retry_after: None,
            by_proof: false,
            key_type: KeyType::Production,
            proved: None,
            signing: Signing::NotYet,
            address: OnceLock::new(),
            spent: Spent::NotYet,
            balances: Balances::new(),
            following: Following::default(),
            validated: Validated::default(),
        }
    }

    pub fn on_request_head(&mut self, head: RequestHead<'a>) -> Step<'a> {
        self.head = Some(head);
        if let Some(refused) = self.refuse() {
            return refused;
        }
        let policy = &self.rule.policy;
        self.slots =
            policy.credentials.iter().map(|credential| present(credential, &policy.credential_header, head)).collect();
        self.by_proof = policy.takes_tokens() && credential::is_by_proof(&policy.credential_header, head);
        self.position = 0;
        self.proceed()
    }

    /// Tries the alternatives in their order, so that who the caller is does not depend on what is cached.
    fn proceed(&mut self) -> Step<'a> {
        let policy = &self.rule.policy;
        if policy.public {
            return self.allow(Arc::clone(&NOBODY));
        }
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

    fn allow(&mut self, identity: Arc<Identity>) -> Step<'a> {
        let rule = self.rule;
        let policy = &rule.policy;
        let subscription = self.subscription(&identity);
        if let Some(step) = self.validate_head() {
            return step;
        }
        if let Some(step) = self.look_at_body() {
            return step;
        }
        if let Some(step) = self.validate_body() {
            return step;
        }
        if let Some(step) = self.spend(&identity, subscription.as_deref()) {
            return step;
        }
        let assertion = match &rule.backend_jwt {
            // Of nobody there is nothing to say, and a backend may go by whether anything is said.
            Some(_) if Arc::ptr_eq(&identity, &NOBODY) => None,
            None => None,
            Some(terms) => {
                let subscription = subscription.clone();
                let order = Order { terms: Arc::clone(terms), identity: Arc::clone(&identity), subscription };
                match self.assertion(&order) {
                    Some(assertion) => Some((terms.header(), assertion)),
                    None => return self.ask_for(order),
                }
            }
        };
        let edits = match self.change_request(&identity, subscription.as_deref()) {
            Ok(edits) => edits,
            Err(step) => return *step,
        };
        let path = match self.head {
            Some(head) if !policy.query_cuts.is_empty() => query::cut(head.path, &policy.query_cuts),
            _ => None,
        };
        let cookies = if policy.cookie_cuts.is_empty() { None } else { self.head };
        let cookie = cookies.and_then(|head| cookie::cut(head.headers.get("cookie")?, &policy.cookie_cuts));
        Step::Done(Decision::Allow(Allow {
            remove_headers: policy.header_cuts(self.by_proof),
            path,
            cookie,
            subscription,
            limits: std::mem::take(&mut self.balances),
            environment: policy.environment(self.key_type),
            assertion,
            identity_headers: &rule.realm.identity_headers,
            identity,
            edits,
        }))
    }

    /// What limits and backends want to know; nobody is refused for the lack of it.
    fn subscription(&self, identity: &Identity) -> Option<Arc<Subscription>> {
        if !self.rule.realm.subscriptions {
            return None;
        }
        let api = &self.rule.api;
        match identity.kind {
            CredentialKind::AccessToken => match self.subscribed(identity) {
                Subscribed::Known(subscription, _) => Some(subscription),
                Subscribed::Unknown | Subscribed::Unavailable => None,
            },
            // No store knows keys: they were issued to nobody's OAuth2 client.
            CredentialKind::ApiKey => match identity.membership.says(&api.name, &api.version) {
                Says::Yes(subscription) => Some(Arc::clone(subscription)),
                Says::No | Says::Nothing => None,
            },
            CredentialKind::User | CredentialKind::Certificate => None,
        }
    }

    /// Of the credentials whose signature holds, the one that says most about the caller.
    fn genuine(&self) -> Option<Arc<Identity>> {
        let verified = self.slots.iter().filter_map(|slot| match slot {
            Slot::Verified(identity) => Some(identity),
            Slot::Presented(_) | Slot::Certificate | Slot::Refused(_) => None,
        });
        verified.reduce(|best, other| if says_more(other.kind, best.kind) { other } else { best }).cloned()
    }

    fn deny(&self, failure: Failure) -> Step<'a> {
        let policy = &self.rule.policy;
        let challenges = match (failure.reason.fault().status(), failure.challenge) {
            (401, Challenge::Proof) => policy.invalid_proof_challenges(),
            (401, Challenge::InvalidToken) => policy.invalid_token_challenges(self.by_proof),
            (401, Challenge::Bound) => policy.invalid_token_challenges(true),
            (401, _) => policy.challenges(),
            (403, Challenge::Scope(alternative, requirement)) => {
                match policy.alternatives.get(alternative).and_then(|alternative| alternative.0.get(requirement)) {
                    Some(Requirement::Credential { scopes: Some(scopes), .. }) => scopes.challenges(self.by_proof),
                    _ => &[],
                }
            }
            _ => &[],
        };
        let Failure { reason, cause, .. } = failure;
        let retry_after = self.retry_after.filter(|_| reason == Reason::TooManyLogins);
        let identity = self.genuine();
        Step::Done(Decision::Deny(Deny { cause, challenges, identity, retry_after, ..Deny::of(reason) }))
    }
}

#[cfg(test)]
mod tests;
