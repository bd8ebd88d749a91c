//! What the store is to be told: bytes, which are counted when they are over, and what was admitted while it could not be reached.
//!
//! Told by a task, one counter at a time. What is not confirmed is told again: it may then count twice, which admits less, never more.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use microgw_engine::limits::{Algorithm, CounterKey, Limit, Micros, OwnedCharge};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::exact::Exact;

/// By counter. Bounded: what there is no room for is forgotten, and counted.
#[derive(Debug)]
pub(super) struct Owed {
    book: Mutex<Book>,
    room: usize,
    forgotten: AtomicU64,
    news: Notify,
}

#[derive(Debug, Default)]
struct Book {
    debts: HashMap<CounterKey, Debt>,
    /// Of which counters the store was told lately, and when: `None`, it is being told.
    told: HashMap<CounterKey, Option<Instant>>,
}

#[derive(Clone, Debug)]
struct Debt {
    limit: Arc<Limit>,
    parts: VecDeque<Part>,
}

/// What was used in one window or bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    /// Of the window or bucket, as scripts take it; of bursts the time.
    mark: u64,
    cost: u64,
}

/// For what no request waits for.
const PATIENCE: Duration = Duration::from_millis(500);
/// Until the store is tried again.
const PAUSE: Duration = Duration::from_millis(100);
/// Longer than a decision waits: what the store granted before it was told is decided by then.
pub(super) const DOUBT: Duration = Duration::from_millis(1500);

// === impl Owed ===

impl Owed {
    pub(super) fn new(room: usize) -> Arc<Owed> {
        Arc::new(Owed { book: Mutex::default(), room, forgotten: AtomicU64::new(0), news: Notify::new() })
    }

