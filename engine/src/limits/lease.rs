//! Leases: units of a shared limit that a gateway debits in advance, and then spends without asking anybody.
//!
//! **Never more than N.** A unit is debited in the store before any gateway spends it, in the span of the store's clock (a window,
//! a bucket, a slot) that it is spent in, and no two gateways hold the same unit:
//!
//! - *Windows*, fixed and of the calendar. Units are of one window and are spent in it alone.
//! - *Sliding*. Units are debited in the bucket that the store's clock is in, and spent before that bucket ends: the store's buckets say
//!   then exactly what was spent when. What is left at a bucket's end is given back to that bucket.
//! - *Bursts* (GCRA). A lease of k is k emission intervals of the store's arrival time, laid end to end: slots. A unit may be spent until
//!   its slot begins. Then each request has a slot of its own that begins no earlier than the request and ends no later than the burst's
//!   tolerance after it; in `t` and the tolerance there are as many slots as GCRA lets through in `t`. A lease so melts as time goes on.
//!
//! Whether a unit is still good is judged by the latest that the store's clock can be: what it said, and all the time since it was *asked*,
//! and a thousandth of that for clocks that differ. The gateway's clock for it goes on while machine or process sleep, so who wakes up
//! spends nothing of what has passed. After [`TRUST`] without an answer nothing is spent, whatever the window.
//!
//! What a request waits for is decided when the store debits it, as in exact mode (a `Ticket`); what is *spare* is for requests to come.
//!
//! **At least N(1-u).** Only what is spare can be left unspent. The store lets all gateways together have no more than u of N that is
//! spare, and less as N nears its end; where that is less than a unit nothing is spare, and requests are asked for in bulk: all that wait for
//! one key in one question. Spare units go back when nobody has asked for them for [`IDLE`]. Of bursts, where they melt instead, a gateway has
//! as many spare as u of what it has spent, less those that have melted.
//!
//! **Lost messages.** A gateway says what it has taken in the span as a total, with a number that only rises: repeated, reordered or
//! unanswered questions change nothing, what a lost answer had granted comes back with the next question, and a store that has lost its memory
//! learns it anew. What a gateway held that has died stays debited until its span ends: it may have spent it, and nobody knows.
//!
//! Nothing here waits or asks: [`Leases::begin`] makes a question, [`Leases::finish`] takes its answer.

mod clock;
mod debt;
mod demand;
mod leases;
mod part;
mod pot;
mod slots;
mod span;
mod standing;
mod units;

#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::clock::StoreClock;
use self::debt::Debt;
use self::demand::Demand;
pub use self::leases::{Held, Leases, Spent, Verdict, Waiting};
use self::part::Part;
use self::pot::Pot;
use self::slots::Slots;
pub use self::units::LeaseUnits;
use super::{Algorithm, CounterKey, Limit, Micros};

/// A lease that was not renewed for so long is not spent any more: the store's clock may have been set.
pub const TRUST: Micros = Micros(10 * Micros::SECOND.0);
/// Spare units that nobody has asked for so long go back.
pub const IDLE: Micros = Micros::SECOND;
/// How long an exhausted limit is not asked about: as long as something can come back from others, or as nothing can.
const POLL: Micros = Micros::SECOND;
const POLL_SELDOM: Micros = Micros(10 * Micros::SECOND.0);

/// What one gateway has of one limit.
#[derive(Debug)]
struct Lease {
    limit: Arc<Limit>,
    stock: Stock,
    clock: Option<StoreClock>,
    /// A question is under way.
    flying: bool,
    queue: Vec<Waiting>,
    exhausted: Option<Exhausted>,
    /// In the store, when it was asked last.
    left: u64,
    demand: Demand,
    /// The store is to be told something.
    dirty: bool,
    /// A refill was asked for.
    wanted: bool,
    /// While there is no store.
    part: Option<Box<Part>>,
    /// Used without having been taken before.
    debt: Debt,
}

#[derive(Debug)]
enum Stock {
    Pot(Pot),
    Slots(Slots),
}

/// The store had less than that.
#[derive(Clone, Copy, Debug)]
struct Exhausted {
    cost: u64,
    until: Micros,
}

/// Two clocks: one that only goes on, also while everything sleeps; and the calendar's, which people may set.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    pub steady: Micros,
    pub wall: Micros,
}

/// A question to the store about one key.
#[derive(Debug)]
pub struct Sync {
    pub key: CounterKey,
    pub limit: Arc<Limit>,
    /// Of this gateway, ever higher.
    pub number: u64,
    /// For requests that wait.
    pub need: u64,
    /// So many spare ones are welcome, altogether.
    pub wish: u64,
    pub report: Report,
    /// By the store's clock, as far as it is known.
    time: Micros,
    asked: Micros,
    waiting: Vec<Waiting>,
}

