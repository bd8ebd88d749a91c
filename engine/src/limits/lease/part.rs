//! A gateway's part of a quota, counted by itself where the store cannot be asked.

use super::super::counter::{Counter, Time};
use super::super::{Limit, Micros};
use super::{Clocks, Lease, Stock};

#[derive(Debug)]
pub(super) struct Part {
    limit: Limit,
    counter: Counter,
    /// The store has not answered since.
    current: bool,
}

// === impl Part ===

impl Part {
    pub(super) fn wait(&mut self, cost: u64, time: Micros) -> Time {
        self.counter.advance(&self.limit, time);
        self.counter.wait(&self.limit, cost, time)
    }

    pub(super) fn debit(&mut self, cost: u64, time: Micros) {
        self.counter.advance(&self.limit, time);
        self.counter.debit(&self.limit, cost, time);
    }

    /// The store knows more now, or the limit is another.
    pub(super) fn is_old(&mut self) {
        self.current = false;
    }

    pub(super) fn is_over(&self, time: Micros) -> bool {
        self.counter.expires() < time
    }
}

// === impl Lease ===

impl Lease {
    /// By how many gateways there are, and which of them this one is. `None`: nothing is its part.
    pub(super) fn part(&mut self, gateways: (u32, u32), now: Clocks) -> Option<&mut Part> {
        if self.part.as_ref().is_none_or(|part| !part.current) {
            let limit = self.limit.part(gateways)?;
            let time = self.time(now);
            self.settle(time);
            let (debt, before) = (self.debt.total(), self.part.take());
            let counter = match &self.stock {
                // What was taken before is part of it, and there is no more than the store had left.
                Stock::Pot(pot) => {
                    let mut counter = pot.replay(&limit, self.left, time);
                    counter.debit(&limit, debt, time);
                    counter
                }
                Stock::Slots(slots) => {
                    let mut counter = match before {
                        Some(part) => part.counter,
                        None => Counter::new(&limit, time),
                    };
                    counter.advance(&limit, time);
                    let left = slots.left(&self.limit, time).saturating_sub(debt);
                    let beyond = counter.usage(&limit, time).remaining.saturating_sub(left);
                    counter.debit(&limit, beyond, time);
                    counter
                }
            };
            self.part = Some(Box::new(Part { limit, counter, current: true }));
        }
        self.part.as_deref_mut()
    }

    /// In the windows, buckets or slots that count: what a lease has to begin with whose requests may have been counted here.
    pub(super) fn used(&mut self, now: Clocks) -> u64 {
        let time = self.time(now);
        self.settle(time);
        let used = match &self.stock {
            Stock::Pot(pot) => {
                let most = Limit { quota: u64::MAX >> 1, ..(*self.limit).clone() };
                let counter = pot.replay(&most, u64::MAX, time);
                most.quota.saturating_sub(counter.usage(&most, time).remaining)
            }
            Stock::Slots(slots) => slots.ahead(&self.limit, time),
        };
        used.saturating_add(self.debt.total())
    }
}
