//! What clients are told of the limits that a request drew on: draft-ietf-httpapi-ratelimit-headers-11, and `X-RateLimit-*`.
//!
//! Written by hand into one buffer each: names and terms were made with the rules.

use microgw_engine::limits::{Limit, Unit};
use microgw_engine::{Balance, Balances};
use microgw_faults::RateLimitHeaders;
use microgw_faults::rate_limit::{RATE_LIMIT, RATE_LIMIT_POLICY, X_LIMIT, X_REMAINING, X_RESET};

/// A header and its value.
pub(crate) type Told = (&'static str, String);

/// Bytes of one limit in a header, as a rule.
const ITEM: usize = 64;

/// One after the other; none, where nothing limits. `refused`: the limit that has not enough left, and the seconds after which
/// it has.
pub(crate) fn headers(
    which: RateLimitHeaders,
    balances: &Balances<'_>,
    refused: Option<(&Limit, u64)>,
) -> impl Iterator<Item = Told> {
    let some = !balances.is_empty();
    let standard = (some && which.standard()).then(|| standard(balances, refused));
    let legacy = if some && which.legacy() { legacy(balances, refused) } else { None };
    standard.into_iter().flatten().chain(legacy.into_iter().flatten())
}

fn standard(balances: &Balances<'_>, refused: Option<(&Limit, u64)>) -> [Told; 2] {
    let mut policies = String::with_capacity(balances.len() * ITEM);
    let mut left = String::with_capacity(balances.len() * ITEM);
    for (index, balance) in balances.iter().enumerate() {
        let told = &balance.limit.told;
        let earlier = balances.iter().take(index);
        let again = earlier.into_iter().any(|other| other.limit.told.name(false) == told.name(false));
        if index > 0 {
            policies.push_str(", ");
            left.push_str(", ");
        }
        policies.extend([told.name(again), told.terms(), ";pk=:"]);
        push_partition(&mut policies, balance.key.0);
        policies.push(':');
        left.extend([told.name(again), ";r="]);
        push_number(&mut left, balance.usage.remaining);
        left.push_str(";t=");
        push_number(&mut left, seconds(balance, refused));
    }
    [(RATE_LIMIT_POLICY, policies), (RATE_LIMIT, left)]
}

/// Of the limit that refuses, or else of the one that leaves least of its quota. Bytes are no requests: of a limit of theirs
/// only where it refuses.
fn legacy(balances: &Balances<'_>, refused: Option<(&Limit, u64)>) -> Option<[Told; 3]> {
    let part_left =
        |balance: &&Balance<'_>, of: &Balance<'_>| u128::from(balance.usage.remaining) * u128::from(of.limit.quota);
    let mut requests = balances.iter().filter(|balance| balance.limit.unit == Unit::Requests);
    let first = requests.next();
    let least = requests.fold(first, |least, other| {
        let least = least?;
        let (own, others) = (part_left(&least, other), part_left(&other, least));
        let less = others < own || others == own && other.usage.reset > least.usage.reset;
        Some(if less { other } else { least })
    });
    let refusing = refused.and_then(|(limit, _)| balances.iter().find(|balance| std::ptr::eq(balance.limit, limit)));
    let balance = refusing.or(least)?;
    let number = |value| {
        let mut text = String::with_capacity(20);
        push_number(&mut text, value);
        text
    };
    Some([
        (X_LIMIT, number(balance.limit.quota)),
        (X_REMAINING, number(balance.usage.remaining)),
        (X_RESET, number(seconds(balance, refused))),
    ])
}

/// Section 4.1.2: the time in which no more than that may be used. `Retry-After` is no earlier than that of the limit that refuses.
fn seconds(balance: &Balance<'_>, refused: Option<(&Limit, u64)>) -> u64 {
    let reset = balance.usage.reset.whole_seconds();
    match refused {
        Some((limit, wait)) if std::ptr::eq(balance.limit, limit) => reset.min(wait),
        _ => reset,
    }
}

fn push_number(text: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        // One decimal digit.
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        length += 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend(digits.iter().skip(digits.len() - length).map(|digit| char::from(*digit)));
}

/// Whose quota it is: the first bytes of the counter's name, which is a hash, in base64.
fn push_partition(text: &mut String, key: u128) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for place in 1..=8 {
        let six = usize::try_from(key >> (128 - 6 * place) & 63).unwrap_or(0);
        text.extend(ALPHABET.get(six).map(|byte| char::from(*byte)));
    }
}

#[cfg(test)]
mod tests;
