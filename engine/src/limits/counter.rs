//! What is kept of each counter, and how time changes it.

mod burst;
mod sliding;
mod window;

use self::burst::{Burst, Pace};
use self::sliding::Sliding;
use self::window::Window;
use super::{Algorithm, Limit, Micros, Unit, Usage};

/// How much of one limit was used. Which algorithm counts is part of a counter's name, so it never changes.
#[derive(Clone, Debug)]
pub(crate) enum Counter {
    Window(Window),
    Sliding(Box<Sliding>),
    Burst(Burst),
}

/// When something is there, if nothing else is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    Now,
    In(Micros),
    /// It is more than there ever is at once.
    Never,
}

// === impl Counter ===

impl Counter {
    pub(crate) fn new(limit: &Limit, now: Micros) -> Counter {
        match limit.algorithm {
            Algorithm::Fixed(length) => Counter::Window(Window::new(window::fixed(length, now).1)),
            Algorithm::Calendar(calendar) => Counter::Window(Window::new(calendar.window(now).1)),
            Algorithm::Sliding { period, buckets } => Counter::Sliding(Box::new(Sliding::new(period, buckets, now))),
            Algorithm::Burst { .. } => Counter::Burst(Burst::new(now)),
        }
    }

    /// Forgets what is past. Everything below is asked at the same time.
    pub(crate) fn advance(&mut self, limit: &Limit, now: Micros) {
        match (limit.algorithm, self) {
            (Algorithm::Fixed(length), Counter::Window(window)) => {
                window.advance(now, length, |now| window::fixed(length, now).1);
            }
            (Algorithm::Calendar(calendar), Counter::Window(window)) => {
                window.advance(now, calendar.longest(), |now| calendar.window(now).1);
            }
            (Algorithm::Sliding { .. }, Counter::Sliding(sliding)) => sliding.advance(now),
            (Algorithm::Burst { period, burst }, Counter::Burst(counter)) => {
                counter.advance(Pace::new(limit.quota, period, burst), now);
            }
            _ => {}
        }
    }

    pub(crate) fn wait(&self, limit: &Limit, cost: u64, now: Micros) -> Time {
        // Bytes are counted afterwards: there has to be one left.
        let cost = if limit.unit == Unit::Requests { cost } else { cost.max(1) };
        match (limit.algorithm, self) {
            // What costs nothing is always there, even if more was used than is allowed now.
            _ if cost == 0 => Time::Now,
            (_, Counter::Window(window)) => window.wait(limit.quota, cost, now),
            (_, Counter::Sliding(sliding)) => sliding.wait(limit.quota, cost, now),
            (Algorithm::Burst { period, burst }, Counter::Burst(counter)) => {
                counter.wait(Pace::new(limit.quota, period, burst), cost, now)
            }
            _ => Time::Never,
        }
    }

    /// Whether or not it is there.
    pub(crate) fn debit(&mut self, limit: &Limit, cost: u64, now: Micros) {
        match (limit.algorithm, self) {
            (_, Counter::Window(window)) => window.debit(cost),
            (_, Counter::Sliding(sliding)) => sliding.debit(cost),
            (Algorithm::Burst { period, burst }, Counter::Burst(counter)) => {
                counter.debit(Pace::new(limit.quota, period, burst), cost, now);
            }
            (_, Counter::Burst(_)) => {}
        }
    }

    pub(crate) fn usage(&self, limit: &Limit, now: Micros) -> Usage {
        match (limit.algorithm, self) {
            (_, Counter::Window(window)) => window.usage(limit.quota, now),
            (_, Counter::Sliding(sliding)) => sliding.usage(limit.quota, now),
            (Algorithm::Burst { period, burst }, Counter::Burst(counter)) => {
                counter.usage(Pace::new(limit.quota, period, burst), now)
            }
            _ => Usage::default(),
        }
    }

    /// After that it is as if nothing had been used. Never before the time of the last [`Self::advance`].
    pub(crate) fn expires(&self) -> Micros {
        match self {
            Counter::Window(window) => window.expires(),
            Counter::Sliding(sliding) => sliding.expires(),
            Counter::Burst(burst) => burst.expires(),
        }
    }

    /// In seconds, rounded up: how long what was used counts; with a clock that was put back, twice that at most.
    pub(crate) fn period(limit: &Limit) -> u32 {
        let period = match limit.algorithm {
            Algorithm::Fixed(length) => length,
            Algorithm::Calendar(calendar) => calendar.longest(),
            Algorithm::Sliding { period, buckets } => {
                period.saturating_add(Micros(period.0.div_ceil(u64::from(buckets.max(1)))))
            }
            // What is owed of bytes may take any time.
            Algorithm::Burst { .. } if limit.unit != Unit::Requests => return u32::MAX,
            Algorithm::Burst { period, burst } => return Pace::new(limit.quota, period, burst).patience(),
        };
        u32::try_from(period.whole_seconds()).unwrap_or(u32::MAX)
    }

    /// Of how many counters of other kinds it takes the room.
    pub(crate) fn weight(&self) -> usize {
        if let Counter::Sliding(sliding) = self { sliding.weight() } else { 1 }
    }

    pub(crate) fn weight_of(limit: &Limit) -> usize {
        if let Algorithm::Sliding { buckets, .. } = limit.algorithm { Sliding::weight_of(buckets) } else { 1 }
    }
}

#[cfg(test)]
mod tests;
