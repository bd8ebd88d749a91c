//! GCRA, the generic cell rate algorithm of ITU-T I.371: evenly, with so many at once.

use super::super::Micros;

/// In nanoseconds since 1970, so that the time between two requests is not rounded away.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Burst {
    /// Theoretical arrival time: until then, what was let through is ahead of its time.
    arrival: u64,
}

const NANOS: u64 = 1000;

// === impl Burst ===

impl Burst {
    pub(super) fn wait(&self, quota: u64, period: Micros, burst: u64, cost: u64, now: Micros) -> Option<Micros> {
        if cost > burst {
            return None;
        }
        let now = now.0.saturating_mul(NANOS);
        // A clock that was put back far is believed.
        let tolerance = span(burst, quota, period);
        let arrival = if self.arrival > now.saturating_add(tolerance.saturating_mul(2)) { now } else { self.arrival };
        let next = arrival.max(now).saturating_add(span(cost, quota, period));
        let early = next.saturating_sub(now.saturating_add(tolerance));
        Some(Micros(early.div_ceil(NANOS)))
    }

    pub(super) fn debit(&mut self, quota: u64, period: Micros, cost: u64, now: Micros) {
        let now = now.0.saturating_mul(NANOS);
        self.arrival = self.arrival.max(now).saturating_add(span(cost, quota, period));
    }

    pub(super) fn usage(&self, quota: u64, period: Micros, burst: u64, now: Micros) -> (u64, Micros) {
        let now = now.0.saturating_mul(NANOS);
        let ahead = self.arrival.saturating_sub(now);
        let left = span(burst, quota, period).saturating_sub(ahead);
        let remaining = u128::from(left) * u128::from(quota) / u128::from((period.0 * NANOS).max(1));
        (u64::try_from(remaining).unwrap_or(u64::MAX).min(burst), Micros(ahead.div_ceil(NANOS)))
    }

    pub(super) fn expires(&self) -> Micros {
        Micros(self.arrival.div_ceil(NANOS))
    }
}

/// Nanoseconds in which so much is allowed; rounded up.
fn span(amount: u64, quota: u64, period: Micros) -> u64 {
    let nanos = (u128::from(amount) * u128::from(period.0) * u128::from(NANOS)).div_ceil(u128::from(quota.max(1)));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}
