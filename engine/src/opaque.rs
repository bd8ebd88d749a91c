//! API keys that say nothing by themselves: what they look like, and by what they are looked up.
//!
//! ```text
//! mgw_ + base64url(32 random bytes + 4 bytes of SHA-256 over "mgw_" and those)
//! ```
//!
//! The prefix is for people and for scanners of leaked secrets; the checksum tells a key from what only looks like one, and
//! most misspelt keys, before anything is looked up.
//!
//! Where keys are kept, each is kept as its SHA-256. A fast hash is right for it: there are 2^256 keys, so whoever has the
//! hashes cannot try them all however fast that is; slow hashes are for what people can remember. And as the
//! hash of what is presented cannot be chosen, the time that a look-up by it takes tells nothing about the keys that exist.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// What every opaque key begins with.
pub const PREFIX: &str = "mgw_";
const SECRET: usize = 32;
const CHECKSUM: usize = 4;
/// Characters behind the prefix.
const LENGTH: usize = (SECRET + CHECKSUM) / 3 * 4;

/// What a key is kept and looked up by. Opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

/// The key that these random bytes are.
pub fn key(secret: [u8; SECRET]) -> String {
    let mut bytes = [0; SECRET + CHECKSUM];
    let (head, tail) = bytes.split_at_mut(SECRET);
    head.copy_from_slice(&secret);
    tail.copy_from_slice(&checksum(&secret));
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// `None`: it is no opaque key. Most JWTs begin with `eyJ`, and none with the prefix and without a dot.
pub fn hash(presented: &str) -> Option<KeyHash> {
    let encoded = presented.strip_prefix(PREFIX).filter(|encoded| encoded.len() == LENGTH)?;
    let mut bytes = [0; SECRET + CHECKSUM];
    // Strict: there is one way to write a key.
    let length = URL_SAFE_NO_PAD.decode_slice(encoded, &mut bytes).ok()?;
    let (secret, sum) = bytes.split_at_checked(SECRET).filter(|_| length == SECRET + CHECKSUM)?;
    // What is compared is no secret: anybody can compute it.
    (checksum(secret) == sum).then(|| KeyHash(Sha256::digest(presented).into()))
}

fn checksum(secret: &[u8]) -> [u8; CHECKSUM] {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::new().chain_update(PREFIX).chain_update(secret).finalize().into();
    [a, b, c, d]
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_from_what_is_none() {
        let key = key([7; 32]);
        assert_eq!((key.len(), hash(&key).map(|hash| hash.0)), (52, Some(Sha256::digest(&key).into())));
        assert_eq!(key, "mgw_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcQt02E", "keys that were given out stay keys");
        for at in 0..key.len() {
            let mut wrong = key.clone().into_bytes();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(hash(std::str::from_utf8(&wrong).unwrap()), None, "{at}");
        }
        for wrong in [
            "",
            "mgw_",
            &key[..51],
            &format!("{key}A"),
            &format!("{key}="),
            &format!(" {key}"),
            "eyJhbGciOiJub25lIn0.e30.",
        ] {
            assert_eq!(hash(wrong), None, "{wrong}");
        }
        assert_eq!(format!("{:?}", hash(&key)), "Some(KeyHash(..))");
    }
}
