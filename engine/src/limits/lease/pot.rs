//! Units of one span of the store's clock: a window, or a bucket of a sliding limit.

use std::collections::VecDeque;

use super::super::counter::Counter;
use super::super::{Algorithm, Limit, Micros};
use super::debt::{forget, put};
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
    /// Those before that one that count.
    older: VecDeque<(Micros, u64)>,
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
            if self.before.1 > 0 {
                put(&mut self.older, self.before);
            }
            forget(&mut self.older, limit, time);
            self.before = (self.start, self.taken.saturating_sub(self.spare));
        } else {
            units.stranded(self.spare, limit.quota);
        }
        let older = std::mem::take(&mut self.older);
        *self = Pot { start, end, before: self.before, older, ..Pot::default() };
    }

    /// Used without having been taken, what is spare first.
    pub(super) fn owe(&mut self, debt: u64) {
        let beyond = debt.saturating_sub(self.spare);
        self.spare = self.spare.saturating_sub(debt);
        self.taken = self.taken.saturating_add(beyond);
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

    /// A counter in which all this was used when it was, and after which there is no more than the store had left.
    pub(super) fn replay(&self, limit: &Limit, left: u64, time: Micros) -> Counter {
        let end = |start: Micros| Micros(span(&limit.algorithm, start).1.0.saturating_sub(1)).min(time);
        let spans = self.older.iter().chain([&self.before]).copied();
        let spans = spans.chain([(self.start, self.taken)]);
        let spans = spans.filter(|(start, units)| *units > 0 && *start <= time);
        let mut counter: Option<Counter> = None;
        for (start, units) in spans {
            let at = end(start);
            let counter = counter.get_or_insert_with(|| Counter::new(limit, at));
            counter.advance(limit, at);
            counter.debit(limit, units, at);
        }
        // Nothing was asked before the first span.
        if self.start > Micros(0) && self.start <= time {
            let at = end(self.start);
            let counter = counter.get_or_insert_with(|| Counter::new(limit, at));
            counter.advance(limit, at);
            let beyond = counter.usage(limit, at).remaining.saturating_sub(left);
            counter.debit(limit, beyond, at);
        }
        let mut counter = counter.unwrap_or_else(|| Counter::new(limit, time));
        counter.advance(limit, time);
        counter
    }
}
