//! Before the store is asked: what this gateway knows by itself costs nobody else anything.

use std::borrow::Cow;

use microgw_engine::limits::{Charge, Mode, OwnedCharge, Spending, Usage, Usages};
use smallvec::SmallVec;

use super::Limits;
use crate::clock;

// === impl Limits ===

impl Limits {
    /// A request that a limit of this gateway's own refuses holds nothing of what gateways share, not even for the moment until it would be
    /// given back.
    pub(super) fn refused_here(&self, charges: &[Charge<'_>]) -> Option<Spending> {
        let is_own = |charge: &&Charge<'_>| charge.limit.sharing.mode == Mode::Local;
        let own: SmallVec<[Charge<'_>; 4]> = charges.iter().filter(is_own).copied().collect();
        if own.is_empty() {
            return None;
        }
        let Spending::Refused { by, wait, .. } = self.table.would_spend(&own, clock::micros()) else { return None };
        let (by, _) = charges.iter().enumerate().filter(|(_, charge)| is_own(charge)).nth(by)?;
        // How all are, as far as it is known here.
        let free: SmallVec<[Charge<'_>; 4]> = charges.iter().map(|charge| Charge { cost: 0, ..*charge }).collect();
        let usages = match self.draw(&free, &mut [], false) {
            Ok(Spending::Granted(usages) | Spending::Refused { usages, .. }) => usages,
            Ok(Spending::Ask | Spending::Unavailable) | Err(_) => Usages::new(),
        };
        let usages = charges.iter().enumerate().map(|(index, _)| usages.get(index).copied().unwrap_or_default());
        Some(Spending::Refused { by, wait, usages: usages.collect::<SmallVec<[Usage; 4]>>() })
    }

    /// In the store there are no more counters than this gateway has room for: of names that clients make up there is no end. Who has none
    /// shares one there, too.
    pub(super) fn bounded<'a>(&self, charges: &'a [OwnedCharge]) -> Cow<'a, [OwnedCharge]> {
        let mut bounded = Cow::Borrowed(charges);
        for (index, charge) in charges.iter().enumerate().filter(|(_, own)| own.limit.sharing.mode == Mode::Exact) {
            if !self.table.has_own(&charge.as_charge(), clock::micros())
                && let Some(place) = bounded.to_mut().get_mut(index)
            {
                place.key = charge.limit.overflow;
            }
        }
        bounded
    }
}
