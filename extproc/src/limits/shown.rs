//! What is told of shared limits: in metrics, and in `/status`.

use std::sync::Weak;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use serde::Serialize;

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
    /// What went wrong last, while it cannot be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde wants it
fn is_zero(number: &usize) -> bool {
    *number == 0
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
            error: state.error.filter(|_| !state.reachable || state.troubled > 0),
        })
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
        let fallbacks =
            limits.fallbacks.counts().map(|(policy, count)| (vec![policy.to_owned()], Value::Integer(count)));
        Reading { family: &families::LIMIT_FALLBACKS, samples: fallbacks.into() }.encode(&mut encoder)?;
        let Some(shared) = &limits.shared else { return Ok(()) };
        Reading::of(&families::LIMIT_DEBTS, Value::Integer(shared.owed.len() as u64)).encode(&mut encoder)?;
        Reading::of(&families::LIMIT_DEBTS_FORGOTTEN, Value::Integer(shared.owed.forgotten())).encode(&mut encoder)
    }
}
