//! The leases of one gateway.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::super::secret::Secret;
use super::super::{Charge, CounterKey, Micros, OnFailure, Spending, Usage, Usages};
use super::demand::Demand;
use super::standing::Standing;
use super::{Clocks, IDLE, Lease, LeaseUnits, Reply, Sync};

/// Sharded by key. A request holds the locks of all its keys, taken in the order of the shards.
#[derive(Debug)]
pub struct Leases {
    shards: Box<[Mutex<Shard>]>,
    secret: Secret,
    /// Leases of one shard.
    room: usize,
    number: AtomicU64,
    units: LeaseUnits,
    overflowed: AtomicU64,
    /// Charges that were decided without a store, by what policies say.
    alone: [AtomicU64; 3],
}

#[derive(Debug, Default)]
struct Shard {
    leases: HashMap<CounterKey, Lease>,
    /// When it was full, and all that it has was looked at.
    looked: Option<Micros>,
    #[cfg(test)]
    looks: usize,
}

type Guards<'a> = SmallVec<[(usize, MutexGuard<'a, Shard>); 4]>;

/// A request that waits for units of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub ticket: u64,
    pub cost: u64,
}

/// Units that the store has debited for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The span's beginning, or the slots' end.
    pub(super) place: u64,
    pub(super) cost: u64,
}

/// What became of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Granted(Held),
    Exhausted,
    /// The store did not answer.
    Lost,
}

/// What became of a request.
#[derive(Debug)]
pub enum Spent {
    Done(Spending),
    /// These charges, by index, have to be waited for, with so many units.
    Wait(SmallVec<[(usize, u64); 4]>),
}

const SHARDS: usize = 64;
/// Shards with less room would be full before the table is.
const LEAST_ROOM: usize = 1000;
/// So long after a look at all that a full shard has there is no other: whoever has new names could have it look every time.
const PAUSE: Micros = Micros(IDLE.0 / 4);

// === impl Leases ===

impl Leases {
    /// Room for about that many. `secret`: random numbers of the process, as for [`super::super::Table`].
    pub fn new(leases: usize, secret: [u64; 2]) -> Leases {
        let shards = (leases / LEAST_ROOM).clamp(1, SHARDS);
        Leases {
            shards: (0..=shards).map(|_| Mutex::default()).collect(),
            secret: Secret(secret),
            room: leases.div_ceil(shards).max(1),
            number: AtomicU64::new(0),
            units: LeaseUnits::default(),
            overflowed: AtomicU64::new(0),
            alone: Default::default(),
        }
    }

