//! Units of a burst (GCRA): emission intervals of the store's arrival time, each good until it begins.

use std::collections::VecDeque;

use super::super::{Algorithm, Limit, Micros};
use super::span::{emission, nanos};
use super::{Held, LeaseUnits, Report};

#[derive(Debug, Default)]
pub(super) struct Slots {
    /// In the order of their time.
    runs: VecDeque<Run>,
    /// The store's arrival time, as last seen.
    arrival: u64,
    /// What may melt, in thousandths of a unit.
    credit: u64,
}

/// Slots end to end, the last of which ends then, in nanoseconds of the store's clock.
#[derive(Clone, Copy, Debug)]
struct Run {
    end: u64,
    units: u64,
}

/// More runs than that are not kept.
const RUNS: usize = 16;

// === impl Slots ===

impl Slots {
    pub(super) fn spendable(&self, limit: &Limit, latest: Micros) -> u64 {
        self.runs.iter().map(|run| run.good(limit, latest)).sum()
    }

    pub(super) fn spend(&mut self, limit: &Limit, cost: u64, latest: Micros) {
        self.earn(limit, cost);
        let mut rest = cost;
        for run in &mut self.runs {
            let good = run.good(limit, latest);
            // Those before have melted; `melt` counts them.
            let spent = good.min(rest);
            run.units = run.units.saturating_sub(spent);
            rest -= spent;
        }
        self.runs.retain(|run| run.units > 0);
    }

    pub(super) fn spare(&self) -> u64 {
        self.runs.iter().map(|run| run.units).sum()
    }

    /// Takes off what has melted.
    pub(super) fn melt(&mut self, limit: &Limit, latest: Micros, units: &LeaseUnits) {
        for run in &mut self.runs {
            let good = run.good(limit, latest);
            let melted = run.units.saturating_sub(good);
            run.units = good;
            self.credit = self.credit.saturating_sub(melted.saturating_mul(1000));
            units.melted(melted);
        }
        self.runs.retain(|run| run.units > 0);
    }

    /// So many may be spare.
    pub(super) fn affordable(&self) -> u64 {
        self.credit / 1000
    }

    /// The last run.
    pub(super) fn give_back(&mut self) -> (u64, u64) {
        self.runs.pop_back().map_or((0, 0), |run| (run.end, run.units))
    }

    pub(super) fn report(&self, debt: u64, back: (u64, u64)) -> Report {
        Report::Slots { debt, back, arrival: self.arrival }
    }

    pub(super) fn receive(&mut self, arrival: u64, spare: u64) {
        self.arrival = arrival;
        self.put(Run { end: arrival, units: spare });
    }

    /// The end of what was granted last, but for the last so many.
    pub(super) fn place(&self, limit: &Limit, behind: u64) -> u64 {
        self.arrival.saturating_sub(emission(limit, behind))
    }

    pub(super) fn take_back(&mut self, held: Held) {
        self.put(Run { end: held.place, units: held.cost });
    }

    /// When the store has that many.
    pub(super) fn again(&self, limit: &Limit, cost: u64) -> Micros {
        let Algorithm::Burst { burst, .. } = limit.algorithm else { return Micros(0) };
        let enough = self.arrival.saturating_add(emission(limit, cost)).saturating_sub(emission(limit, burst));
        Micros(enough.div_ceil(1000))
    }

    /// By how many units the store is ahead of that time, as far as is known.
    pub(super) fn ahead(&self, limit: &Limit, time: Micros) -> u64 {
        let Algorithm::Burst { period, .. } = limit.algorithm else { return 0 };
        let ahead = u128::from(self.arrival.saturating_sub(nanos(time)));
        let units = (ahead * u128::from(limit.quota)).div_ceil(u128::from(nanos(period).max(1)));
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// So many it has at once.
    pub(super) fn left(&self, limit: &Limit, time: Micros) -> u64 {
        let Algorithm::Burst { burst, .. } = limit.algorithm else { return 0 };
        burst.saturating_sub(self.ahead(limit, time))
    }

    pub(super) fn over(&self) -> Micros {
        Micros(self.arrival / 1000)
    }

    /// Requests that waited count, too.
    pub(super) fn earn(&mut self, limit: &Limit, spent: u64) {
        let permille = u64::from(limit.sharing.max_undershoot_permille);
        let most = limit.quota.saturating_mul(permille);
        self.credit = self.credit.saturating_add(spent.saturating_mul(permille)).min(most);
    }

    fn put(&mut self, run: Run) {
        if run.units == 0 || self.runs.len() >= RUNS {
            return;
        }
        let place = self.runs.partition_point(|other| other.end <= run.end);
        self.runs.insert(place, run);
    }
}

// === impl Run ===

impl Run {
    /// Those that have not begun.
    fn good(self, limit: &Limit, latest: Micros) -> u64 {
        let Algorithm::Burst { period, .. } = limit.algorithm else { return 0 };
        let ahead = self.end.saturating_sub(nanos(latest));
        let slots = u128::from(ahead) * u128::from(limit.quota) / u128::from(nanos(period).max(1));
        self.units.min(u64::try_from(slots).unwrap_or(u64::MAX))
    }
}
