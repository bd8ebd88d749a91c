use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, FakeRelativeClock};
use governor::{Quota, RateLimiter};
use microgw_proto::limits::v1 as proto;
use proptest::prelude::*;
use proto::limit::{Unit, Window};

use super::super::Sharing;
use super::super::conformance::limit;
use super::*;

const NOW: Micros = Micros(1_700_000_000_000_000);

fn requests(window: Window, quota: u64) -> Limit {
    limit(window, quota, Unit::Requests, Sharing::default())
}

fn windows() -> [Window; 5] {
    let month = proto::calendar::Unit::Month.into();
    [
        Window::Fixed(proto::Fixed { seconds: 60 }),
        Window::Calendar(proto::Calendar { unit: month, count: 1, offset_minutes: 0 }),
        Window::Sliding(proto::Sliding { seconds: 60, buckets: 6 }),
        Window::Burst(proto::Burst { seconds: 60, burst: 5 }),
        Window::Burst(proto::Burst { seconds: 1, burst: 5 }),
    ]
}

fn draw(counter: &mut Counter, limit: &Limit, cost: u64, now: Micros) -> Time {
    counter.advance(limit, now);
    let time = counter.wait(limit, cost, now);
    if time == Time::Now {
        counter.debit(limit, cost, now);
    }
    time
}

/// Twice what a window takes.
fn patience(limit: &Limit) -> Micros {
    match limit.algorithm {
        Algorithm::Calendar(_) => Micros::of_seconds(62 * 86_400),
        _ => Micros::of_seconds(140),
    }
}

#[test]
fn a_clock_that_is_put_back_gives_nobody_anything() {
    for window in windows() {
        let limit = requests(window, 5);
        for back in [1, 1000, 999_999, 30_000_000, 60_000_001, 100_000_000, 86_400_000_000, 400_000_000_000_000] {
            let mut counter = Counter::new(&limit, NOW);
            for _ in 0..5 {
                assert_eq!(draw(&mut counter, &limit, 1, NOW), Time::Now);
            }
            let then = Micros(NOW.0 - back);
            let time = draw(&mut counter, &limit, 1, then);
            let Time::In(wait) = time else { panic!("{:?}, {back} back: {time:?}", limit.algorithm) };
            assert_eq!(counter.usage(&limit, then).remaining, 0, "{:?}", limit.algorithm);
            assert!(wait <= patience(&limit), "{:?}, {back} back: {wait:?}", limit.algorithm);
            assert_eq!(draw(&mut counter, &limit, 1, then.saturating_add(wait)), Time::Now, "{:?}", limit.algorithm);
        }
    }
}

#[test]
fn what_was_used_goes_along_with_the_clock_and_no_more() {
    for window in windows() {
        let limit = requests(window, 5);
        let mut counter = Counter::new(&limit, NOW);
        for _ in 0..3 {
            draw(&mut counter, &limit, 1, NOW);
        }
        let then = Micros(NOW.0 - 400_000_000_000_000);
        let granted = (0..5).filter(|_| draw(&mut counter, &limit, 1, then) == Time::Now).count();
        assert!(granted <= 2 && granted > 0, "{:?}: {granted}", limit.algorithm);
    }
}

#[test]
fn a_quota_that_changes_keeps_what_was_used() {
    for window in windows() {
        let (less, more) = (requests(window, 3), requests(window, 10));
        let mut counter = Counter::new(&less, NOW);
        for _ in 0..3 {
            draw(&mut counter, &less, 1, NOW);
        }
        counter.advance(&more, NOW);
        let remaining = counter.usage(&more, NOW).remaining;
        if let Algorithm::Burst { .. } = more.algorithm {
            // What it keeps is until when nothing is to come.
            assert!(remaining < 3, "{:?}: {remaining}", more.algorithm);
            continue;
        }
        assert_eq!(remaining, 7, "{:?}", more.algorithm);
        let fewer = requests(window, 1);
        let wait = counter.wait(&fewer, 1, NOW);
        assert!(matches!(wait, Time::In(_)), "{:?}: {wait:?}", fewer.algorithm);
        assert_eq!(counter.usage(&fewer, NOW).remaining, 0);
    }
}