    /// Debits all charges, which are of leased limits, or none; and with them what `others` debits. `held` has what was waited for, by
    /// index. `lost`: by how many gateways a quota is divided because there is no store, and which of them this one is. `low` is told of keys that are to be asked for.
    pub fn spend(
        &self,
        charges: &[Charge<'_>],
        held: &[(usize, Held)],
        now: Clocks,
        lost: Option<(u32, u32)>,
        others: impl FnOnce() -> Spending,
        mut low: impl FnMut(CounterKey),
    ) -> (Spent, Usages) {
        let mut guards = self.lock(charges);
        let keys: SmallVec<[CounterKey; 4]> =
            charges.iter().map(|charge| self.find(&mut guards, charge, now)).collect();
        let mut standings: SmallVec<[Standing; 4]> = SmallVec::new();
        for (index, (charge, key)) in charges.iter().zip(&keys).enumerate() {
            let waited = held.iter().any(|(own, _)| *own == index);
            // Two charges may be for one key.
            let others = charges.iter().zip(&keys).take(index).filter(|(_, other)| *other == key);
            let cost = others.fold(charge.cost, |sum, (other, _)| sum.saturating_add(other.cost));
            let standing = lease(&mut guards, *key).map(|lease| lease.standing(charge.limit, cost, waited, now, lost));
            let standing = standing.unwrap_or(Standing::Unavailable);
            if lost.is_some() && matches!(standing, Standing::Part | Standing::Free | Standing::Unavailable) {
                self.count_alone(charge.limit.sharing.on_failure);
            }
            standings.push(standing);
        }
        let usages = |guards: &mut Guards<'_>| -> Usages {
            let each = charges.iter().zip(&keys).zip(&standings);
            let usage = |((charge, key), standing): ((&Charge<'_>, &CounterKey), &Standing)| {
                let usage = lease(guards, *key).map(|lease| lease.usage(charge.limit, now.steady)).unwrap_or_default();
                Usage { beyond: *standing == Standing::Beyond, ..usage }
            };
            each.map(usage).collect()
        };
        let lacking = standings.iter().enumerate().filter_map(|(index, standing)| match standing {
            Standing::Lacking(wait) => Some((index, *wait)),
            _ => None,
        });
        let refused = lacking.reduce(|(first, longest), (_, wait)| (first, longest.max(wait)));
        if let Some((by, wait)) = refused {
            let usages = usages(&mut guards);
            return (Spent::Done(Spending::Refused { by, wait, usages: usages.clone() }), usages);
        }
        if standings.contains(&Standing::Unavailable) {
            return (Spent::Done(Spending::Unavailable), Usages::new());
        }
        let waits: SmallVec<[(usize, u64); 4]> = standings
            .iter()
            .enumerate()
            .filter_map(|(index, standing)| match standing {
                Standing::Waits(units) => Some((index, *units)),
                _ => None,
            })
            .collect();
        if !waits.is_empty() {
            return (Spent::Wait(waits), Usages::new());
        }
        let spending = others();
        if matches!(spending, Spending::Granted(_)) {
            for (index, ((charge, key), standing)) in charges.iter().zip(&keys).zip(&standings).enumerate() {
                let held = held.iter().find(|(own, _)| *own == index).map(|(_, held)| *held);
                let Some(lease) = lease(&mut guards, *key) else { continue };
                lease.debit(charge, *standing, held, now);
                if lease.is_low(lease.spendable(now.steady), now.steady) {
                    lease.wanted = true;
                    low(*key);
                }
            }
        }
        let usages = usages(&mut guards);
        (Spent::Done(spending), usages)
    }

    /// Counts what was used without having been asked for.
    pub fn add(&self, charge: &Charge<'_>, now: Clocks, mut low: impl FnMut(CounterKey)) {
        let mut guards = self.lock(std::slice::from_ref(charge));
        let key = self.find(&mut guards, charge, now);
        let Some(lease) = lease(&mut guards, key) else { return };
        let spendable = lease.spendable(now.steady).min(charge.cost);
        lease.spend(spendable, now.steady);
        lease.owe(charge.cost - spendable, now);
        let time = lease.time(now);
        if let Some(part) = &mut lease.part {
            part.debit(charge.cost - spendable, time);
        }
        if (!lease.debt.is_none() && !lease.wanted && !lease.flying)
            || lease.is_low(lease.spendable(now.steady), now.steady)
        {
            lease.wanted = true;
            low(key);
        }
    }

    /// Has a request wait for its units; who asks ([`Self::begin`]) asks for them, too. The key under which that is.
    pub fn wait(&self, charge: &Charge<'_>, waiting: Waiting, now: Clocks) -> CounterKey {
        let mut guards = self.lock(std::slice::from_ref(charge));
        let key = self.find(&mut guards, charge, now);
        if let Some(lease) = lease(&mut guards, key) {
            lease.queue.push(waiting);
            lease.demand.count(waiting.cost, now.steady);
        }
        key
    }

    /// It waits no longer.
    pub fn give_up(&self, key: CounterKey, ticket: u64) {
        self.with(key, |lease| lease.queue.retain(|waiting| waiting.ticket != ticket));
    }

    /// Units that were waited for are not wanted.
    pub fn take_back(&self, key: CounterKey, held: Held) {
        self.with(key, |lease| lease.take_back(held));
    }

    /// A question about a key. `None`: one is under way, or there is nothing to ask about.
    pub fn begin(&self, key: CounterKey, now: Clocks) -> Option<Sync> {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let question = |lease: &mut Lease| {
            if lease.flying { None } else { Some(lease.question(key, number, now, &self.units)) }
        };
        self.with(key, question).flatten()
    }

    /// Its answer, or that there was none; who waited gets what. `true`: there is more to ask, at once.
    pub fn finish(&self, sync: Sync, reply: Option<Reply>, now: Micros) -> (Vec<(u64, Verdict)>, bool) {
        let key = sync.key;
        let finish = |lease: &mut Lease| {
            lease.flying = false;
            let verdicts = if let Some(reply) = reply {
                lease.answered(sync, reply, now, &self.units)
            } else {
                let verdicts = sync.waiting.iter().map(|waiting| (waiting.ticket, Verdict::Lost)).collect();
                lease.restore(Sync { waiting: Vec::new(), ..sync });
                verdicts
            };
            (verdicts, !lease.queue.is_empty())
        };
        self.with(key, finish).unwrap_or_default()
    }

    /// Keys of which the store is to be told. What is over is forgotten. `all`: everything that is spare is to go back.
    pub fn sweep(&self, now: Clocks, all: bool) -> Vec<CounterKey> {
        let mut keys = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.drop_what_is_over(now);
            for (key, lease) in &mut shard.leases {
                lease.leave_part(now);
                if all {
                    lease.demand = Demand::long_ago();
                }
                if lease.is_left_alone(now.steady) {
                    keys.push(*key);
                }
            }
        }
        keys
    }

