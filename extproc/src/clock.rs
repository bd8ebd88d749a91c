//! The clock that the engine does not have.

use std::time::{SystemTime, UNIX_EPOCH};

use microgw_engine::UnixTime;
use microgw_engine::limits::Micros;

/// A clock before 1970 is broken: for it everything has expired.
pub(crate) fn now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs()))
}

/// The same, finer: for what is used up.
pub(crate) fn micros() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Micros(since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX)))
}
