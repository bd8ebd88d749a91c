//! Counting in the store: each request debits there, by the server's clock.
//!
//! All that a request draws is debited by one script. In a cluster, keys of several slots take a script for each slot: in the order of slots,
//! each debits or refuses, and when a later one refuses, the earlier ones give back. In between others may be refused what is given back
//! then, so less is admitted; never more. A gateway that dies in between gives nothing back, and neither is that too much.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::redis::{Cmd, Value};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use microgw_engine::limits::{Algorithm, Micros, Mode, OwnedCharge, Unit, Usage};
use tokio::time::Instant;

use super::store::{Script, Store, StoreError, slot};

/// Counts in the store.
#[derive(Debug)]
pub struct Exact {
    store: Arc<Store>,
    spend: Script,
    add: Script,
    refund: Script,
    debits: AtomicU64,
}

/// What became of one charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// There was enough, and it was debited; or it was not, and the policy lets that through.
    Has { usage: Usage, debit: Option<Debit> },
    /// There was not.
    Lacks {
        /// [`Micros::NEVER`]: it is more than there ever is.
        wait: Micros,
        usage: Usage,
    },
    /// Nobody knows.
    Lost,
}

/// What giving back needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debit {
    at: Micros,
    mark: u64,
    /// Of this gateway.
    number: u64,
}

/// How a step of the store is asked for.
#[derive(Clone, Copy)]
struct Ask<'a> {
    deadline: Instant,
    /// Instead of the server's clock.
    at: Option<Micros>,
    charges: &'a [OwnedCharge],
}

const SPENT: i64 = 0;
const REFUSED: i64 = 1;
/// Of the calendar: the windows were others than the gateway thought.
const OTHER_WINDOWS: i64 = 2;
/// Numbers that an answer has of each charge.
const EACH: usize = 5;

/// Doubles are exact below.
const EXACT: u128 = 1 << 52;

// === impl Exact ===

