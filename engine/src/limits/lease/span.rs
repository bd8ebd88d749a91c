//! What units are of: windows, buckets, emission intervals.

use super::super::{Algorithm, Limit, Micros};

/// The window or the bucket of that time.
pub(super) fn span(algorithm: &Algorithm, time: Micros) -> (Micros, Micros) {
    let even = |length: u64| {
        let start = time.0 - time.0 % length.max(1);
        (Micros(start), Micros(start.saturating_add(length.max(1))))
    };
    match algorithm {
        Algorithm::Fixed(length) => even(length.0),
        Algorithm::Calendar(calendar) => calendar.window(time),
        Algorithm::Sliding { period, buckets } => even(period.0.div_ceil(u64::from(*buckets).max(1))),
        // Bursts have none.
        Algorithm::Burst { .. } => (Micros(0), Micros(u64::MAX)),
    }
}

pub(super) fn nanos(time: Micros) -> u64 {
    time.0.saturating_mul(1000)
}

/// Nanoseconds in which so many are emitted; rounded up.
pub(super) fn emission(limit: &Limit, amount: u64) -> u64 {
    let Algorithm::Burst { period, .. } = limit.algorithm else { return 0 };
    let emitted = (u128::from(amount) * u128::from(nanos(period))).div_ceil(u128::from(limit.quota.max(1)));
    u64::try_from(emitted).unwrap_or(u64::MAX)
}
