//! Limits as people say them.

use std::fmt::Write as _;

use microgw_proto::limits::v1::{
    AddressRange, Condition, Cost, Limit, Sharing, Text, calendar, condition::Kind, cost, limit::Unit, limit::Window,
    sharing, text,
};

use super::address;

const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
const BYTES: [(u64, &str); 8] = [
    (1_000_000_000_000, "TB"),
    (1 << 40, "TiB"),
    (1_000_000_000, "GB"),
    (1 << 30, "GiB"),
    (1_000_000, "MB"),
    (1 << 20, "MiB"),
    (1000, "kB"),
    (1 << 10, "KiB"),
];

/// `10 requests per second, 20 at once`.
pub fn limit_in_words(limit: &Limit) -> String {
    let quota = match limit.unit() {
        Unit::Requests if limit.quota == 1 => "1 request".to_owned(),
        Unit::Requests => format!("{} requests", limit.quota),
        Unit::Bytes => {
            let of = match (limit.requests_only, limit.responses_only) {
                (true, _) => " of requests",
                (_, true) => " of responses",
                _ => "",
            };
            format!("{}{of}", bytes(limit.quota))
        }
    };
    match &limit.window {
        None => quota,
        Some(Window::Fixed(fixed)) => format!("{quota} per {}", duration(fixed.seconds)),
        Some(Window::Sliding(sliding)) => {
            let buckets = if sliding.buckets == 1 { "bucket" } else { "buckets" };
            format!("{quota} in any {}, by {} {buckets}", duration(sliding.seconds), sliding.buckets)
        }
        Some(Window::Burst(burst)) => format!("{quota} per {}, {} at once", duration(burst.seconds), burst.burst),
        Some(Window::Calendar(calendar)) => {
            let unit = match calendar.unit() {
                calendar::Unit::Unspecified | calendar::Unit::Minute => "minute",
                calendar::Unit::Hour => "hour",
                calendar::Unit::Day => "day",
                calendar::Unit::Week => "week",
                calendar::Unit::Month => "month",
                calendar::Unit::Year => "year",
            };
            let zone = match calendar.offset_minutes {
                0 => "UTC".to_owned(),
                offset => {
                    let (sign, offset) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
                    format!("UTC{sign}{:02}:{:02}", offset / 60, offset % 60)
                }
            };
            match calendar.count {
                1 => format!("{quota} per calendar {unit}, {zone}"),
                count => format!("{quota} per {count} calendar {unit}s, {zone}"),
            }
        }
    }
}

/// `exactly, over all gateways`; `None`: each gateway counts by itself.
pub fn sharing_in_words(policy: Option<&Sharing>) -> Option<String> {
    let sharing = policy?;
    let failure = match sharing.on_failure() {
        sharing::Failure::Part => "its part",
        sharing::Failure::Deny => "nothing",
        sharing::Failure::Allow => "everything",
    };
    let how = match sharing.mode() {
        sharing::Mode::Local => return None,
        sharing::Mode::Exact => "shared exactly".to_owned(),
        sharing::Mode::Leased => {
            format!("shared by leases, {} unused at most", permille(sharing.max_undershoot_permille))
        }
    };
    Some(format!("{how}; without the store each gateway lets {failure} pass"))
}

/// `header x-partner matches "^acme" and address 10.0.0.0-10.255.255.255`.
pub fn condition_in_words(condition: &Condition) -> String {
    match &condition.kind {
        Some(Kind::All(all)) => joined(&all.conditions, " and "),
        Some(Kind::Any(any)) => joined(&any.conditions, " or "),
        Some(Kind::Not(not)) => format!("not {}", nested(not)),
        Some(Kind::Header(text)) => test("header", text),
        Some(Kind::Query(text)) => test("query parameter", text),
        Some(Kind::Claim(text)) => test("claim", text),
        Some(Kind::Addresses(addresses)) => {
            format!("address {}", addresses.ranges.iter().map(range).collect::<Vec<_>>().join(" or "))
        }
        Some(Kind::Versions(names)) => format!("version {}", names.names.join(" or ")),
        Some(Kind::Expression(expression)) => format!("expression {expression:?}"),
        None => "something unknown".to_owned(),
    }
}

/// What a request counts.
pub fn cost_in_words(cost: Option<&Cost>) -> String {
    match cost.and_then(|cost| cost.kind.as_ref()) {
        None => "1".to_owned(),
        Some(cost::Kind::Constant(cost)) => cost.to_string(),
        Some(cost::Kind::Expression(expression)) => expression.clone(),
    }
}

/// `minute`, `2 hours`.
fn duration(seconds: u64) -> String {
    let whole = UNITS.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    let (unit, name) = whole.unwrap_or((1, "second"));
    match seconds / unit {
        1 => name.to_owned(),
        count => format!("{count} {name}s"),
    }
}

fn bytes(count: u64) -> String {
    match BYTES.into_iter().find(|(unit, _)| count.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", count / unit),
        None => format!("{count} bytes"),
    }
}

fn permille(count: u32) -> String {
    match count % 10 {
        0 => format!("{} %", count / 10),
        tenths => format!("{}.{tenths} %", count / 10),
    }
}

fn joined(conditions: &[Condition], word: &str) -> String {
    conditions.iter().map(nested).collect::<Vec<_>>().join(word)
}

fn nested(condition: &Condition) -> String {
    let words = condition_in_words(condition);
    let several = match &condition.kind {
        Some(Kind::All(inner) | Kind::Any(inner)) => inner.conditions.len() > 1,
        Some(Kind::Addresses(addresses)) => addresses.ranges.len() > 1,
        Some(Kind::Versions(names)) => names.names.len() > 1,
        _ => false,
    };
    if several { format!("({words})") } else { words }
}

fn test(what: &str, text: &Text) -> String {
    let mut words = format!("{what} {}", text.name);
    // Writing to a string does not fail.
    let _ = match &text.value {
        None | Some(text::Value::Present(_)) => write!(words, " is there"),
        Some(text::Value::Equals(value)) => write!(words, " is {value:?}"),
        Some(text::Value::Matches(pattern)) => write!(words, " matches {pattern:?}"),
    };
    words
}

fn range(range: &AddressRange) -> String {
    let text = |bytes| address(bytes).map_or_else(|| "?".to_owned(), |address| address.to_string());
    let (first, last) = (text(&range.first), text(&range.last));
    if first == last { first } else { format!("{first}-{last}") }
}
