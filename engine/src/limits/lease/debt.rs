//! What was used without having been taken: bytes, and what was let through without a store.

use std::collections::VecDeque;

use super::super::{Algorithm, Limit, Micros};
use super::span::span;

/// By window or bucket. Of bursts it is one part, with the time from which it drains: as everything that is ahead of its time does.
#[derive(Debug, Default)]
pub(super) struct Debt {
    parts: VecDeque<(Micros, u64)>,
}

/// Of more buckets than that those that are oldest are taken for one, the later of them.
pub(super) const BUCKETS: usize = 16;

// === impl Debt ===

impl Debt {
    pub(super) fn is_none(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn total(&self) -> u64 {
        self.parts.iter().fold(0, |sum, (_, units)| sum.saturating_add(*units))
    }

    pub(super) fn add(&mut self, limit: &Limit, units: u64, time: Micros, busy: Micros) {
        self.settle(limit, time, busy);
        if units == 0 {
            return;
        }
        let mark = match limit.algorithm {
            Algorithm::Burst { .. } => time,
            _ => span(&limit.algorithm, time).0,
        };
        let one = matches!(limit.algorithm, Algorithm::Burst { .. });
        match self.parts.back_mut() {
            Some((last, owed)) if one || *last >= mark => *owed = owed.saturating_add(units),
            _ => put(&mut self.parts, (mark, units)),
        }
    }

    /// Forgets what does not count any more. `busy`: until then it is what the store knows of a burst that drains, and not this.
    pub(super) fn settle(&mut self, limit: &Limit, time: Micros, busy: Micros) {
        if self.parts.is_empty() {
            return;
        }
        match limit.algorithm {
            Algorithm::Fixed(_) | Algorithm::Calendar(_) => {
                let (start, _) = span(&limit.algorithm, time);
                self.parts.retain(|(own, _)| *own == start);
            }
            Algorithm::Sliding { .. } => forget(&mut self.parts, limit, time),
            Algorithm::Burst { period, .. } => {
                for (mark, units) in &mut self.parts {
                    *mark = (*mark).min(time);
                    let since = (*mark).max(busy);
                    let passed = u128::from(time.saturating_sub(since).0);
                    let back = passed * u128::from(limit.quota) / u128::from(period.0.max(1));
                    let back = u64::try_from(back).unwrap_or(u64::MAX).min(*units);
                    // No part of a unit is lost.
                    let took = (u128::from(back) * u128::from(period.0)).div_ceil(u128::from(limit.quota.max(1)));
                    if back > 0 {
                        *mark = since.saturating_add(Micros(u64::try_from(took).unwrap_or(u64::MAX)));
                        *units -= back;
                    }
                }
                self.parts.retain(|(_, units)| *units > 0);
            }
        }
    }

    /// To be told to the store.
    pub(super) fn take(&mut self) -> u64 {
        let total = self.total();
        self.parts.clear();
        total
    }

    /// It was taken then, and the store was not told.
    pub(super) fn restore(&mut self, units: u64, time: Micros) {
        match self.parts.back_mut() {
            Some((_, owed)) => *owed = owed.saturating_add(units),
            None if units > 0 => self.parts.push_back((time, units)),
            None => {}
        }
    }
}

/// Behind the others, which are not later.
pub(super) fn put(buckets: &mut VecDeque<(Micros, u64)>, bucket: (Micros, u64)) {
    buckets.push_back(bucket);
    if buckets.len() > BUCKETS
        && let Some((_, units)) = buckets.pop_front()
        && let Some((_, next)) = buckets.front_mut()
    {
        *next = next.saturating_add(units);
    }
}

/// Buckets of a sliding limit that no period reaches that ends then or later, and those that are yet to come.
pub(super) fn forget(buckets: &mut VecDeque<(Micros, u64)>, limit: &Limit, time: Micros) {
    let Algorithm::Sliding { period, .. } = limit.algorithm else { return };
    let (start, end) = span(&limit.algorithm, time);
    let reach = period.saturating_add(end.saturating_sub(start));
    buckets.retain(|(own, _)| *own <= time && own.saturating_add(reach) > time);
}