    /// Keys that have to be told to a store that may have forgotten them.
    pub fn all(&self) -> Vec<CounterKey> {
        self.shards.iter().flat_map(|shard| lock(shard).leases.keys().copied().collect::<Vec<_>>()).collect()
    }

    pub fn units(&self) -> &LeaseUnits {
        &self.units
    }

    /// Units that are spare now.
    pub fn spare(&self) -> u64 {
        let of = |shard: &Mutex<Shard>| lock(shard).leases.values().map(Lease::spare).sum::<u64>();
        self.shards.iter().map(of).sum()
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).leases.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Requests that were counted with those of other callers, because there was no room.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// Charges that were decided without a store: by this gateway's part, refused, let through.
    pub fn alone(&self) -> [u64; 3] {
        self.alone.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    #[cfg(test)]
    pub(super) fn looks(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).looks).sum()
    }

    fn count_alone(&self, done: OnFailure) {
        if let Some(count) = self.alone.get(done as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn place(&self, key: CounterKey) -> usize {
        self.secret.name(key).shard(self.shards.len() - 1)
    }

    fn with<T>(&self, key: CounterKey, act: impl FnOnce(&mut Lease) -> T) -> Option<T> {
        // What has no room elsewhere is in the last.
        let mut act = Some(act);
        for place in [self.place(key), self.shards.len() - 1] {
            let Some(shard) = self.shards.get(place) else { continue };
            if let Some(lease) = lock(shard).leases.get_mut(&key) {
                return act.take().map(|act| act(lease));
            }
        }
        None
    }

    fn lock(&self, charges: &[Charge<'_>]) -> Guards<'_> {
        let mut places: SmallVec<[usize; 5]> = charges.iter().map(|charge| self.place(charge.key)).collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().filter_map(|place| Some((place, lock(self.shards.get(place)?)))).collect()
    }

    /// The lease of a charge, made if there is room: its own, or that of all who have none.
    fn find<'a>(&'a self, guards: &mut Guards<'a>, charge: &Charge<'_>, now: Clocks) -> CounterKey {
        let key = charge.key;
        let Some((_, shard)) = guards.iter_mut().find(|(own, _)| *own == self.place(key)) else { return key };
        if let Some(lease) = shard.leases.get_mut(&key) {
            if lease.limit != *charge.limit {
                // A publish has changed it.
                lease.limit.clone_from(charge.limit);
                lease.part.iter_mut().for_each(|part| part.is_old());
            }
            return key;
        }
        if shard.leases.len() >= self.room {
            shard.make_room(now);
        }
        let shared = charge.limit.overflow;
        if shard.leases.len() < self.room {
            let mut lease = Lease::new(charge.limit, now);
            if self.overflowed() > 0
                && let Some(overflow) = self.last(guards).and_then(|shard| shard.leases.get_mut(&shared))
            {
                // It may have used all of that, among those who had no room.
                let used = overflow.used(now);
                lease.clock = overflow.clock;
                lease.owe(used, now);
            }
            if let Some((_, shard)) = guards.iter_mut().find(|(own, _)| *own == self.place(key)) {
                shard.leases.insert(key, lease);
            }
            return key;
        }
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        if let Some(shard) = self.last(guards) {
            shard.leases.entry(shared).or_insert_with(|| Lease::new(charge.limit, now));
        }
        shared
    }

    /// The last in order, so whoever waits for it holds nothing that its holder wants.
    fn last<'g, 'a>(&'a self, guards: &'g mut Guards<'a>) -> Option<&'g mut Shard> {
        let last = self.shards.len() - 1;
        if !guards.iter().any(|(own, _)| *own == last)
            && let Some(shard) = self.shards.get(last)
        {
            guards.push((last, lock(shard)));
        }
        guards.iter_mut().find(|(own, _)| *own == last).map(|(_, shard)| &mut **shard)
    }
}

// === impl Shard ===

impl Shard {
    fn drop_what_is_over(&mut self, now: Clocks) {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        self.leases.retain(|_, lease| {
            lease.tidy(now);
            !lease.is_over(now)
        });
    }

    fn make_room(&mut self, now: Clocks) {
        if self.looked.is_none_or(|looked| now.steady.saturating_sub(looked) >= PAUSE) {
            self.looked = Some(now.steady);
            self.drop_what_is_over(now);
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lease<'a>(guards: &'a mut Guards<'_>, key: CounterKey) -> Option<&'a mut Lease> {
    guards.iter_mut().find_map(|(_, shard)| shard.leases.get_mut(&key))
}
