//! From a project to what Envoy and the engine serve. Pure: no network, no clock, no randomness.
//!
//! ```text
//! files -> source -> definition -> model --compile--> artifact --assemble(settings)--> snapshot
//! ```

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod artifact;
pub mod assemble;
pub mod bodies;
pub mod compile;
pub mod coverage;
mod definition;
pub mod diagnostic;
pub mod error_template;
pub mod files;
pub mod hosts;
pub(crate) mod interceptors;
pub mod limits;
pub mod model;
pub mod names;
pub mod packages;
pub mod path;
pub mod secret;
pub mod settings;
pub mod snapshot;
mod source;
pub mod traffic;
pub(crate) mod transforms;
pub mod url;
