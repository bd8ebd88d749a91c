//! Runs interceptors: WebAssembly components in a sandbox, and services that are asked over HTTP.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod answer;
pub mod attributes;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
#[cfg(feature = "components")]
mod host;
pub mod service;
#[cfg(not(feature = "components"))]
mod unhosted;

use std::time::Duration;

#[cfg(feature = "components")]
pub use self::host::{Component, Host, MAX_COMPONENT, MAX_LINE, MAX_LINES, MAX_MEMORY, MAX_RATE};

#[cfg(not(feature = "components"))]
pub use self::unhosted::{Component, Host};

/// What components are written against.
pub const WIT: &str = include_str!("../wit/interceptor.wit");

/// SHA-256 of a component.
pub type Digest = [u8; 32];

/// Where a component's code came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Somebody kept it.
    Memory,
    /// It was compiled before, and read in this time.
    Disk(Duration),
    /// It was compiled, in this time.
    Compiler(Duration),
}

/// Why a component cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("this program was built without support for WebAssembly components")]
    NotBuilt,
    #[error("the component is too large")]
    TooLarge,
    #[error("the component cannot be used: {0}")]
    Component(Box<str>),
    #[error("the component imports `{0}`, which nobody gives it")]
    Import(Box<str>),
    #[error("the component's export `{0}` is no function without parameters that returns a `verdict`")]
    Export(Box<str>),
    #[error("the component exports neither `on-request` nor `on-response`")]
    Nothing,
    #[error("components cannot be run here: {0}")]
    Engine(Box<str>),
}
