//! A part of the table, behind one lock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use hashbrown::HashTable;

use super::super::counter::Counter;
use super::super::secret::{Name, Secret};
use super::super::{Limit, Micros};

/// Counters by their names, and in the order in which they may expire.
///
/// A counter that expires stays until others come: each new one takes up to two with it, so the dead are never many more than the
/// living, and where there is no room as many as it takes. None of it looks at counters whose time has not come, so that a
/// flood of new names costs each a few steps, whatever the table holds.
#[derive(Debug)]
pub(super) struct Shard {
    index: HashTable<u32>,
    slots: Vec<Slot>,
    /// Each slot in use once, with a time before which its counter does not expire.
    expiry: BinaryHeap<Reverse<Expiry>>,
    /// The latest time of all, unless the clock was put back.
    latest: Micros,
    vacant: Vec<u32>,
    weight: usize,
    room: usize,
    secret: Secret,
    #[cfg(test)]
    pub(super) looked_at: usize,
}

/// When a counter has to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Expiry {
    time: Micros,
    slot: u32,
    /// Of its windows, in seconds.
    period: u32,
}

#[derive(Debug)]
struct Slot {
    /// In halves, so that it takes no more room than that.
    key: [u64; 2],
    /// `None`: nobody's.
    counter: Option<Counter>,
}

pub(super) const SLOT: usize = size_of::<Slot>();

/// How many expired counters a new one takes with it.
const SWEPT: usize = 2;
/// Of a clock that is only corrected.
const CORRECTION: Micros = Micros::SECOND;

// === impl Shard ===

impl Shard {
    pub(super) fn new(room: usize, secret: Secret) -> Shard {
        Shard {
            index: HashTable::new(),
            slots: Vec::new(),
            expiry: BinaryHeap::new(),
            latest: Micros(0),
            vacant: Vec::new(),
            weight: 0,
            room,
            secret,
            #[cfg(test)]
            looked_at: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Counter> {
        self.slots.get_mut(slot as usize)?.counter.as_mut()
    }

    /// The counter of that name, as it is now. What was found at the same time stays where it is: it does not expire before.
    pub(super) fn find(&mut self, name: Name, limit: &Limit, now: Micros) -> Option<u32> {
        let slots = &self.slots;
        let is_it = |slot: &u32| slots.get(*slot as usize).is_some_and(|slot| slot.key == name.key);
        let slot = *self.index.find(name.hash, is_it)?;
        self.get_mut(slot)?.advance(limit, now);
        Some(slot)
    }

    /// A counter of that name, which has none, if there is room. `known`: what is known of it.
    pub(super) fn make(&mut self, name: Name, limit: &Limit, known: Option<Counter>, now: Micros) -> Option<u32> {
        self.notice(now);
        let weight = Counter::weight_of(limit);
        for _ in 0..SWEPT {
            self.sweep(now);
        }
        while self.weight.saturating_add(weight) > self.room {
            if !self.sweep(now) {
                return None;
            }
        }
        let counter = known.unwrap_or_else(|| Counter::new(limit, now));
        let (time, period) = (counter.expires(), Counter::period(limit));
        self.weight += weight;
        let slot = self.put(Slot { key: name.key, counter: Some(counter) })?;
        self.expiry.push(Reverse(Expiry { time, slot, period }));
        let (slots, secret) = (&self.slots, self.secret);
        let hash = |slot: &u32| slots.get(*slot as usize).map_or(0, |slot| secret.hash(slot.key));
        self.index.insert_unique(name.hash, slot, hash);
        Some(slot)
    }

    /// Looks at the counter that may expire next: drops it, or finds out when it will. `false`: none expires by now.
    fn sweep(&mut self, now: Micros) -> bool {
        let Some(mut next) = self.expiry.peek_mut() else { return false };
        let Reverse(expiry) = *next;
        if expiry.time >= now {
            return false;
        }
        #[cfg(test)]
        {
            self.looked_at += 1;
        }
        let Some(slot) = self.slots.get_mut(expiry.slot as usize) else { return false };
        match &slot.counter {
            Some(counter) if counter.expires() >= now && counter.expires() <= expiry.farthest(now) => {
                *next = Reverse(Expiry { time: counter.expires(), ..expiry });
            }
            _ => {
                PeekMut::pop(next);
                self.weight -= slot.counter.take().map_or(0, |counter| counter.weight());
                if let Ok(entry) = self.index.find_entry(self.secret.hash(slot.key), |other| *other == expiry.slot) {
                    entry.remove();
                }
                self.vacant.push(expiry.slot);
            }
        }
        true
    }

    /// A clock that was put back leaves times behind that are farther off than any of their counters' windows. They are looked at after
    /// a window: those that were used meanwhile have gone along with the clock ([`Counter::advance`]), the others go.
    fn notice(&mut self, now: Micros) {
        if now.saturating_add(CORRECTION) >= self.latest {
            self.latest = self.latest.max(now);
            return;
        }
        self.latest = now;
        let nearer = |Reverse(expiry): Reverse<Expiry>| {
            let is_far = expiry.time > expiry.farthest(now);
            let time = if is_far { now.saturating_add(expiry.length()) } else { expiry.time };
            Reverse(Expiry { time, ..expiry })
        };
        self.expiry = std::mem::take(&mut self.expiry).into_iter().map(nearer).collect();
    }

    fn put(&mut self, slot: Slot) -> Option<u32> {
        if let Some(number) = self.vacant.pop() {
            *self.slots.get_mut(number as usize)? = slot;
            return Some(number);
        }
        let number = u32::try_from(self.slots.len()).ok()?;
        if self.slots.len() == self.slots.capacity() {
            // Never more than there is room for.
            let more = self.slots.len().max(16).min(self.room.saturating_sub(self.slots.len())).max(1);
            self.slots.reserve_exact(more);
        }
        self.slots.push(slot);
        Some(number)
    }
}

// === impl Expiry ===

impl Expiry {
    fn length(self) -> Micros {
        Micros::of_seconds(self.period.into())
    }

    /// No counter that was used with this clock expires later.
    fn farthest(self, now: Micros) -> Micros {
        now.saturating_add(self.length()).saturating_add(self.length())
    }
}
