//! Responses that are on their way from backends: whoever asks the same meanwhile waits for them, where that is worth it.
//!
//! Nobody waits for what turned out to be for nobody else: such questions are remembered for a moment, so that they go to the
//! backend side by side and not one after the other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Key;
use super::request::Asked;

/// For how long nobody waits for what was waited for in vain.
const MOMENT: Duration = Duration::from_secs(10);
/// Of how long a request waits, the part that a response may take from its head on. Its client may be slow to read it, and others are not
/// to wait for that.
const BODY: u32 = 5;
/// Requests that wait at a time.
const MOST_WAITING: usize = 1000;
/// Questions that are remembered not to be worth it; those that were asked least go first.
const MOST_VAIN: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Expected {
    flights: Mutex<HashMap<Key, watch::Receiver<Stage>>>,
    vain: Cache<Key, Instant>,
    waiting: AtomicUsize,
    timing: Timing,
}

#[derive(Clone, Copy, Debug)]
struct Timing {
    /// How long one request waits, at most. Zero: nobody does.
    patience: Duration,
    body: Duration,
    moment: Duration,
}

/// How far a response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Asked,
    Begun(Instant),
    Kept,
    Vain,
}

/// What a request does of which nothing is known.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Asks the backend, for others as well.
    First(First),
    /// Asks for itself.
    Alone,
    Waits(Waiting),
}

/// Whoever asks the backend for others: they go on once it is gone.
#[derive(Debug)]
pub(crate) struct First {
    expected: Arc<Expected>,
    key: Key,
    stage: watch::Sender<Stage>,
}

#[derive(Debug)]
pub(crate) struct Waiting {
    expected: Arc<Expected>,
    key: Key,
    stage: watch::Receiver<Stage>,
}

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It is kept.
    Kept,
    /// It is for nobody else, or takes too long.
    Vain,
    /// Whoever asked first has gone.
    Lost,
}

// === impl Expected ===

impl Expected {
    pub(super) fn new(patience: Duration) -> Arc<Expected> {
        Expected::timed(Timing { patience, body: patience / BODY, moment: MOMENT })
    }

    fn timed(timing: Timing) -> Arc<Expected> {
        let (flights, waiting) = (Mutex::default(), AtomicUsize::new(0));
        Arc::new(Expected { flights, vain: Cache::new(MOST_VAIN), waiting, timing })
    }

    /// As long as anybody waits.
    pub(crate) fn patience(&self) -> Duration {
        self.timing.patience
    }

    /// When whoever begins to wait now has waited long enough.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timing.patience
    }

    /// `leads`: the backend's answer to it may be one to others, too.
    pub(crate) fn turn(self: &Arc<Self>, asked: &Asked, leads: bool) -> Turn {
        if self.timing.patience.is_zero() || asked.anew || self.is_vain(&asked.key) {
            return Turn::Alone;
        }
        let mut flights = self.lock();
        if let Some(stage) = flights.get(&asked.key) {
            let stage = stage.clone();
            drop(flights);
            return self.wait(asked.key, stage).map_or(Turn::Alone, Turn::Waits);
        }
        if !leads {
            return Turn::Alone;
        }
        let (stage, others) = watch::channel(Stage::Asked);
        flights.insert(asked.key, others);
        Turn::First(First { expected: Arc::clone(self), key: asked.key, stage })
    }

    fn wait(self: &Arc<Self>, key: Key, stage: watch::Receiver<Stage>) -> Option<Waiting> {
        let waiting = Waiting { expected: Arc::clone(self), key, stage };
        // Whoever is not to wait goes, and is counted no more.
        (self.waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING).then_some(waiting)
    }

    fn is_vain(&self, key: &Key) -> bool {
        self.vain.get(key).is_some_and(|until| Instant::now() < until)
    }

    /// For a moment nobody waits for it.
    pub(crate) fn in_vain(&self, asked: &Asked) {
        self.remember(asked.key);
    }

    fn remember(&self, key: Key) {
        self.vain.insert(key, Instant::now() + self.timing.moment);
    }

    /// Requests that wait now.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Nothing between lock and unlock can leave it half changed.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Stage>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl First ===

impl First {
    /// The head of a response is there that may be kept.
    pub(crate) fn begun(&self) {
        self.stage.send_replace(Stage::Begun(Instant::now() + self.expected.timing.body));
    }

    /// All of it is kept.
    pub(crate) fn kept(self) {
        self.expected.vain.remove(&self.key);
        self.stage.send_replace(Stage::Kept);
    }

    /// The response is for nobody else.
    pub(crate) fn in_vain(self) {
        self.expected.remember(self.key);
        self.stage.send_replace(Stage::Vain);
    }
}

impl Drop for First {
    fn drop(&mut self) {
        self.expected.lock().remove(&self.key);
    }
}

// === impl Waiting ===

