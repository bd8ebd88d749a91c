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
    debts: Mutex<HashMap<CounterKey, Debt>>,
    room: usize,
    forgotten: AtomicU64,
    news: Notify,
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

// === impl Owed ===

impl Owed {
    pub(super) fn new(room: usize) -> Arc<Owed> {
        Arc::new(Owed { debts: Mutex::default(), room, forgotten: AtomicU64::new(0), news: Notify::new() })
    }

    /// Of the charge, at that time of the store's clock.
    pub(super) fn owe(&self, charge: &OwnedCharge, now: Micros) {
        if charge.cost > 0 {
            self.put(charge, Part { mark: mark(&charge.limit, now), cost: charge.cost }, now);
            self.news.notify_one();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.debts().len()
    }

    /// Parts that there was no room for.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    fn put(&self, charge: &OwnedCharge, part: Part, now: Micros) {
        let mut debts = self.debts();
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
        let mut debts = self.debts();
        let key = debts.keys().next().copied()?;
        let debt = debts.remove(&key)?;
        // A table that was large once shall not be walked for ever.
        if debts.is_empty() {
            *debts = HashMap::new();
        }
        Some((key, debt))
    }

    fn debts(&self) -> MutexGuard<'_, HashMap<CounterKey, Debt>> {
        self.debts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the store, until nobody owes anything any more, nor can.
pub(super) async fn tell(owed: Weak<Owed>, exact: Weak<Exact>) {
    loop {
        let Some(strong) = owed.upgrade() else { return };
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
            let cost = debt.left(part, now);
            let charge = OwnedCharge { key, limit: Arc::clone(&debt.limit), cost };
            let mark = (!matches!(debt.limit.algorithm, Algorithm::Burst { .. })).then_some(part.mark);
            if cost == 0 || exact.add_in(&charge, mark, None, Instant::now() + PATIENCE).await.is_ok() {
                continue;
            }
            for part in std::iter::once(part).chain(debt.parts) {
                owed.put(&charge, part, now);
            }
            return false;
        }
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
        if let Algorithm::Burst { .. } = self.limit.algorithm {
            // One part: how far what was used is ahead of its time.
            let before = self.parts.pop_front().map_or(0, |before| self.left(before, now));
            self.parts.push_back(Part { mark: now.0, cost: before.saturating_add(part.cost) });
            return;
        }
        self.forget(now);
        if let Some(same) = self.parts.iter_mut().find(|own| own.mark == part.mark) {
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
            Algorithm::Burst { .. } => {}
            Algorithm::Fixed(_) | Algorithm::Calendar(_) => self.parts.retain(|part| part.mark > now.0),
        }
    }

    /// Of what was used then: of bursts it comes back with time.
    fn left(&self, part: Part, now: Micros) -> u64 {
        let Algorithm::Burst { period, .. } = self.limit.algorithm else { return part.cost };
        let passed = u128::from(now.0.saturating_sub(part.mark));
        let back = passed * u128::from(self.limit.quota) / u128::from(period.0.max(1));
        part.cost.saturating_sub(u64::try_from(back).unwrap_or(u64::MAX))
    }
}
