//! Who does not answer again and again is left alone: no request waits for it any more, until the keeper's question is answered.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Without a lock: every request looks here.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// In a row.
    failures: AtomicU32,
    left_alone: AtomicBool,
}

/// Failures in a row that are enough.
const FAILURES: u32 = 3;

// === impl Trouble ===

impl Trouble {
    pub(super) fn answered(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.left_alone.store(false, Ordering::Relaxed);
        }
    }

    /// `true`: it is left alone now. `suspect`: others fail, too, so that one failure is enough.
    pub(super) fn failed(&self, suspect: bool) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let enough = suspect || failures >= FAILURES;
        if enough {
            self.left_alone.store(true, Ordering::Relaxed);
        }
        enough
    }

    pub(super) fn is_left_alone(&self) -> bool {
        self.left_alone.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_are_enough_and_with_others_one() {
        let (range, other) = (Trouble::default(), Trouble::default());
        assert!(!range.failed(false) && !range.failed(false));
        range.answered();
        assert!(!range.failed(false) && !range.failed(false) && !range.is_left_alone());
        assert!(range.failed(false) && range.is_left_alone());
        assert!(!other.is_left_alone() && other.failed(true) && other.is_left_alone());
        range.answered();
        assert!(!range.is_left_alone() && other.is_left_alone());
    }
}