impl Waiting {
    /// Until the response is there, or is no longer worth it.
    pub(crate) async fn end(mut self, deadline: Instant) -> Waited {
        loop {
            let until = match *self.stage.borrow_and_update() {
                Stage::Kept => return Waited::Kept,
                Stage::Vain => return Waited::Vain,
                Stage::Asked => deadline,
                Stage::Begun(end) => end.min(deadline),
            };
            match timeout_at(until, self.stage.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Waited::Lost,
                Err(_) => {
                    self.expected.remember(self.key);
                    return Waited::Vain;
                }
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.expected.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;

    use super::*;

    fn asked(key: u8) -> Asked {
        Asked {
            key: [key; 32],
            request: http::Request::default(),
            seconds: 60,
            known: None,
            since: None,
            anew: false,
            conditional: false,
            validates: true,
        }
    }

    const LONG: Timing =
        Timing { patience: Duration::from_hours(1), body: Duration::from_hours(1), moment: Duration::from_hours(1) };

    fn patient() -> Arc<Expected> {
        Expected::timed(LONG)
    }

    fn first(expected: &Arc<Expected>, key: u8) -> First {
        match expected.turn(&asked(key), true) {
            Turn::First(first) => first,
            other => panic!("{other:?}"),
        }
    }

    fn waits(expected: &Arc<Expected>, key: u8) -> Waiting {
        match expected.turn(&asked(key), true) {
            Turn::Waits(waiting) => waiting,
            other => panic!("{other:?}"),
        }
    }

    fn is_alone(expected: &Arc<Expected>, asked: &Asked) -> bool {
        matches!(expected.turn(asked, true), Turn::Alone)
    }

    #[tokio::test]
    async fn others_wait_for_the_first() {
        let expected = patient();
        let leader = first(&expected, 1);
        let mut waiting = pin!(waits(&expected, 1).end(expected.deadline()));
        assert!(poll!(&mut waiting).is_pending());
        assert_eq!(expected.waiting(), 1);
        drop(first(&expected, 2));
        leader.begun();
        assert!(poll!(&mut waiting).is_pending());
        leader.kept();
        assert_eq!(waiting.await, Waited::Kept);
        assert_eq!((expected.waiting(), expected.lock().len()), (0, 0));
    }

    #[tokio::test]
    async fn what_is_for_nobody_else_is_not_waited_for_for_a_moment() {
        let expected = patient();
        let leader = first(&expected, 1);
        let waiting = waits(&expected, 1);
        leader.in_vain();
        assert_eq!(waiting.end(expected.deadline()).await, Waited::Vain);
        assert!(is_alone(&expected, &asked(1)) && is_alone(&expected, &asked(1)));
        // A moment ends; and so it does when the response is kept after all.
        let expected = Expected::timed(Timing { moment: Duration::ZERO, ..LONG });
        first(&expected, 1).in_vain();
        drop(first(&expected, 1));
        let expected = patient();
        let leader = first(&expected, 1);
        expected.in_vain(&asked(1));
        assert!(is_alone(&expected, &asked(1)));
        leader.kept();
        drop(first(&expected, 1));
    }

    #[tokio::test]
    async fn whoever_goes_leaves_it_to_the_next() {
        let expected = patient();
        let leader = first(&expected, 1);
        leader.begun();
        let waiting = waits(&expected, 1);
        drop(leader);
        assert_eq!(waiting.end(expected.deadline()).await, Waited::Lost);
        drop(first(&expected, 1));
        assert!(expected.lock().is_empty());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let short = Duration::from_millis(1);
        let expected = Expected::timed(Timing { patience: short, ..LONG });
        let leader = first(&expected, 1);
        assert_eq!(waits(&expected, 1).end(expected.deadline()).await, Waited::Vain);
        assert!(is_alone(&expected, &asked(1)), "the first is still on its way");
        drop(leader);

        // A response that has begun, to somebody who does not read it.
        let expected = Expected::timed(Timing { body: short, ..LONG });
        let leader = first(&expected, 2);
        leader.begun();
        assert_eq!(waits(&expected, 2).end(expected.deadline()).await, Waited::Vain);
        assert!(is_alone(&expected, &asked(2)));
        assert!(is_alone(&Expected::new(Duration::ZERO), &asked(1)));
    }

    #[tokio::test]
    async fn no_more_wait_than_there_is_room_for() {
        let expected = patient();
        let leader = first(&expected, 1);
        let all: Vec<_> = (0..MOST_WAITING).map(|_| waits(&expected, 1)).collect();
        assert!(is_alone(&expected, &asked(1)));
        assert_eq!(expected.waiting(), MOST_WAITING);
        drop(all);
        drop(waits(&expected, 1));
        drop(leader);
    }

    #[tokio::test]
    async fn whoever_wants_something_else_asks_alone() {
        let expected = patient();
        assert!(matches!(expected.turn(&asked(1), false), Turn::Alone), "304 is for nobody else");
        let leader = first(&expected, 1);
        assert!(matches!(expected.turn(&asked(1), false), Turn::Waits(_)), "but what is kept is for them, too");
        assert!(is_alone(&expected, &Asked { anew: true, ..asked(1) }));
        drop(leader);
    }
}
