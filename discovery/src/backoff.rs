//! Ever longer pauses, no two alike: gateways that lost a server together do not come back to it together.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    first: Duration,
    longest: Duration,
}

// === impl Backoff ===

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { next: first, first, longest }
    }

    /// The next pause: at least half of what it could be.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.longest);
        pause / 2 + (pause / 2).mul_f64(chance())
    }

    /// It worked: the next pause is a short one.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Up to a tenth longer.
pub(crate) fn about(time: Duration) -> Duration {
    time + (time / 10).mul_f64(chance())
}

/// From 0 to 1. The standard library's hasher is seeded at random; nothing secret depends on it.
fn chance() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_start_anew() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, longest);
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let (pause, expected) = (backoff.pause(), Duration::from_millis(expected));
            assert!(pause >= expected / 2 && pause <= expected, "{pause:?} of {expected:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= first);
    }

    #[test]
    fn pauses_differ() {
        let pauses: std::collections::BTreeSet<_> = (0..20).map(|_| about(Duration::from_secs(1))).collect();
        assert!(pauses.len() > 1);
        assert!(pauses.iter().all(|pause| (1000..=1100).contains(&pause.as_millis())), "{pauses:?}");
    }
}
