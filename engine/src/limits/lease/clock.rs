//! What time it is in the store.

use super::super::Micros;
use super::TRUST;

/// A question and its answer: the store's clock said that in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoreClock {
    pub(super) asked: Micros,
    pub(super) answered: Micros,
    pub(super) said: Micros,
}

/// Clocks differ by less than a thousandth: those that are set gradually go wrong by half of that.
const DRIFT: u64 = 1000;

// === impl StoreClock ===

impl StoreClock {
    /// It is no later than that there.
    pub(super) fn latest(self, now: Micros) -> Micros {
        let passed = now.saturating_sub(self.asked);
        self.said.saturating_add(passed).saturating_add(Micros(passed.0.div_ceil(DRIFT)))
    }

    /// Nor earlier than that.
    pub(super) fn earliest(self, now: Micros) -> Micros {
        let passed = now.saturating_sub(self.answered);
        self.said.saturating_add(passed.saturating_sub(Micros(passed.0.div_ceil(DRIFT))))
    }

    /// When, by our clock, it is surely that late there.
    pub(super) fn surely(self, time: Micros) -> Micros {
        let ahead = time.saturating_sub(self.said);
        self.answered.saturating_add(ahead).saturating_add(Micros(ahead.0.div_ceil(DRIFT - 1)))
    }

    pub(super) fn is_trusted(self, now: Micros) -> bool {
        now.saturating_sub(self.asked) < TRUST
    }
}