#[test]
fn bytes_need_one_that_is_left_and_may_overshoot() {
    for window in windows() {
        let limit = limit(window, 5, Unit::Bytes, Sharing::default());
        let mut counter = Counter::new(&limit, NOW);
        assert_eq!(counter.wait(&limit, 0, NOW), Time::Now);
        counter.debit(&limit, 4, NOW);
        assert_eq!(counter.wait(&limit, 0, NOW), Time::Now, "{:?}", limit.algorithm);
        counter.debit(&limit, 1, NOW);
        assert!(matches!(counter.wait(&limit, 0, NOW), Time::In(_)), "{:?}", limit.algorithm);
        counter.debit(&limit, 1 << 40, NOW);
        assert!(matches!(counter.wait(&limit, 0, NOW), Time::In(_)), "{:?}", limit.algorithm);
    }
}

#[test]
fn as_many_as_the_burst_at_once_whatever_the_pace() {
    for quota in [1, 3, 7, 1000, 999_983, 3_000_000_000, 1_000_000_000_000] {
        for burst in [1, 3, 1000] {
            let limit = requests(Window::Burst(proto::Burst { seconds: 1, burst }), quota);
            let mut counter = Counter::new(&limit, NOW);
            assert!((0..burst).all(|_| draw(&mut counter, &limit, 1, NOW) == Time::Now), "{burst} of {quota}");
            assert!(draw(&mut counter, &limit, 1, NOW) != Time::Now, "{burst} of {quota}");
            assert_eq!(counter.usage(&limit, NOW).remaining, 0);
            let full = NOW.saturating_add(counter.usage(&limit, NOW).reset);
            counter.advance(&limit, full);
            assert_eq!(counter.usage(&limit, full), Usage { remaining: burst, reset: Micros(0), beyond: false });
        }
    }
}

proptest! {
    /// Where intervals are whole microseconds, both are exact.
    #[test]
    fn bursts_are_what_governor_says(
        interval in 1_u64..100_000, burst in 1_u32..20, steps in prop::collection::vec((0_u64..300_000, 1_u32..5), 1..80),
    ) {
        let window = Window::Burst(proto::Burst { seconds: interval, burst: burst.into() });
        let limit = requests(window, 1_000_000);
        let quota = Quota::with_period(Duration::from_micros(interval)).unwrap().allow_burst(NonZeroU32::new(burst).unwrap());
        let clock = FakeRelativeClock::default();
        let oracle = RateLimiter::direct_with_clock(quota, clock.clone());
        let mut counter = Counter::new(&limit, NOW);
        let mut now = NOW;
        for (ahead, cost) in steps {
            clock.advance(Duration::from_micros(ahead));
            now = now.saturating_add(Micros(ahead));
            let expected = match oracle.check_n(NonZeroU32::new(cost).unwrap()) {
                Err(_) => Time::Never,
                Ok(Ok(())) => Time::Now,
                Ok(Err(not_until)) => {
                    let wait = not_until.wait_time_from(clock.now());
                    Time::In(Micros(u64::try_from(wait.as_nanos().div_ceil(1000)).unwrap()))
                }
            };
            prop_assert_eq!(draw(&mut counter, &limit, cost.into(), now), expected);
        }
    }

    #[test]
    fn no_value_is_too_much(
        window in 0_usize..6, quota in 1_u64..=1 << 52, seconds in 1_u64..=u32::MAX.into(), most in 1_u32..=u32::MAX,
        steps in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u8>()), 1..30),
    ) {
        let count = most % 10_000 + 1;
        let window = match window {
            0 => Window::Fixed(proto::Fixed { seconds }),
            1 => Window::Sliding(proto::Sliding { seconds, buckets: most % 1000 + 1 }),
            2 => Window::Burst(proto::Burst { seconds, burst: most.into() }),
            unit => Window::Calendar(proto::Calendar {
                unit: i32::try_from(unit).unwrap() + 1, count, offset_minutes: 1439 - i32::try_from(most % 2879).unwrap(),
            }),
        };
        let limit = requests(window, quota);
        let mut counter = Counter::new(&limit, Micros(0));
        for (now, cost, scale) in steps {
            // Of every size, the greatest too.
            let now = Micros((now >> (scale % 64)).min(Micros::LATEST.0));
            let cost = if scale > 250 { u64::MAX } else { cost >> (scale % 64) };
            counter.advance(&limit, now);
            let time = counter.wait(&limit, cost, now);
            if scale % 3 == 0 || time == Time::Now {
                counter.debit(&limit, cost, now);
            }
            let usage = counter.usage(&limit, now);
            prop_assert!(usage.remaining <= quota.max(most.into()));
            prop_assert!(counter.expires() >= now);
        }
    }
}
