//! What is counted here: by this gateway alone, and of what it has leased.

use microgw_engine::limits::lease::Spent;
use microgw_engine::limits::{Charge, Mode, Spending, Usage, Usages};
use smallvec::SmallVec;

use super::Limits;
use super::leased::Grant;
use crate::clock;

/// Charges, by index, that have to wait for so many units.
pub(super) type Waits = SmallVec<[(usize, u64); 4]>;

// === impl Limits ===

impl Limits {
    /// All of it, or nothing. `grants` has what was waited for before. `lost`: there is nobody to wait for.
    pub(super) fn draw(&self, charges: &[Charge<'_>], grants: &mut [Grant], lost: bool) -> Result<Spending, Waits> {
        let now = clock::micros();
        let is_leased = |charge: &Charge<'_>| charge.limit.sharing.mode == Mode::Leased;
        let Some(shared) = self.shared.as_ref().filter(|_| charges.iter().any(is_leased)) else {
            let nothing = charges.is_empty();
            return Ok(if nothing { Spending::Granted(Usages::new()) } else { self.table.spend(charges, now) });
        };
        let mut places: [SmallVec<[usize; 4]>; 2] = Default::default();
        let [own, leased] = &mut places;
        for (index, charge) in charges.iter().enumerate() {
            if is_leased(charge) { leased.push(index) } else { own.push(index) }
        }
        let pick = |places: &[usize]| -> SmallVec<[Charge<'_>; 4]> {
            places.iter().filter_map(|place| charges.get(*place).copied()).collect()
        };
        let (own_charges, leased_charges) = (pick(own), pick(leased));
        for grant in grants.iter_mut() {
            grant.counted(|index| leased.iter().position(|own| *own == index));
        }
        let mut of_own: Option<Spending> = None;
        let others = || {
            let spending = if own_charges.is_empty() {
                Spending::Granted(Usages::new())
            } else {
                self.table.spend(&own_charges, now)
            };
            of_own.insert(spending).clone()
        };
        let (spent, leased_usages) = shared.leased.spend(&leased_charges, grants, lost, others);
        for grant in grants.iter_mut() {
            grant.counted(|place| leased.get(place).copied());
        }
        let index = |places: &[usize], place: usize| places.get(place).copied().unwrap_or(0);
        let spending = match spent {
            Spent::Wait(waits) => {
                return Err(waits.into_iter().map(|(place, cost)| (index(leased, place), cost)).collect());
            }
            Spent::Done(spending) => spending,
        };
        let own_usages = match &of_own {
            Some(Spending::Granted(usages) | Spending::Refused { usages, .. }) => usages.clone(),
            _ => self.look(&own_charges),
        };
        let mut usages: Usages = charges.iter().map(|_| Usage::default()).collect();
        let each = own.iter().zip(own_usages).chain(leased.iter().zip(leased_usages));
        for (place, usage) in each {
            if let Some(slot) = usages.get_mut(*place) {
                *slot = usage;
            }
        }
        Ok(match spending {
            Spending::Granted(_) => Spending::Granted(usages),
            Spending::Refused { by, wait, .. } => {
                let by = index(if of_own.is_some() { own } else { leased }, by);
                Spending::Refused { by, wait, usages }
            }
            Spending::Ask | Spending::Unavailable => Spending::Unavailable,
        })
    }

    /// How counters are, without debiting them.
    fn look(&self, charges: &[Charge<'_>]) -> Usages {
        if charges.is_empty() {
            return Usages::new();
        }
        let free: SmallVec<[Charge<'_>; 4]> = charges.iter().map(|charge| Charge { cost: 0, ..*charge }).collect();
        match self.table.spend(&free, clock::micros()) {
            Spending::Granted(usages) | Spending::Refused { usages, .. } => usages,
            Spending::Ask | Spending::Unavailable => Usages::new(),
        }
    }
}
