//! One limit of a policy: how much, in which time, counted how.

use microgw_proto::limits::v1::{
    Burst, Calendar, Fixed, Limit, Sliding, calendar,
    limit::{Unit, Window},
};

use super::bad;
use crate::compile::Report;
use crate::definition::{integer, list, object, one_of, suggest, text};
use crate::diagnostic::Code;
use crate::limits::{MAX_BUCKETS, MAX_BURST, MAX_CALENDAR_UNITS, MAX_LIMITS, MAX_QUOTA, MAX_SECONDS, MINUTES_OF_DAY};
use crate::source::{Content, Value};

pub(super) const KEYS: &[&str] =
    &["count", "bandwidth", "unitTime", "timeUnit", "window", "burst", "buckets", "timeZone", "direction"];

const UNITS: &[&str] = &["sec", "min", "hour", "day", "week", "month", "year"];
const WINDOWS: &[&str] = &["fixed", "calendar", "sliding", "burst"];
const DIRECTIONS: &[&str] = &["both", "request", "response"];
const DEFAULT_BUCKETS: u64 = 10;
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// The limits of `owner`: under `limits`, or the one whose keys stand in it. Where a limit cannot be read, that has been
/// reported.
pub(super) fn limits<'d>(report: &mut Report, name: &str, owner: Value<'d>) -> Vec<(Limit, Value<'d>)> {
    let direct = owner.entries().find(|(key, _)| KEYS.contains(&key.text()));
    let Some((_, several)) = owner.entry("limits") else {
        return match direct {
            Some(_) => limit(report, name, owner).map(|limit| (limit, owner)).into_iter().collect(),
            None => Vec::new(),
        };
    };
    if let Some((key, _)) = direct {
        let message = format!("`{}` stands beside `limits`: move it into one of them", key.text());
        bad(report, key, message);
    }
    let items: Vec<Value<'d>> = list(report, "limits", several).into_iter().flat_map(Value::items).collect();
    if items.is_empty() && matches!(several.content(), Content::List) {
        bad(report, several, format!("`limits` of `{name}` is empty"));
    }
    if items.len() > MAX_LIMITS {
        bad(report, several, format!("`{name}` has more than {MAX_LIMITS} limits"));
    }
    let read = |item| {
        let item = object(report, "limits", item)?;
        super::known_keys(report, name, item, &[KEYS]);
        Some((limit(report, name, item)?, item))
    };
    items.into_iter().filter_map(read).collect()
}

fn limit(report: &mut Report, name: &str, owner: Value<'_>) -> Option<Limit> {
    let (quota, unit) = match (owner.entry("count"), owner.entry("bandwidth")) {
        (Some((_, count)), None) => (whole(report, "count", count, MAX_QUOTA), Unit::Requests),
        (None, Some((_, bandwidth))) => (bytes(report, bandwidth), Unit::Bytes),
        (Some(_), Some((key, _))) => {
            bad(report, key, format!("`{name}` has `count` and `bandwidth`: give each a limit of its own in `limits`"));
            (None, Unit::Bytes)
        }
        (None, None) => {
            bad(report, owner, format!("the policy `{name}` has no `count`"));
            (None, Unit::Requests)
        }
    };
    let window = window(report, name, owner, unit);
    let direction = owner.entry("direction").map(|(key, value)| {
        if unit == Unit::Requests {
            bad(report, key, "`direction` is of bodies, which only `bandwidth` counts");
        }
        one_of(report, "direction", value, DIRECTIONS)
    });
    let direction = match direction {
        None => "both",
        Some(direction) => direction?,
    };
    Some(Limit {
        quota: quota?,
        unit: unit.into(),
        window: Some(window?),
        requests_only: direction == "request",
        responses_only: direction == "response",
    })
}

fn window(report: &mut Report, name: &str, owner: Value<'_>, of: Unit) -> Option<Window> {
    for key in ["unitTime", "timeUnit"] {
        if owner.get(key).is_none() {
            bad(report, owner, format!("the policy `{name}` has no `{key}`"));
        }
    }
    let kind = match owner.get("window") {
        None => Some("fixed"),
        Some(kind) => one_of(report, "window", kind, WINDOWS),
    };
    for (key, window) in [("burst", "burst"), ("buckets", "sliding"), ("timeZone", "calendar")] {
        if let Some((at, _)) = owner.entry(key).filter(|_| kind.is_some_and(|kind| kind != window)) {
            bad(report, at, format!("`{key}` has a meaning with `window: {window}` only"));
        }
    }
    let count = owner.get("unitTime").and_then(|count| whole(report, "unitTime", count, MAX_SECONDS));
    let unit = owner.get("timeUnit").and_then(|unit| time_unit(report, unit));
    let (kind, count, unit) = (kind?, count?, unit?);
    if kind == "calendar" {
        return calendar(report, owner, count, unit).map(Window::Calendar);
    }
    let seconds = count.saturating_mul(length(unit));
    if seconds > MAX_SECONDS {
        bad(report, owner, format!("the window of `{name}` is longer than 136 years"));
        return None;
    }
    match kind {
        "fixed" => Some(Window::Fixed(Fixed { seconds })),
        "sliding" => {
            let buckets = match owner.get("buckets") {
                None => DEFAULT_BUCKETS,
                Some(buckets) => whole(report, "buckets", buckets, MAX_BUCKETS)?,
            };
            Some(Window::Sliding(Sliding { seconds, buckets: u32::try_from(buckets).ok()? }))
        }
        _ => {
            if of == Unit::Bytes {
                let at = owner.get("window").unwrap_or(owner);
                bad(report, at, "what bodies take is known when they are over: too late for `window: burst`");
                return None;
            }
            let burst = match owner.get("burst") {
                None => 1,
                Some(burst) => whole(report, "burst", burst, MAX_BURST)?,
            };
            Some(Window::Burst(Burst { seconds, burst }))
        }
    }
}

