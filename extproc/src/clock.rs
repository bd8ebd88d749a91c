//! The clock that the engine does not have.

use std::time::{SystemTime, UNIX_EPOCH};

use microgw_engine::UnixTime;

/// A clock before 1970 is broken: for it everything has expired.
pub(crate) fn now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs()))
}
