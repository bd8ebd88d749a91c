//! Limits wherever they come from, a project or an artifact: their bounds, and what they are in words.

mod domination;
mod sound;
mod words;

use std::net::IpAddr;

use microgw_proto::limits::v1::{Condition, condition::Kind};

pub use words::{condition_in_words, cost_in_words, limit_in_words, sharing_in_words};

pub(crate) use domination::{is_comparable, is_idle};
pub(crate) use microgw_expressions::MAX_COST;
pub(crate) use sound::{condition_is_sound, custom_is_sound, deny_is_sound, policy_is_sound};

/// Built in at every level.
pub const UNLIMITED: &str = "Unlimited";
/// The subscription policy of those of whom no subscription is known.
pub const DEFAULT: &str = "Default";
/// The subscription policy of those who say nothing of themselves.
pub const UNAUTHENTICATED: &str = "Unauthenticated";

/// In Redis counters are doubles.
pub(crate) const MAX_QUOTA: u64 = 1 << 52;
/// Sums of times must not overflow.
pub(crate) const MAX_SECONDS: u64 = u32::MAX as u64;
pub(crate) const MAX_BURST: u64 = u32::MAX as u64;
pub(crate) const MAX_BUCKETS: u64 = 1000;
/// Units of a calendar that make one window.
pub(crate) const MAX_CALENDAR_UNITS: u64 = 10_000;
pub(crate) const MINUTES_OF_DAY: u32 = 24 * 60;
/// Of one policy, or one of its groups. A request draws on all of them.
pub(crate) const MAX_LIMITS: usize = 16;
pub(crate) const MAX_GROUPS: usize = 64;
/// Conditions inside each other.
pub(crate) const MAX_DEPTH: usize = 16;
/// In one `when`.
pub(crate) const MAX_CONDITIONS: usize = 100;
pub(crate) const MAX_RANGES: usize = 1000;
/// Bytes of a name, or of a text that is compared.
pub(crate) const MAX_TEXT: usize = 4096;

/// The conditions directly inside another.
pub(crate) fn inside(condition: &Condition) -> &[Condition] {
    match &condition.kind {
        Some(Kind::All(all)) => &all.conditions,
        Some(Kind::Any(any)) => &any.conditions,
        Some(Kind::Not(not)) => std::slice::from_ref(&**not),
        _ => &[],
    }
}

/// An address as it travels.
pub(crate) fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// An address that travelled. One of IPv4 is the same however it is written.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::from(bytes).to_canonical()),
        _ => None,
    }
}
