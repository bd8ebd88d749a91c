//! The counters of one gateway. Bounded, and shared by all its threads.

mod shard;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use self::shard::Shard;
use super::counter::{Counter, Time};
use super::secret::{Name, Secret};
use super::{Charge, Micros, Spending, Usage, Usages};

/// One request debits all its counters or none: it holds the locks of all of them, taken in the order of the shards.
#[derive(Debug)]
pub struct Table {
    /// The last one is for what has no room elsewhere.
    shards: Box<[Mutex<Shard>]>,
    secret: Secret,
    overflowed: AtomicU64,
}

/// The shards of a request, by their number. Like all that is kept of its charges it is filled where it stays: moving it costs more than
/// finding a counter.
type Held<'a> = SmallVec<[(usize, MutexGuard<'a, Shard>); 5]>;

/// Where a counter is: which of the shards that are held, and which of its slots.
type Place = (usize, u32);

/// What a charge draws on.
struct Drawn<'c> {
    charge: &'c Charge<'c>,
    place: Place,
    /// It has not enough left, and lets through.
    beyond: bool,
}

/// Threads that spend at once seldom meet in one of so many; a request's are the bits of a number.
const SHARDS: usize = 64;
/// Smaller ones are full too soon, while others have room.
const LEAST_ROOM: usize = 512;

/// Bytes of a counter, with its name; what it takes beside that to find it and to see it expire is half as much.
pub(super) const SIZE: usize = shard::SLOT;

// === impl Table ===

impl Table {
    /// Room for about that many counters; of sliding windows for fewer, by their size. `secret`: random numbers of the process, without
    /// which anybody could find names that fill one shard.
    pub fn new(counters: usize, secret: [u64; 2]) -> Table {
        let shards = (counters / LEAST_ROOM).clamp(1, SHARDS);
        let room = counters.div_ceil(shards).max(1);
        let secret = Secret(secret);
        let own = (0..shards).map(|_| Shard::new(room, secret));
        // As many as there are policies.
        let overflow = Shard::new(usize::MAX, secret);
        let shards = own.chain(std::iter::once(overflow)).map(Mutex::new).collect();
        Table { shards, secret, overflowed: AtomicU64::new(0) }
    }

