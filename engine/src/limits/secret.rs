//! Where a counter is kept, which nobody can tell who does not know the process' random numbers: else names could be made up that fill
//! one place.

use super::CounterKey;

#[derive(Clone, Copy)]
pub(in crate::limits) struct Secret(pub(in crate::limits) [u64; 2]);

/// A counter's name in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct Name {
    /// In halves, so that it takes no more room than that.
    pub(in crate::limits) key: [u64; 2],
    pub(in crate::limits) hash: u64,
}

// === impl Secret ===

impl Secret {
    /// Of a hash already: what is left to do is to make it unlike what others can compute.
    pub(in crate::limits) fn name(self, CounterKey(key): CounterKey) -> Name {
        let key = [half(key >> 64), half(key)];
        Name { key, hash: self.hash(key) }
    }

    pub(in crate::limits) fn hash(self, [high, low]: [u64; 2]) -> u64 {
        let Secret([first, second]) = self;
        let product = u128::from(high ^ first) * u128::from(low ^ second);
        half(product >> 64) ^ half(product)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

// === impl Name ===

impl Name {
    /// By bits that neither choose the place in the shard's index nor the mark there.
    pub(in crate::limits) fn shard(self, shards: usize) -> usize {
        let bits = usize::try_from(self.hash >> 40 & 0xffff).unwrap_or(0);
        (bits * shards) >> 16
    }
}

fn half(number: u128) -> u64 {
    u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0)
}
