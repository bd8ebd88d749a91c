//! Against the real Envoy.

mod bootstrap;
mod death;
mod log;
mod supervise;
mod testbed;
