//! Whether a lease has what a request wants, and what is debited then.

use super::super::counter::Time;
use super::super::{Algorithm, Charge, Limit, Micros, OnFailure, Unit, Usage};
use super::{Clocks, Held, Lease, Stock};

/// How long whoever has no part of a limit is asked to wait: the store may be back.
const AGAIN: Micros = Micros(5 * Micros::SECOND.0);

/// How one charge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Held,
    Spendable,
    /// By the gateway's part.
    Part,
    /// Nobody counts.
    Free,
    /// Let through all the same.
    Beyond,
    Lacking(Micros),
    Waits(u64),
    Unavailable,
}

// === impl Lease ===

impl Lease {
    pub(super) fn standing(
        &mut self,
        limit: &Limit,
        cost: u64,
        waited: bool,
        now: Clocks,
        lost: Option<(u32, u32)>,
    ) -> Standing {
        // Of bytes there has to be one left.
        let cost = if limit.unit == Unit::Requests { cost } else { cost.max(1) };
        let lacking = |wait| if limit.stops { Standing::Lacking(wait) } else { Standing::Beyond };
        if waited || cost == 0 {
            return Standing::Held;
        }
        let time = self.time(now);
        self.settle(time);
        if self.debt.is_none() && self.spendable(now.steady) >= cost {
            return Standing::Spendable;
        }
        let most = match limit.algorithm {
            Algorithm::Burst { burst, .. } => burst,
            _ => limit.quota,
        };
        if cost > most {
            return lacking(Micros::NEVER);
        }
        if let Some(wait) = self.refusal(cost, now.steady) {
            return lacking(wait);
        }
        match (lost, limit.sharing.on_failure) {
            (None, _) => Standing::Waits(cost),
            (Some(_), OnFailure::Deny) => Standing::Unavailable,
            (Some(_), OnFailure::Allow) => Standing::Free,
            (Some(gateways), OnFailure::Part) => {
                let Some(part) = self.part(gateways, now) else { return lacking(AGAIN) };
                match part.wait(cost, time) {
                    Time::Now => Standing::Part,
                    Time::In(wait) => lacking(wait),
                    Time::Never => lacking(Micros::NEVER),
                }
            }
        }
    }

    pub(super) fn debit(&mut self, charge: &Charge<'_>, standing: Standing, held: Option<Held>, now: Clocks) {
        match (standing, held) {
            (Standing::Spendable, _) => self.spend(charge.cost, now.steady),
            (Standing::Held, Some(held)) => {
                if let Stock::Slots(slots) = &mut self.stock {
                    slots.earn(charge.limit, charge.cost);
                }
                // Of bytes there had to be one; how many it is will be known.
                if held.cost > charge.cost {
                    self.take_back(Held { cost: held.cost - charge.cost, ..held });
                }
            }
            (Standing::Part, _) => {
                let time = self.time(now);
                if let Some(part) = &mut self.part {
                    part.debit(charge.cost, time);
                }
                // The store learns of it when there is one.
                self.owe(charge.cost, now);
            }
            _ => {}
        }
    }

    pub(super) fn spare(&self) -> u64 {
        match &self.stock {
            Stock::Pot(pot) => pot.spare(),
            Stock::Slots(slots) => slots.spare(),
        }
    }

    pub(super) fn usage(&self, limit: &Limit, now: Micros) -> Usage {
        let remaining = self.left.saturating_add(self.spendable(now)).min(limit.quota);
        let reset = match (&self.stock, self.clock) {
            (Stock::Pot(pot), Some(clock)) => pot.end().saturating_sub(clock.earliest(now)),
            (Stock::Slots(slots), Some(clock)) => slots.over().saturating_sub(clock.earliest(now)),
            (_, None) => Micros(0),
        };
        Usage { remaining, reset, beyond: false }
    }
}
