//! Several gateways, one store and a clock that is nobody's: never more than N, at least N(1-u), whatever messages do.

mod outage;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::simulated::Simulated;
use super::*;
use crate::limits::{Charge, Directions, Level, Mode, OnFailure, Sharing, Spending, Told, Unit, Usages};

const KEY: CounterKey = CounterKey(7);
/// Of the store's clock: in the middle of a day.
const START: u64 = 1_700_000_040_000_000;

/// One gateway with clocks of its own.
struct Gateway {
    leases: Leases,
    /// Of the process: one that is started anew has another.
    name: u32,
    skew: u64,
    alive: bool,
    /// Who waits, with what it costs.
    waiting: Vec<(u64, u64)>,
}

struct World {
    limit: Arc<Limit>,
    store: Simulated,
    time: u64,
    gateways: Vec<Gateway>,
    /// Questions on their way, and answers: when they arrive.
    questions: Vec<(u64, usize, Sync)>,
    answers: Vec<(u64, usize, Sync, Option<Reply>)>,
    admitted: Vec<(u64, u64)>,
    tickets: u64,
    lost: Option<u32>,
    asked: u64,
    random: u64,
}

fn limit(quota: u64, algorithm: Algorithm, permille: u32) -> Arc<Limit> {
    let sharing = Sharing { mode: Mode::Leased, max_undershoot_permille: permille, on_failure: OnFailure::Part };
    Arc::new(Limit {
        policy: "P".into(),
        level: Level::Api,
        quota,
        unit: Unit::Requests,
        algorithm,
        sharing,
        stops: true,
        overflow: CounterKey(1),
        told: Told::default(),
    })
}

// === impl World ===

