//! The counters of one gateway. Bounded, and shared by all its threads.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::counter::Counter;
use super::key::KeyStem;
use super::{Charge, CounterKey, Level, Limit, Micros, Spending, Usage, Usages};

/// One request debits all its counters or none: it holds the locks of all of them, taken in the order of the shards.
#[derive(Debug)]
pub struct Table {
    shards: Box<[Mutex<Shard>]>,
    /// Counters of one shard.
    room: usize,
    overflowed: AtomicU64,
}

type Shard = HashMap<CounterKey, Counter, BuildHasherDefault<AsIs>>;

/// Keys are hashes.
#[derive(Clone, Copy, Debug, Default)]
struct AsIs(u64);

type Guards<'a> = SmallVec<[(usize, MutexGuard<'a, Shard>); 4]>;

const SHARDS: usize = 64;

// === impl Table ===

impl Table {
    /// Room for about that many counters.
    pub fn new(counters: usize) -> Table {
        let shards = (0..=SHARDS).map(|_| Mutex::default()).collect();
        Table { shards, room: counters.div_ceil(SHARDS).max(1), overflowed: AtomicU64::new(0) }
    }

    /// Debits all charges, or none.
    pub fn spend(&self, charges: &[Charge<'_>], now: Micros) -> Spending {
        let mut guards = self.lock(charges);
        let keys: SmallVec<[CounterKey; 4]> =
            charges.iter().map(|charge| self.find(&mut guards, charge, now)).collect();
        let mut refused: Option<(usize, Micros)> = None;
        let mut beyond: SmallVec<[bool; 4]> = SmallVec::new();
        for (index, (charge, key)) in charges.iter().zip(&keys).enumerate() {
            let wait = counter(&mut guards, *key).map(|counter| counter.wait(charge.limit, charge.cost, now));
            // Bytes are counted afterwards: there has to be one left.
            let lacks = wait != Some(Some(Micros(0)));
            beyond.push(lacks && !charge.limit.stops);
            if lacks && charge.limit.stops {
                let wait = wait.flatten().unwrap_or(Micros::of_seconds(u64::from(u32::MAX)));
                refused = Some(refused.map_or((index, wait), |(first, longest)| (first, longest.max(wait))));
            }
        }
        let mut usages = Usages::new();
        for ((charge, key), beyond) in charges.iter().zip(&keys).zip(beyond) {
            let usage = counter(&mut guards, *key).map(|counter| {
                if refused.is_none() {
                    counter.debit(charge.limit, charge.cost, now);
                }
                counter.usage(charge.limit, now)
            });
            usages.push(Usage { beyond, ..usage.unwrap_or_default() });
        }
        match refused {
            None => Spending::Granted(usages),
            Some((by, wait)) => Spending::Refused { by, wait, usages },
        }
    }

    /// Counts what was used without having been asked for.
    pub fn add(&self, charge: &Charge<'_>, now: Micros) {
        let charges = std::slice::from_ref(charge);
        let mut guards = self.lock(charges);
        let key = self.find(&mut guards, charge, now);
        if let Some(counter) = counter(&mut guards, key) {
            let _ = counter.wait(charge.limit, charge.cost, now);
            counter.debit(charge.limit, charge.cost, now);
        }
    }

    /// Requests that were counted with those of other callers, because there was no room for more counters.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last shard is for what has no room elsewhere, and always locked: it is small, and never contended where there is room.
    fn lock(&self, charges: &[Charge<'_>]) -> Guards<'_> {
        let mut places: SmallVec<[usize; 5]> = charges.iter().map(|charge| place(charge.key)).collect();
        places.sort_unstable();
        places.dedup();
        let lock = |place: usize| {
            let shard = self.shards.get(place)?;
            Some((place, shard.lock().unwrap_or_else(PoisonError::into_inner)))
        };
        places.into_iter().filter_map(lock).collect()
    }

    /// The counter of a charge, made if there is room: its own, or that of all who have none.
    fn find<'a>(&'a self, guards: &mut Guards<'a>, charge: &Charge<'_>, now: Micros) -> CounterKey {
        let key = charge.key;
        let Some((_, shard)) = guards.iter_mut().find(|(own, _)| *own == place(key)) else { return key };
        if shard.contains_key(&key) {
            return key;
        }
        if shard.len() >= self.room {
            shard.retain(|_, counter| counter.expires() > now);
        }
        if shard.len() < self.room {
            shard.insert(key, Counter::new(charge.limit, now));
            return key;
        }
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        let shared = overflow(charge.limit);
        if !guards.iter().any(|(own, _)| *own == SHARDS)
            && let Some(shard) = self.shards.get(SHARDS)
        {
            guards.push((SHARDS, shard.lock().unwrap_or_else(PoisonError::into_inner)));
        }
        if let Some((_, shard)) = guards.iter_mut().find(|(own, _)| *own == SHARDS) {
            shard.entry(shared).or_insert_with(|| Counter::new(charge.limit, now));
        }
        shared
    }
}

fn counter<'a>(guards: &'a mut Guards<'_>, key: CounterKey) -> Option<&'a mut Counter> {
    guards.iter_mut().find_map(|(_, shard)| shard.get_mut(&key))
}

fn place(key: CounterKey) -> usize {
    usize::try_from(key.0 % SHARDS as u128).unwrap_or(0)
}

/// One for each policy.
fn overflow(limit: &Limit) -> CounterKey {
    let level: Level = limit.level;
    KeyStem::new(limit, 0).finish(&["overflow", level.as_str(), &limit.policy])
}

// === impl AsIs ===

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u128(&mut self, key: u128) {
        // The low bits choose the shard.
        self.0 = u64::try_from(key >> 64).unwrap_or(0);
    }
}
