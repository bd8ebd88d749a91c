//! Policies as packages: from a directory or a registry into a project, and from a directory to a registry. What makes a package, and its
//! digest, is the compiler's; here are the disk and the network.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod package;
mod reference;
mod registry;
mod vendored;

pub use package::{Package, PackageError};
pub use reference::{Reference, ReferenceError, Revision};
pub use registry::{Client, ClientOptions, Logins, RegistryError};
pub use vendored::{Origin, State, VendorError, Vendored};
