//! Brings snapshots to Envoy: an ADS server for both dialects of the protocol, delta and state of the world, a ledger
//! of what each Envoy accepted, and publishing as a transaction.
//!
//! ```text
//! Candidate --Publisher--> Offer (immutable, behind a watch channel) --one Session per stream--> Envoy
//!     ^                                                                                          |
//!     +-- live | degraded | rejected <-- Ledger of ACKs and NACKs <------------------------------+
//! ```
//!
//! Knows nothing of OpenAPI: a resource is a name, a version, bytes, and the names that it refers to.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod ledger;
mod located;
mod offer;
mod publisher;
mod server;
mod session;
mod status;
mod wire;

pub use located::{Endpoints, Located, UNKNOWN};
pub use offer::Inconsistent;
pub use publisher::{Candidate, Config, Outcome, Probe, Publisher, Reassemble, Rejection, RuleSink};
pub use server::{ServeError, Xds};
pub use session::Dialect;
pub use status::{EnvoyStatus, Fault, Metrics, Publication, RefusedEndpoints, State, Status, TypeCounts, TypeStatus};
