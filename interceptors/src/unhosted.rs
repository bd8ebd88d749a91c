//! Where components cannot be run: each is refused before it could be needed.

use std::path::PathBuf;

use bytes::Bytes;
use microgw_engine::interceptors::{Interception, InterceptorFailure, Verdict};

use crate::{Digest, LoadError, Origin};

/// Runs nothing.
#[derive(Debug, Default)]
pub struct Host;

/// There is none.
#[derive(Debug)]
pub enum Component {}

impl Host {
    pub fn keeping(_: PathBuf) -> Host {
        Host
    }

    #[allow(clippy::unused_async)] // As where components are run.
    pub async fn load(&self, _: Digest, _: Bytes) -> Result<Component, LoadError> {
        Err(LoadError::NotBuilt)
    }

    #[allow(clippy::unused_async)]
    pub async fn call(&self, _: Interception) -> Verdict {
        Verdict::Failed(InterceptorFailure::NotHosted)
    }
}

impl Component {
    pub fn origin(&self) -> Origin {
        match *self {}
    }
}
