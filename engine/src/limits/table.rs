//! The counters of one gateway. Bounded, and shared by all its threads.

mod shard;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use self::shard::Shard;
use super::counter::{Counter, Time};
use super::secret::{Name, Secret};
use super::{Charge, Micros, Spending, Usages};

/// One request debits all its counters or none: it holds the locks of all of them, taken in the order of the shards.
#[derive(Debug)]
pub struct Table {
    /// The last one is for what has no room elsewhere.
    shards: Box<[Mutex<Shard>]>,
    secret: Secret,
    overflowed: AtomicU64,
}

/// The shards of a request, by their number.
type Held<'a> = SmallVec<[(usize, MutexGuard<'a, Shard>); 5]>;

/// Where a counter is: which of the shards that are held, and which of its slots.
type Place = (usize, u32);

/// Threads that spend at once seldom meet in one of so many.
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

    fn settle(&self, charges: &[Charge<'_>], now: Micros, debits: bool) -> Spending {
        let now = now.min(Micros::LATEST);
        let names: SmallVec<[Name; 4]> = charges.iter().map(|charge| self.secret.name(charge.key)).collect();
        let mut held = self.hold(&names);
        let found = charges.iter().zip(&names).map(|(charge, name)| self.find(&mut held, charge, *name, now));
        let places: SmallVec<[Place; 4]> = found.collect();
        let mut refused: Option<(usize, Micros)> = None;
        let mut beyond: SmallVec<[bool; 4]> = SmallVec::new();
        for (index, (charge, place)) in charges.iter().zip(&places).enumerate() {
            // Two charges may be for one counter.
            let others = charges.iter().zip(&places).take(index).filter(|(_, other)| *other == place);
            let cost = others.fold(charge.cost, |sum, (other, _)| sum.saturating_add(other.cost));
            let time = counter(&mut held, *place).map_or(Time::Never, |counter| counter.wait(charge.limit, cost, now));
            let lacks = time != Time::Now;
            beyond.push(lacks && !charge.limit.stops);
            if lacks && charge.limit.stops {
                let wait = if let Time::In(wait) = time { wait } else { Micros::NEVER };
                refused = Some(refused.map_or((index, wait), |(first, longest)| (first, longest.max(wait))));
            }
        }
        if debits && refused.is_none() {
            for ((charge, place), beyond) in charges.iter().zip(&places).zip(&beyond) {
                if !beyond && let Some(counter) = counter(&mut held, *place) {
                    counter.debit(charge.limit, charge.cost, now);
                }
            }
        }
        let mut usages = Usages::new();
        for ((charge, place), beyond) in charges.iter().zip(&places).zip(beyond) {
            let mut usage =
                counter(&mut held, *place).map_or_else(Default::default, |counter| counter.usage(charge.limit, now));
            usage.beyond = beyond;
            usages.push(usage);
        }
        match refused {
            None => Spending::Granted(usages),
            Some((by, wait)) => Spending::Refused { by, wait, usages },
        }
    }

    /// Counts what was used without having been asked for, however much that is.
    pub fn add(&self, charge: &Charge<'_>, now: Micros) {
        let now = now.min(Micros::LATEST);
        let name = self.secret.name(charge.key);
        let mut held = self.hold(&[name]);
        let place = self.find(&mut held, charge, name, now);
        if let Some(counter) = counter(&mut held, place) {
            counter.debit(charge.limit, charge.cost, now);
        }
    }

    /// Whether the charge has a counter of its own; made if there is room.
    pub fn has_own(&self, charge: &Charge<'_>, now: Micros) -> bool {
        let now = now.min(Micros::LATEST);
        let name = self.secret.name(charge.key);
        let mut held = self.hold(&[name]);
        let (place, _) = self.find(&mut held, charge, name, now);
        held.get(place).is_some_and(|(number, _)| *number == self.number(name))
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

    fn hold(&self, names: &[Name]) -> Held<'_> {
        let mut numbers: SmallVec<[usize; 4]> = names.iter().map(|name| self.number(*name)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().filter_map(|number| self.lock(number)).collect()
    }

    fn lock(&self, number: usize) -> Option<(usize, MutexGuard<'_, Shard>)> {
        Some((number, self.shards.get(number)?.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn number(&self, name: Name) -> usize {
        name.shard(self.shards.len() - 1)
    }

    /// The counter of a charge, as it is now; made if there is room: its own, or that of all who have none.
    fn find<'a>(&'a self, held: &mut Held<'a>, charge: &Charge<'_>, name: Name, now: Micros) -> Place {
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
