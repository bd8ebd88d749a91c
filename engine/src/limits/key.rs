//! What a counter is called: by names that stay the same over publishes and restarts, and on every gateway.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{Level, Limit};

/// A hash of level, names and window. Nobody can find two callers with one counter.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey(pub u128);

/// A key of which the last names are still to come: those of one request, usually in one block of the hash.
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
    /// Of `limit`. `index`: how many of the same windows and unit come before it in its policy.
    /// `more`: what else tells its counters from others.
    pub(crate) fn new(limit: &Limit, index: usize, more: &[&str]) -> KeyStem {
        // Policies of one level that tell callers apart by other things are told apart by name.
        let policy = if limit.level == Level::Custom { &*limit.policy } else { "" };
        let (window, index) = (limit.window_name(), index.to_string());
        let names = [&[limit.level.as_str(), policy, &window, &index], more].concat();
        KeyStem::of_block(write(Sha256::new_with_prefix("microgw counter 1"), &names))
    }

    pub(crate) fn finish<N: AsRef<[u8]>>(&self, names: &[N]) -> CounterKey {
        let hash: [u8; 32] = write(self.0.clone(), names).finalize().into();
        CounterKey(hash.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte)))
    }

    /// A whole block, so that the names that follow begin one.
    fn of_block(names: Sha256) -> KeyStem {
        let mut block = [0; 64];
        for (byte, hashed) in block.iter_mut().zip(names.finalize()) {
            *byte = hashed;
        }
        KeyStem(Sha256::new_with_prefix(block))
    }
}

/// How many names there are, and the length of each but the last before it: no two lists of names are one text.
fn write<N: AsRef<[u8]>>(mut hash: Sha256, names: &[N]) -> Sha256 {
    length(&mut hash, names.len());
    for (index, name) in names.iter().map(AsRef::as_ref).enumerate() {
        if index + 1 < names.len() {
            length(&mut hash, name.len());
        }
        hash.update(name);
    }
    hash
}

/// One byte, usually.
fn length(hash: &mut Sha256, length: usize) {
    match u8::try_from(length) {
        Ok(length) if length < u8::MAX => hash.update([length]),
        _ => {
            hash.update([u8::MAX]);
            hash.update((length as u64).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
