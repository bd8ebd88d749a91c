//! Limits that are never reached, because others are reached first. Nothing is claimed that is not certain.

use microgw_proto::limits::v1::{Calendar, Limit, Sharing, calendar, limit::Unit, limit::Window, sharing::Mode};

const DAY: u64 = 86_400;

/// Whether `limit` cannot be reached where every request that it counts is counted and stopped by `other`, too.
pub(crate) fn is_idle(limit: &Limit, other: &Limit) -> bool {
    if limit.unit() != other.unit() {
        return false;
    }
    if limit.window == other.window && limit.quota >= other.quota {
        // A direction that counts less is reached later.
        let same = (limit.requests_only, limit.responses_only) == (other.requests_only, other.responses_only);
        return same || !(other.requests_only || other.responses_only);
    }
    // What bodies take is counted when they are over, however much that is.
    if limit.unit() != Unit::Requests {
        return false;
    }
    let (Some(window), Some(beside)) = (&limit.window, &other.window) else { return false };
    match window {
        Window::Burst(burst) => {
            // As many per second, and as many at once, as may come.
            let (at_once, quota, seconds) = match beside {
                Window::Burst(beside) => (u128::from(beside.burst), other.quota, beside.seconds),
                Window::Sliding(beside) => (other.quota.into(), other.quota, beside.seconds),
                // The end of one window, and the beginning of the next.
                Window::Fixed(beside) => (u128::from(other.quota) * 2, other.quota, beside.seconds),
                Window::Calendar(_) => return false,
            };
            let faster = u128::from(limit.quota) * u128::from(seconds) >= u128::from(quota) * u128::from(burst.seconds);
            faster && u128::from(burst.burst) >= at_once
        }
        _ => most(window, beside, other.quota).is_some_and(|most| most <= limit.quota.into()),
    }
}

/// Whether what gateways count together is what they admit, so that limits can be compared.
pub(crate) fn is_comparable(sharing: Option<&Sharing>) -> bool {
    // What is leased may come to an end early, and not at the same time for both.
    sharing.is_none_or(|sharing| sharing.mode() != Mode::Leased)
}

/// What a limit of `quota` in `beside` admits during one of `window`, at most.
fn most(window: &Window, beside: &Window, quota: u64) -> Option<u128> {
    let quota = u128::from(quota);
    if let (Window::Fixed(window), Window::Fixed(beside)) = (window, beside) {
        // All begin at one moment.
        if window.seconds.is_multiple_of(beside.seconds) {
            return Some(quota * u128::from(window.seconds / beside.seconds));
        }
        if beside.seconds.is_multiple_of(window.seconds) {
            return Some(quota);
        }
    }
    let length = u128::from(match window {
        Window::Fixed(fixed) => fixed.seconds,
        Window::Calendar(calendar) => lengths(calendar)?.1,
        // What was used comes back late by one bucket.
        Window::Sliding(sliding) => {
            sliding.seconds.saturating_add(sliding.seconds.div_ceil(sliding.buckets.max(1).into()))
        }
        Window::Burst(_) => return None,
    });
    let touched = |seconds: u64| length.div_ceil(u128::from(seconds.max(1))) + 1;
    Some(match beside {
        Window::Fixed(fixed) => quota * touched(fixed.seconds),
        Window::Calendar(calendar) => quota * touched(lengths(calendar)?.0),
        Window::Sliding(sliding) => quota * length.div_ceil(u128::from(sliding.seconds.max(1))),
        Window::Burst(burst) => {
            let even = length * quota / u128::from(burst.seconds.max(1));
            // Microseconds between requests are whole.
            u128::from(burst.burst) + even + even / 100 + 1
        }
    })
}

/// The shortest and the longest of a calendar's windows.
fn lengths(calendar: &Calendar) -> Option<(u64, u64)> {
    let count = u64::from(calendar.count);
    let (shortest, longest) = match calendar.unit() {
        calendar::Unit::Unspecified => return None,
        calendar::Unit::Minute => (60, 60),
        calendar::Unit::Hour => (3600, 3600),
        calendar::Unit::Day => (DAY, DAY),
        calendar::Unit::Week => (7 * DAY, 7 * DAY),
        calendar::Unit::Month => (28 * DAY, 31 * DAY),
        calendar::Unit::Year => (365 * DAY, 366 * DAY),
    };
    Some((shortest * count, longest * count))
}

#[cfg(test)]
mod tests {
    use microgw_proto::limits::v1::{Burst, Fixed, Sliding};

    use super::*;

    fn limit(quota: u64, window: Window) -> Limit {
        Limit { quota, window: Some(window), ..Limit::default() }
    }

    fn fixed(quota: u64, seconds: u64) -> Limit {
        limit(quota, Window::Fixed(Fixed { seconds }))
    }

    fn sliding(quota: u64, seconds: u64, buckets: u32) -> Limit {
        limit(quota, Window::Sliding(Sliding { seconds, buckets }))
    }

    fn burst(quota: u64, seconds: u64, burst: u64) -> Limit {
        limit(quota, Window::Burst(Burst { seconds, burst }))
    }

    fn monthly(quota: u64) -> Limit {
        let unit = calendar::Unit::Month.into();
        limit(quota, Window::Calendar(Calendar { unit, count: 1, offset_minutes: 60 }))
    }

    #[test]
    fn what_is_certain_is_found() {
        for (limit, other) in [
            (fixed(10, 60), fixed(10, 60)),
            (fixed(5_000_000, DAY), fixed(10, 1)),
            (fixed(864_000, DAY), fixed(10, 1)),
            (fixed(100, 60), fixed(50, DAY)),
            // 61 windows of a second are touched by a minute that began in one.
            (sliding(671, 60, 10), fixed(10, 1)),
            (fixed(30, 90), fixed(10, 60)),
            (sliding(20, 60, 1), sliding(10, 60, 10)),
            (fixed(100, 60), burst(1, 1, 35)),
            (burst(10, 1, 5), burst(5, 1, 5)),
            (burst(10, 1, 20), fixed(10, 1)),
            (burst(10, 1, 10), sliding(10, 1, 4)),
            (monthly(31 * 24 * 10 + 10), fixed(10, 3600)),
            (monthly(10), monthly(9)),
        ] {
            assert!(is_idle(&limit, &other), "{limit:?} beside {other:?}");
        }
    }

    #[test]
    fn what_may_be_reached_is_not() {
        let bytes = |limit: Limit| Limit { unit: Unit::Bytes.into(), ..limit };
        let cases = [
            (fixed(9, 60), fixed(10, 60)),
            (fixed(863_999, DAY), fixed(10, 1)),
            (fixed(29, 90), fixed(10, 60)),
            (sliding(669, 60, 10), fixed(10, 1)),
            (sliding(19, 60, 1), sliding(10, 60, 10)),
            (fixed(90, 60), burst(1, 1, 35)),
            (burst(5, 1, 5), burst(10, 1, 5)),
            (burst(10, 1, 19), fixed(10, 1)),
            (monthly(30 * 24 * 10), fixed(10, 3600)),
            (fixed(10, 60), monthly(9)),
            (bytes(fixed(5_000_000, DAY)), bytes(fixed(10, 1))),
            (bytes(fixed(10, 60)), fixed(10, 60)),
            (bytes(fixed(10, 60)), Limit { requests_only: true, ..bytes(fixed(10, 60)) }),
        ];
        for (limit, other) in cases {
            assert!(!is_idle(&limit, &other), "{limit:?} beside {other:?}");
        }
    }
}
