//! What a counter is called: by names that stay the same over publishes and restarts, and on every gateway.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{Algorithm, Level, Limit, Micros};

/// A hash of level, names and window. Nobody can find two callers with one counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey(pub u128);

/// A key of which the last names are still to come.
#[derive(Clone, Debug)]
pub(crate) struct KeyStem(Sha256);

// === impl CounterKey ===

impl fmt::Display for CounterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for CounterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl KeyStem ===

impl KeyStem {
    /// Of `limit`, the `index`th of its policy. How much is allowed is not part of it: who gets more keeps what was used.
    pub(crate) fn new(limit: &Limit, index: usize) -> KeyStem {
        let stem = KeyStem(Sha256::new_with_prefix("microgw counter 1")).with(limit.level.as_str());
        // Policies of one level that tell callers apart by other things are told apart by name.
        let stem = if limit.level == Level::Custom { stem.with(&limit.policy) } else { stem };
        let window = match &limit.algorithm {
            Algorithm::Fixed(Micros(length)) => format!("fixed {length}"),
            Algorithm::Calendar(calendar) => format!("calendar {calendar:?}"),
            Algorithm::Sliding { period: Micros(period), buckets } => format!("sliding {period} {buckets}"),
            Algorithm::Burst { period: Micros(period), .. } => format!("burst {period}"),
        };
        stem.with(&window).with(&format!("{index} {:?}", limit.unit))
    }

    /// Each name has its length before it: no two lists of names are one text.
    pub(crate) fn with(mut self, name: &str) -> KeyStem {
        self.0.update(u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.0.update(name);
        self
    }

    pub(crate) fn finish(&self, names: &[&str]) -> CounterKey {
        let hash: [u8; 32] = names.iter().fold(self.clone(), |stem, name| stem.with(name)).0.finalize().into();
        let [first, _] = split(hash);
        CounterKey(first)
    }
}

fn split(hash: [u8; 32]) -> [u128; 2] {
    let (first, second) = hash.split_at(16);
    [first, second].map(|half| half.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte)))
}
