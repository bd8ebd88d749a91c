//! Windows one after the other: exactly the quota in each.

use super::super::{Micros, Usage};
use super::Time;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    end: Micros,
    used: u64,
}

/// Since 1970.
pub(super) fn fixed(length: Micros, now: Micros) -> (Micros, Micros) {
    let start = now.0 - now.0 % length.0.max(1);
    (Micros(start), Micros(start).saturating_add(length))
}

// === impl Window ===

impl Window {
    pub(super) fn new(end: Micros) -> Window {
        Window { end, used: 0 }
    }

    /// `end`: of the window that a time is in; none is longer than `longest`.
    pub(super) fn advance(&mut self, now: Micros, longest: Micros, end: impl Fn(Micros) -> Micros) {
        if now >= self.end {
            *self = Window::new(end(now));
        } else if now.saturating_add(longest).saturating_add(longest) < self.end {
            // The clock was put back, farther than a window is long: what was used goes along. If it was put back less than that, the
            // later window goes on.
            self.end = end(now);
        }
    }

    pub(super) fn wait(&self, quota: u64, cost: u64, now: Micros) -> Time {
        if self.used.saturating_add(cost) <= quota {
            Time::Now
        } else if cost > quota {
            Time::Never
        } else {
            Time::In(self.end.saturating_sub(now))
        }
    }

    pub(super) fn debit(&mut self, cost: u64) {
        self.used = self.used.saturating_add(cost);
    }

    pub(super) fn usage(&self, quota: u64, now: Micros) -> Usage {
        let (remaining, reset) = (quota.saturating_sub(self.used), self.end.saturating_sub(now));
        Usage { remaining, reset, beyond: false }
    }

    pub(super) fn expires(&self) -> Micros {
        self.end
    }
}
