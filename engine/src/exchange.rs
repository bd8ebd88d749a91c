//! One request, from its head to the decision.

mod body;
mod certificate;
mod change;
mod credential;
mod settle;
mod spend;
mod validate;

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, OnceLock};

use microgw_schemas::Violations;
use microgw_transforms::Message;
use smallvec::SmallVec;

use crate::backend_jwt::{Assertion, Order};
use crate::cookie;
use crate::facts::{CredentialDigest, Facts, UnixTime};
use crate::identity::{Identity, KeyType};
use crate::identity_headers::IdentityHeader;
use crate::interceptors::Interception;
use crate::introspection::Introspection;
use crate::jwt::TokenError;
use crate::key::KeySet;
use crate::limits::{CounterKey, Draft, Limit, Spending, Usage};
use crate::policy::{Alternative, Credential, Requirement};
use crate::query;
use crate::realm::{CredentialKind, KeySource};
use crate::reason::Reason;
use crate::rules::Rule;
use crate::subscription::{Says, Subscribed, Subscription};
use body::Following;
use credential::{Challenge, Failure, Slot, present};
use settle::Pending;
use spend::Spent;
use validate::Validated;

pub use body::{Edits, ResponseHead, ResponseStep};

/// The headers of a request, by lower-case name. Several of one name are one value joined by `,`.
pub trait Headers: Sync {
    fn get(&self, name: &str) -> Option<&str>;

    /// Each header as it came, in its order; several of one name one by one, where the host knows them so.
    fn visit(&self, visitor: &mut dyn FnMut(&str, &[u8]));
}

/// What the engine reads of a request's head.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// `Host`, or `:authority`.
    pub authority: &'a str,
    /// With its query, as received.
    pub path: &'a str,
    pub headers: &'a dyn Headers,
    /// `None`: the connection has no TLS, or its client showed none.
    pub certificate: Option<ClientCertificate<'a>>,
    /// The address that the connection comes from, whatever its headers say.
    pub peer: &'a str,
    /// Whether a body follows. `None`: nobody knows but by its headers.
    pub has_body: Option<bool>,
}

/// What a client has shown when its connection was made, and has proved to own the key of. Nothing else is known of it.
#[derive(Clone, Copy)]
pub struct ClientCertificate<'a> {
    /// SHA-256 of its DER.
    pub thumbprint: [u8; 32],
    /// PEM, URL-encoded: the client's own first, then those that it sent along.
    pub chain: &'a str,
}

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

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The issuer's keys, as they are known; fetched if they never were.
    Keys(KeySource),
    /// A token names a key that the issuer is not known to have: fetched again, unless that happened just now.
    FreshKeys(KeySource),
    /// What the authorization server says about a token, read as `reader` does. [`Answer::Refused`]: it stands for nobody.
    Introspection { digest: CredentialDigest, token: Sensitive, reader: Arc<Introspection> },
    /// The user, if the password is right. [`Answer::Refused`]: it is not.
    Password { digest: CredentialDigest, user: Sensitive, password: Sensitive },
    /// A JWT that tells the backend who calls.
    Sign(Order),
    /// All of it is to be debited, or nothing.
    Spend(Draft),
}

/// Text that no log may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Sensitive(pub Box<str>);

impl Lookup {
    /// A stable name for logs and counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Lookup::Keys(_) => "keys",
            Lookup::FreshKeys(_) => "fresh_keys",
            Lookup::Introspection { .. } => "introspection",
            Lookup::Password { .. } => "password",
            Lookup::Sign(_) => "sign",
            Lookup::Spend(_) => "spend",
        }
    }
}

/// What the host found out.
#[derive(Clone, Debug)]
pub enum Answer {
    Keys(Arc<KeySet>),
    /// Whom the credential stands for.
    Identity(Arc<Identity>),
    /// The JWT for the backend.
    Assertion(Assertion),
    /// What became of a [`Lookup::Spend`].
    Spent(Box<Spending>),
    /// The credential is not genuine.
    Refused(TokenError),
    /// Too many such credentials from where this one comes were wrong: it was not looked at.
    Slowed {
        /// Until it is worth trying again.
        seconds: u64,
    },
    /// It could not be found out in time.
    Unavailable,
}

