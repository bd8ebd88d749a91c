//! What is kept of each counter, and how time changes it.

mod burst;
mod sliding;
mod window;

use self::burst::Burst;
use self::sliding::Sliding;
use self::window::Window;
use super::{Algorithm, Limit, Micros, Usage};

/// How much of one limit was used.
#[derive(Clone, Debug)]
pub(crate) enum Counter {
    Window(Window),
    Sliding(Box<Sliding>),
    Burst(Burst),
}

// === impl Counter ===

impl Counter {
    pub(crate) fn new(limit: &Limit, now: Micros) -> Counter {
        match &limit.algorithm {
            Algorithm::Fixed(length) => Counter::Window(Window::new(window::fixed(*length, now))),
            Algorithm::Calendar(calendar) => Counter::Window(Window::new(calendar.window(now))),
            Algorithm::Sliding { period, buckets } => Counter::Sliding(Box::new(Sliding::new(*period, *buckets, now))),
            Algorithm::Burst { .. } => Counter::Burst(Burst::default()),
        }
    }

    /// Until `cost` is there, as things are; `None`: it never is. 0: it is now.
    pub(crate) fn wait(&mut self, limit: &Limit, cost: u64, now: Micros) -> Option<Micros> {
        match (&limit.algorithm, self) {
            (Algorithm::Fixed(length), Counter::Window(window)) => {
                window.wait(limit.quota, cost, now, |now| window::fixed(*length, now))
            }
            (Algorithm::Calendar(calendar), Counter::Window(window)) => {
                window.wait(limit.quota, cost, now, |now| calendar.window(now))
            }
            (Algorithm::Sliding { .. }, Counter::Sliding(sliding)) => sliding.wait(limit.quota, cost, now),
            (Algorithm::Burst { period, burst }, Counter::Burst(counter)) => {
                counter.wait(limit.quota, *period, *burst, cost, now)
            }
            // The names of counters tell their windows apart.
            _ => None,
        }
    }

    /// After [`Self::wait`] at the same time. What was not there is debited all the same.
    pub(crate) fn debit(&mut self, limit: &Limit, cost: u64, now: Micros) {
        match (&limit.algorithm, self) {
            (_, Counter::Window(window)) => window.debit(cost),
            (_, Counter::Sliding(sliding)) => sliding.debit(cost),
            (Algorithm::Burst { period, .. }, Counter::Burst(counter)) => {
                counter.debit(limit.quota, *period, cost, now);
            }
            (_, Counter::Burst(_)) => {}
        }
    }

    /// After [`Self::wait`] at the same time.
    pub(crate) fn usage(&self, limit: &Limit, now: Micros) -> Usage {
        let (remaining, reset) = match (&limit.algorithm, self) {
            (_, Counter::Window(window)) => window.usage(limit.quota, now),
            (_, Counter::Sliding(sliding)) => sliding.usage(limit.quota, now),
            (Algorithm::Burst { period, burst }, Counter::Burst(counter)) => {
                counter.usage(limit.quota, *period, *burst, now)
            }
            (_, Counter::Burst(_)) => (0, Micros(0)),
        };
        Usage { remaining, reset, beyond: false }
    }

    /// From then on it is as if nothing had been used.
    pub(crate) fn expires(&self) -> Micros {
        match self {
            Counter::Window(window) => window.end(),
            Counter::Sliding(sliding) => sliding.expires(),
            Counter::Burst(burst) => burst.expires(),
        }
    }
}