    /// Of the charge, at that time of the store's clock.
    pub(super) fn owe(&self, charge: &OwnedCharge, now: Micros) {
        if charge.cost > 0 {
            self.put(charge, Part { mark: mark(&charge.limit, now), cost: charge.cost }, now);
            self.news.notify_one();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.book().debts.len()
    }

    /// Whether the store may have granted something without knowing all that this gateway admitted.
    pub(super) fn is_doubtful(&self, key: CounterKey) -> bool {
        let book = self.book();
        let told = || book.told.get(&key).is_some_and(|told| told.is_none_or(|told| told.elapsed() < DOUBT));
        book.debts.contains_key(&key) || told()
    }

    /// Parts that there was no room for.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    fn put(&self, charge: &OwnedCharge, part: Part, now: Micros) {
        let debts = &mut self.book().debts;
        if debts.len() >= self.room && !debts.contains_key(&charge.key) {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let debt = debts
            .entry(charge.key)
            .or_insert_with(|| Debt { limit: Arc::clone(&charge.limit), parts: VecDeque::new() });
        debt.limit = Arc::clone(&charge.limit);
        debt.add(part, now);
    }

    /// One counter's.
    fn take(&self) -> Option<(CounterKey, Debt)> {
        let book = &mut *self.book();
        let key = book.debts.keys().next().copied()?;
        let debt = book.debts.remove(&key)?;
        // A table that was large once shall not be walked for ever.
        if book.debts.is_empty() {
            book.debts = HashMap::new();
        }
        book.told.insert(key, None);
        Some((key, debt))
    }

    /// What was taken was told, or put back.
    fn told(&self, key: CounterKey) {
        self.book().told.insert(key, Some(Instant::now()));
    }

    fn forget_told(&self) {
        let told = &mut self.book().told;
        told.retain(|_, told| told.is_none_or(|told| told.elapsed() < DOUBT));
        if told.is_empty() {
            *told = HashMap::new();
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the store, until nobody owes anything any more, nor can.
pub(super) async fn tell(owed: Weak<Owed>, exact: Weak<Exact>) {
    let mut forgot = Instant::now();
    loop {
        let Some(strong) = owed.upgrade() else { return };
        if forgot.elapsed() > DOUBT {
            strong.forget_told();
            forgot = Instant::now();
        }
        if strong.len() == 0 {
            // Whoever drops it is found out about within a second.
            let _ = tokio::time::timeout(Duration::from_secs(1), strong.news.notified()).await;
            continue;
        }
        let Some(exact) = exact.upgrade() else { return };
        if !exact.store().is_reachable() || !pay(&strong, &exact).await {
            drop((strong, exact));
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// All that is owed now. `false`: the store does not take it.
async fn pay(owed: &Owed, exact: &Exact) -> bool {
    for _ in 0..owed.len() {
        let Some((key, mut debt)) = owed.take() else { break };
        let now = exact.store().now();
        debt.forget(now);
        while let Some(part) = debt.parts.pop_front() {
            let charge = OwnedCharge { key, limit: Arc::clone(&debt.limit), cost: part.cost };
            if exact.add_in(&charge, Some(part.mark), None, Instant::now() + PATIENCE).await.is_ok() {
                continue;
            }
            for part in std::iter::once(part).chain(debt.parts) {
                owed.put(&charge, part, now);
            }
            owed.told(key);
            return false;
        }
        owed.told(key);
    }
    true
}

/// In which window or bucket a time is: the end of the window, the number of the bucket.
fn mark(limit: &Limit, now: Micros) -> u64 {
    match limit.algorithm {
        Algorithm::Fixed(length) => now.0.saturating_sub(now.0 % length.0.max(1)).saturating_add(length.0),
        Algorithm::Calendar(calendar) => calendar.window(now).1.0,
        Algorithm::Sliding { period, buckets } => bucket(period, buckets, now),
        Algorithm::Burst { .. } => now.0,
    }
}

fn bucket(period: Micros, buckets: u32, now: Micros) -> u64 {
    let bucket = u128::from(now.0) * u128::from(buckets.max(1)) / u128::from(period.0.max(1));
    u64::try_from(bucket).unwrap_or(u64::MAX)
}

// === impl Debt ===

impl Debt {
    fn add(&mut self, part: Part, now: Micros) {
        self.forget(now);
        // Of a burst there is one part: what was used while it was ahead of its time counts as from the first on.
        let is_burst = matches!(self.limit.algorithm, Algorithm::Burst { .. });
        if let Some(same) = self.parts.iter_mut().find(|own| own.mark == part.mark || is_burst) {
            same.mark = same.mark.min(part.mark);
            same.cost = same.cost.saturating_add(part.cost);
        } else {
            self.parts.push_back(part);
        }
    }

    /// What counts no more. What stays is one window, or no more buckets than there are.
    fn forget(&mut self, now: Micros) {
        match self.limit.algorithm {
            Algorithm::Sliding { period, buckets } => {
                let oldest = bucket(period, buckets, now).saturating_sub(buckets.into());
                self.parts.retain(|part| part.mark >= oldest);
            }
            // The store may have been ahead by a whole burst when it was lost.
            Algorithm::Burst { period, burst } => self.parts.retain(|part| {
                let units = u128::from(part.cost) + u128::from(burst);
                let ahead = units * u128::from(period.0) / u128::from(self.limit.quota.max(1));
                u128::from(part.mark) + ahead >= u128::from(now.0)
            }),
            Algorithm::Fixed(_) | Algorithm::Calendar(_) => self.parts.retain(|part| part.mark > now.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use microgw_engine::limits::Sharing;
    use microgw_engine::limits::conformance::limit;
    use microgw_proto::limits::v1::Burst;
    use microgw_proto::limits::v1::limit::{Unit, Window};

    use super::*;

    /// One a second, ten at once. What was used at which second is owed for which, and how much.
    fn owed(used: &[(u64, u64)], now: u64) -> Vec<(u64, u64)> {
        let limit = limit(Window::Burst(Burst { seconds: 60, burst: 10 }), 60, Unit::Requests, Sharing::default());
        let mut debt = Debt { limit: Arc::new(limit), parts: VecDeque::new() };
        for (second, cost) in used {
            let time = Micros::of_seconds(*second);
            debt.add(Part { mark: time.0, cost: *cost }, time);
        }
        debt.forget(Micros::of_seconds(now));
        debt.parts.iter().map(|part| (part.mark / Micros::SECOND.0, part.cost)).collect()
    }

    #[test]
    fn a_burst_is_owed_from_its_first_request_on_until_it_cannot_count_any_more() {
        assert_eq!(owed(&[(100, 5), (102, 3)], 103), [(100, 8)]);
        // The store may have been ahead by ten when it was lost.
        assert_eq!(owed(&[(100, 5)], 115), [(100, 5)]);
        assert_eq!(owed(&[(100, 5)], 116), []);
        assert_eq!(owed(&[(100, 5), (120, 2)], 121), [(120, 2)]);
    }
}