impl World {
    fn new(limit: Arc<Limit>, gateways: usize, random: u64) -> World {
        let gateway = |index: usize| Gateway {
            leases: Leases::new(1000, [3, 5]),
            name: u32::try_from(index).unwrap(),
            skew: index as u64 * 977_000_000,
            alive: true,
            waiting: Vec::new(),
        };
        World {
            limit,
            store: Simulated::default(),
            time: START,
            gateways: (0..gateways).map(gateway).collect(),
            questions: Vec::new(),
            answers: Vec::new(),
            admitted: Vec::new(),
            tickets: 0,
            lost: None,
            asked: 0,
            random: random | 1,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below.max(1)
    }

    /// A gateway's clocks go a little wrong, each another way, and say another time.
    fn clocks(&self, gateway: usize) -> Clocks {
        let passed = self.time - START;
        let off = passed / 2500;
        let passed = if gateway.is_multiple_of(2) { passed + off } else { passed - off };
        let skew = self.gateways[gateway].skew;
        Clocks { steady: Micros(skew + passed), wall: Micros(self.time + skew % 3_000_000) }
    }

    fn request(&mut self, gateway: usize, cost: u64, held: Option<Held>, decided: u64) -> bool {
        let (limit, now) = (Arc::clone(&self.limit), self.clocks(gateway));
        let charge = Charge { key: KEY, limit: &limit, cost };
        let held: Vec<(usize, Held)> = held.into_iter().map(|held| (0, held)).collect();
        let mut low = false;
        let granted = || Spending::Granted(Usages::new());
        let lost = self.lost.map(|gateways| (gateways, u32::try_from(gateway).unwrap()));
        let (spent, _) = self.gateways[gateway].leases.spend(&[charge], &held, now, lost, granted, |_| low = true);
        let admitted = match spent {
            Spent::Done(Spending::Granted(_)) => {
                self.admitted.push((decided, cost));
                true
            }
            Spent::Done(_) => false,
            Spent::Wait(waits) => {
                self.tickets += 1;
                let waiting = Waiting { ticket: self.tickets, cost: waits[0].1 };
                self.gateways[gateway].leases.wait(&charge, waiting, now);
                self.gateways[gateway].waiting.push((self.tickets, cost));
                low = true;
                false
            }
        };
        if low && self.lost.is_none() {
            self.ask(gateway);
        }
        admitted
    }

    fn ask(&mut self, gateway: usize) {
        let now = self.clocks(gateway);
        if let Some(sync) = self.gateways[gateway].leases.begin(KEY, now) {
            self.asked += 1;
            let delay = 50 + self.random(800);
            self.questions.push((self.time + delay, gateway, sync));
        }
    }

    /// Messages that arrive until then, in their order.
    fn pass(&mut self, micros: u64, loss: u64) {
        let until = self.time + micros;
        loop {
            let question = self.questions.iter().map(|(at, ..)| *at).min().filter(|at| *at <= until);
            let answer = self.answers.iter().map(|(at, ..)| *at).min().filter(|at| *at <= until);
            match (question, answer) {
                (Some(at), other) if other.is_none_or(|other| at <= other) => {
                    self.time = self.time.max(at);
                    let place = self.questions.iter().position(|(own, ..)| *own == at).unwrap();
                    let (_, gateway, sync) = self.questions.swap_remove(place);
                    let reply = self.store.answer(self.gateways[gateway].name, &sync, Micros(self.time));
                    let lost = self.random(100) < loss;
                    let delay = if lost { 50_000 } else { 50 + self.random(800) };
                    self.answers.push((self.time + delay, gateway, sync, (!lost).then_some(reply)));
                }
                (_, Some(at)) => {
                    self.time = self.time.max(at);
                    let place = self.answers.iter().position(|(own, ..)| *own == at).unwrap();
                    let (_, gateway, sync, reply) = self.answers.swap_remove(place);
                    self.answered(gateway, sync, reply);
                }
                (_, None) => break,
            }
        }
        self.time = until;
    }

    fn answered(&mut self, gateway: usize, sync: Sync, reply: Option<Reply>) {
        if !self.gateways[gateway].alive {
            return;
        }
        let now = self.clocks(gateway);
        let (verdicts, more) = self.gateways[gateway].leases.finish(sync, reply, now.steady);
        for (ticket, verdict) in verdicts {
            let waiting = &mut self.gateways[gateway].waiting;
            let Some(place) = waiting.iter().position(|(own, _)| *own == ticket) else { continue };
            let (_, cost) = waiting.swap_remove(place);
            if let Verdict::Granted(held) = verdict {
                if self.random(10) == 0 {
                    // Another limit of the same request refused it.
                    self.gateways[gateway].leases.take_back(KEY, held);
                } else {
                    // Decided when the store debited it.
                    self.request(gateway, cost, Some(held), reply.unwrap().time.0);
                }
            }
        }
        if more {
            self.ask(gateway);
        }
    }

    fn sweep(&mut self) {
        for gateway in 0..self.gateways.len() {
            if self.gateways[gateway].alive {
                let now = self.clocks(gateway);
                if !self.gateways[gateway].leases.sweep(now, false).is_empty() && self.lost.is_none() {
                    self.ask(gateway);
                }
            }
        }
    }

    /// Requests at gateways by these weights, one every so often.
    fn load(&mut self, for_micros: u64, every: u64, weights: &[u64], cost: u64, loss: u64) {
        let (end, mut swept) = (self.time + for_micros, self.time);
        while self.time < end {
            let mut at = self.random(weights.iter().sum());
            let mut gateway = 0;
            while at >= weights[gateway] {
                at -= weights[gateway];
                gateway += 1;
            }
            if self.gateways[gateway].alive {
                let (cost, time) = (1 + self.random(cost), self.time);
                self.request(gateway, cost, None, time);
            }
            let pause = 1 + self.random(2 * every);
            self.pass(pause, loss);
            if self.time - swept > 500_000 {
                swept = self.time;
                self.sweep();
            }
        }
    }

    /// Of windows of that length.
    fn by_window(&self, length: u64) -> BTreeMap<u64, u64> {
        let mut windows = BTreeMap::new();
        for (time, cost) in &self.admitted {
            *windows.entry(time / length).or_default() += cost;
        }
        windows
    }

    /// The most in any interval of that length.
    fn most_within(&self, length: u64) -> u64 {
        let mut admitted = self.admitted.clone();
        admitted.sort_unstable();
        let (mut first, mut sum, mut most) = (0, 0, 0);
        for (time, cost) in &admitted {
            sum += cost;
            while admitted[first].0 + length <= *time {
                sum -= admitted[first].1;
                first += 1;
            }
            most = most.max(sum);
        }
        most
    }
}

const SECOND: u64 = 1_000_000;

#[test]
fn of_windows_all_is_admitted_but_what_may_be_stranded() {
    for (quota, permille) in [(100, 10), (1000, 10), (20_000, 10), (20_000, 50), (5, 10)] {
        let limit = limit(quota, Algorithm::Fixed(Micros(10 * SECOND)), permille);
        let mut world = World::new(limit, 3, quota);
        world.load(40 * SECOND, 300, &[70, 25, 5], 1, 0);
        let windows = world.by_window(10 * SECOND);
        let least = quota - quota * u64::from(permille) / 1000;
        println!("N {quota}, u {permille}/1000: {windows:?}, {} questions", world.asked);
        // The first and the last are not whole.
        for (window, admitted) in windows.iter().skip(1).take(3) {
            assert!((least..=quota).contains(admitted), "window {window}: {admitted} of {quota}");
        }
        assert_eq!(windows.values().filter(|admitted| **admitted > quota).count(), 0);
    }
}

#[test]
fn far_from_the_end_few_questions_are_asked() {
    let limit = limit(10_000_000, Algorithm::Fixed(Micros(3600 * SECOND)), 10);
    let mut world = World::new(limit, 3, 1);
    world.load(20 * SECOND, 250, &[70, 25, 5], 1, 0);
    assert!(world.admitted.len() > 50_000);
    println!("{} admitted, {} questions", world.admitted.len(), world.asked);
    assert!(world.asked < 500, "{} questions for {} requests", world.asked, world.admitted.len());
}

#[test]
fn an_exhausted_limit_is_seldom_asked_about() {
    let limit = limit(100, Algorithm::Fixed(Micros(3600 * SECOND)), 10);
    let mut world = World::new(limit, 3, 1);
    world.load(SECOND, 250, &[1, 1, 1], 1, 0);
    assert_eq!(world.by_window(3600 * SECOND).values().sum::<u64>(), 100);
    world.asked = 0;
    world.load(60 * SECOND, 250, &[1, 1, 1], 1, 0);
    println!("{} questions", world.asked);
    assert!(world.asked <= 3 * 61);
}

#[test]
fn what_is_idle_goes_back_and_is_of_use_to_others() {
    let limit = limit(1000, Algorithm::Fixed(Micros(3600 * SECOND)), 500);
    let mut world = World::new(limit, 2, 1);
    world.load(SECOND, 20_000, &[1, 0], 1, 0);
    assert!(world.gateways[0].leases.spare() > 0);
    world.load(3 * SECOND, 20_000, &[0, 1], 1, 0);
    assert_eq!(world.gateways[0].leases.spare(), 0);
    world.load(20 * SECOND, 2000, &[0, 1], 1, 0);
    assert_eq!(world.by_window(3600 * SECOND).values().sum::<u64>(), 1000);
}

#[test]
fn who_was_frozen_spends_nothing_of_what_has_passed() {
    let limit = limit(1000, Algorithm::Fixed(Micros(10 * SECOND)), 500);
    let mut world = World::new(limit, 2, 1);
    world.load(SECOND, 1000, &[1, 0], 1, 0);
    assert!(world.gateways[0].leases.spare() > 0);
    for pause in [9 * SECOND + SECOND / 2, 11 * SECOND] {
        world.pass(pause, 0);
        assert!(!world.request(0, 1, None, world.time), "the next window has to be asked for");
        world.pass(10_000, 0);
    }
}

#[test]
fn a_store_that_lost_its_memory_learns_what_was_taken() {
    let limit = limit(10_000, Algorithm::Fixed(Micros(3600 * SECOND)), 10);
    let mut world = World::new(limit, 3, 1);
    world.load(SECOND, 200, &[70, 25, 5], 1, 0);
    world.store.lose_memory();
    // All are told, as after every new connection.
    for gateway in 0..3 {
        world.ask(gateway);
    }
    world.load(5 * SECOND, 200, &[70, 25, 5], 1, 0);
    let admitted: u64 = world.by_window(3600 * SECOND).values().sum();
    assert!((9900..=10_000).contains(&admitted), "{admitted}");
}

#[test]
fn without_a_store_each_gateway_has_its_part() {
    let limit = limit(900, Algorithm::Fixed(Micros(10 * SECOND)), 10);
    let mut world = World::new(limit, 3, 1);
    world.lost = Some(3);
    world.load(40 * SECOND, 500, &[1, 1, 1], 1, 0);
    let windows = world.by_window(10 * SECOND);
    // By the clocks of the gateways, which differ.
    let sum: u64 = windows.values().sum();
    assert!(windows.len() >= 4 && (900 * 3..=900 * 6).contains(&sum), "{windows:?}");
    for gateway in 0..3 {
        assert!(world.gateways[gateway].waiting.is_empty(), "nobody waits");
    }
}

#[test]
fn what_was_admitted_without_a_store_counts_when_it_is_back() {
    let limit = limit(900, Algorithm::Fixed(Micros(10 * SECOND)), 10);
    let mut world = World::new(limit, 3, 1);
    for turn in 0..400 {
        world.lost = (turn % 2 == 1).then_some(3);
        world.load(SECOND / 10, 500, &[8, 1, 1], 1, 0);
    }
    let windows = world.by_window(10 * SECOND);
    println!("{windows:?}, {} questions", world.asked);
    // A part of it is what was not known of others in the first of the two tenths of a second.
    let whole: Vec<u64> = windows.values().copied().take(4).collect();
    assert!(whole.iter().all(|admitted| (891..=1500).contains(admitted)), "{windows:?}");
}

#[test]
fn bytes_are_owed_until_the_store_is_told_and_count_without_it() {
    for lost in [None, Some(2)] {
        let unit = Unit::Bytes(Directions { requests: true, responses: true });
        let bytes = Limit { unit, ..(*limit(1000, Algorithm::Fixed(Micros(3600 * SECOND)), 10)).clone() };
        let mut world = World::new(Arc::new(bytes), 1, 1);
        world.lost = lost;
        let mut passed = 0;
        for _ in 0..20 {
            // Those that wait are let in by the answer, which comes in between.
            let before = world.admitted.len();
            let at = world.time;
            world.request(0, 0, None, at);
            world.pass(5000, 0);
            if world.admitted.len() > before {
                passed += 1;
                let (limit, now) = (Arc::clone(&world.limit), world.clocks(0));
                let charge = Charge { key: KEY, limit: &limit, cost: 100 };
                world.gateways[0].leases.add(&charge, now, |_| {});
                if lost.is_none() {
                    world.ask(0);
                }
                world.pass(5000, 0);
            }
        }
        // Each begins while there is a byte left: ten with the store, five of a half without it.
        let most = if lost.is_none() { 10 } else { 5 };
        assert!((most - 2..=most).contains(&passed), "{passed} with {lost:?}");
    }
}

/// Or those would be let in for whom there was a byte left of what has long been used.
#[test]
fn what_is_spare_pays_for_what_is_owed() {
    let unit = Unit::Bytes(Directions { requests: true, responses: true });
    let bytes = Limit { unit, ..(*limit(1000, Algorithm::Fixed(Micros(3600 * SECOND)), 500)).clone() };
    let mut world = World::new(Arc::new(bytes), 1, 1);
    world.request(0, 0, None, START);
    world.pass(5000, 0);
    let add = |world: &mut World, cost: u64| {
        let (limit, now) = (Arc::clone(&world.limit), world.clocks(0));
        world.gateways[0].leases.add(&Charge { key: KEY, limit: &limit, cost }, now, |_| {});
    };
    add(&mut world, 900);
    world.ask(0);
    // While the question is under way, whose answer brings some that are spare.
    add(&mut world, 200);
    world.pass(5000, 0);
    assert!(world.gateways[0].leases.spare() > 0);
    world.ask(0);
    world.pass(5000, 0);
    assert_eq!(world.gateways[0].leases.spare(), 0);
    let (before, time) = (world.admitted.len(), world.time);
    world.request(0, 0, None, time);
    world.pass(5000, 0);
    assert_eq!(world.admitted.len(), before);
}

fn algorithms() -> impl Strategy<Value = Algorithm> {
    prop_oneof![
        (1_u64..20).prop_map(|seconds| Algorithm::Fixed(Micros(seconds * SECOND))),
        (1_u64..20, 1_u32..30)
            .prop_map(|(seconds, buckets)| Algorithm::Sliding { period: Micros(seconds * SECOND), buckets }),
        (1_u64..20, 1_u64..200)
            .prop_map(|(seconds, burst)| Algorithm::Burst { period: Micros(seconds * SECOND), burst }),
    ]
}

/// What happens to the gateways.
#[derive(Clone, Debug)]
enum Event {
    Load { millis: u64, every: u64, weights: [u64; 3], cost: u64 },
    Freeze { millis: u64 },
    Kill(usize),
    Restart(usize),
    Silence { millis: u64 },
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (10_u64..4000, 50_u64..3000, prop::array::uniform3(1_u64..100), 1_u64..4)
            .prop_map(|(millis, every, weights, cost)| Event::Load { millis, every, weights, cost }),
        1 => (1_u64..15_000).prop_map(|millis| Event::Freeze { millis }),
        1 => (0_usize..3).prop_map(Event::Kill),
        1 => (0_usize..3).prop_map(Event::Restart),
        1 => (1_u64..5000).prop_map(|millis| Event::Silence { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_more_than_the_quota(
        quota in 1_u64..3000,
        permille in prop_oneof![Just(0_u32), Just(10), Just(100), Just(500)],
        algorithm in algorithms(),
        events in prop::collection::vec(events(), 1..12),
        loss in prop_oneof![Just(0_u64), Just(5), Just(40)],
        random in any::<u64>(),
    ) {
        let limit = limit(quota, algorithm, permille);
        let mut world = World::new(Arc::clone(&limit), 3, random);
        for event in events {
            match event {
                Event::Load { millis, every, weights, cost } => {
                    // At most 3,000 requests, whatever it says.
                    let every = every.max(millis / 3);
                    world.load(millis * 1000, every, &weights, cost, loss);
                }
                // All of them, with their messages: nothing is read until they wake up.
                Event::Freeze { millis } => {
                    for question in &mut world.questions {
                        question.0 += millis * 1000;
                    }
                    for answer in &mut world.answers {
                        answer.0 += millis * 1000;
                    }
                    world.time += millis * 1000;
                }
                Event::Kill(gateway) => {
                    world.gateways[gateway].alive = false;
                    world.questions.retain(|(_, own, _)| *own != gateway);
                    world.answers.retain(|(_, own, ..)| *own != gateway);
                }
                // With another name, and nothing in mind.
                Event::Restart(gateway) if !world.gateways[gateway].alive => {
                    world.gateways[gateway] = Gateway {
                        leases: Leases::new(1000, [3, 5]),
                        name: u32::try_from(100 + world.tickets).unwrap(),
                        skew: world.tickets * 977_000,
                        alive: true,
                        waiting: Vec::new(),
                    };
                    world.tickets += 1;
                }
                Event::Restart(_) => {}
                Event::Silence { millis } => {
                    for _ in 0..millis / 500 {
                        world.pass(500_000, loss);
                        world.sweep();
                    }
                }
            }
        }
        match algorithm {
            Algorithm::Fixed(length) => {
                for (window, admitted) in world.by_window(length.0) {
                    prop_assert!(admitted <= quota, "window {window}: {admitted} of {quota}");
                }
            }
            Algorithm::Sliding { period, .. } => {
                let most = world.most_within(period.0);
                prop_assert!(most <= quota, "{most} of {quota}");
            }
            Algorithm::Burst { period, burst } => {
                for length in [1, period.0 / 7, period.0 / 2, period.0, 3 * period.0] {
                    let emitted = u128::from(length) * u128::from(quota) / u128::from(period.0) + 1;
                    let most = u128::from(world.most_within(length.max(1)));
                    prop_assert!(most <= u128::from(burst) + emitted, "{most} in {length}: {burst} + {emitted}");
                }
            }
            Algorithm::Calendar(_) => {}
        }
    }
}
