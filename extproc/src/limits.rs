//! Counters of limits: this gateway's own, and those that it shares.

mod alone;
mod before;
mod exact;
mod here;
mod leased;
mod marks;
mod owed;
mod refusals;
mod shown;
pub mod store;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use microgw_engine::Decision;
use microgw_engine::limits::{Charge, Draft, Level, Limit, Micros, Mode, OwnedCharge, Spending, Table, Usage, Usages};
use microgw_proto::limits::v1::sharing;
use microgw_proto::rules::v1::RuleBook;
use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};

use self::alone::{Alone, Fallbacks};
use self::here::Waits;
use self::leased::{Grant, Leased};
use self::owed::Owed;
use self::refusals::Refusals;
use crate::clock;
use crate::metrics::Metrics;
pub use exact::{Debit, Exact, Fate};
use marks::Marks;
pub use shown::SharedStatus;
pub(crate) use shown::{Shown, StoreShown};
pub use store::Store;

/// What was used of every limit.
#[derive(Debug)]
pub struct Limits {
    table: Table,
    marks: Arc<Marks>,
    /// `None`: gateways share nothing.
    shared: Option<Shared>,
    fallbacks: Fallbacks,
    refusals: Refusals,
}

/// What gateways count together.
#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    exact: Arc<Exact>,
    leased: Arc<Leased>,
    owed: Arc<Owed>,
    /// When the store last did not answer a decision, by the gateway's clock.
    unanswered: AtomicU64,
}

/// Counters that there is room for, unless said otherwise.
pub const ROOM: usize = 100_000;
/// How long whoever has no part of a limit is asked to wait: the store may be back.
const AGAIN: Micros = Micros(5 * Micros::SECOND.0);

// === impl Limits ===

impl Limits {
    /// With room for that many counters.
    pub fn new(room: usize) -> Limits {
        Limits {
            table: Table::new(room, secret()),
            marks: Arc::default(),
            shared: None,
            fallbacks: Fallbacks::default(),
            refusals: Refusals::default(),
        }
    }

    /// Shares what is to be shared there. On a runtime.
    #[must_use]
    pub fn sharing(self, store: Arc<Store>, room: usize) -> Limits {
        let (exact, owed) = (Arc::new(Exact::new(Arc::clone(&store))), Owed::new(room));
        tokio::spawn(owed::tell(Arc::downgrade(&owed), Arc::downgrade(&exact)));
        let leased = Leased::start(Arc::clone(&store), room, secret());
        Limits { shared: Some(Shared { store, exact, leased, owed, unanswered: AtomicU64::new(0) }), ..self }
    }

    /// Gets ready for what these rules share.
    pub fn prepare(&self, book: &RuleBook) {
        if let Some(shared) = self.shared.as_ref().filter(|_| shares(book)) {
            shared.store.want();
        }
    }

    pub fn store(&self) -> Option<&Arc<Store>> {
        self.shared.as_ref().map(|shared| &shared.store)
    }

    /// Counters that are held, those that have expired and were not dropped yet included.
    pub fn counters(&self) -> usize {
        self.table.len()
    }

    /// Draws that were counted with those of other callers, for want of room.
    pub fn overflows(&self) -> u64 {
        let leases = self.shared.as_ref().map_or(0, |shared| shared.leased.leases().overflowed());
        self.table.overflowed().saturating_add(leases)
    }

    /// A request was answered so.
    pub(crate) fn refused(&self, limit: &Limit) {
        self.refusals.count(limit);
    }

