//! Windows that begin as the calendar has it: at midnight, on Mondays, on the first of a month.

use microgw_proto::limits::v1 as proto;
use time::{Date, Month};

use super::Micros;
use crate::rules::LoadError;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const EPOCH: Date = time::OffsetDateTime::UNIX_EPOCH.date();

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
        let now = now.min(Micros::LATEST);
        let local = (now.0 / Micros::SECOND.0).cast_signed() + self.offset;
        let (start, end) = match self.unit {
            CalendarUnit::Even { seconds, origin } => {
                let length = seconds * self.count;
                let start = (local - origin).div_euclid(length) * length + origin;
                (start, start + length)
            }
            CalendarUnit::Month => months(local, self.count),
            CalendarUnit::Year => months(local, self.count * 12),
        };
        let utc = |local: i64| Micros::of_seconds(u64::try_from(local - self.offset).unwrap_or(0));
        (utc(start), utc(end))
    }

    /// No window is longer.
    pub fn longest(self) -> Micros {
        let seconds = match self.unit {
            CalendarUnit::Even { seconds, .. } => seconds,
            CalendarUnit::Month => 31 * DAY,
            CalendarUnit::Year => 366 * DAY,
        };
        Micros::of_seconds((seconds * self.count).unsigned_abs())
    }

    /// Says which windows these are, the same in every version: counters are called by it.
    pub(crate) fn name(self) -> String {
        let Calendar { unit, count, offset } = self;
        match unit {
            CalendarUnit::Even { seconds, .. } => format!("calendar {count} of {seconds}, {offset}"),
            CalendarUnit::Month => format!("calendar {count} of months, {offset}"),
            CalendarUnit::Year => format!("calendar {count} of years, {offset}"),
        }
    }
}

/// The window of `count` months that a second is in.
fn months(local: i64, count: i64) -> (i64, i64) {
    let day = i32::try_from(local.div_euclid(DAY)).unwrap_or(i32::MAX);
    let date = Date::from_julian_day(EPOCH.to_julian_day().saturating_add(day)).unwrap_or(Date::MAX);
    let since = (i64::from(date.year()) - 1970) * 12 + i64::from(u8::from(date.month())) - 1;
    let first = since.div_euclid(count) * count;
    (first_second(first), first_second(first + count))
}

/// When a month began, counted from January 1970. What is later than dates go is the end of the last year.
fn first_second(months: i64) -> i64 {
    let year = i32::try_from(1970 + months.div_euclid(12)).unwrap_or(i32::MAX);
    let month = u8::try_from(months.rem_euclid(12) + 1).ok().and_then(|month| Month::try_from(month).ok());
    let date = month.and_then(|month| Date::from_calendar_date(year, month, 1).ok()).unwrap_or(Date::MAX);
    i64::from(date.to_julian_day() - EPOCH.to_julian_day()) * DAY
}

#[cfg(test)]
mod tests;
