//! Hashes of passwords: what is accepted, and what each costs.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordVerifier as _};
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

/// Bytes that bcrypt looks at: two longer passwords that begin alike would be one.
const BCRYPT_LENGTH: usize = 72;
/// Beyond these a login takes longer than a decision may, or more memory than a login is worth.
const MAX_BCRYPT_COST: u32 = 14;
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_ITERATIONS: u32 = 16;
const MAX_LANES: u32 = 16;

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Verifier {
    Sha1(Vec<u8>),
    Sha256(Vec<u8>),
    Sha512(Vec<u8>),
    Bcrypt(String),
    Argon2(String),
}

/// What tells hashes apart that take different times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cost {
    /// Microseconds.
    Nothing,
    Bcrypt(u32),
    Argon2 {
        memory: u32,
        iterations: u32,
        lanes: u32,
    },
}

// === impl Verifier ===

impl Verifier {
    pub(super) fn parse(password: &str) -> Option<Verifier> {
        let digest = |hex: &str, length: usize| {
            let hex = hex.strip_prefix('{').map_or(Some(hex), |hex| hex.strip_suffix('}'))?;
            unhex(hex).filter(|digest| digest.len() == length)
        };
        let verifier = if let Some(hex) = password.strip_prefix("@sha256:") {
            digest(hex, 32).map(Verifier::Sha256)
        } else if let Some(hex) = password.strip_prefix("@sha512:") {
            digest(hex, 64).map(Verifier::Sha512)
        } else if password.starts_with("$argon2") {
            Some(Verifier::Argon2(password.to_owned()))
        } else if password.starts_with("$2") {
            Some(Verifier::Bcrypt(password.to_owned()))
        } else {
            digest(password, 20).map(Verifier::Sha1)
        }?;
        verifier.cost().is_some().then_some(verifier)
    }

    /// `None`: it is no hash, or one that costs too much.
    pub(super) fn cost(&self) -> Option<Cost> {
        match self {
            Verifier::Sha1(_) | Verifier::Sha256(_) | Verifier::Sha512(_) => Some(Cost::Nothing),
            Verifier::Bcrypt(hash) => {
                let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| hash.strip_prefix(prefix))?;
                let (cost, digest) = rest.split_once('$')?;
                let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
                let cost: u32 = cost.parse().ok().filter(|_| cost.len() == 2)?;
                let sound = digest.len() == 53 && digest.bytes().all(alphabet) && (4..=MAX_BCRYPT_COST).contains(&cost);
                sound.then_some(Cost::Bcrypt(cost))
            }
            Verifier::Argon2(hash) => {
                let hash = PasswordHash::new(hash).ok()?;
                hash.hash?;
                let params = Params::try_from(&hash).ok()?;
                let (memory, iterations, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
                let sound = memory <= MAX_MEMORY_KIB && iterations <= MAX_ITERATIONS && lanes <= MAX_LANES;
                sound.then_some(Cost::Argon2 { memory, iterations, lanes })
            }
        }
    }

    pub(super) fn verify(&self, password: &str) -> bool {
        let password = password.as_bytes();
        match self {
            Verifier::Sha1(digest) => Sha1::digest(password).ct_eq(digest).into(),
            Verifier::Sha256(digest) => Sha256::digest(password).ct_eq(digest).into(),
            Verifier::Sha512(digest) => Sha512::digest(password).ct_eq(digest).into(),
            Verifier::Bcrypt(hash) => {
                let looked_at = password.get(..BCRYPT_LENGTH).unwrap_or(password);
                bcrypt::verify(looked_at, hash).unwrap_or(false) && looked_at.len() == password.len()
            }
            Verifier::Argon2(hash) => {
                PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
            }
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
