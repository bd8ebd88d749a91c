//! Mutations without coverage: what the seeded tests make of the corpus. Equal seeds, equal mutations.

/// xorshift64*: small, and the same everywhere.
pub struct Random(u64);

/// Longer inputs are cut: the seeded tests are meant to be quick.
const MAX_LENGTH: usize = 16 * 1024;

impl Random {
    pub fn new(seed: u64) -> Random {
        // Zero would stay zero.
        Random(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `bound`, which is not 0. The little that some numbers are likelier than others does not matter here.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }
}

/// One of the inputs, changed in one place, or in a few.
pub fn mutate(random: &mut Random, corpus: &[Vec<u8>], dictionary: &[&str]) -> Vec<u8> {
    let mut bytes = pick(random, corpus).map_or_else(Vec::new, Vec::clone);
    // Half of them in one, a quarter in two: what is changed everywhere is refused at once.
    for _ in 0..=random.next().trailing_zeros().min(8) {
        change(random, &mut bytes, corpus, dictionary);
    }
    bytes.truncate(MAX_LENGTH);
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, corpus: &[Vec<u8>], dictionary: &[&str]) {
    let at = random.below(bytes.len() + 1);
    let end = (at + 1 + random.below(16)).min(bytes.len());
    match random.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.next().to_be_bytes()[0],
        2 => drop(bytes.drain(at..end)),
        3 => bytes.insert(at, random.next().to_be_bytes()[0]),
        4 => {
            let copy = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            drop(bytes.splice(to..to, copy));
        }
        5 => bytes.truncate(at),
        // Another input's end.
        6 => {
            if let Some(other) = pick(random, corpus).filter(|other| !other.is_empty()) {
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
        7 if at < bytes.len() => {
            let other = random.below(bytes.len());
            bytes.swap(at, other);
        }
        _ => {
            if let Some(word) = pick(random, dictionary) {
                let replaced = if random.below(2) == 0 { at } else { end };
                drop(bytes.splice(at..replaced.max(at), word.bytes()));
            }
        }
    }
}

fn pick<'a, T>(random: &mut Random, list: &'a [T]) -> Option<&'a T> {
    if list.is_empty() { None } else { list.get(random.below(list.len())) }
}