fn calendar(report: &mut Report, owner: Value<'_>, count: u64, unit: &str) -> Option<Calendar> {
    use calendar::Unit;
    let unit = match unit {
        "min" => Unit::Minute,
        "hour" => Unit::Hour,
        "day" => Unit::Day,
        "week" => Unit::Week,
        "month" => Unit::Month,
        "year" => Unit::Year,
        _ => {
            let at = owner.get("timeUnit").unwrap_or(owner);
            report.advise(Code::BadPolicy, at, "a calendar has no windows of seconds", "leave `window` out");
            return None;
        }
    };
    if count > MAX_CALENDAR_UNITS {
        let at = owner.get("unitTime").unwrap_or(owner);
        bad(report, at, format!("`unitTime` must be from 1 to {MAX_CALENDAR_UNITS} with `window: calendar`"));
        return None;
    }
    let offset_minutes = match owner.get("timeZone") {
        None => 0,
        Some(zone) => offset(report, zone)?,
    };
    Some(Calendar { unit: unit.into(), count: u32::try_from(count).ok()?, offset_minutes })
}

fn time_unit(report: &mut Report, at: Value<'_>) -> Option<&'static str> {
    let word = text(report, "timeUnit", at)?;
    let unit = UNITS.iter().copied().find(|unit| word.eq_ignore_ascii_case(unit));
    if unit.is_none() {
        let message = format!("`timeUnit` must be one of {}, not `{word}`", UNITS.join(", "));
        suggest(report, Code::BadPolicy, at, message, word, UNITS.iter().copied());
    }
    unit
}

/// Seconds, of a window that is always as long.
fn length(unit: &str) -> u64 {
    match unit {
        "sec" => 1,
        "hour" => 3600,
        "day" => 86_400,
        "week" => 7 * 86_400,
        "month" => 30 * 86_400,
        "year" => 365 * 86_400,
        _ => 60,
    }
}

/// Minutes by which clocks are ahead of UTC.
fn offset(report: &mut Report, at: Value<'_>) -> Option<i32> {
    let zone = text(report, "timeZone", at)?;
    if matches!(zone, "Z" | "UTC") {
        return Some(0);
    }
    let ahead = zone.strip_prefix('+').map(|rest| (1, rest)).or(zone.strip_prefix('-').map(|rest| (-1, rest)));
    let two_digits = |text: &str| if text.len() == 2 { text.parse::<u32>().ok() } else { None };
    let minutes = ahead.and_then(|(sign, rest)| {
        let (hours, minutes) = rest.split_once(':')?;
        let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
        let total = hours * 60 + minutes;
        (minutes < 60 && total < MINUTES_OF_DAY).then_some(sign * i32::try_from(total).ok()?)
    });
    if minutes.is_none() {
        let message = format!("`timeZone` must be `UTC` or like `+02:00`, not `{zone}`");
        report.advise(Code::BadPolicy, at, message, "write how far its clocks are ahead of UTC");
    }
    minutes
}

/// `10 MB`, or a number of bytes.
fn bytes(report: &mut Report, at: Value<'_>) -> Option<u64> {
    let Content::Text(written) = at.content() else { return whole(report, "bandwidth", at, MAX_QUOTA) };
    let digits = written.find(|c: char| !c.is_ascii_digit()).unwrap_or(written.len());
    let (number, unit) = written.split_at(digits);
    let unit = unit.trim();
    let size = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, size)| *size);
    let Some((number, size)) = number.parse::<u64>().ok().zip(size) else {
        let names = SIZES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let message = format!("`bandwidth` must be a whole number and one of {names}, not `{written}`");
        report.advise(Code::BadPolicy, at, message, "write it like `10 MB`");
        return None;
    };
    let total = number.checked_mul(size).filter(|total| (1..=MAX_QUOTA).contains(total));
    if total.is_none() {
        bad(report, at, format!("`bandwidth` must be from 1 to {MAX_QUOTA} bytes"));
    }
    total
}

fn whole(report: &mut Report, key: &str, at: Value<'_>, max: u64) -> Option<u64> {
    integer(report, key, at, 1, i64::try_from(max).unwrap_or(i64::MAX)).and_then(|number| u64::try_from(number).ok())
}
