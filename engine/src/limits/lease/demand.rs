//! How much is asked for, of late.

use super::super::Micros;
use super::IDLE;

#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    since: Micros,
    last: u64,
    this: u64,
    /// When somebody asked.
    at: Micros,
}

/// What is asked for in so long is counted together.
const INTERVAL: Micros = Micros(Micros::SECOND.0 / 4);

// === impl Demand ===

impl Demand {
    pub(super) fn new(now: Micros) -> Demand {
        Demand { since: now, last: 0, this: 0, at: now }
    }

    /// Nobody asks.
    pub(super) fn long_ago() -> Demand {
        Demand::new(Micros(0))
    }

    pub(super) fn count(&mut self, cost: u64, now: Micros) {
        let passed = now.saturating_sub(self.since);
        if passed >= INTERVAL {
            self.last = if passed < Micros(2 * INTERVAL.0) { self.this } else { 0 };
            (self.this, self.since) = (0, now);
        }
        self.this = self.this.saturating_add(cost);
        self.at = now;
    }

    /// What the next half second may ask for.
    pub(super) fn soon(&self, now: Micros) -> u64 {
        if self.is_idle(now) {
            return 0;
        }
        self.last.max(self.this).saturating_mul(2)
    }

    pub(super) fn is_idle(&self, now: Micros) -> bool {
        now.saturating_sub(self.at) >= IDLE
    }
}
