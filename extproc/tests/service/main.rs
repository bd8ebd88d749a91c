//! The service from outside: real sockets, a real key server, real tokens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod admin;
mod decisions;
mod fixtures;
mod issuer;
mod keys;
mod programs;
mod revalidation;
