//! What is told of shared limits: in metrics, and in `/status`.

use std::sync::Weak;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use serde::Serialize;

use super::leased::Leased;
use super::{Limits, Store};
use crate::metrics::{Reading, Value, families};

#[derive(Debug)]
pub(crate) struct StoreShown(pub(crate) Weak<Store>);

#[derive(Debug)]
pub(crate) struct Shown(pub(crate) Weak<Limits>);

/// How the store stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SharedStatus {
    /// `single`, `sentinel` or `cluster`.
    kind: &'static str,
    reachable: bool,
    /// Seconds since 1970.
    since: u64,
    losses: u64,
    #[serde(skip_serializing_if = "is_zero")]
    troubled_ranges: usize,
    gateways: u32,
    /// Counters that the store is yet to be told about.
    debts: usize,
    leases: LeaseStatus,
    /// What went wrong last, while it cannot be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde wants it
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// What this gateway has debited in advance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaseStatus {
    limits: usize,
    /// Units that are spare now.
    spare: u64,
    /// Units in all since the start: debited, given back, and neither given back nor spent in time.
    taken: u64,
    returned: u64,
    stranded: u64,
    /// The largest part of a quota that was stranded in one window.
    undershoot: f64,
}

// === impl Limits ===

impl Limits {
    /// `None`: nothing is shared.
    pub fn status(&self) -> Option<SharedStatus> {
        let shared = self.shared.as_ref().filter(|shared| shared.store.is_wanted())?;
        let state = shared.store.state();
        Some(SharedStatus {
            kind: state.kind,
            reachable: state.reachable,
            since: state.since,
            losses: state.losses,
            troubled_ranges: state.troubled,
            gateways: state.gateways,
            debts: shared.owed.len(),
            leases: LeaseStatus::of(&shared.leased),
            error: state.error.filter(|_| !state.reachable || state.troubled > 0),
        })
    }
}

// === impl LeaseStatus ===

impl LeaseStatus {
    fn of(leased: &Leased) -> LeaseStatus {
        let (leases, units) = (leased.leases(), leased.leases().units());
        LeaseStatus {
            limits: leases.len(),
            spare: leases.spare(),
            taken: units.all(),
            returned: units.back(),
            stranded: units.lost(),
            undershoot: units.worst(),
        }
    }

    fn readings(&self, leased: &Leased) -> [Reading; 5] {
        let outcomes = [("taken", self.taken), ("returned", self.returned), ("stranded", self.stranded)];
        let samples = outcomes.map(|(outcome, units)| (vec![outcome.to_owned()], Value::Integer(units)));
        [
            Reading { family: &families::LIMIT_LEASE_UNITS, samples: samples.into() },
            Reading::of(&families::LIMIT_LEASES, Value::Integer(self.limits as u64)),
            Reading::of(&families::LIMIT_LEASE_SPARE, Value::Integer(self.spare)),
            Reading::of(&families::LIMIT_LEASE_UNDERSHOOT, Value::Float(self.undershoot)),
            Reading::of(&families::LIMIT_LEASE_WAITS, Value::Integer(leased.waited())),
        ]
    }
}

// === impl StoreShown ===

impl Collector for StoreShown {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(store) = self.0.upgrade() else { return Ok(()) };
        let state = store.state();
        let readings = [
            (&families::LIMIT_STORE_REACHABLE, u64::from(state.reachable)),
            (&families::LIMIT_STORE_LOSSES, state.losses),
            (&families::LIMIT_GATEWAYS, state.gateways.into()),
        ]
        .map(|(family, value)| Reading::of(family, Value::Integer(value)));
        readings.iter().try_for_each(|reading| reading.encode(&mut encoder))
    }
}

// === impl Shown ===

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(limits) = self.0.upgrade() else { return Ok(()) };
        let refusals = limits.refusals.read().into_iter();
        let refusals = refusals.map(|(level, policy, count)| (vec![level.to_owned(), policy], Value::Integer(count)));
        let own = [
            Reading::of(&families::LIMIT_COUNTERS, Value::Integer(limits.counters() as u64)),
            Reading::of(&families::LIMIT_OVERFLOWS, Value::Integer(limits.overflows())),
            Reading { family: &families::LIMIT_REFUSALS, samples: refusals.collect() },
        ];
        own.iter().try_for_each(|reading| reading.encode(&mut encoder))?;
        let leased = limits.shared.as_ref().map(|shared| shared.leased.leases().alone()).unwrap_or_default();
        let counts = limits.fallbacks.counts().into_iter().zip(leased);
        let fallbacks: Vec<_> =
            counts.map(|((policy, exact), leased)| (vec![policy.to_owned()], Value::Integer(exact + leased))).collect();
        Reading { family: &families::LIMIT_FALLBACKS, samples: fallbacks }.encode(&mut encoder)?;
        let Some(shared) = &limits.shared else { return Ok(()) };
        let leases = LeaseStatus::of(&shared.leased).readings(&shared.leased);
        leases.iter().try_for_each(|reading| reading.encode(&mut encoder))?;
        Reading::of(&families::LIMIT_DEBTS, Value::Integer(shared.owed.len() as u64)).encode(&mut encoder)?;
        Reading::of(&families::LIMIT_DEBTS_FORGOTTEN, Value::Integer(shared.owed.forgotten())).encode(&mut encoder)
    }
}
