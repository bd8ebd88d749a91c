//! Units of one span of the store's clock: a window, or a bucket of a sliding limit.

use super::super::{Algorithm, Limit, Micros};
use super::span::span;
use super::{Held, LeaseUnits, Report};

#[derive(Debug, Default)]
pub(super) struct Pot {
    start: Micros,
    end: Micros,
    /// In all: spent, and spare.
    taken: u64,
    spare: u64,
    /// The span before, of a sliding limit, and what was spent in it.
    before: (Micros, u64),
    /// When some may come back.
    again: Micros,
}

// === impl Pot ===

impl Pot {
    pub(super) fn spendable(&self, latest: Micros) -> u64 {
        if latest < self.end { self.spare } else { 0 }
    }

    pub(super) fn spend(&mut self, cost: u64) {
        self.spare = self.spare.saturating_sub(cost);
    }

    pub(super) fn spare(&self) -> u64 {
        self.spare
    }

    /// To the span that it is now.
    pub(super) fn turn(&mut self, limit: &Limit, time: Micros, units: &LeaseUnits) {
        let (start, end) = span(&limit.algorithm, time);
        if start == self.start {
            self.end = end;
            return;
        }
        let sliding = matches!(limit.algorithm, Algorithm::Sliding { .. });
        if sliding {
            units.returned(self.spare);
            self.before = (self.start, self.taken.saturating_sub(self.spare));
        } else {
            units.stranded(self.spare, limit.quota);
        }
        *self = Pot { start, end, before: self.before, ..Pot::default() };
    }

    /// Used without having been taken.
    pub(super) fn owe(&mut self, debt: u64) {
        self.taken = self.taken.saturating_add(debt);
    }

    pub(super) fn give_back(&mut self) -> u64 {
        let spare = std::mem::take(&mut self.spare);
        self.taken = self.taken.saturating_sub(spare);
        spare
    }

    pub(super) fn report(&self, limit: &Limit, most_spare: u64) -> Report {
        let oldest = match limit.algorithm {
            Algorithm::Sliding { buckets, .. } => {
                let width = self.end.saturating_sub(self.start);
                self.start.saturating_sub(Micros(width.0.saturating_mul(u64::from(buckets.max(1)))))
            }
            _ => self.start,
        };
        let Pot { start, end, taken, spare, before, .. } = *self;
        Report::Pot { start, end, oldest, taken, before, spare, most_spare }
    }

    /// Where units are that are taken now.
    pub(super) fn place(&self) -> u64 {
        self.start.0
    }

    pub(super) fn receive(&mut self, granted: u64, spare: u64, again: Micros) {
        self.taken = self.taken.saturating_add(granted).saturating_add(spare);
        self.spare = self.spare.saturating_add(spare);
        self.again = again;
    }

    /// Whether the store has to be told.
    pub(super) fn take_back(&mut self, held: Held) -> bool {
        if held.place == self.start.0 {
            self.spare = self.spare.saturating_add(held.cost);
            return false;
        }
        if held.place == self.before.0.0 {
            self.before.1 = self.before.1.saturating_sub(held.cost);
            return true;
        }
        false
    }

    pub(super) fn end(&self) -> Micros {
        self.end
    }

    pub(super) fn again(&self) -> Micros {
        self.again
    }

    pub(super) fn wait(&self, earliest: Micros) -> Option<Micros> {
        Some(self.again.saturating_sub(earliest)).filter(|wait| *wait > Micros(0))
    }

    /// From then on nothing that was taken counts.
    pub(super) fn over(&self, limit: &Limit) -> Micros {
        match limit.algorithm {
            Algorithm::Sliding { period, .. } => self.end.saturating_add(period),
            _ => self.end,
        }
    }

    /// In the window, or in the buckets that count, of that time.
    pub(super) fn taken_at(&self, limit: &Limit, time: Micros) -> Option<u64> {
        let (start, _) = span(&limit.algorithm, time);
        (start == self.start).then_some(self.taken)
    }
}
