//! Whether requests and responses are as the contract of their operation says. Pure: no network, no clock, no randomness.
//!
//! ```text
//! let schemas = Schemas::compile(&proto, Direction::Request)?;
//! let contract = Contract::compile(&proto, "/pets/{id}", &schemas, &answers)?;
//! let violations = contract.request_head(&head, Presence::Unknown);
//! ```
//!
//! What definitions say in OpenAPI is JSON Schema 2020-12 by then. Work and memory that a message can cost are bounded by what it
//! is long, whatever its schema.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod body;
mod complexity;
mod contract;
pub mod dialect;
mod direction;
#[cfg(test)]
mod fixtures;
pub mod formats;
mod head;
mod instance;
mod json;
pub mod media_type;
mod parameter;
mod path;
mod patterns;
mod reasons;
pub mod resources;
mod scalar;
mod schemas;
mod shape;
mod standalone;
mod violation;

pub use contract::{Contract, ContractError};
pub use direction::Direction;
pub use head::{Presence, RequestHead};
pub use schemas::{Mistake, Schemas};
pub use standalone::{Flaw, Standalone};
pub use violation::{Place, Violation, Violations};

/// Violations that are told of one message.
pub const MAX_VIOLATIONS: usize = 10;
/// Containers inside each other, of a message. Fewer where schemas are deep themselves.
pub const MAX_DEPTH: usize = 64;
/// Bytes of an API's schemas.
pub const MAX_SCHEMAS_SIZE: usize = 32 << 20;
/// Schemas of an API.
pub const MAX_SCHEMAS: usize = 50_000;
/// Parameters of an operation.
pub const MAX_PARAMETERS: usize = 200;
/// Names and values of a query, fields of a form, parts of a multipart body.
pub const MAX_FIELDS: usize = 1_000;
