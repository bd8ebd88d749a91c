use microgw_proto::limits::v1::calendar::Unit;

use super::*;

fn calendar(unit: Unit, count: u32, offset_minutes: i32) -> Calendar {
    Calendar::load(&proto::Calendar { unit: unit.into(), count, offset_minutes }).unwrap()
}

/// Days of each month from January 1970 on, by the rule that everybody knows.
fn months_until(year: i64) -> impl Iterator<Item = i64> {
    (1970..year).flat_map(|year| {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    })
}

#[test]
fn every_month_and_year_until_2255_begins_when_it_does() {
    let starts: Vec<i64> = std::iter::once(0)
        .chain(months_until(2255).scan(0, |day, length| {
            *day += length;
            Some(*day)
        }))
        .collect();
    for (unit, count, each) in [(Unit::Month, 1, 1), (Unit::Month, 3, 3), (Unit::Month, 5, 5), (Unit::Year, 1, 12)] {
        for offset in [0, 120, -330] {
            let calendar = calendar(unit, count, offset);
            let shift = i64::from(offset) * MINUTE;
            for window in starts.iter().step_by(each).collect::<Vec<_>>().windows(2) {
                let [start, end] = [window[0], window[1]].map(|day| (day * DAY - shift) * 1_000_000);
                let first = start.max(0);
                for time in [first, i64::midpoint(first, end), end - 1] {
                    let expected = [first, end].map(|time| Micros(time.unsigned_abs()));
                    assert_eq!(calendar.window(Micros(time.unsigned_abs())), expected.into(), "{calendar:?} at {time}");
                }
            }
        }
    }
}

#[test]
fn weeks_begin_on_mondays_and_days_at_midnight_over_there() {
    let hour = Micros::of_seconds(3600).0;
    // Wednesday, 26 November 2025, 23:30 in Cairo.
    let now = Micros::of_seconds(1_764_192_600);
    let (start, end) = calendar(Unit::Week, 1, 120).window(now);
    assert_eq!((start, end), (Micros::of_seconds(1_763_935_200), Micros::of_seconds(1_764_540_000)));
    let (start, end) = calendar(Unit::Day, 1, 120).window(now);
    assert_eq!((end.0 - now.0, end.0 - start.0), (hour / 2, 24 * hour));
}

#[test]
fn windows_follow_each_other_and_none_is_longer_than_the_longest() {
    for unit in [Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Year] {
        for (count, offset) in [(1, 0), (7, 840), (10_000, -720)] {
            let calendar = calendar(unit, count, offset);
            let mut now = Micros(0);
            for _ in 0..1000 {
                let (start, end) = calendar.window(now);
                assert!(start <= now && end > now, "{calendar:?} at {now:?}: {start:?}, {end:?}");
                assert!(end.saturating_sub(start) <= calendar.longest());
                if end >= Micros::LATEST {
                    break;
                }
                assert_eq!(calendar.window(end).0, end, "{calendar:?}");
                now = end;
            }
            let (start, end) = calendar.window(Micros(u64::MAX));
            assert!(start <= Micros::LATEST && end > Micros::LATEST, "{calendar:?}");
        }
    }
}
