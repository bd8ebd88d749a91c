//! What every store of counters has to do, as one test body: over every algorithm, for several limits at once, on a clock that the
//! test sets, against lists of all that was ever debited.
//!
//! Whoever keeps counters implements [`Store`] in a test and calls [`conforms`] with as many seeds as it has time for. The gateway's
//! own table does it in `engine/tests/limits.rs`. Behind the feature `conformance`, which only tests ask for.

// It is a test: what does not conform ends it.
#![allow(clippy::panic, clippy::indexing_slicing)]

mod ledger;

use std::fmt::Write as _;
use std::sync::Arc;

use microgw_proto::limits::v1 as proto;
use microgw_proto::limits::v1::calendar::Unit as Every;
use microgw_proto::limits::v1::limit::{Unit, Window};

use self::ledger::{Ledger, Verdict};
use super::{Charge, CounterKey, Level, Limit, Micros, Sharing, Spending};

/// Counters that can be told what time it is.
pub trait Store {
    fn spend(&self, charges: &[Charge<'_>], now: Micros) -> impl Future<Output = Spending>;

    /// Debits what was used without having been asked for.
    fn add(&self, charge: &Charge<'_>, now: Micros) -> impl Future<Output = ()>;

    /// How its limits are shared.
    fn sharing(&self) -> Sharing {
        Sharing::default()
    }

    /// So much of a limit may be left when it refuses: of leases, what others have, or may have.
    fn undershoot(&self, _: &Limit) -> u64 {
        0
    }
}

/// Numbers that are the same for the same seed.
pub struct Numbers(u64);

/// Whatever a script did, for whoever reads why it failed.
struct Script<'a, S> {
    store: &'a S,
    numbers: Numbers,
    limits: Vec<(CounterKey, Arc<Limit>, Ledger)>,
    now: Micros,
    log: String,
}

const STEPS: usize = 60;

/// One script: which limits there are, what is drawn and when follows from the seed, the names of counters too.
pub async fn conforms<S: Store>(store: &S, seed: u64) {
    let mut numbers = Numbers(seed);
    let count = 1 + numbers.below(4);
    let limits = (0..count).map(|_| any_limit(&mut numbers, store.sharing()));
    let limits: Vec<Limit> = limits.collect();
    Script::new(store, numbers, limits).run().await;
}

/// The edges of each algorithm by itself: exactly the quota, and the next when its time has come, not a microsecond before.
pub async fn has_edges<S: Store>(store: &S, seed: u64) {
    let mut numbers = Numbers(seed);
    for window in windows(&mut numbers) {
        let limit = limit(window, 5, Unit::Requests, store.sharing());
        let mut script = Script::new(store, Numbers(numbers.draw()), vec![limit]);
        for _ in 0..8 {
            script.draw(&[0], 1).await;
        }
        for _ in 0..20 {
            script.draw_at_the_edge().await;
        }
    }
}

fn windows(numbers: &mut Numbers) -> Vec<Window> {
    let fixed = |seconds| Window::Fixed(proto::Fixed { seconds });
    let offset_minutes = [0, 120, -330][numbers.index(3)];
    let calendar = |unit: Every, count| Window::Calendar(proto::Calendar { unit: unit.into(), count, offset_minutes });
    let sliding = |seconds, buckets| Window::Sliding(proto::Sliding { seconds, buckets });
    let burst = |seconds, burst| Window::Burst(proto::Burst { seconds, burst });
    vec![
        fixed(1),
        fixed(60),
        fixed(30 * 86_400),
        calendar(Every::Minute, 5),
        calendar(Every::Hour, 1),
        calendar(Every::Day, 1),
        calendar(Every::Week, 1),
        calendar(Every::Month, 1),
        calendar(Every::Month, 3),
        calendar(Every::Year, 1),
        sliding(1, 1),
        sliding(60, 7),
        sliding(3600, 60),
        burst(1, 1),
        burst(1, 5),
        burst(60, 3),
    ]
}

/// A limit of such windows, as a rule book would have it.
pub fn limit(window: Window, quota: u64, unit: Unit, sharing: Sharing) -> Limit {
    let policy = proto::Policy { name: "Some".to_owned(), ..proto::Policy::default() };
    let limit = proto::Limit { quota, unit: unit.into(), window: Some(window), ..proto::Limit::default() };
    let limit = Limit::load(&policy, Level::Api, &limit).unwrap_or_else(|error| panic!("{error}"));
    Limit { sharing, ..limit }
}

fn any_limit(numbers: &mut Numbers, sharing: Sharing) -> Limit {
    let mut windows = windows(numbers);
    let window = windows.swap_remove(numbers.index(windows.len()));
    let quota = 1 + numbers.below(20);
    let unit = if numbers.below(4) == 0 { Unit::Bytes } else { Unit::Requests };
    Limit { stops: numbers.below(6) != 0, ..limit(window, quota, unit, sharing) }
}

// === impl Script ===

impl<'a, S: Store> Script<'a, S> {
    fn new(store: &'a S, mut numbers: Numbers, limits: Vec<Limit>) -> Script<'a, S> {
        let limits = limits.into_iter().map(|limit| {
            let key = CounterKey(u128::from(numbers.draw()) << 64 | u128::from(numbers.draw()));
            (key, Arc::new(limit), Ledger::default())
        });
        let limits = limits.collect();
        // Some time in the twenty years from 2020 on.
        let now = Micros(1_577_836_800_000_000 + numbers.below(630_720_000_000_000));
        Script { store, numbers, limits, now, log: String::new() }
    }

    async fn run(&mut self) {
        for _ in 0..STEPS {
            self.pass_time();
            let cost = [1, 1, 1, 2, 3, 0, 30][self.numbers.index(7)];
            let which: Vec<usize> = (0..self.limits.len()).filter(|_| self.numbers.below(4) != 0).collect();
            if let Some(wait) = self.draw(&which, cost).await
                && self.numbers.below(2) == 0
                && wait != Micros::NEVER
            {
                self.now = self.now.saturating_add(wait);
                let again = self.draw(&which, cost).await;
                assert!(again.is_none() || self.may_lack(&which), "who waited is let in\n{}", self.story());
            }
            let index = self.numbers.index(self.limits.len());
            if matches!(self.limits[index].1.unit, super::Unit::Bytes(_)) && self.numbers.below(2) == 0 {
                self.add(index).await;
            }
        }
    }

    /// Refused one microsecond too early, let in then.
    async fn draw_at_the_edge(&mut self) {
        let Some(wait) = self.draw(&[0], 1).await else { return };
        let refused_at = self.now;
        assert!(wait > Micros(0) && wait != Micros::NEVER, "a time to wait\n{}", self.story());
        let slack = Ledger::slack(&self.limits[0].1);
        self.now = refused_at.saturating_add(wait).saturating_sub(Micros(1 + slack));
        if self.now > refused_at {
            assert!(self.draw(&[0], 1).await.is_some(), "too early\n{}", self.story());
        }
        self.now = refused_at.saturating_add(wait);
        assert!(self.draw(&[0], 1).await.is_none() || self.may_lack(&[0]), "who waited is let in\n{}", self.story());
    }

    fn may_lack(&self, which: &[usize]) -> bool {
        which.iter().any(|index| self.store.undershoot(&self.limits[*index].1) > 0)
    }

    fn pass_time(&mut self) {
        let (_, limit, _) = &self.limits[self.numbers.index(self.limits.len())];
        let period = Ledger::period(limit, self.now).0;
        let ahead = match self.numbers.below(8) {
            0 => 0,
            1 => 1,
            2 => self.numbers.below(1000),
            3 | 4 => self.numbers.below(period),
            5 => period / 10,
            // To an edge, and to just before it.
            6 => period - self.now.0 % period,
            _ => (period - self.now.0 % period).saturating_sub(1),
        };
        self.now = self.now.saturating_add(Micros(ahead));
    }

    async fn add(&mut self, index: usize) {
        let cost = self.numbers.below(10);
        let (key, limit, ledger) = &mut self.limits[index];
        let _ = writeln!(self.log, "{}: {cost} added to {index}", self.now.0);
        self.store.add(&Charge { key: *key, limit, cost }, self.now).await;
        ledger.debit(self.now, cost);
    }

    fn story(&self) -> String {
        let limits: Vec<String> = self.limits.iter().map(|(key, limit, _)| format!("{key}: {limit:?}\n")).collect();
        format!("{}{}", limits.concat(), self.log)
    }

    /// `Some`: refused.
    async fn draw(&mut self, which: &[usize], cost: u64) -> Option<Micros> {
        let now = self.now;
        let drawn = |limit: &Limit| if limit.unit == super::Unit::Requests { cost } else { 0 };
        let charges: Vec<Charge<'_>> = which
            .iter()
            .map(|index| {
                let (key, limit, _) = &self.limits[*index];
                Charge { key: *key, limit, cost: drawn(limit) }
            })
            .collect();
        let spending = self.store.spend(&charges, now).await;
        let _ = writeln!(self.log, "{}: {cost} of {which:?}: {spending:?}", now.0);
        let verdicts: Vec<Verdict> = which
            .iter()
            .map(|index| {
                let (_, limit, ledger) = &self.limits[*index];
                ledger.verdict(limit, drawn(limit), now, self.store.undershoot(limit))
            })
            .collect();
        let stops = |position: usize| self.limits[which[position]].1.stops;
        let (refusal, usages) = match &spending {
            Spending::Granted(usages) => (None, usages),
            Spending::Refused { by, wait, usages } => (Some((*by, *wait)), usages),
            other => panic!("{other:?}\n{}", self.story()),
        };
        assert_eq!(usages.len(), which.len(), "each is told of\n{}", self.story());
        for (position, verdict) in verdicts.iter().enumerate() {
            let (usage, refuses) = (usages[position], *verdict == Verdict::Refuse);
            if stops(position) {
                assert!(!usage.beyond, "{position} stops\n{}", self.story());
                assert!(!refuses || refusal.is_some(), "more than there is of {position}\n{}", self.story());
            } else if *verdict != Verdict::Either {
                assert_eq!(usage.beyond, refuses, "what is beyond {position}\n{}", self.story());
            }
        }
        match refusal {
            Some((by, wait)) => {
                assert!(
                    by < which.len() && stops(by) && verdicts[by] != Verdict::Admit,
                    "refused by {by}\n{}",
                    self.story()
                );
                let first = (0..by).all(|earlier| !stops(earlier) || verdicts[earlier] != Verdict::Refuse);
                assert!(first, "the first answers\n{}", self.story());
                let never = which.iter().any(|index| {
                    let (_, limit, _) = &self.limits[*index];
                    limit.stops && Ledger::never(limit, drawn(limit))
                });
                assert_eq!(wait == Micros::NEVER, never, "never is never\n{}", self.story());
            }
            None => {
                for (position, index) in which.iter().enumerate() {
                    if !usages[position].beyond {
                        let (_, limit, ledger) = &mut self.limits[*index];
                        ledger.debit(now, drawn(limit));
                    }
                }
            }
        }
        for (position, index) in which.iter().enumerate() {
            let (_, limit, ledger) = &self.limits[*index];
            let (least, most) = ledger.remaining(limit, now);
            let remaining = usages[position].remaining.saturating_add(self.store.undershoot(limit));
            let told = least <= remaining && usages[position].remaining <= most;
            assert!(told, "of {position} remain {least} to {most}\n{}", self.story());
        }
        refusal.map(|(_, wait)| wait)
    }
}

// === impl Numbers ===

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed)
    }

    /// SplitMix64.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end.max(1)
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }
}
