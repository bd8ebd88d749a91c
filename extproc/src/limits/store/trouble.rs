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

/// What several that are left alone share: they are tried one after the other, since they may well be of one server.
#[derive(Debug, Default)]
pub(super) struct Gate(AtomicU64);

/// Failures in a row that are enough.
const FAILURES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

// === impl Trouble ===

impl Trouble {
    /// Whether a question may be asked. Of those that come after a pause one may, and the others when it was answered.
    pub(super) fn admits(&self, now: Instant, gate: &Gate) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until == 0 || (micros(now) >= until && gate.passes(now))
    }

    pub(super) fn answered(&self, gate: &Gate) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.until.store(0, Ordering::Relaxed);
            gate.0.store(0, Ordering::Relaxed);
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

// === impl Gate ===

impl Gate {
    /// Once in a pause, and at once after an answer.
    fn passes(&self, now: Instant) -> bool {
        let (now, next) = (micros(now), self.0.load(Ordering::Relaxed));
        let after = now + micros_of(PAUSE);
        now >= next && self.0.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok()
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
        let (range, other, gate, now) = (Trouble::default(), Trouble::default(), Gate::default(), Instant::now());
        assert!(!range.failed(now, false) && !range.failed(now, false));
        range.answered(&gate);
        assert!(!range.failed(now, false) && !range.failed(now, false) && range.admits(now, &gate));
        assert!(range.failed(now, false) && range.is_left_alone(now) && !range.admits(now, &gate));
        assert!(other.admits(now, &gate) && other.failed(now, true), "with others one is enough");
        let later = now + PAUSE + Duration::from_millis(1);
        assert!(range.admits(later, &gate), "one");
        assert!(!range.admits(later, &gate) && !other.admits(later, &gate), "and no other");
        range.answered(&gate);
        assert!(range.admits(later, &gate) && range.admits(later, &gate) && !range.is_left_alone(later));
        assert!(other.admits(later, &gate), "at once");
        assert!(!other.admits(later, &gate));
    }
}
