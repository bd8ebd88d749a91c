//! Proofs of possession that were used (RFC 9449 section 11.1). Bounded; when there is no room none passes, for one that is
//! forgotten could be used again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use microgw_engine::{Novelty, ProofId, UnixTime};

/// Decisions on different threads seldom meet.
const SHARDS: usize = 16;
/// Seconds between two looks for what can be forgotten, unless there is no room.
const PAUSE: u64 = 10;

/// What was used, each until it is too old to be used anyway.
#[derive(Debug)]
pub struct Proofs {
    shards: [Mutex<Shard>; SHARDS],
    /// Of one shard.
    capacity: usize,
}

#[derive(Debug, Default)]
struct Shard {
    until: HashMap<ProofId, UnixTime>,
    swept: UnixTime,
}

// === impl Proofs ===

impl Proofs {
    /// What the gateway has room for, unless configured.
    pub const CAPACITY: usize = 500_000;

    pub fn new(capacity: usize) -> Proofs {
        Proofs { shards: Default::default(), capacity: capacity.div_ceil(SHARDS) }
    }

    pub fn prove(&self, proof: &ProofId, now: UnixTime, until: UnixTime) -> Novelty {
        let index = usize::from(proof.as_bytes()[0]) % SHARDS;
        let Some(shard) = self.shards.get(index) else { return Novelty::Unknown };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.until.contains_key(proof) {
            // It may be past its time: then it is refused for that, too.
            return Novelty::Seen;
        }
        let pause = if shard.until.len() < self.capacity { PAUSE } else { 1 };
        if now.0 >= shard.swept.0.saturating_add(pause) {
            shard.until.retain(|_, until| now < *until);
            shard.swept = now;
        }
        if shard.until.len() >= self.capacity {
            return Novelty::Unknown;
        }
        shard.until.insert(*proof, until);
        Novelty::Fresh
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).until.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Proofs {
    fn default() -> Proofs {
        Proofs::new(Proofs::CAPACITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(number: u32) -> ProofId {
        ProofId::of(&[0; 32], &number.to_string())
    }

    #[test]
    fn a_proof_is_new_once_and_forgotten_when_it_is_too_old() {
        let proofs = Proofs::new(1000);
        assert_eq!(proofs.prove(&proof(1), UnixTime(100), UnixTime(160)), Novelty::Fresh);
        assert_eq!(proofs.prove(&proof(1), UnixTime(159), UnixTime(160)), Novelty::Seen);
        assert_eq!(proofs.prove(&proof(2), UnixTime(100), UnixTime(160)), Novelty::Fresh);
        assert_eq!(proofs.len(), 2);
        for number in 10..200 {
            assert_eq!(proofs.prove(&proof(number), UnixTime(170), UnixTime(230)), Novelty::Fresh);
        }
        assert_eq!(proofs.len(), 190, "the first two are gone");
    }

    #[test]
    fn without_room_none_passes_and_none_is_forgotten() {
        let proofs = Proofs::new(64);
        let fresh = |range: std::ops::Range<u32>, now: u64| {
            range
                .filter(|number| proofs.prove(&proof(*number), UnixTime(now), UnixTime(now + 60)) == Novelty::Fresh)
                .count()
        };
        assert_eq!(fresh(0..10_000, 100), 64);
        assert_eq!(fresh(10_000..20_000, 159), 0, "whoever comes now finds no room");
        assert_eq!(fresh(0..10_000, 159), 0, "and what was used stays used");
        assert_eq!(fresh(20_000..30_000, 160), 64);
    }
}
