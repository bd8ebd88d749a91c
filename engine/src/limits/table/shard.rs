//! A part of the table, behind one lock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use hashbrown::HashTable;

use super::super::counter::Counter;
use super::super::{CounterKey, Limit, Micros};

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
    expiry: BinaryHeap<Reverse<(Micros, u32)>>,
    vacant: Vec<u32>,
    weight: usize,
    room: usize,
    #[cfg(test)]
    pub(super) looked_at: usize,
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

// === impl Shard ===

impl Shard {
    pub(super) fn with_room(room: usize) -> Shard {
        Shard {
            index: HashTable::new(),
            slots: Vec::new(),
            expiry: BinaryHeap::new(),
            vacant: Vec::new(),
            weight: 0,
            room,
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

    /// The counter of that name, as it is now; made if there is room. What was found at the same time stays where it is: it does
    /// not expire before.
    pub(super) fn find(&mut self, key: CounterKey, limit: &Limit, now: Micros) -> Option<u32> {
        let key = halves(key);
        let known = self.index.find(key[0], |slot| self.slots.get(*slot as usize).is_some_and(|slot| slot.key == key));
        if let Some(&slot) = known {
            self.get_mut(slot)?.advance(limit, now);
            return Some(slot);
        }
        let weight = Counter::weight_of(limit);
        for _ in 0..SWEPT {
            self.sweep(now);
        }
        while self.weight.saturating_add(weight) > self.room {
            if !self.sweep(now) {
                return None;
            }
        }
        let counter = Counter::new(limit, now);
        let expires = counter.expires();
        self.weight += weight;
        let number = self.put(Slot { key, counter: Some(counter) })?;
        self.expiry.push(Reverse((expires, number)));
        let slots = &self.slots;
        self.index.insert_unique(key[0], number, |slot| slots.get(*slot as usize).map_or(0, |slot| slot.key[0]));
        Some(number)
    }

    /// Looks at the counter that may expire next: drops it, or finds out when it will. `false`: none expires by now.
    fn sweep(&mut self, now: Micros) -> bool {
        let Some(mut next) = self.expiry.peek_mut() else { return false };
        let Reverse((time, number)) = *next;
        if time >= now {
            return false;
        }
        #[cfg(test)]
        {
            self.looked_at += 1;
        }
        let Some(slot) = self.slots.get_mut(number as usize) else { return false };
        match &slot.counter {
            Some(counter) if counter.expires() >= now => *next = Reverse((counter.expires(), number)),
            _ => {
                PeekMut::pop(next);
                self.weight -= slot.counter.take().map_or(0, |counter| counter.weight());
                if let Ok(entry) = self.index.find_entry(slot.key[0], |other| *other == number) {
                    entry.remove();
                }
                self.vacant.push(number);
            }
        }
        true
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

fn halves(CounterKey(key): CounterKey) -> [u64; 2] {
    // The low bits choose the shard: what finds a counter in it is the other half.
    let low = u64::try_from(key & u128::from(u64::MAX)).unwrap_or(0);
    [u64::try_from(key >> 64).unwrap_or(0), low]
}
