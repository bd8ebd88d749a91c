//! Any interval: never more than the quota in it. What was used is kept by bucket, and comes back with the whole bucket.

use super::super::Micros;

#[derive(Clone, Debug)]
pub(crate) struct Sliding {
    /// Microseconds.
    width: u64,
    /// Number, since 1970, of the newest bucket.
    newest: u64,
    /// By their number modulo how many there are: one more than make up the period, since an interval begins within one.
    used: Box<[u64]>,
    total: u64,
}

// === impl Sliding ===

impl Sliding {
    pub(super) fn new(period: Micros, buckets: u32, now: Micros) -> Sliding {
        let buckets = u64::from(buckets.max(1));
        let width = period.0.div_ceil(buckets).max(1);
        let used = vec![0; usize::try_from(buckets + 1).unwrap_or(2)].into_boxed_slice();
        Sliding { width, newest: now.0 / width, used, total: 0 }
    }

    pub(super) fn wait(&mut self, quota: u64, cost: u64, now: Micros) -> Option<Micros> {
        self.forget(now);
        if self.total.saturating_add(cost) <= quota {
            return Some(Micros(0));
        }
        if cost > quota {
            return None;
        }
        // From the oldest on, until enough has come back.
        let mut total = self.total;
        let count = self.used.len() as u64;
        for age in (0..count).rev() {
            let Some(bucket) = self.newest.checked_sub(age) else { continue };
            total -= self.at(bucket);
            if total.saturating_add(cost) <= quota {
                let back = (bucket + count).saturating_mul(self.width);
                return Some(Micros(back).saturating_sub(now));
            }
        }
        None
    }

    pub(super) fn debit(&mut self, cost: u64) {
        self.total = self.total.saturating_add(cost);
        let place = self.place(self.newest);
        if let Some(used) = self.used.get_mut(place) {
            *used = used.saturating_add(cost);
        }
    }

    pub(super) fn usage(&self, quota: u64, now: Micros) -> (u64, Micros) {
        (quota.saturating_sub(self.total), self.expires().saturating_sub(now))
    }

    pub(super) fn expires(&self) -> Micros {
        Micros((self.newest + self.used.len() as u64).saturating_mul(self.width))
    }

    /// What no interval that ends now or later reaches.
    fn forget(&mut self, now: Micros) {
        let bucket = now.0 / self.width;
        let count = self.used.len() as u64;
        let Some(passed) = bucket.checked_sub(self.newest) else {
            // A clock that was put back far is believed.
            if self.newest - bucket > count {
                self.used.fill(0);
                self.total = 0;
                self.newest = bucket;
            }
            return;
        };
        for ahead in 1..=passed.min(count) {
            let place = self.place(self.newest + ahead);
            if let Some(used) = self.used.get_mut(place) {
                self.total = self.total.saturating_sub(std::mem::take(used));
            }
        }
        self.newest = bucket;
    }

    fn at(&self, bucket: u64) -> u64 {
        self.used.get(self.place(bucket)).copied().unwrap_or(0)
    }

    fn place(&self, bucket: u64) -> usize {
        usize::try_from(bucket % self.used.len() as u64).unwrap_or(0)
    }
}
