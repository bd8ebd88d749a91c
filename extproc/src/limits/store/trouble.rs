//! Who does not answer again and again is left alone for a moment, and then tried with one question.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Without a lock: every request looks here.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// In a row.
    failures: AtomicU32,
    /// Microseconds after [`START`] until which nobody is asked; 0: asked as usual.
    until: AtomicU64,
}

/// Failures in a row that are enough.
const FAILURES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

// === impl Trouble ===

impl Trouble {
    /// Whether a question may be asked. Of those that come after a pause one may, and the others when it was answered.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let now = micros(now);
        let next = now + micros_of(PAUSE);
        now >= until && self.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(super) fn answered(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.until.store(0, Ordering::Relaxed);
        }
    }

    /// `true`: it is left alone now. `suspect`: others fail, too, so that one failure is enough.
    pub(super) fn failed(&self, now: Instant, suspect: bool) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let failures = if suspect { failures.max(FAILURES) } else { failures };
        if failures >= FAILURES {
            self.until.store(micros(now) + micros_of(PAUSE), Ordering::Relaxed);
        }
        failures >= FAILURES
    }

    pub(super) fn is_left_alone(&self, now: Instant) -> bool {
        self.until.load(Ordering::Relaxed) > micros(now)
    }
}

fn micros(at: Instant) -> u64 {
    micros_of(at.saturating_duration_since(*START)).max(1)
}

fn micros_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_question_a_pause_until_it_is_answered() {
        let (range, now) = (Trouble::default(), Instant::now());
        assert!(!range.failed(now, false) && !range.failed(now, false));
        range.answered();
        assert!(!range.failed(now, false) && !range.failed(now, false) && range.admits(now));
        assert!(range.failed(now, false) && range.is_left_alone(now) && !range.admits(now));
        let later = now + PAUSE + Duration::from_millis(1);
        assert!(range.admits(later), "one");
        assert!(!range.admits(later), "and no other");
        range.answered();
        assert!(range.admits(later) && range.admits(later) && !range.is_left_alone(later));
        assert!(range.failed(later, true) && range.is_left_alone(later), "with others one is enough");
    }
}
