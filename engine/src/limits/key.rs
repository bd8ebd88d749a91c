//! What a counter is called: by names that stay the same over publishes and restarts, and on every gateway.

use std::fmt;

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::{Level, Limit};

/// Hashes of level and window, and of names. Nobody can find two callers with one counter.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey(pub u128);

/// What the names of one limit's counters have in common: its half of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyStem(u128);

/// The other half: who or what is counted. Hashed once for all limits that count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Counted(u128);

/// Names that are no longer are hashed at one go.
const SHORT: usize = 128;

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
    /// Of `limit`. `index`: how many of the same windows and unit come before it in its policy.
    /// `more`: what else tells its counters from others.
    pub(crate) fn new(limit: &Limit, index: usize, more: &[&str]) -> KeyStem {
        // Policies of one level that tell callers apart by other things are told apart by name.
        let policy = if limit.level == Level::Custom { &*limit.policy } else { "" };
        let (window, index) = (limit.window_name(), index.to_string());
        let names = [&["microgw counter 1", limit.level.as_str(), policy, &window, &index], more].concat();
        KeyStem(hash(&names))
    }

    /// One key for two pairs of halves is as hard to find as two names with one hash.
    pub(crate) fn of(self, counted: Counted) -> CounterKey {
        CounterKey(self.0 ^ counted.0)
    }
}

// === impl Counted ===

impl Counted {
    pub(crate) fn by<N: AsRef<[u8]>>(names: &[N]) -> Counted {
        Counted(hash(names))
    }
}

/// Of how many names there are, and of each, with its length before it unless it is the last: no two lists of names are one text.
fn hash<N: AsRef<[u8]>>(names: &[N]) -> u128 {
    // Short lists are written down first: the hash's own buffer is dear to fill by the piece.
    let mut text: SmallVec<[u8; SHORT]> = SmallVec::new();
    length(&mut text, names.len());
    for (index, name) in names.iter().map(AsRef::as_ref).enumerate() {
        if index + 1 < names.len() {
            length(&mut text, name.len());
        }
        text.extend_from_slice(name);
    }
    let hash: [u8; 32] = Sha256::digest(&text).into();
    let (half, _) = hash.split_first_chunk().unwrap_or((&[0; 16], &[]));
    u128::from_be_bytes(*half)
}

/// One byte, usually.
fn length(text: &mut SmallVec<[u8; SHORT]>, length: usize) {
    match u8::try_from(length) {
        Ok(length) if length < u8::MAX => text.push(length),
        _ => {
            text.push(u8::MAX);
            text.extend_from_slice(&(length as u64).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
