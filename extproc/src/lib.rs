//! Envoy's questions -> engine -> answers; and the I/O that the engine asks for, the API-key issuer, and the admin interface.
//!
//! ```text
//! Envoy --ext_authz--> Authz (h2 over a private socket) -> Decider -> engine::Exchange -> CheckResponse
//!                                                            |-> RuleStore, FactCache, Lookups
//! ```

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod admin;
mod answer;
pub mod apikey;
pub mod authz;
pub mod backend_jwt;
pub mod bandwidth;
mod certificate;
mod clock;
pub mod decider;
mod description;
pub mod fact_cache;
pub mod fault;
mod flights;
pub mod introspection;
pub mod keys;
pub mod known;
pub mod limits;
pub mod login;
pub mod lookups;
pub mod metrics;
pub mod opaque_keys;
mod polled;
pub mod process;
pub mod programs;
pub mod proofs;
mod rate_limit;
pub mod redis;
pub mod remote;
pub mod response_cache;
pub mod revocations;
pub mod room;
pub mod rule_store;
mod seldom;
pub mod server;
pub mod signing;
pub mod socket;
pub mod subscriptions;
pub mod traces;
pub mod transport;
pub mod user_claims;
pub mod users;
