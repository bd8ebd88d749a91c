//! (rule, request) -> decision. Sans-I/O: no sockets, no clock, no randomness; the host does the I/O and keeps the caches.
//!
//! ```text
//! let mut exchange = Exchange::new(&rule, &facts, now);
//! let mut step = exchange.on_request_head(head);
//! while let Step::Ask(lookup) = step {
//!     step = exchange.resume(host.look_up(lookup), now);
//! }
//! ```

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod answers;
pub mod apikey;
pub mod backend_jwt;
mod basic;
mod certificate;
mod certificate_header;
pub mod client_address;
mod client_trust;
mod cookie;
mod dpop;
mod exchange;
mod facts;
#[cfg(test)]
mod fixtures;
mod identity;
mod identity_headers;
pub mod interceptors;
mod introspection;
mod json;
mod jwt;
mod keep;
mod key;
pub mod limits;
pub mod opaque;
mod policy;
mod query;
mod realm;
mod reason;
mod reserved;
pub mod revocation;
mod rules;
pub mod subscription;
mod transforms;
mod validation;

pub use answers::{Answers, Body};
pub use dpop::{Novelty, ProofError, ProofId};
pub use exchange::{
    Allow, Answer, Balance, Balances, ClientCertificate, Decision, Deny, Edits, Exchange, Headers, Lookup, MAX_MADE,
    RequestHead, Respond, ResponseHead, ResponseStep, Sensitive, Step, joint,
};
pub use facts::{CredentialDigest, Facts, OpaqueKey, UnixTime};
pub use identity::{ApiGrant, Application, Identity, KeyTerms, KeyType, Metadata};
pub use identity_headers::IdentityHeader;
pub use introspection::Introspection;
pub use jwt::{MAX_TOKEN_LENGTH, TokenError};
pub use keep::Keep;
pub use key::{Algorithm, Key, KeyError, KeySet};
pub use microgw_schemas::{Violation, Violations};
pub use policy::{ENVIRONMENT_HEADER, Policy, SANDBOX};
pub use realm::{CredentialKind, Issuer, KeySource, Realm};
pub use reason::Reason;
pub use revocation::{RevocationName, Revoked, Standing, signed};
pub use rules::{Api, LoadError, Phases, Rule, RuleId, Rules};
pub use subscription::{Subscribed, Subscription};
pub use validation::Flow;
