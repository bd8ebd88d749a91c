//! Whether limits are such as a project can declare. Whoever passes here is not refused by the engine.

use std::collections::HashSet;

use microgw_expressions::{Expression, Template};
use microgw_proto::limits::v1::{
    AddressRange, Condition, CustomPolicy, DenyPolicy, Group, Limit, Policy, Text, calendar, condition::Kind,
    limit::Unit, limit::Window, sharing, text,
};

use super::{
    MAX_BUCKETS, MAX_BURST, MAX_CALENDAR_UNITS, MAX_CONDITIONS, MAX_DEPTH, MAX_GROUPS, MAX_LIMITS, MAX_QUOTA,
    MAX_RANGES, MAX_SECONDS, MAX_TEXT, MINUTES_OF_DAY, address, inside,
};
use crate::names;

pub(crate) fn policy_is_sound(policy: &Policy) -> bool {
    let Policy { name, limits, groups, sharing, .. } = policy;
    let something = !limits.is_empty() || !groups.is_empty();
    let names: HashSet<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    let sharing = sharing.as_ref().is_none_or(|sharing| {
        let known =
            sharing::Mode::try_from(sharing.mode).is_ok() && sharing::Failure::try_from(sharing.on_failure).is_ok();
        known && sharing.max_undershoot_permille <= 1000
    });
    is_name(name)
        && something
        && limits.len() <= MAX_LIMITS
        && limits.iter().all(limit_is_sound)
        && groups.len() <= MAX_GROUPS
        && groups.iter().all(group_is_sound)
        && names.len() == groups.len()
        && sharing
}

pub(crate) fn custom_is_sound(custom: &CustomPolicy) -> bool {
    let CustomPolicy { policy, key, when } = custom;
    policy.as_ref().is_some_and(policy_is_sound)
        && Template::read(key).is_ok()
        && when.as_ref().is_none_or(condition_is_sound)
}

pub(crate) fn deny_is_sound(deny: &DenyPolicy) -> bool {
    let DenyPolicy { name, when, api, application, user } = deny;
    let something = when.is_some() || [api, application, user].into_iter().any(|text| !text.is_empty());
    let short = [api, application, user].into_iter().all(|text| text.len() <= MAX_TEXT);
    let owned = application.is_empty() || application.contains(':');
    is_name(name) && something && short && owned && when.as_ref().is_none_or(condition_is_sound)
}

pub(crate) fn condition_is_sound(condition: &Condition) -> bool {
    let mut count = 0;
    is_bounded(condition, MAX_DEPTH, &mut count) && is_sound(condition)
}

fn group_is_sound(group: &Group) -> bool {
    let Group { name, when, limits } = group;
    is_name(name)
        && (1..=MAX_LIMITS).contains(&limits.len())
        && limits.iter().all(limit_is_sound)
        && when.as_ref().is_some_and(condition_is_sound)
}

fn limit_is_sound(limit: &Limit) -> bool {
    let seconds = |seconds: u64| (1..=MAX_SECONDS).contains(&seconds);
    let window = match &limit.window {
        Some(Window::Fixed(fixed)) => seconds(fixed.seconds),
        Some(Window::Calendar(calendar)) => {
            let unit = calendar::Unit::try_from(calendar.unit).is_ok_and(|unit| unit != calendar::Unit::Unspecified);
            let within_a_day = calendar.offset_minutes.unsigned_abs() < MINUTES_OF_DAY;
            unit && (1..=MAX_CALENDAR_UNITS).contains(&calendar.count.into()) && within_a_day
        }
        Some(Window::Sliding(sliding)) => {
            seconds(sliding.seconds) && (1..=MAX_BUCKETS).contains(&sliding.buckets.into())
        }
        Some(Window::Burst(burst)) => seconds(burst.seconds) && (1..=MAX_BURST).contains(&burst.burst),
        None => false,
    };
    let direction = match Unit::try_from(limit.unit) {
        Ok(Unit::Requests) => !limit.requests_only && !limit.responses_only,
        // What bodies take is known when they are over: too late to spread them evenly.
        Ok(Unit::Bytes) if matches!(limit.window, Some(Window::Burst(_))) => false,
        Ok(Unit::Bytes) => !(limit.requests_only && limit.responses_only),
        Err(_) => false,
    };
    window && direction && (1..=MAX_QUOTA).contains(&limit.quota)
}

/// Neither too deep nor too many.
fn is_bounded(condition: &Condition, depth: usize, count: &mut usize) -> bool {
    *count += 1;
    let inner = inside(condition);
    *count <= MAX_CONDITIONS && depth > 0 && inner.iter().all(|inner| is_bounded(inner, depth - 1, count))
}

fn is_sound(condition: &Condition) -> bool {
    match &condition.kind {
        Some(Kind::All(all)) => !all.conditions.is_empty() && all.conditions.iter().all(is_sound),
        Some(Kind::Any(any)) => !any.conditions.is_empty() && any.conditions.iter().all(is_sound),
        Some(Kind::Not(not)) => is_sound(not),
        Some(Kind::Header(text)) => names::is_header(&text.name) && is_test(text),
        Some(Kind::Query(text) | Kind::Claim(text)) => is_name(&text.name) && is_test(text),
        Some(Kind::Addresses(addresses)) => {
            (1..=MAX_RANGES).contains(&addresses.ranges.len()) && addresses.ranges.iter().all(is_range)
        }
        Some(Kind::Versions(names)) => {
            (1..=MAX_CONDITIONS).contains(&names.names.len()) && names.names.iter().all(|name| is_name(name))
        }
        Some(Kind::Expression(expression)) => Expression::condition(expression).is_ok(),
        // A kind that a later version added: whether it is met nobody here knows.
        None => false,
    }
}

fn is_test(text: &Text) -> bool {
    match &text.value {
        Some(text::Value::Present(present)) => *present,
        Some(text::Value::Equals(value)) => value.len() <= MAX_TEXT,
        Some(text::Value::Matches(pattern)) => microgw_expressions::pattern(pattern).is_ok(),
        None => false,
    }
}

fn is_range(range: &AddressRange) -> bool {
    let (first, last) = (address(&range.first), address(&range.last));
    first.zip(last).is_some_and(|(first, last)| first.is_ipv4() == last.is_ipv4() && first <= last)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_TEXT && !name.chars().any(char::is_control)
}
