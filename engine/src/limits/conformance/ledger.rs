//! All that was ever debited from one limit, and what follows from it by the definition of its algorithm.

use super::super::{Algorithm, Calendar, Limit, Micros, Unit};

#[derive(Debug, Default)]
pub(super) struct Ledger(Vec<(Micros, u64)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admit,
    Refuse,
    /// Within what the algorithm may round.
    Either,
}

/// GCRA rounds an interval up by less than a microsecond, a store in doubles by as much again.
const ROUNDING: u64 = 2;

// === impl Ledger ===

impl Ledger {
    pub(super) fn debit(&mut self, now: Micros, cost: u64) {
        self.0.push((now, cost));
    }

    /// More than there ever is at once.
    pub(super) fn never(limit: &Limit, cost: u64) -> bool {
        let most = if let Algorithm::Burst { burst, .. } = limit.algorithm { burst } else { limit.quota };
        asked(limit, cost) > most
    }

    /// How much too early a refusal may say to come back.
    pub(super) fn slack(limit: &Limit) -> u64 {
        if let Algorithm::Burst { .. } = limit.algorithm { ROUNDING } else { 0 }
    }

    pub(super) fn verdict(&self, limit: &Limit, cost: u64, now: Micros, undershoot: u64) -> Verdict {
        let cost = asked(limit, cost);
        let (least, most) = self.remaining(limit, now);
        if cost == 0 || cost <= least.saturating_sub(undershoot) {
            Verdict::Admit
        } else if cost > most {
            Verdict::Refuse
        } else {
            Verdict::Either
        }
    }

    /// Bounds of what is left.
    pub(super) fn remaining(&self, limit: &Limit, now: Micros) -> (u64, u64) {
        let left = |used: u64| limit.quota.saturating_sub(used);
        match limit.algorithm {
            Algorithm::Fixed(_) | Algorithm::Calendar(_) => {
                let (start, _) = window(limit.algorithm, now);
                let left = left(self.since(|time| time >= start));
                (left, left)
            }
            Algorithm::Sliding { period, buckets } => {
                let since = |length: u64| self.since(|time| time.0.saturating_add(length) > now.0);
                let bucket = period.0.div_ceil(u64::from(buckets));
                (left(since(period.0 + bucket)), left(since(period.0)))
            }
            Algorithm::Burst { period, burst } => {
                let left = |now: u64| {
                    // In parts of a microsecond of which the quota makes a whole one: nothing is rounded.
                    let at = |time: u64| u128::from(time) * u128::from(limit.quota);
                    let arrival = self.0.iter().fold(0, |arrival: u128, (time, cost)| match cost {
                        0 => arrival,
                        cost => arrival.max(at(time.0)) + u128::from(*cost) * u128::from(period.0),
                    });
                    let room = at(now) + u128::from(burst) * u128::from(period.0);
                    let left = room.saturating_sub(arrival.max(at(now))) / u128::from(period.0);
                    u64::try_from(left).unwrap_or(u64::MAX)
                };
                (left(now.0.saturating_sub(ROUNDING)), left(now.0))
            }
        }
    }

    /// A time that means something to the limit.
    pub(super) fn period(limit: &Limit, now: Micros) -> Micros {
        match limit.algorithm {
            Algorithm::Fixed(_) | Algorithm::Calendar(_) => {
                let (start, end) = window(limit.algorithm, now);
                end.saturating_sub(start)
            }
            Algorithm::Sliding { period, .. } => period,
            Algorithm::Burst { period, .. } => Micros((period.0 / limit.quota).max(1)),
        }
    }

    fn since(&self, counts: impl Fn(Micros) -> bool) -> u64 {
        self.0.iter().filter(|(time, _)| counts(*time)).map(|(_, cost)| cost).sum()
    }
}

/// Of bytes there has to be one left.
fn asked(limit: &Limit, cost: u64) -> u64 {
    if limit.unit == Unit::Requests { cost } else { cost.max(1) }
}

fn window(algorithm: Algorithm, now: Micros) -> (Micros, Micros) {
    match algorithm {
        Algorithm::Fixed(length) => {
            let number = now.0 / length.0;
            (Micros(number * length.0), Micros((number + 1) * length.0))
        }
        // Its own tests know better.
        Algorithm::Calendar(calendar) => Calendar::window(calendar, now),
        _ => (now, now),
    }
}