/// What the gateway says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Of windows, and of sliding limits' buckets.
    Pot {
        /// Of the store's clock, in which it should be.
        start: Micros,
        end: Micros,
        /// Spans that begin earlier do not count any more.
        oldest: Micros,
        /// In this span, in all: spent, and spare.
        taken: u64,
        /// In the one before.
        before: (Micros, u64),
        /// Of what was taken.
        spare: u64,
        /// What all gateways together may have spare.
        most_spare: u64,
    },
    /// Of bursts. Times in nanoseconds of the store's clock.
    Slots {
        /// Used beyond what was taken.
        debt: u64,
        /// The slots until there are given back, if they are the last.
        back: (u64, u64),
        /// The latest slot's end that was seen.
        arrival: u64,
    },
}

/// What the store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its clock.
    pub time: Micros,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its clock is in another span.
    Elsewhen,
    /// A later question was answered before.
    Late,
    Debited {
        /// Of those needed.
        granted: u64,
        spare: u64,
        /// For everybody.
        left: u64,
        /// What other gateways have spare.
        elsewhere: u64,
        /// Of windows and buckets: until the first may come back. Of bursts: the new arrival time, in nanoseconds.
        at: u64,
    },
}

// === impl Lease ===

impl Lease {
    fn new(limit: &Arc<Limit>, now: Clocks) -> Lease {
        let stock = match limit.algorithm {
            Algorithm::Burst { .. } => Stock::Slots(Slots::default()),
            _ => Stock::Pot(Pot::default()),
        };
        Lease {
            limit: Arc::clone(limit),
            stock,
            clock: None,
            flying: false,
            queue: Vec::new(),
            exhausted: None,
            left: limit.quota,
            demand: Demand::new(now.steady),
            dirty: false,
            wanted: false,
            part: None,
            debt: Debt::default(),
        }
    }

    /// What can be spent without asking.
    fn spendable(&self, now: Micros) -> u64 {
        let Some(clock) = self.clock.filter(|clock| clock.is_trusted(now)) else { return 0 };
        match &self.stock {
            Stock::Pot(pot) => pot.spendable(clock.latest(now)),
            Stock::Slots(slots) => slots.spendable(&self.limit, clock.latest(now)),
        }
    }

    fn spend(&mut self, cost: u64, now: Micros) {
        self.demand.count(cost, now);
        match (&mut self.stock, self.clock) {
            (Stock::Pot(pot), _) => pot.spend(cost),
            (Stock::Slots(slots), Some(clock)) => slots.spend(&self.limit, cost, clock.latest(now)),
            (Stock::Slots(_), None) => {}
        }
    }

    /// `None`: it may have that many.
    fn refusal(&self, cost: u64, now: Micros) -> Option<Micros> {
        let exhausted = self.exhausted.filter(|exhausted| now < exhausted.until && cost >= exhausted.cost)?;
        let wait = exhausted.until.saturating_sub(now);
        Some(match (&self.stock, self.clock) {
            (Stock::Pot(pot), Some(clock)) => pot.wait(clock.earliest(now)).unwrap_or(wait),
            _ => wait,
        })
    }

    /// So few are spare that it is time to ask for more.
    fn is_low(&self, spendable: u64, now: Micros) -> bool {
        if self.flying || self.wanted {
            return false;
        }
        let wish = self.wish(now);
        wish > 0 && spendable <= wish / 2 && self.refusal(1, now).is_none()
    }

    fn wish(&self, now: Micros) -> u64 {
        let demand = self.demand.soon(now);
        match &self.stock {
            Stock::Pot(_) => demand.min(self.most_spare()),
            Stock::Slots(slots) => demand.min(slots.affordable()),
        }
    }

