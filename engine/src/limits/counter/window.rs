//! Windows one after the other: exactly the quota in each.

use super::super::Micros;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    start: Micros,
    end: Micros,
    used: u64,
}

/// Since 1970.
pub(super) fn fixed(length: Micros, now: Micros) -> (Micros, Micros) {
    let start = now.0 - now.0 % length.0.max(1);
    (Micros(start), Micros(start.saturating_add(length.0)))
}

// === impl Window ===

impl Window {
    pub(super) fn new((start, end): (Micros, Micros)) -> Window {
        Window { start, end, used: 0 }
    }

    pub(super) fn end(&self) -> Micros {
        self.end
    }

    pub(super) fn wait(
        &mut self,
        quota: u64,
        cost: u64,
        now: Micros,
        window: impl Fn(Micros) -> (Micros, Micros),
    ) -> Option<Micros> {
        // A clock that was put back gives nobody a window twice: the later one lasts, unless it is far off.
        let far = self.start.saturating_sub(self.end.saturating_sub(self.start));
        if now >= self.end || now < far {
            *self = Window::new(window(now));
        }
        if self.used.saturating_add(cost) <= quota {
            Some(Micros(0))
        } else if cost > quota {
            None
        } else {
            Some(self.end.saturating_sub(now))
        }
    }

    pub(super) fn debit(&mut self, cost: u64) {
        self.used = self.used.saturating_add(cost);
    }

    pub(super) fn usage(&self, quota: u64, now: Micros) -> (u64, Micros) {
        (quota.saturating_sub(self.used), self.end.saturating_sub(now))
    }
}
