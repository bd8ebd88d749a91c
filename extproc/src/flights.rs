//! The same question, asked by several at a time, is worked on once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

/// Questions that somebody is waiting for: no more than there are requests.
pub(crate) struct Flights<K, V>(Mutex<HashMap<K, Arc<OnceCell<V>>>>);

/// Takes a question off the list when nobody asks it any more.
struct Landing<'a, K: Eq + Hash, V> {
    flights: &'a Flights<K, V>,
    key: &'a K,
    cell: Arc<OnceCell<V>>,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Flights<K, V> {
        Flights(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Flights<K, V> {
    /// The answer of `work`, or of the work of whoever asked first. If that one gives up, the next one's is done.
    pub(crate) async fn join(&self, key: &K, work: impl Future<Output = V>) -> V {
        let cell = Arc::clone(self.lock().entry(key.clone()).or_default());
        let landing = Landing { flights: self, key, cell };
        landing.cell.get_or_init(|| work).await.clone()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().len()
    }
}

impl<K, V> Flights<K, V> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<OnceCell<V>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V> Drop for Landing<'_, K, V> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        // Ours and the list's: whoever joins does so under the lock.
        let last = self.cell.initialized() || Arc::strong_count(&self.cell) <= 2;
        if last && flights.get(self.key).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell)) {
            flights.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_is_done_once_and_forgotten() {
        let (flights, done) = (Flights::<u8, u32>::default(), AtomicU32::new(0));
        let ask = |key: u8| {
            let (flights, done) = (&flights, &done);
            async move {
                let work = async {
                    tokio::task::yield_now().await;
                    done.fetch_add(1, Ordering::Relaxed) + 1
                };
                flights.join(&key, work).await
            }
        };
        let same = futures_util::future::join_all((0..10).map(|_| ask(1))).await;
        assert_eq!((same, flights.len()), (vec![1; 10], 0));
        assert_eq!((ask(1).await, ask(2).await, flights.len()), (2, 3, 0));
    }

    #[tokio::test]
    async fn whoever_gives_up_leaves_it_to_the_next() {
        let flights = Flights::<u8, u8>::default();
        let mut first = Box::pin(flights.join(&1, std::future::pending()));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(flights.join(&1, async { 2 }));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(second.await, 2);
        drop(Box::pin(flights.join(&1, async { 3 })));
        assert_eq!(flights.len(), 0);
    }
}