impl Exact {
    pub fn new(store: Arc<Store>) -> Exact {
        let counters = include_str!("exact/counters.lua");
        let script = |text: &str| Script::new(format!("{counters}\n{text}"));
        Exact {
            store,
            spend: script(include_str!("exact/spend.lua")),
            add: script(include_str!("exact/add.lua")),
            refund: script(include_str!("exact/refund.lua")),
            debits: AtomicU64::new(0),
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Debits all charges that are counted exactly, or none; one fate for each charge, [`None`] of those that are not. `at`: instead of
    /// the server's clock.
    pub async fn spend(&self, charges: &[OwnedCharge], at: Option<Micros>) -> Vec<Option<Fate>> {
        let ask = Ask { deadline: self.store.deadline(), at, charges };
        let mut fates = vec![None; charges.len()];
        let mut refused = false;
        for group in self.groups(charges) {
            let found = self.step(ask, &group, refused).await;
            refused |= found.as_ref().is_ok_and(|(refuses, _)| *refuses);
            let mut found = found.map(|(_, fates)| fates).unwrap_or_default().into_iter();
            for index in group {
                if let Some(fate) = fates.get_mut(index) {
                    *fate = Some(found.next().unwrap_or(Fate::Lost));
                }
            }
        }
        fates
    }

    /// Gives back what `fates` say was debited, whether anybody waits for it or not.
    pub fn refund(
        self: &Arc<Exact>,
        charges: &[OwnedCharge],
        fates: &[Option<Fate>],
        at: Option<Micros>,
    ) -> impl Future<Output = ()> + use<> {
        let refunds = charges.iter().zip(fates).filter_map(|(charge, fate)| {
            let Some(Fate::Has { debit: Some(debit), .. }) = fate else { return None };
            let (exact, charge, debit) = (Arc::clone(self), charge.clone(), *debit);
            Some(tokio::spawn(async move { exact.give_back(&charge, debit, at).await }))
        });
        join_all(refunds.collect::<Vec<_>>()).map(drop)
    }

    async fn give_back(&self, charge: &OwnedCharge, debit: Debit, at: Option<Micros>) {
        let now = at.unwrap_or_else(|| self.store.now());
        let mut keys = vec![self.key(charge)];
        // Only a cluster's connection asks again by itself, also for what was done already.
        if self.store.is_cluster() {
            keys.push(format!("{}:{}:{}", self.store.key("refunds", &charge.key), self.store.gateway(), debit.number));
        }
        // What is not given back in time is lost: less is allowed.
        let _ = self
            .store
            .run(&self.refund, &keys, |command| {
                clock(command, at);
                arguments(command, charge, debit.mark, now);
                command.arg(debit.at.0);
            })
            .await;
    }

    /// Counts what was used without having been asked for, however much that is. `at`: instead of the server's clock.
    pub async fn add(&self, charge: &OwnedCharge, at: Option<Micros>) -> Result<(), StoreError> {
        self.add_in(charge, None, at, self.store.deadline()).await
    }

    /// The same in the window or bucket `mark`, and in none if it is over; of bursts, as if it had been told at that time.
    pub async fn add_in(
        &self,
        charge: &OwnedCharge,
        mark: Option<u64>,
        at: Option<Micros>,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        let keys = [self.key(charge)];
        for _ in 0..2 {
            let now = at.unwrap_or_else(|| self.store.now());
            let answer = self
                .store
                .run_until(deadline, &self.add, &keys, |command| {
                    clock(command, at);
                    arguments(command, charge, mark.unwrap_or(0), now);
                })
                .await?;
            match self.numbers(answer)?.first() {
                Some(&OTHER_WINDOWS) => {}
                _ => return Ok(()),
            }
        }
        Err(StoreError::Answer)
    }

    /// `dry`: debits nothing, and says how things are.
    async fn step(&self, ask: Ask<'_>, group: &[usize], dry: bool) -> Result<(bool, Vec<Fate>), StoreError> {
        let charges: Vec<&OwnedCharge> = group.iter().filter_map(|index| ask.charges.get(*index)).collect();
        let keys: Vec<String> = charges.iter().map(|charge| self.key(charge)).collect();
        let mut tries = 0;
        let answer = loop {
            tries += 1;
            let now = ask.at.unwrap_or_else(|| self.store.now());
            let answer = self
                .store
                .run_until(ask.deadline, &self.spend, &keys, |command| {
                    clock(command, ask.at);
                    for charge in &charges {
                        arguments(command, charge, need(charge), now);
                    }
                    command.arg(u8::from(dry));
                })
                .await?;
            let answer = self.numbers(answer)?;
            match answer.first() {
                // Its clock is known now.
                Some(&OTHER_WINDOWS) if tries < 3 => {}
                Some(&(SPENT | REFUSED)) if answer.len() == 2 + EACH * charges.len() => break answer,
                _ => return Err(StoreError::Answer),
            }
        };
        let debited = answer.first() == Some(&SPENT) && !dry;
        let at = Micros(answer.get(1).map_or(0, |now| unsigned(*now)));
        let fates: Vec<Fate> = charges
            .iter()
            .zip(answer.get(2..).unwrap_or_default().chunks(EACH))
            .map(|(charge, numbers)| {
                let number = || self.debits.fetch_add(1, Ordering::Relaxed);
                fate(charge, numbers, debited.then(|| (at, number())))
            })
            .collect();
        let refuses = fates.iter().any(|fate| matches!(fate, Fate::Lacks { .. }));
        Ok((refuses, fates))
    }

    /// What one script can debit, in the order in which scripts run.
    fn groups(&self, charges: &[OwnedCharge]) -> Vec<Vec<usize>> {
        let exact = charges.iter().enumerate().filter(|(_, charge)| charge.limit.sharing.mode == Mode::Exact);
        if !self.store.is_cluster() {
            let all: Vec<usize> = exact.map(|(index, _)| index).collect();
            return if all.is_empty() { Vec::new() } else { vec![all] };
        }
        let mut slots: Vec<(u16, usize)> = exact.map(|(index, charge)| (slot(&self.key(charge)), index)).collect();
        slots.sort_unstable();
        slots
            .chunk_by(|(one, _), (other, _)| one == other)
            .map(|group| group.iter().map(|(_, index)| *index).collect())
            .collect()
    }

    /// What its counter is called in the store.
    pub fn key(&self, charge: &OwnedCharge) -> String {
        self.store.key("limits", &charge.key)
    }

    /// Of an answer; the second is the server's clock.
    fn numbers(&self, answer: Value) -> Result<Vec<i64>, StoreError> {
        let numbers: Vec<i64> = ::redis::from_redis_value(answer).map_err(|_| StoreError::Answer)?;
        if let [OTHER_WINDOWS, now, ..] = numbers.as_slice() {
            self.store.learn(Micros(unsigned(*now)));
        }
        Ok(numbers)
    }
}

/// What has to be there: of bytes, which are counted when they are over, one.
fn need(charge: &OwnedCharge) -> u64 {
    match charge.limit.unit {
        Unit::Requests => charge.cost,
        Unit::Bytes(_) => charge.cost.max(1),
    }
}

fn clock(command: &mut Cmd, at: Option<Micros>) {
    match at {
        Some(at) => command.arg(at.0),
        None => command.arg(""),
    };
}

/// As `counters.lua` says.
fn arguments(command: &mut Cmd, charge: &OwnedCharge, need: u64, now: Micros) {
    let limit = &*charge.limit;
    let (kind, own): (_, [u64; 5]) = match limit.algorithm {
        Algorithm::Fixed(length) => ("f", [length.0, 0, 0, 0, 0]),
        Algorithm::Calendar(calendar) => {
            let (start, end) = calendar.window(now);
            let (before, _) = calendar.window(start.saturating_sub(Micros(1)));
            let (_, after) = calendar.window(end);
            ("c", [before.0, start.0, end.0, after.0, calendar.longest().0])
        }
        Algorithm::Sliding { period, buckets } => ("s", [period.0, u64::from(buckets.max(1)), 0, 0, 0]),
        Algorithm::Burst { period, burst } => {
            let (interval, tolerance, parts) = pace(limit.quota, period, burst);
            ("b", [interval, tolerance, parts, burst, period.0])
        }
    };
    command.arg(kind).arg(limit.quota).arg(need).arg(charge.cost).arg(u8::from(limit.stops));
    for number in own {
        command.arg(number);
    }
}

/// The time between two and the tolerance, in parts of a microsecond; as fine as sums of them are exact.
fn pace(quota: u64, period: Micros, burst: u64) -> (u64, u64, u64) {
    let interval = |bits: u32| (u128::from(period.0) << bits).div_ceil(u128::from(quota.max(1)));
    let bits = (0..=32_u32).rev().find(|bits| interval(*bits).saturating_mul(burst.into()) < EXACT / 2).unwrap_or(0);
    let number = |wide: u128| u64::try_from(wide.min(EXACT)).unwrap_or(u64::MAX);
    (number(interval(bits)), number(interval(bits).saturating_mul(burst.into())), 1 << bits)
}

/// `debited`: when, and the debit's number.
fn fate(charge: &OwnedCharge, numbers: &[i64], debited: Option<(Micros, u64)>) -> Fate {
    let &[lacks, wait, remaining, reset, mark] = numbers else { return Fate::Lost };
    let (lacks, remaining, reset) = (lacks != 0, unsigned(remaining), Micros(unsigned(reset)));
    let usage = Usage { remaining, reset, beyond: lacks && !charge.limit.stops };
    if lacks && charge.limit.stops {
        let wait = u64::try_from(wait).map_or(Micros::NEVER, Micros);
        return Fate::Lacks { wait, usage };
    }
    let debit = debited.filter(|_| !lacks && charge.cost > 0);
    let debit = debit.map(|(at, number)| Debit { at, mark: unsigned(mark), number });
    Fate::Has { usage, debit }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
