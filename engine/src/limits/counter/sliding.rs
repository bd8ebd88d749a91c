//! Any interval: never more than the quota in it. What was used is kept by bucket, and comes back with the whole bucket.

use super::super::{Micros, Usage};
use super::Time;

#[derive(Clone, Debug)]
pub(crate) struct Sliding {
    period: Micros,
    /// Number, since 1970, of the newest bucket.
    newest: u64,
    /// The last one that anything was used in.
    last: u64,
    total: u64,
    /// By their number modulo how many there are: one more than make up the period, since an interval begins within one.
    used: Box<[u64]>,
}

// === impl Sliding ===

impl Sliding {
    pub(super) fn new(period: Micros, buckets: u32, now: Micros) -> Sliding {
        let used = vec![0; length(buckets)].into_boxed_slice();
        let mut sliding = Sliding { period, newest: 0, last: 0, total: 0, used };
        sliding.newest = sliding.bucket(now);
        sliding.last = sliding.newest;
        sliding
    }

    /// In the size of other counters.
    pub(super) fn weight(&self) -> usize {
        1 + (size_of::<Sliding>() + size_of_val(&*self.used)) / super::super::table::SIZE
    }

    pub(super) fn weight_of(buckets: u32) -> usize {
        1 + (size_of::<Sliding>() + length(buckets) * size_of::<u64>()) / super::super::table::SIZE
    }

    /// Forgets what no interval that ends now or later reaches.
    pub(super) fn advance(&mut self, now: Micros) {
        let bucket = self.bucket(now);
        let kept = self.used.len() as u64;
        match bucket.checked_sub(self.newest) {
            Some(0) => {}
            Some(passed) => {
                for ahead in 1..=passed.min(kept) {
                    let place = self.place(self.newest + ahead);
                    if let Some(used) = self.used.get_mut(place) {
                        self.total = self.total.saturating_sub(std::mem::take(used));
                    }
                }
                self.newest = bucket;
            }
            // The clock was put back, by less than is kept: it is as if it stood still until it is there again.
            None if self.newest - bucket <= kept => {}
            // Farther: what was used goes along.
            None => {
                self.used.fill(0);
                let place = self.place(bucket);
                if let Some(used) = self.used.get_mut(place) {
                    *used = self.total;
                }
                (self.newest, self.last) = (bucket, bucket);
            }
        }
    }

    pub(super) fn wait(&self, quota: u64, cost: u64, now: Micros) -> Time {
        if self.total.saturating_add(cost) <= quota {
            return Time::Now;
        }
        if cost > quota {
            return Time::Never;
        }
        // From the oldest on, until enough has come back.
        let mut total = self.total;
        let kept = self.used.len() as u64;
        for age in (0..kept).rev() {
            let Some(bucket) = self.newest.checked_sub(age) else { continue };
            total = total.saturating_sub(self.used.get(self.place(bucket)).copied().unwrap_or(0));
            if total.saturating_add(cost) <= quota {
                return Time::In(self.start(bucket + kept).saturating_sub(now));
            }
        }
        Time::Never
    }

    pub(super) fn debit(&mut self, cost: u64) {
        if cost == 0 {
            return;
        }
        let place = self.place(self.newest);
        if let Some(used) = self.used.get_mut(place) {
            // What does not fit into one bucket does not come back with it.
            let before = *used;
            *used = before.saturating_add(cost).min(MOST).max(before);
            self.total += *used - before;
        }
        self.last = self.newest;
    }

    pub(super) fn usage(&self, quota: u64, now: Micros) -> Usage {
        let reset = if self.total == 0 { Micros(0) } else { self.expires().saturating_sub(now) };
        Usage { remaining: quota.saturating_sub(self.total), reset, beyond: false }
    }

    pub(super) fn expires(&self) -> Micros {
        let next = if self.total == 0 { self.newest + 1 } else { self.last + self.used.len() as u64 };
        self.start(next)
    }

    /// Fractions of the period: no rounding makes a bucket longer than it says.
    fn bucket(&self, now: Micros) -> u64 {
        now.0.saturating_mul(self.buckets()) / self.period.0.max(1)
    }

    fn start(&self, bucket: u64) -> Micros {
        Micros(bucket.saturating_mul(self.period.0).div_ceil(self.buckets()))
    }

    fn buckets(&self) -> u64 {
        (self.used.len() as u64).saturating_sub(1).max(1)
    }

    fn place(&self, bucket: u64) -> usize {
        usize::try_from(bucket % self.used.len() as u64).unwrap_or(0)
    }
}

/// So many fit into each of a thousand buckets without their sum being too much.
const MOST: u64 = 1 << 53;

fn length(buckets: u32) -> usize {
    usize::try_from(buckets.max(1)).unwrap_or(1).saturating_add(1)
}
