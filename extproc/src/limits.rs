//! Counters of limits: this gateway's own, and those that it shares.

mod shown;
pub mod store;

use microgw_engine::limits::{Charge, Draft, Spending, Table};

use crate::clock;
pub(crate) use shown::Shown;
pub use store::Store;

/// What was used of every limit.
#[derive(Debug)]
pub struct Limits {
    table: Table,
}

/// Counters that there is room for, unless said otherwise.
pub const ROOM: usize = 100_000;

// === impl Limits ===

impl Limits {
    /// With room for that many counters.
    pub fn new(room: usize) -> Limits {
        Limits { table: Table::new(room) }
    }

    /// What can be debited here and now.
    pub(crate) fn spend(&self, charges: &[Charge<'_>]) -> Spending {
        self.table.spend(charges, clock::micros())
    }

    /// Debits where somebody has to be asked.
    pub(crate) async fn ask(&self, draft: &Draft) -> Spending {
        let charges: Vec<Charge<'_>> = draft.iter().map(|charge| charge.as_charge()).collect();
        self.spend(&charges)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new(ROOM)
    }
}
