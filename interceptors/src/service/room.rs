//! Room for what services are asked and answer: as much as all calls together may take of the memory. Whoever finds none waits.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::MAX_ANSWER;

/// Bytes of all questions, and of all answers.
pub const ROOM: usize = 32 * 1024 * 1024;

/// What is reckoned with.
const UNIT: usize = 1024;
/// Bytes of an answer whose length is not said. If there are more, there may be as many as there may ever be.
const SHORT: usize = 64 * 1024;

/// Shared by all services.
#[derive(Clone, Debug)]
pub struct Room {
    questions: Arc<Semaphore>,
    /// Apart: a call that has asked must not wait for those that want to.
    answers: Arc<Semaphore>,
    /// Units of each.
    units: usize,
}

/// It is given back with this.
#[derive(Debug)]
pub(super) struct Place(#[allow(dead_code)] OwnedSemaphorePermit);

// === impl Room ===

impl Room {
    /// `bytes` of questions, and as many of answers.
    pub fn new(bytes: usize) -> Room {
        let units = bytes.div_ceil(UNIT).max(1);
        Room { questions: Arc::new(Semaphore::new(units)), answers: Arc::new(Semaphore::new(units)), units }
    }

    /// `None`: there is none in time.
    pub(super) async fn question(&self, bytes: usize, deadline: Instant) -> Option<Place> {
        self.place(&self.questions, bytes, deadline).await
    }

    /// For an answer of which so much is known. Whoever gets room for all of it can end, so nobody waits for those who wait.
    pub(super) async fn answer(&self, length: Option<u64>, deadline: Instant) -> Option<Place> {
        let bytes = length.map_or(SHORT, |length| usize::try_from(length).unwrap_or(MAX_ANSWER).min(MAX_ANSWER));
        self.place(&self.answers, bytes, deadline).await
    }

    /// For one whose length was not said, in the place of what it had: all that it may ever need.
    pub(super) async fn long_answer(&self, deadline: Instant) -> Option<Place> {
        self.place(&self.answers, MAX_ANSWER, deadline).await
    }

    /// One that is larger than all is alone.
    async fn place(&self, of: &Arc<Semaphore>, bytes: usize, deadline: Instant) -> Option<Place> {
        let units = u32::try_from(bytes.div_ceil(UNIT).min(self.units)).unwrap_or(u32::MAX);
        let place = timeout_at(deadline, Arc::clone(of).acquire_many_owned(units)).await;
        place.ok()?.ok().map(Place)
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> (usize, usize) {
        (self.questions.available_permits() * UNIT, self.answers.available_permits() * UNIT)
    }
}

impl Default for Room {
    fn default() -> Room {
        Room::new(ROOM)
    }
}

/// Whether an answer of an unsaid length needs more than it has room for.
pub(super) fn is_long(length: Option<u64>, bytes: usize) -> bool {
    length.is_none() && bytes > SHORT
}
