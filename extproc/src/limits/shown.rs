//! What is told of shared limits in metrics.

use std::sync::Weak;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::Store;
use crate::metrics::{Reading, Value, families};

#[derive(Debug)]
pub(crate) struct Shown(pub(crate) Weak<Store>);

impl Collector for Shown {
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
