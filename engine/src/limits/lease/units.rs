//! What became of units, as metrics tell it.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of units, in all.
#[derive(Debug, Default)]
pub struct LeaseUnits {
    taken: AtomicU64,
    returned: AtomicU64,
    stranded: AtomicU64,
    /// The largest part of a quota that was stranded in one window, in millionths.
    worst: AtomicU64,
}

// === impl LeaseUnits ===

impl LeaseUnits {
    pub(super) fn taken(&self, units: u64) {
        self.taken.fetch_add(units, Ordering::Relaxed);
    }

    pub(super) fn returned(&self, units: u64) {
        self.returned.fetch_add(units, Ordering::Relaxed);
    }

    /// Not spent, and of no use to anybody any more.
    pub(super) fn stranded(&self, units: u64, quota: u64) {
        self.melted(units);
        let millionths = u128::from(units) * 1_000_000 / u128::from(quota.max(1));
        self.worst.fetch_max(u64::try_from(millionths).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn melted(&self, units: u64) {
        self.stranded.fetch_add(units, Ordering::Relaxed);
    }

    /// Debited in the store.
    pub fn all(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Given back unspent.
    pub fn back(&self) -> u64 {
        self.returned.load(Ordering::Relaxed)
    }

    pub fn lost(&self) -> u64 {
        self.stranded.load(Ordering::Relaxed)
    }

    /// The largest part of a quota that was stranded in one window, from 0 to 1.
    pub fn worst(&self) -> f64 {
        let millionths = u32::try_from(self.worst.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        f64::from(millionths) / 1e6
    }
}
