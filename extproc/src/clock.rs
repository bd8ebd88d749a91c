//! The clock that the engine does not have.

use std::time::{SystemTime, UNIX_EPOCH};

use microgw_engine::UnixTime;
use microgw_engine::limits::Micros;
use microgw_engine::limits::lease::Clocks;
use nix::time::{ClockId, clock_gettime};

/// A clock before 1970 is broken: for it everything has expired.
pub(crate) fn now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs()))
}

/// The same, finer: for what is used up.
pub(crate) fn micros() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Micros(since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX)))
}

/// One that nobody sets, and that goes on while machine or process sleep. Since some time.
pub(crate) fn steady() -> Micros {
    let since = clock_gettime(ClockId::CLOCK_BOOTTIME).or_else(|_| clock_gettime(ClockId::CLOCK_MONOTONIC));
    Micros(since.map_or(0, |since| {
        let (seconds, nanos) = (u64::try_from(since.tv_sec()), u64::try_from(since.tv_nsec()));
        seconds.unwrap_or(0).saturating_mul(Micros::SECOND.0).saturating_add(nanos.unwrap_or(0) / 1000)
    }))
}

pub(crate) fn both() -> Clocks {
    Clocks { steady: steady(), wall: micros() }
}
