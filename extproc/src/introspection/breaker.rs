//! A circuit breaker: who fails again and again is left alone for a while, and then tried with one question.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row that open the circuit.
const FAILURES: u32 = 5;
/// For how long nobody is asked.
const PAUSE: Duration = Duration::from_secs(5);

/// How things stand, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    Closed,
    /// The next question, or one that is under way, decides.
    HalfOpen,
    Open,
}

#[derive(Debug)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Clone, Copy, Debug)]
enum State {
    /// With so many failures in a row.
    Closed(u32),
    OpenUntil(Instant),
    /// One question is under way.
    Probing,
}

/// What a report has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Opened(Duration),
    Closed,
}

// === impl Breaker ===

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker(Mutex::new(State::Closed(0)))
    }
}

impl Breaker {
    /// Whether a question may be asked. If so, how it ended must be reported.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        let mut state = self.state();
        match *state {
            State::Closed(_) => true,
            State::OpenUntil(until) if now >= until => {
                *state = State::Probing;
                true
            }
            State::OpenUntil(_) | State::Probing => false,
        }
    }

    /// Of questions that began before the circuit opened, too: an answer is an answer.
    pub(crate) fn report(&self, answered: bool, now: Instant) -> Option<Change> {
        let mut state = self.state();
        let (next, change) = match (*state, answered) {
            (State::Closed(_), true) => (State::Closed(0), None),
            (State::OpenUntil(_) | State::Probing, true) => (State::Closed(0), Some(Change::Closed)),
            (State::Closed(failures), false) if failures + 1 < FAILURES => (State::Closed(failures + 1), None),
            (State::Closed(_), false) => (State::OpenUntil(now + PAUSE), Some(Change::Opened(PAUSE))),
            (State::Probing, false) => (State::OpenUntil(now + PAUSE), None),
            (open @ State::OpenUntil(_), false) => (open, None),
        };
        *state = next;
        change
    }

    pub(crate) fn circuit(&self, now: Instant) -> Circuit {
        match *self.state() {
            State::Closed(_) => Circuit::Closed,
            State::OpenUntil(until) if now < until => Circuit::Open,
            State::OpenUntil(_) | State::Probing => Circuit::HalfOpen,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(at: Instant) -> Breaker {
        let breaker = Breaker::default();
        for failure in 1..=FAILURES {
            assert!(breaker.admits(at));
            let change = breaker.report(false, at);
            assert_eq!(change, (failure == FAILURES).then_some(Change::Opened(PAUSE)));
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_success_closes_it() {
        let start = Instant::now();
        let breaker = opened(start);
        assert!(!breaker.admits(start));
        assert_eq!(breaker.circuit(start), Circuit::Open);
        let later = start + PAUSE;
        assert_eq!(breaker.circuit(later), Circuit::HalfOpen);
        assert!(breaker.admits(later), "one");
        assert!(!breaker.admits(later), "and no other");
        assert_eq!(breaker.report(true, later), Some(Change::Closed));
        assert_eq!(breaker.circuit(later), Circuit::Closed);
        assert!(breaker.admits(later) && breaker.admits(later));
    }

    #[test]
    fn a_probe_that_fails_opens_it_again() {
        let start = Instant::now();
        let breaker = opened(start);
        let later = start + PAUSE;
        assert!(breaker.admits(later));
        assert_eq!(breaker.report(false, later), None);
        assert!(!breaker.admits(later + PAUSE / 2));
        assert!(breaker.admits(later + PAUSE));
    }

    #[test]
    fn failures_among_answers_are_nothing() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..10 {
            for _ in 1..FAILURES {
                assert_eq!(breaker.report(false, now), None);
            }
            assert_eq!(breaker.report(true, now), None);
        }
        assert!(breaker.admits(now));
    }

    #[test]
    fn a_late_answer_closes_it_and_a_late_failure_does_not_prolong_it() {
        let start = Instant::now();
        let breaker = opened(start);
        assert_eq!(breaker.report(false, start + PAUSE / 2), None);
        assert_eq!(breaker.circuit(start + PAUSE), Circuit::HalfOpen);
        assert_eq!(breaker.report(true, start), Some(Change::Closed));
    }
}
