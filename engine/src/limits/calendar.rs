//! Windows that begin as the calendar has it: at midnight, on Mondays, on the first of a month.

use microgw_proto::limits::v1 as proto;

use super::Micros;
use crate::rules::LoadError;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// That many of a unit, one after the other: of months and years since January 1970, of others since that Monday or midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    unit: CalendarUnit,
    count: i64,
    /// Seconds by which the calendar's clocks are ahead of UTC.
    offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CalendarUnit {
    /// Of that many seconds, the first of which began at that second of 1970.
    Even {
        seconds: i64,
        origin: i64,
    },
    Month,
    Year,
}

// === impl Calendar ===

impl Calendar {
    pub(crate) fn load(calendar: &proto::Calendar) -> Result<Calendar, LoadError> {
        use proto::calendar::Unit;
        let even = |seconds, origin| CalendarUnit::Even { seconds, origin };
        let unit = match calendar.unit() {
            Unit::Minute => even(MINUTE, 0),
            Unit::Hour => even(HOUR, 0),
            Unit::Day => even(DAY, 0),
            // The first of January 1970 was a Thursday.
            Unit::Week => even(7 * DAY, 4 * DAY),
            Unit::Month => CalendarUnit::Month,
            Unit::Year => CalendarUnit::Year,
            Unit::Unspecified => return Err(LoadError::Limit),
        };
        let within_a_day = calendar.offset_minutes.unsigned_abs() < 24 * 60;
        if calendar.count == 0 || calendar.count > 10_000 || !within_a_day {
            return Err(LoadError::Limit);
        }
        Ok(Calendar { unit, count: calendar.count.into(), offset: i64::from(calendar.offset_minutes) * MINUTE })
    }

    /// How long each window is, if they are of one length.
    pub fn even(self) -> Option<Micros> {
        match self.unit {
            CalendarUnit::Even { seconds, .. } => {
                u64::try_from(seconds.saturating_mul(self.count)).ok().map(Micros::of_seconds)
            }
            CalendarUnit::Month | CalendarUnit::Year => None,
        }
    }

    /// When the window that `now` is in began, and when the next one does.
    pub fn window(self, now: Micros) -> (Micros, Micros) {
        let seconds = i64::try_from(now.0 / Micros::SECOND.0).unwrap_or(i64::MAX / 2);
        let local = seconds.saturating_add(self.offset);
        let (start, end) = match self.unit {
            CalendarUnit::Even { seconds, origin } => {
                let length = seconds.saturating_mul(self.count);
                let start = (local - origin).div_euclid(length) * length + origin;
                (start, start.saturating_add(length))
            }
            CalendarUnit::Month => months(local, self.count),
            CalendarUnit::Year => months(local, self.count.saturating_mul(12)),
        };
        let utc = |local: i64| Micros::of_seconds(u64::try_from(local.saturating_sub(self.offset)).unwrap_or(0));
        (utc(start), utc(end))
    }
}

/// The window of `count` months that a second is in.
fn months(local: i64, count: i64) -> (i64, i64) {
    let (year, month) = year_and_month(local.div_euclid(DAY));
    let since = (year - 1970) * 12 + month;
    let first = since.div_euclid(count) * count;
    (first_day(first) * DAY, first_day(first + count) * DAY)
}

/// Days from 1970 to the first of that month, counted from January 1970. Years are counted from March here: the leap day is
/// then the last.
fn first_day(months: i64) -> i64 {
    let (year, month) = (1970 + months.div_euclid(12), months.rem_euclid(12));
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let days = (153 * month + 2) / 5;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + days - 719_468
}

/// Year and month (0: January) of a day since 1970.
fn year_and_month(day: i64) -> (i64, i64) {
    // A guess that is one too early at most, then the months until the day.
    let mut months = (day.div_euclid(31)).max(0);
    months = months.max(day.saturating_mul(12) / 366);
    while first_day(months + 1) <= day {
        months += 1;
    }
    while first_day(months) > day {
        months -= 1;
    }
    (1970 + months.div_euclid(12), months.rem_euclid(12))
}