    /// Debits all charges, or none.
    pub fn spend(&self, charges: &[Charge<'_>], now: Micros) -> Spending {
        self.settle(charges, now, true)
    }

    /// What [`Self::spend`] would say, without debiting anything.
    pub fn would_spend(&self, charges: &[Charge<'_>], now: Micros) -> Spending {
        self.settle(charges, now, false)
    }

    /// All counters are asked before one is debited, and how they are is read when all were.
    fn settle(&self, charges: &[Charge<'_>], now: Micros, debits: bool) -> Spending {
        let now = now.min(Micros::LATEST);
        let mut held = Held::new();
        self.hold(charges, &mut held);
        let mut drawn: SmallVec<[Drawn<'_>; 4]> = SmallVec::new();
        let mut refused: Option<(usize, Micros)> = None;
        for charge in charges {
            let place = self.find(&mut held, charge, now);
            // Two charges may be for one counter.
            let others = drawn.iter().filter(|other| other.place == place);
            let cost = others.fold(charge.cost, |sum, other| sum.saturating_add(other.charge.cost));
            let time = counter(&mut held, place).map_or(Time::Never, |counter| counter.wait(charge.limit, cost, now));
            let lacks = time != Time::Now;
            if lacks && charge.limit.stops {
                let wait = if let Time::In(wait) = time { wait } else { Micros::NEVER };
                refused = Some(refused.map_or((drawn.len(), wait), |(first, longest)| (first, longest.max(wait))));
            }
            drawn.push(Drawn { charge, place, beyond: lacks && !charge.limit.stops });
        }
        if debits && refused.is_none() {
            for Drawn { charge, place, .. } in drawn.iter().filter(|drawn| !drawn.beyond) {
                if let Some(counter) = counter(&mut held, *place) {
                    counter.debit(charge.limit, charge.cost, now);
                }
            }
        }
        let mut usages = Usages::new();
        for Drawn { charge, place, beyond } in &drawn {
            let usage = counter(&mut held, *place).map(|counter| counter.usage(charge.limit, now));
            usages.push(Usage { beyond: *beyond, ..usage.unwrap_or_default() });
        }
        match refused {
            None => Spending::Granted(usages),
            Some((by, wait)) => Spending::Refused { by, wait, usages },
        }
    }

    /// Counts what was used without having been asked for, however much that is.
    pub fn add(&self, charge: &Charge<'_>, now: Micros) {
        let now = now.min(Micros::LATEST);
        let mut held = Held::new();
        self.hold(std::slice::from_ref(charge), &mut held);
        let place = self.find(&mut held, charge, now);
        if let Some(counter) = counter(&mut held, place) {
            counter.debit(charge.limit, charge.cost, now);
        }
    }

    /// Whether the charge has a counter of its own; made if there is room.
    pub fn has_own(&self, charge: &Charge<'_>, now: Micros) -> bool {
        let now = now.min(Micros::LATEST);
        let mut held = Held::new();
        self.hold(std::slice::from_ref(charge), &mut held);
        let (place, _) = self.find(&mut held, charge, now);
        held.get(place).is_some_and(|(number, _)| *number == self.number(self.secret.name(charge.key)))
    }

    /// Draws that were counted with those of other callers, because there was no room for more counters.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// Counters, those among them that have expired and were not dropped yet.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In the order of shards, each once.
    fn hold<'a>(&'a self, charges: &[Charge<'_>], held: &mut Held<'a>) {
        let number = |charge: &Charge<'_>| self.number(self.secret.name(charge.key));
        let mut numbers = charges.iter().fold(0_u64, |numbers, charge| numbers | 1 << number(charge));
        while numbers != 0 {
            if let Some(shard) = self.lock(numbers.trailing_zeros() as usize) {
                held.push(shard);
            }
            numbers &= numbers - 1;
        }
    }

    fn lock(&self, number: usize) -> Option<(usize, MutexGuard<'_, Shard>)> {
        Some((number, self.shards.get(number)?.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn number(&self, name: Name) -> usize {
        name.shard(self.shards.len() - 1)
    }

    /// The counter of a charge, as it is now; made if there is room: its own, or that of all who have none.
    fn find<'a>(&'a self, held: &mut Held<'a>, charge: &Charge<'_>, now: Micros) -> Place {
        let name = self.secret.name(charge.key);
        let own = position(held, self.number(name));
        // Whoever is counted there elsewhere, is here, too.
        let is_shared = charge.key == charge.limit.overflow;
        if let Some((_, shard)) = held.get_mut(own).filter(|_| !is_shared)
            && let Some(slot) = shard.find(name, charge.limit, now)
        {
            return (own, slot);
        }
        // Whoever used it up together with others does not get all of it once more: a counter begins where that of all who have none
        // is. Nobody asks before there is one.
        let shared = (self.overflowed() > 0).then(|| self.shared(held, charge));
        let known = shared.and_then(|(place, name)| {
            let (_, shard) = held.get_mut(place)?;
            let slot = shard.find(name, charge.limit, now)?;
            shard.get_mut(slot).cloned()
        });
        if let Some((_, shard)) = held.get_mut(own).filter(|_| !is_shared)
            && let Some(slot) = shard.make(name, charge.limit, known, now)
        {
            return (own, slot);
        }
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        let (place, name) = shared.unwrap_or_else(|| self.shared(held, charge));
        let slot = held.get_mut(place).and_then(|(_, shard)| {
            shard.find(name, charge.limit, now).or_else(|| shard.make(name, charge.limit, None, now))
        });
        (place, slot.unwrap_or(u32::MAX))
    }

    /// Where all count for whom there is no room.
    fn shared<'a>(&'a self, held: &mut Held<'a>, charge: &Charge<'_>) -> (usize, Name) {
        // The last in order, so whoever waits for it holds nothing that its holder wants.
        let last = self.shards.len() - 1;
        if position(held, last) == held.len() {
            held.extend(self.lock(last));
        }
        (position(held, last), self.secret.name(charge.limit.overflow))
    }
}

fn position(held: &Held<'_>, number: usize) -> usize {
    held.iter().position(|(own, _)| *own == number).unwrap_or(held.len())
}

fn counter<'a>(held: &'a mut Held<'_>, (shard, slot): Place) -> Option<&'a mut Counter> {
    held.get_mut(shard)?.1.get_mut(slot)
}

#[cfg(test)]
mod tests;
