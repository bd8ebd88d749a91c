//! What the host finds out for an exchange, and what it answers.

use std::fmt;
use std::sync::Arc;

use crate::backend_jwt::{Assertion, Order};
use crate::facts::CredentialDigest;
use crate::identity::Identity;
use crate::introspection::Introspection;
use crate::jwt::TokenError;
use crate::key::KeySet;
use crate::limits::{Draft, Spending};
use crate::realm::KeySource;

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

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sensitive(..)")
    }
}
