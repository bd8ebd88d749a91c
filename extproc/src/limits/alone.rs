//! What a gateway does by itself while the store cannot be reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use microgw_engine::limits::{Limit, OnFailure, OwnedCharge};

/// How often that was done, by what policies say.
#[derive(Debug, Default)]
pub(super) struct Fallbacks([AtomicU64; 3]);

/// How one charge is counted here.
#[derive(Debug)]
pub(super) enum Alone {
    Counted(OwnedCharge),
    /// Of what there is, nothing is this gateway's part.
    NoPart,
    Denied,
}

// === impl Alone ===

impl Alone {
    /// `gateways`: how many there are, and which of them this one is.
    pub(super) fn of(charge: &OwnedCharge, gateways: (u32, u32)) -> Alone {
        match charge.limit.sharing.on_failure {
            OnFailure::Deny => Alone::Denied,
            OnFailure::Allow => {
                let limit = Limit { stops: false, ..(*charge.limit).clone() };
                Alone::Counted(OwnedCharge { limit: Arc::new(limit), ..charge.clone() })
            }
            OnFailure::Part => match charge.limit.part(gateways) {
                None => Alone::NoPart,
                Some(limit) => Alone::Counted(OwnedCharge { limit: Arc::new(limit), ..charge.clone() }),
            },
        }
    }
}

// === impl Fallbacks ===

impl Fallbacks {
    pub(super) fn count(&self, done: OnFailure) {
        if let Some(count) = self.0.get(done as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// By the names that policies have for them.
    pub(super) fn counts(&self) -> [(&'static str, u64); 3] {
        let [part, deny, allow] = &self.0;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("local", count(part)), ("deny", count(deny)), ("allow", count(allow))]
    }
}
