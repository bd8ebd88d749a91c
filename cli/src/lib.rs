//! What the `micro-gw` command reads from outside, settings and certificates, as a library: fuzzing reads them as the command does.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod certificates;
pub mod config;
