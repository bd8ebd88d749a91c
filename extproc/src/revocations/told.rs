//! What a stream has told: grows entry by entry, while requests look things up.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use microgw_engine::RevocationName;

use super::Ends;

const SHARDS: usize = 16;

/// In parts with a lock each: an entry that is taken in holds up a sixteenth of the requests, for the time of one insertion.
pub(super) struct Told {
    shards: [RwLock<Ends>; SHARDS],
    chooser: RandomState,
    entries: AtomicUsize,
}

impl Default for Told {
    fn default() -> Told {
        Told {
            shards: std::array::from_fn(|_| RwLock::new(HashMap::new())),
            chooser: RandomState::new(),
            entries: AtomicUsize::new(0),
        }
    }
}

impl Told {
    pub(super) fn contains(&self, name: RevocationName) -> bool {
        // Most gateways have nothing to remember, and no lock is taken.
        self.entries.load(Ordering::Acquire) != 0
            && self
                .shard(name)
                .is_some_and(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).contains_key(&name))
    }

    /// Of two ends the later counts. `false`: it would be one more than `most`.
    pub(super) fn insert(&self, name: RevocationName, end: u64, most: usize) -> bool {
        let Some(shard) = self.shard(name) else { return false };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shard.get_mut(&name) {
            *known = end.max(*known);
            return true;
        }
        if self.entries.load(Ordering::Acquire) >= most {
            return false;
        }
        shard.insert(name, end);
        self.entries.fetch_add(1, Ordering::AcqRel);
        true
    }

    pub(super) fn retain(&self, keep: impl Fn(u64) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let before = shard.len();
            shard.retain(|_, end| keep(*end));
            self.entries.fetch_sub(before - shard.len(), Ordering::AcqRel);
            // A day with many revocations shall not cost memory for good.
            if shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit();
            }
        }
    }

    pub(super) fn entries(&self) -> Vec<(RevocationName, u64)> {
        let shards = self.shards.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner));
        shards.flat_map(|shard| shard.iter().map(|(name, end)| (*name, *end)).collect::<Vec<_>>()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.load(Ordering::Acquire)
    }

    fn shard(&self, name: RevocationName) -> Option<&RwLock<Ends>> {
        let hash = self.chooser.hash_one(name);
        self.shards.get(usize::try_from(hash % SHARDS as u64).unwrap_or_default())
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Told({})", self.len())
    }
}