    /// Of all gateways.
    fn most_spare(&self) -> u64 {
        let share = u128::from(self.limit.quota) * u128::from(self.limit.sharing.max_undershoot_permille) / 1000;
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// The store's clock, or our best guess.
    fn time(&self, now: Clocks) -> Micros {
        self.clock.map_or(now.wall, |clock| clock.earliest(now.steady))
    }

    fn owe(&mut self, units: u64, now: Clocks) {
        self.debt.add(&self.limit, units, self.time(now), self.busy());
    }

    fn question(&mut self, key: CounterKey, number: u64, now: Clocks, units: &LeaseUnits) -> Sync {
        let giving_back = self.demand.is_idle(now.steady);
        let time = self.time(now);
        self.settle(time);
        let debt = self.debt.take();
        let most_spare = self.most_spare();
        let report = match &mut self.stock {
            Stock::Pot(pot) => {
                pot.turn(&self.limit, time, units);
                pot.owe(debt);
                if giving_back {
                    units.returned(pot.give_back());
                }
                pot.report(&self.limit, most_spare)
            }
            Stock::Slots(slots) => {
                if let Some(clock) = self.clock {
                    slots.melt(&self.limit, clock.latest(now.steady), units);
                }
                let back = if giving_back { slots.give_back() } else { (0, 0) };
                units.returned(back.1);
                slots.report(debt, back)
            }
        };
        let wish = if giving_back { 0 } else { self.wish(now.steady) };
        let waiting = std::mem::take(&mut self.queue);
        let need = waiting.iter().fold(0_u64, |sum, waiting| sum.saturating_add(waiting.cost));
        self.flying = true;
        (self.dirty, self.wanted) = (false, false);
        Sync { key, limit: Arc::clone(&self.limit), number, need, wish, report, time, asked: now.steady, waiting }
    }

    /// Who gets what they waited for.
    fn answered(&mut self, sync: Sync, reply: Reply, now: Micros, units: &LeaseUnits) -> Vec<(u64, Verdict)> {
        let clock = StoreClock { asked: sync.asked, answered: now, said: reply.time };
        self.clock = Some(clock);
        let Outcome::Debited { granted, spare, left, elsewhere, at } = reply.outcome else {
            // Asked once more, all of it.
            self.restore(sync);
            return Vec::new();
        };
        units.taken(granted.saturating_add(spare));
        self.left = left;
        match &mut self.stock {
            Stock::Pot(pot) => {
                pot.receive(granted, spare, Micros(at));
                self.part = None;
            }
            Stock::Slots(slots) => {
                slots.receive(at, spare);
                // A burst comes back with time alone, however often the store comes and goes.
                self.part.iter_mut().for_each(|part| part.is_old());
            }
        }
        let mut rest = granted;
        let mut refused: Option<u64> = None;
        let mut verdicts = Vec::with_capacity(sync.waiting.len());
        for waiting in &sync.waiting {
            let verdict = if waiting.cost <= rest {
                rest -= waiting.cost;
                Verdict::Granted(self.held(waiting.cost, rest.saturating_add(spare)))
            } else {
                refused = Some(refused.map_or(waiting.cost, |least| least.min(waiting.cost)));
                Verdict::Exhausted
            };
            verdicts.push((waiting.ticket, verdict));
        }
        if rest > 0 {
            self.take_back(self.held(rest, spare));
            self.dirty = true;
        }
        if let Some(cost) = refused {
            let until = match &self.stock {
                Stock::Pot(pot) => {
                    let poll = if elsewhere > 0 { POLL } else { POLL_SELDOM };
                    clock.surely(pot.again()).min(now.saturating_add(poll))
                }
                Stock::Slots(slots) => clock.surely(slots.again(&self.limit, cost)),
            };
            self.exhausted = Some(Exhausted { cost, until });
        } else if sync.need > 0 {
            self.exhausted = None;
        }
        verdicts
    }

    /// Of what was granted last, with so many behind them.
    fn held(&self, cost: u64, behind: u64) -> Held {
        let place = match &self.stock {
            Stock::Pot(pot) => pot.place(),
            Stock::Slots(slots) => slots.place(&self.limit, behind),
        };
        Held { place, cost }
    }

    /// As if it had not been asked.
    fn restore(&mut self, sync: Sync) {
        let later = std::mem::replace(&mut self.queue, sync.waiting);
        self.queue.extend(later);
        if let Report::Slots { debt, .. } = sync.report {
            self.debt.restore(debt, sync.time);
        }
        self.dirty = true;
    }

    /// Units that were granted and are not spent.
    fn take_back(&mut self, held: Held) {
        match &mut self.stock {
            Stock::Pot(pot) => self.dirty |= pot.take_back(held),
            Stock::Slots(slots) => slots.take_back(held),
        }
    }

    /// Nothing of it is of use to anybody.
    fn is_over(&self, now: Clocks) -> bool {
        let unused = !self.flying && self.queue.is_empty() && self.part.is_none() && self.debt.is_none();
        let Some(clock) = self.clock.filter(|_| unused) else { return unused && self.demand.is_idle(now.steady) };
        let time = clock.earliest(now.steady);
        self.demand.is_idle(now.steady)
            && match &self.stock {
                Stock::Pot(pot) => time > pot.over(&self.limit),
                Stock::Slots(slots) => time > slots.over(),
            }
    }

    /// It is not up to date in the store, and nobody will come and see to it.
    fn is_left_alone(&self, now: Micros) -> bool {
        let spare = match &self.stock {
            Stock::Pot(pot) => pot.spare(),
            Stock::Slots(slots) => slots.spare(),
        };
        !self.flying && (self.dirty || !self.debt.is_none() || (spare > 0 && self.demand.is_idle(now)))
    }

    /// Forgets what is owed and does not count any more.
    fn settle(&mut self, time: Micros) {
        let busy = self.busy();
        self.debt.settle(&self.limit, time, busy);
    }

    /// Until then it is what the store knows that drains.
    fn busy(&self) -> Micros {
        if let Stock::Slots(slots) = &self.stock { slots.over() } else { Micros(0) }
    }

    /// Forgets what does not count any more.
    fn tidy(&mut self, now: Clocks) {
        let time = self.time(now);
        self.settle(time);
        self.part.take_if(|part| part.is_over(time));
    }

    /// There is a store again, and nobody asks: what was taken says all that a part would.
    fn leave_part(&mut self, now: Clocks) {
        if self.demand.is_idle(now.steady) && matches!(self.stock, Stock::Pot(_)) {
            self.part = None;
        }
    }
}
