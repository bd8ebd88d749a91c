//! The store, in a few lines: what the scripts do in Redis.

use std::collections::{BTreeMap, HashMap};

use super::super::Micros;
use super::span::emission;
use super::{Outcome, Reply, Report, Sync, TRUST};
use crate::limits::{Algorithm, CounterKey};

#[derive(Debug, Default)]
pub(super) struct Simulated(HashMap<CounterKey, Entry>);

#[derive(Debug, Default)]
struct Entry {
    gateways: BTreeMap<u32, Told>,
    spans: BTreeMap<u64, u64>,
    arrival: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    number: u64,
    seen: u64,
    spare: u64,
    start: u64,
    taken: u64,
    before: (u64, u64),
}

// === impl Simulated ===

impl Simulated {
    pub(super) fn lose_memory(&mut self) {
        self.0.clear();
    }

    pub(super) fn answer(&mut self, gateway: u32, sync: &Sync, time: Micros) -> Reply {
        let entry = self.0.entry(sync.key).or_default();
        let reply = |outcome| Reply { time, outcome };
        let told = entry.gateways.get(&gateway).copied().unwrap_or_default();
        if let Report::Pot { start, end, .. } = sync.report
            && !(start <= time && time < end)
        {
            return reply(Outcome::Elsewhen);
        }
        if told.number >= sync.number {
            return reply(Outcome::Late);
        }
        match sync.report {
            Report::Pot { start, end, oldest, taken, before, spare, most_spare } => {
                entry.spans.retain(|span, _| *span >= oldest.0);
                for (span, now) in [(start.0, taken), (before.0.0, before.1)] {
                    if span < oldest.0 {
                        continue;
                    }
                    let then = if told.start == span {
                        told.taken
                    } else if told.before.0 == span {
                        told.before.1
                    } else {
                        0
                    };
                    let total = entry.spans.entry(span).or_default();
                    *total = (*total + now).saturating_sub(then);
                }
                let used: u64 = entry.spans.values().sum();
                let others = entry.gateways.iter().filter(|(other, told)| {
                    **other != gateway && told.start == start.0 && told.seen + TRUST.0 > time.0
                });
                let (mut elsewhere, mut holders) = (0, 1);
                for (_, told) in others {
                    elsewhere += told.spare;
                    holders += 1;
                }
                let left = sync.limit.quota.saturating_sub(used);
                let granted = sync.need.min(left);
                let left = left - granted;
                let most = most_spare.saturating_sub(elsewhere).div_ceil(2);
                let more = sync.wish.min(most).saturating_sub(spare).min(left / (2 * holders));
                *entry.spans.entry(start.0).or_default() += granted + more;
                let told = Told {
                    number: sync.number,
                    seen: time.0,
                    spare: spare + more,
                    start: start.0,
                    taken: taken + granted + more,
                    before: (before.0.0, before.1),
                };
                entry.gateways.insert(gateway, told);
                let first = entry.spans.iter().find(|(_, units)| **units > 0).map_or(start.0, |(span, _)| *span);
                let at = first + (end.0 - oldest.0);
                reply(Outcome::Debited { granted, spare: more, left: left - more, elsewhere, at })
            }
            Report::Slots { debt, back, arrival } => {
                let Algorithm::Burst { burst, .. } = sync.limit.algorithm else { return reply(Outcome::Late) };
                let span = |units| emission(&sync.limit, units);
                let now = time.0 * 1000;
                let mut end = entry.arrival.max(arrival);
                if back.0 == end {
                    end -= span(back.1).min(end);
                }
                let period = if let Algorithm::Burst { period, .. } = sync.limit.algorithm { period.0 } else { 1 };
                end = end.max(now);
                end = end.max((end + span(debt)).min(now + span(burst) + period * 1000));
                let room = (now + span(burst)).saturating_sub(end);
                let left = u128::from(room) * u128::from(sync.limit.quota) / u128::from(period * 1000);
                let left = u64::try_from(left).unwrap();
                let granted = sync.need.min(left);
                let spare = sync.wish.min(left - granted);
                end += span(granted + spare);
                entry.arrival = end;
                entry.gateways.insert(gateway, Told { number: sync.number, ..Told::default() });
                let left = left - granted - spare;
                reply(Outcome::Debited { granted, spare, left, elsewhere: 0, at: end })
            }
        }
    }
}