#[derive(Debug)]
pub enum Decision<'a> {
    Allow(Allow<'a>),
    Deny(Deny<'a>),
    /// The request might have passed, and a program answers it.
    Respond(Respond<'a>),
}

/// What a program answers in the backend's place.
#[derive(Debug)]
pub struct Respond<'a> {
    pub message: Message,
    /// Who calls.
    pub identity: Arc<Identity>,
    /// As of a request that passes.
    pub limits: Balances<'a>,
}

/// The request may pass, changed like this.
#[derive(Debug)]
pub struct Allow<'a> {
    /// Headers to remove, present or not.
    pub remove_headers: &'a [Box<str>],
    /// The new `:path`, if a credential was cut out of it.
    pub path: Option<String>,
    /// The new `cookie` header, if a credential was cut out of it. Empty: there is to be none.
    pub cookie: Option<String>,
    /// The value to give [`crate::ENVIRONMENT_HEADER`].
    pub environment: Option<&'static str>,
    /// A JWT that says who calls, and the header that it goes into.
    pub assertion: Option<(&'a str, Assertion)>,
    /// What else the backend is told of the caller.
    pub identity_headers: &'a [IdentityHeader],
    /// Who calls.
    pub identity: Arc<Identity>,
    /// By which application and under which tier, where that is known: rules look at subscriptions, and the caller has a token
    /// or a key that says so.
    pub subscription: Option<Arc<Subscription>>,
    /// The limits that it drew on, and what is left.
    pub limits: Balances<'a>,
    /// What else becomes of it.
    pub edits: Option<Box<Edits>>,
}

/// A limit, and how its counter is now.
#[derive(Clone, Copy, Debug)]
pub struct Balance<'a> {
    pub limit: &'a Limit,
    pub key: CounterKey,
    pub usage: Usage,
}

/// In the order of levels.
pub type Balances<'a> = SmallVec<[Balance<'a>; 4]>;

impl Decision<'_> {
    /// The first limit that was exceeded: the one that refuses, or one that lets through and marks.
    pub fn exceeded(&self) -> Option<&Limit> {
        match self {
            Decision::Allow(Allow { limits, .. }) | Decision::Respond(Respond { limits, .. }) => {
                limits.iter().find(|balance| balance.usage.beyond).map(|balance| balance.limit)
            }
            Decision::Deny(deny) => deny.limit,
        }
    }
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
    pub identity: Option<Arc<Identity>>,
    /// `Retry-After`, in seconds, where it depends on the request.
    pub retry_after: Option<u64>,
    /// The limit that has not enough left.
    pub limit: Option<&'a Limit>,
    /// All limits that the request would have drawn on.
    pub limits: Balances<'a>,
    /// The deny policy that refuses, for logs: clients are not told.
    pub policy: Option<&'a str>,
    /// What is not as the contract says.
    pub violations: Violations,
}

impl Deny<'_> {
    /// With nothing else to say.
    pub fn of(reason: Reason) -> Self {
        Deny {
            reason,
            cause: None,
            challenges: &[],
            identity: None,
            retry_after: None,
            limit: None,
            limits: Balances::new(),
            policy: None,
            violations: Violations::default(),
        }
    }
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

/// How far the JWT for the backend is.
enum Signing {
    NotYet,
    Ordered(Order),
    Done(Order, Assertion),
}

/// A caller of whom nothing is known.
static NOBODY: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::new(CredentialKind::Certificate)));

enum Verdict {
    Satisfied(Arc<Identity>),
    Failed(Failure),
    Ask(Lookup),
}

/// Whether a credential of one kind tells more about the caller than one of another: a token speaks of a user and an
/// application, a password of a user, a key of an application at most. A certificate tells of the machine.
fn says_more(kind: CredentialKind, than: CredentialKind) -> bool {
    rank(kind) > rank(than)
}

fn rank(kind: CredentialKind) -> u8 {
    match kind {
        CredentialKind::AccessToken => 3,
        CredentialKind::User => 2,
        CredentialKind::ApiKey => 1,
        CredentialKind::Certificate => 0,
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sensitive(..)")
    }
}

impl<S: BuildHasher + Sync> Headers for HashMap<String, String, S> {
    fn get(&self, name: &str) -> Option<&str> {
        HashMap::get(self, name).map(String::as_str)
    }

    fn visit(&self, visitor: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in self {
            visitor(name, value.as_bytes());
        }
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

    fn judge(&mut self, alternative: &Alternative) -> Verdict {
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

    fn kind(&self, credential: usize) -> CredentialKind {
        self.rule.policy.credentials.get(credential).map_or(CredentialKind::ApiKey, Credential::kind)
    }

    /// A credential in the header for tokens, where the policy asks for nothing in that header.
    fn presents_something_else(&self) -> bool {
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

    /// What was made for this request, however soon it ends; or from memory.
    fn assertion(&self, order: &Order) -> Option<Assertion> {
        match &self.signing {
            Signing::Done(made, assertion) if made == order => Some(assertion.clone()),
            _ => self.facts.assertion(order).filter(|known| known.is_good(self.now)),
        }
    }

    /// Once for each request.
    fn ask_for(&mut self, order: Order) -> Step<'a> {
        if !matches!(self.signing, Signing::NotYet) {
            return self.deny(Failure::NO_ANSWER);
        }
        self.signing = Signing::Ordered(order.clone());
        Step::Ask(Lookup::Sign(order))
    }

    /// Everything about the caller is judged once more: signing may have taken longer than the credential lives.
    fn signed(&mut self, order: Order, answer: Answer) -> Step<'a> {
        let Answer::Assertion(assertion) = answer else { return self.deny(Failure::NO_ANSWER) };
        self.signing = Signing::Done(order, assertion);
        self.proceed()
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
