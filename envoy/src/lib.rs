//! Running Envoy: finding it, telling it where the gateway is, keeping it alive, and stopping it without cutting
//! requests.
//!
//! ```text
//! find() -> Binary ─┐
//! SocketDir -> Bootstrap -> bootstrap.json ─┴─> Launch -> Supervisor ── Admin (over its socket)
//! ```

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod admin;
pub mod binary;
pub mod bootstrap;
pub mod exec;
pub mod log;
pub mod sockets;
pub mod supervisor;

pub use admin::{Admin, AdminError};
pub use binary::{Binary, FindError, PINNED_VERSION, Version, find};
pub use bootstrap::{Bootstrap, ClientTls, Dialect, Gateway, Overload, Remote};
pub use exec::{EXEC_SUBCOMMAND, exec_child};
pub use sockets::{SocketDir, SocketError, SocketPaths};
pub use supervisor::{Launch, LogLevel, StartError, State, Supervisor, drain};
