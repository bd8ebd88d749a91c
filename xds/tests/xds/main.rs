//! The server and the publisher, from outside: Envoys that speak ADS over the Unix socket, accept, refuse, fall silent,
//! leave and come back. What they have in common is tested in both dialects of the protocol.
#![allow(clippy::duplicate_mod, reason = "each test runs once for each dialect")]

mod conformance;
mod delta;
mod envoy;
mod fixture;
mod state_of_the_world;
