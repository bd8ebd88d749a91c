//! GCRA, the generic cell rate algorithm of ITU-T I.371: evenly, with so many at once.

use super::super::{Micros, Usage};
use super::Time;

/// Theoretical arrival time: until then, what was let through is ahead of its time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Burst {
    micros: u64,
    /// Of a microsecond: a gigabyte per second is a nanosecond for each byte.
    fraction: u32,
    /// When something was last debited, in seconds.
    seen: u32,
}

/// What one limit asks of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Between two.
    interval: u128,
    /// How far ahead of its time may be let through.
    tolerance: u128,
    burst: u64,
    period: Micros,
}

/// Times are counted in these parts of a microsecond.
const PARTS: u32 = 32;

// === impl Pace ===

impl Pace {
    pub(super) fn new(quota: u64, period: Micros, burst: u64) -> Pace {
        // Rounded up, once for all: that many at once then take exactly that many intervals.
        let interval = (u128::from(period.0) << PARTS).div_ceil(u128::from(quota.max(1)));
        let tolerance = interval.saturating_mul(burst.into());
        Pace { interval, tolerance, burst, period }
    }

    /// In seconds, longer than what was let through can be ahead of its time. A clock that is put back by less stands still; one that is
    /// put back farther takes what was used along.
    pub(super) fn patience(self) -> u32 {
        let longest = (self.tolerance >> PARTS).max(self.period.0.into());
        u32::try_from(longest / u128::from(Micros::SECOND.0)).unwrap_or(u32::MAX).saturating_add(1)
    }
}

// === impl Burst ===

impl Burst {
    pub(super) fn new(now: Micros) -> Burst {
        Burst { micros: now.0, fraction: 0, seen: seconds(now) }
    }

    /// What is past is now.
    pub(super) fn advance(&mut self, pace: Pace, now: Micros) {
        let second = seconds(now);
        if self.seen > second && self.seen > second.saturating_add(pace.patience()) {
            let ahead = self.micros.saturating_sub(u64::from(self.seen) * Micros::SECOND.0);
            *self = Burst { micros: now.0.saturating_add(ahead), fraction: self.fraction, seen: second };
        } else if self.micros < now.0 {
            *self = Burst::new(now);
        }
    }

    pub(super) fn wait(&self, pace: Pace, cost: u64, now: Micros) -> Time {
        if cost == 0 {
            return Time::Now;
        }
        if cost > pace.burst {
            return Time::Never;
        }
        let next = self.arrival().saturating_add(pace.interval.saturating_mul(cost.into()));
        let early = next.saturating_sub(at(now).saturating_add(pace.tolerance));
        match early {
            0 => Time::Now,
            early => Time::In(rounded_up(early)),
        }
    }

    pub(super) fn debit(&mut self, pace: Pace, cost: u64, now: Micros) {
        if cost == 0 {
            return;
        }
        let arrival = self.arrival().saturating_add(pace.interval.saturating_mul(cost.into()));
        // What is that far off is never.
        self.micros = u64::try_from(arrival >> PARTS).unwrap_or(u64::MAX);
        self.fraction = u32::try_from(arrival & u128::from(u32::MAX)).unwrap_or(u32::MAX);
        self.seen = self.seen.max(seconds(now));
    }

    pub(super) fn usage(&self, pace: Pace, now: Micros) -> Usage {
        let ahead = self.arrival().saturating_sub(at(now));
        let left = pace.tolerance.saturating_sub(ahead) / pace.interval.max(1);
        let remaining = u64::try_from(left).unwrap_or(u64::MAX).min(pace.burst);
        Usage { remaining, reset: rounded_up(ahead), beyond: false }
    }

    pub(super) fn expires(&self) -> Micros {
        rounded_up(self.arrival())
    }

    fn arrival(&self) -> u128 {
        u128::from(self.micros) << PARTS | u128::from(self.fraction)
    }
}

fn at(now: Micros) -> u128 {
    u128::from(now.0) << PARTS
}

fn rounded_up(time: u128) -> Micros {
    Micros(u64::try_from(time.div_ceil(1 << PARTS)).unwrap_or(u64::MAX))
}

fn seconds(now: Micros) -> u32 {
    u32::try_from(now.0 / Micros::SECOND.0).unwrap_or(u32::MAX)
}
