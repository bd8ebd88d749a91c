//! What a request asks of counters, and what it is told.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{CounterKey, Limit, Micros};

/// What a request draws from one counter.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    pub key: CounterKey,
    pub limit: &'a Arc<Limit>,
    /// 0 of a limit of bytes: what is in flight is counted when it is over.
    pub cost: u64,
}

/// The same, for a question that outlives the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedCharge {
    pub key: CounterKey,
    pub limit: Arc<Limit>,
    pub cost: u64,
}

/// All that one request draws. In the order of levels.
pub type Draft = Arc<[OwnedCharge]>;

/// What became of it.
#[derive(Clone, Debug)]
pub enum Spending {
    /// All were debited.
    Granted(Usages),
    /// None was.
    Refused {
        /// The first that had not enough left.
        by: usize,
        /// Until all have enough, if nothing else is used. [`Micros::NEVER`]: one never has.
        wait: Micros,
        usages: Usages,
    },
    /// A store has to be asked ([`crate::Lookup::Spend`]); nothing was debited.
    Ask,
    /// Nobody can tell, and the policy says that nobody is let in then.
    Unavailable,
}

/// One for each charge, in their order.
pub type Usages = SmallVec<[Usage; 4]>;

/// How a counter is after a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the quota.
    pub remaining: u64,
    /// Until all of the quota is there again, if nothing else is used; of windows, until the next.
    pub reset: Micros,
    /// The quota was exceeded, and the policy lets that through.
    pub beyond: bool,
}

// === impl Charge ===

impl Charge<'_> {
    pub fn owned(self) -> OwnedCharge {
        OwnedCharge { key: self.key, limit: Arc::clone(self.limit), cost: self.cost }
    }
}

// === impl OwnedCharge ===

impl OwnedCharge {
    pub fn as_charge(&self) -> Charge<'_> {
        Charge { key: self.key, limit: &self.limit, cost: self.cost }
    }
}
