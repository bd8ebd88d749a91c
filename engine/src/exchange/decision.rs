//! What becomes of a request.

use std::sync::Arc;

use microgw_schemas::Violations;
use microgw_transforms::Message;
use smallvec::SmallVec;

use super::body::Edits;
use crate::backend_jwt::Assertion;
use crate::identity::Identity;
use crate::identity_headers::IdentityHeader;
use crate::jwt::TokenError;
use crate::limits::{CounterKey, Limit, Usage};
use crate::reason::Reason;
use crate::subscription::Subscription;

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
