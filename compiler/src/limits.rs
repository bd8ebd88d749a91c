//! Limits wherever they come from, a project or an artifact: their bounds, and what they are in words.

mod sound;
mod words;

use std::net::IpAddr;

use microgw_proto::limits::v1::{Condition, condition::Kind};

pub use words::{condition_in_words, cost_in_words, limit_in_words, sharing_in_words};

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
pub(crate) const MAX_COST: u64 = 1_000_000;
/// Of one policy, or one of its groups. A request draws on all of them.
pub(crate) const MAX_LIMITS: usize = 16;
pub(crate) const MAX_GROUPS: usize = 64;
/// Conditions inside each other.
pub(crate) const MAX_DEPTH: usize = 16;
/// In one `when`.
pub(crate) const MAX_CONDITIONS: usize = 100;
pub(crate) const MAX_RANGES: usize = 1000;
/// Bytes of a pattern, an expression, a key's template or a text that is compared.
pub(crate) const MAX_TEXT: usize = 4096;
/// Bytes that a compiled pattern may take.
const MAX_PATTERN: usize = 1 << 20;

/// What the key of a custom policy can tell requests apart by.
pub(crate) const KEY_VARIABLES: &[&str] =
    &["$userId", "$apiContext", "$apiVersion", "$resourceKey", "$appTenant", "$apiTenant", "$appId", "$clientIp"];

/// Why a key's template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadKey<'a> {
    /// It tells nothing apart.
    Constant,
    Unknown(&'a str),
}

/// Whether the engine can run a regular expression; what is wrong with it, in one line.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), String> {
    if pattern.len() > MAX_TEXT {
        return Err(format!("it is longer than {MAX_TEXT} bytes"));
    }
    match regex::RegexBuilder::new(pattern).size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN).build() {
        Ok(_) => Ok(()),
        Err(regex::Error::CompiledTooBig(_)) => Err("it takes too much memory".to_owned()),
        Err(error) => {
            // The message shows the pattern over several lines; the last one says what is wrong.
            let message = error.to_string();
            let last = message.lines().last().unwrap_or_default().trim();
            Err(last.strip_prefix("error: ").unwrap_or(last).to_owned())
        }
    }
}

/// The variables of a key's template, which are among [`KEY_VARIABLES`].
pub(crate) fn key_variables(template: &str) -> Result<Vec<&str>, BadKey<'_>> {
    let mut variables = Vec::new();
    for (at, _) in template.match_indices('$') {
        let rest = template.get(at + 1..).unwrap_or_default();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let variable = template.get(at..at + 1 + end).unwrap_or_default();
        if !KEY_VARIABLES.contains(&variable) {
            return Err(BadKey::Unknown(variable));
        }
        variables.push(variable);
    }
    if variables.is_empty() { Err(BadKey::Constant) } else { Ok(variables) }
}

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

/// An address that travelled.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}