    /// What can be debited here and now.
    pub(crate) fn spend(&self, charges: &[Charge<'_>]) -> Spending {
        if charges.iter().all(|charge| charge.limit.sharing.mode == Mode::Local) {
            return self.table.spend(charges, clock::micros());
        }
        let asks = charges.iter().any(|charge| charge.limit.sharing.mode == Mode::Exact);
        match &self.shared {
            Some(shared) if asks && shared.store.is_reachable() => self.refused_here(charges).unwrap_or(Spending::Ask),
            Some(_) if !asks => self.draw(charges, &mut [], false).unwrap_or(Spending::Ask),
            // Nobody waits for who is not there.
            _ => {
                let charges: Vec<OwnedCharge> = charges.iter().map(|charge| charge.owned()).collect();
                let fates = self.nobody_asked(&charges);
                self.conclude(&charges, &fates, &mut [], true).unwrap_or(Spending::Ask)
            }
        }
    }

    /// Shows what is beyond quotas, and what nobody has declared.
    pub(crate) fn show_marks(&self, metrics: &Metrics) {
        metrics.show_marks(Arc::clone(&self.marks));
    }

    pub(crate) fn decided(&self, decision: &Decision<'_>) {
        self.marks.decided(decision);
    }

    pub(crate) fn unknown_tier(&self, level: Level, tier: &str) {
        self.marks.unknown_tier(level, tier);
    }

    /// Debits where somebody has to be asked.
    pub(crate) async fn ask(&self, draft: &Draft) -> Spending {
        let (mut grants, mut lost) = (Vec::new(), false);
        let Some(shared) = &self.shared else {
            let fates = self.nobody_asked(draft);
            return self.conclude(draft, &fates, &mut grants, true).unwrap_or(Spending::Unavailable);
        };
        let deadline = shared.store.deadline();
        let charges = &*self.bounded(draft);
        let fates = shared.exact.spend(charges, None).await;
        loop {
            match self.conclude(charges, &fates, &mut grants, lost) {
                Ok(granted @ Spending::Granted(_)) => return granted,
                // Whoever comes next finds what was given back, unless that takes too long.
                Ok(refused) => {
                    let _ = timeout_at(deadline, shared.exact.refund(charges, &fates, None)).await;
                    return refused;
                }
                // Once more, without waiting.
                Err(_) if lost => {
                    drop(shared.exact.refund(charges, &fates, None));
                    return Spending::Unavailable;
                }
                Err(waits) => {
                    let (more, none) = shared.leased.wait(charges, &waits, deadline).await;
                    grants.extend(more);
                    lost = none || Instant::now() >= deadline;
                }
            }
        }
    }

    /// What becomes of charges where there is no store.
    fn nobody_asked(&self, charges: &[OwnedCharge]) -> Vec<Option<Fate>> {
        let lost = |charge: &OwnedCharge| match charge.limit.sharing.mode {
            Mode::Exact => Some(Fate::Lost),
            // What was leased is still there.
            Mode::Leased if self.shared.is_none() => Some(Fate::Lost),
            Mode::Leased | Mode::Local => None,
        };
        charges.iter().map(lost).collect()
    }

    /// Gives back what was leased and is not spent, as far as the store can be told within that time, and leaves it.
    pub async fn close(&self, patience: Duration) {
        if let Some(shared) = &self.shared {
            shared.leased.close(patience).await;
        }
    }

    /// Counts what was used without having been asked for.
    pub fn add(&self, charge: &OwnedCharge) {
        if let Some(shared) = self.shared.as_ref().filter(|_| charge.limit.sharing.mode == Mode::Leased) {
            return shared.leased.add(&charge.as_charge());
        }
        let charge = &self.bounded(std::slice::from_ref(charge));
        let Some(charge) = charge.first() else { return };
        // Here, too: without the store it is known how much was used by this gateway.
        self.table.add(&charge.as_charge(), clock::micros());
        if let Some(shared) = self.shared.as_ref().filter(|_| charge.limit.sharing.mode == Mode::Exact) {
            shared.owed.owe(charge, shared.store.now());
        }
    }

    /// Debits what is counted here, after what is counted in the store (`fates`) was; if nothing is granted that is to be given back. `Err`: leases have to be waited
    /// for first. `lost`: there is nobody to wait for.
    fn conclude(
        &self,
        charges: &[OwnedCharge],
        fates: &[Option<Fate>],
        grants: &mut [Grant],
        lost: bool,
    ) -> Result<Spending, Waits> {
        let now = clock::micros();
        let gateways = self.store().map_or((1, 0), |store| store.gateways());
        if let Some(shared) = self.shared.as_ref().filter(|_| fates.contains(&Some(Fate::Lost))) {
            shared.unanswered.store(now.0, Ordering::SeqCst);
        }
        let mut here: SmallVec<[(usize, OwnedCharge); 4]> = SmallVec::new();
        let mut refused = Refusal::default();
        for (index, (charge, fate)) in charges.iter().zip(fates).enumerate() {
            match fate {
                None => here.push((index, charge.clone())),
                // Of what was admitted here meanwhile the store may not know: nobody but this gateway does.
                Some(Fate::Has { debit: Some(_), .. }) if self.is_doubtful(charge, now) => {
                    here.push((index, charge.clone()));
                }
                Some(Fate::Has { .. }) => {}
                Some(Fate::Lacks { wait, .. }) => refused.add(index, *wait),
                Some(Fate::Lost) => {
                    self.fallbacks.count(charge.limit.sharing.on_failure);
                    match Alone::of(charge, gateways) {
                        Alone::Counted(charge) => here.push((index, charge)),
                        Alone::NoPart => refused.add(index, AGAIN),
                        Alone::Denied => return Ok(Spending::Unavailable),
                    }
                }
            }
        }
        if refused.is_any() {
            // How the others are, without debiting them.
            for (_, charge) in &mut here {
                charge.cost = 0;
            }
        }
        let drawn: SmallVec<[Charge<'_>; 4]> = here.iter().map(|(_, charge)| charge.as_charge()).collect();
        // Charges are counted anew, those that are counted here.
        let place = |index: usize| here.iter().position(|(own, _)| *own == index);
        for grant in grants.iter_mut() {
            grant.counted(place);
        }
        let spending = self.draw(&drawn, grants, lost);
        for grant in grants.iter_mut() {
            grant.counted(|place| here.get(place).map(|(index, _)| *index));
        }
        let spending = match spending {
            Ok(spending) => spending,
            Err(_) if refused.is_any() => Spending::Unavailable,
            Err(waits) => {
                let index = |(place, cost): (usize, u64)| Some((here.get(place)?.0, cost));
                return Err(waits.into_iter().filter_map(index).collect());
            }
        };
        let found = match spending {
            Spending::Granted(found) => found,
            Spending::Refused { by, wait, usages } => {
                if let Some((index, _)) = here.get(by) {
                    refused.add(*index, wait);
                }
                usages
            }
            // Nothing was debited here, and nobody is let in because of it.
            Spending::Ask | Spending::Unavailable if !refused.is_any() => return Ok(Spending::Unavailable),
            Spending::Ask | Spending::Unavailable => Usages::new(),
        };
        let mut usages: Usages = fates
            .iter()
            .zip(charges)
            .map(|(fate, charge)| fate_usage(fate.as_ref(), charge, refused.is_any()))
            .collect();
        for ((index, charge), usage) in here.iter().zip(found) {
            if let Some(place) = usages.get_mut(*index) {
                if matches!(fates.get(*index), Some(Some(Fate::Has { .. }))) && place.remaining <= usage.remaining {
                    continue;
                }
                // Allowed since nobody knows, which is not what `beyond` is about.
                let known = charges.get(*index).is_none_or(|own| own.limit.stops == charge.limit.stops);
                *place = Usage { beyond: usage.beyond && known, ..usage };
            }
        }
        if let Some((by, wait)) = refused.0 {
            return Ok(Spending::Refused { by, wait, usages });
        }
        self.remember(charges, fates, |index| here.iter().any(|(own, _)| *own == index), now);
        Ok(Spending::Granted(usages))
    }

    fn is_doubtful(&self, charge: &OwnedCharge, now: Micros) -> bool {
        self.shared.as_ref().is_some_and(|shared| {
            let unanswered = Micros(shared.unanswered.load(Ordering::SeqCst));
            let lately = u128::from(now.0.saturating_sub(unanswered.0)) < owed::DOUBT.as_micros();
            lately || shared.owed.is_doubtful(charge.key)
        })
    }

    /// What was debited in the store is known here, in case it is lost, and as a name that has its place; what was not, because it is,
    /// will be told when it is back. `is_drawn`: it was debited here already.
    fn remember(&self, charges: &[OwnedCharge], fates: &[Option<Fate>], is_drawn: impl Fn(usize) -> bool, now: Micros) {
        let Some(shared) = &self.shared else { return };
        for (index, (charge, fate)) in charges.iter().zip(fates).enumerate() {
            match fate {
                Some(Fate::Has { debit: Some(_), .. }) if is_drawn(index) => {}
                Some(Fate::Has { debit: Some(_), .. }) => self.table.add(&charge.as_charge(), now),
                Some(Fate::Lost) => shared.owed.owe(charge, shared.store.now()),
                _ => {}
            }
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new(ROOM)
    }
}

/// Of this process.
fn secret() -> [u64; 2] {
    [0, 1].map(|number: u64| RandomState::new().hash_one(number))
}

fn shares(book: &RuleBook) -> bool {
    let tiers = book.tiers.as_ref();
    let custom = tiers.into_iter().flat_map(|tiers| &tiers.custom).filter_map(|custom| custom.policy.as_ref());
    let tiers = tiers.into_iter().flat_map(|tiers| tiers.applications.iter().chain(&tiers.subscriptions));
    let modes = book.limits.iter().chain(tiers).chain(custom).filter_map(|policy| policy.sharing.as_ref());
    modes.into_iter().any(|sharing| sharing.mode() != sharing::Mode::Local)
}

/// The first that has not enough, and until when.
#[derive(Default)]
struct Refusal(Option<(usize, Micros)>);

impl Refusal {
    fn add(&mut self, index: usize, wait: Micros) {
        self.0 = Some(self.0.map_or((index, wait), |(first, longest)| (first.min(index), longest.max(wait))));
    }

    fn is_any(&self) -> bool {
        self.0.is_some()
    }
}

/// How a counter of the store is, what was debited given back if the request was refused.
fn fate_usage(fate: Option<&Fate>, charge: &OwnedCharge, refused: bool) -> Usage {
    match fate {
        Some(Fate::Has { usage, debit: Some(_) }) if refused => {
            Usage { remaining: usage.remaining.saturating_add(charge.cost), ..*usage }
        }
        Some(Fate::Has { usage, .. } | Fate::Lacks { usage, .. }) => *usage,
        Some(Fate::Lost) | None => Usage::default(),
    }
}
