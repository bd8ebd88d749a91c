//! Responses of public operations that are good for others who ask the same (RFC 9111): for how long, and what asking the same is.

use microgw_proto::rules::v1 as proto;

use crate::policy::Policy;
use crate::rules::LoadError;

/// Of one operation.
#[derive(Debug, PartialEq, Eq)]
pub struct Keep {
    /// At most, and where the backend does not say. Never 0.
    pub seconds: u32,
    /// Lower-case headers by which requests differ whatever the backend says of them.
    pub headers: Vec<Box<str>>,
}

// === impl Keep ===

impl Keep {
    /// What was answered to a caller who had to show something is for nobody else.
    pub(crate) fn load(keep: &proto::Keep, policy: &Policy) -> Result<Keep, LoadError> {
        if !policy.public || keep.seconds == 0 {
            return Err(LoadError::Keep);
        }
        Ok(Keep { seconds: keep.seconds, headers: keep.headers.iter().map(|name| name.as_str().into()).collect() })
    }
}
