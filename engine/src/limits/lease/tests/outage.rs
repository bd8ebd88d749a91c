//! Without a store, and without room.

use super::*;

const TEN: Micros = Micros(10 * SECOND);

fn admitted(world: &World) -> u64 {
    world.admitted.iter().map(|(_, cost)| cost).sum()
}

/// One gateway with a clock that is right.
fn at(time: u64) -> Clocks {
    Clocks { steady: Micros(time - START), wall: Micros(time) }
}

/// One request, answered by the store at once.
fn draw(leases: &Leases, store: &mut Simulated, key: CounterKey, limit: &Arc<Limit>, time: u64) -> bool {
    let charge = Charge { key, limit, cost: 1 };
    let granted = || Spending::Granted(Usages::new());
    let mut held = Vec::new();
    for ticket in 1..3 {
        match leases.spend(&[charge], &held, at(time), None, granted, |_| {}).0 {
            Spent::Done(spending) => return matches!(spending, Spending::Granted(_)),
            Spent::Wait(waits) => {
                let asked = leases.wait(&charge, Waiting { ticket, cost: waits[0].1 }, at(time));
                for _ in 0..2 {
                    let sync = leases.begin(asked, at(time)).unwrap();
                    let reply = store.answer(0, &sync, Micros(time));
                    let (verdicts, _) = leases.finish(sync, Some(reply), at(time).steady);
                    if let Some((_, verdict)) = verdicts.first() {
                        held.extend(if let Verdict::Granted(held) = verdict { Some((0, *held)) } else { None });
                        break;
                    }
                }
            }
        }
    }
    false
}

#[test]
fn of_a_sliding_limit_that_is_used_up_nothing_is_left_without_a_store() {
    let limit = limit(90, Algorithm::Sliding { period: TEN, buckets: 10 }, 10);
    let mut world = World::new(limit, 3, 1);
    world.load(5 * SECOND, 2000, &[70, 25, 5], 1, 0);
    assert_eq!(admitted(&world), 90);
    world.pass(2 * SECOND, 0);
    world.lost = Some(3);
    world.load(2 * SECOND, 2000, &[1, 1, 1], 1, 0);
    assert_eq!(admitted(&world), 90, "it was used in buckets that are over");
    world.load(20 * SECOND, 2000, &[1, 1, 1], 1, 0);
    assert!(admitted(&world) > 90, "it comes back");
    assert!(world.most_within(TEN.0) <= 90, "{}", world.most_within(TEN.0));
}

#[test]
fn a_burst_does_not_begin_anew_whenever_the_store_goes() {
    let limit = limit(300, Algorithm::Burst { period: TEN, burst: 30 }, 10);
    let mut world = World::new(limit, 3, 1);
    for turn in 0..200 {
        world.lost = (turn % 2 == 1).then_some(3);
        world.load(SECOND / 20, 500, &[8, 1, 1], 1, 0);
    }
    let (most, all) = (world.most_within(SECOND), admitted(&world));
    println!("{most} in a second, {all} in ten");
    // Each has ten at once of its own, once.
    assert!(most <= 30 + 30 + 30 + 3, "{most} in a second");
    assert!(all <= 300 + 30 + 30 + 3, "{all} in ten");
}

#[test]
fn what_is_not_enough_for_all_is_the_part_of_the_first() {
    for quota in [1, 2] {
        let mut world = World::new(limit(quota, Algorithm::Fixed(Micros(3600 * SECOND)), 10), 3, 1);
        world.lost = Some(3);
        world.load(5 * SECOND, 1000, &[1, 1, 1], 1, 0);
        assert_eq!(admitted(&world), quota);
    }
}

#[test]
fn without_a_store_its_clock_still_counts() {
    // The second gateway's clock is two seconds fast.
    let mut world = World::new(limit(20, Algorithm::Fixed(Micros(2 * SECOND)), 10), 2, 1);
    world.load(SECOND / 2, 2000, &[1, 1], 1, 0);
    assert_eq!(admitted(&world), 20);
    world.lost = Some(2);
    world.load(SECOND, 2000, &[1, 1], 1, 0);
    assert_eq!(admitted(&world), 20);
}

#[test]
fn after_an_outage_no_more_is_owed_than_still_counts() {
    let owed = |algorithm| {
        let mut world = World::new(limit(100, algorithm, 10), 1, 1);
        world.load(SECOND, 5000, &[1], 1, 0);
        world.lost = Some(1);
        world.load(60 * SECOND, 5000, &[1], 1, 0);
        assert!(admitted(&world) > 500, "{}", admitted(&world));
        let sync = world.gateways[0].leases.begin(KEY, world.clocks(0)).unwrap();
        match sync.report {
            Report::Slots { debt, .. } => debt,
            Report::Pot { taken, .. } => taken,
        }
    };
    let burst = owed(Algorithm::Burst { period: TEN, burst: 20 });
    assert!((1..=21).contains(&burst), "{burst} of a burst of 20");
    let sliding = owed(Algorithm::Sliding { period: TEN, buckets: 10 });
    assert!((50..=110).contains(&sliding), "{sliding} of 100 in ten seconds");
}

#[test]
fn what_is_owed_of_a_burst_drains_however_often_it_is_looked_at() {
    let limit = limit(10, Algorithm::Burst { period: TEN, burst: 20 }, 10);
    let mut debt = Debt::default();
    debt.add(&limit, 10, Micros(START), Micros(0));
    for millis in 0..5000 {
        debt.settle(&limit, Micros(START + millis * 1000), Micros(0));
    }
    assert_eq!(debt.total(), 6);
    debt.add(&limit, 1, Micros(START + 5 * SECOND), Micros(0));
    assert_eq!(debt.total(), 6);
    // What the store knows comes first.
    debt.settle(&limit, Micros(START + 9 * SECOND), Micros(START + 8 * SECOND));
    assert_eq!(debt.total(), 5);
}

#[test]
fn what_was_left_alone_in_an_outage_goes() {
    let limit = limit(900, Algorithm::Fixed(Micros(3600 * SECOND)), 10);
    let leases = Leases::new(1000, [3, 5]);
    for key in 0..10 {
        let charge = Charge { key: CounterKey(key), limit: &limit, cost: 1 };
        let refused = || Spending::Refused { by: 0, wait: Micros(1), usages: Usages::new() };
        let (spent, _) = leases.spend(&[charge], &[], at(START), Some((3, 0)), refused, |_| {});
        assert!(matches!(spent, Spent::Done(Spending::Refused { .. })), "{spent:?}");
    }
    assert_eq!(leases.len(), 10);
    leases.sweep(at(START + 2 * SECOND), false);
    leases.sweep(at(START + 2 * SECOND), false);
    assert_eq!(leases.len(), 0);
}

#[test]
fn made_up_names_do_not_have_all_leases_looked_at() {
    let limit = limit(900, Algorithm::Fixed(Micros(3600 * SECOND)), 10);
    let leases = Leases::new(10, [3, 5]);
    for name in 0..1000 {
        let charge = Charge { key: CounterKey(100 + name), limit: &limit, cost: 1 };
        let granted = || Spending::Granted(Usages::new());
        leases.spend(&[charge], &[], at(START + u64::try_from(name).unwrap()), None, granted, |_| {});
    }
    assert_eq!(leases.looks(), 1);
    assert_eq!(leases.overflowed(), 990);
    // Those that were for nothing make room a second later.
    let charge = Charge { key: CounterKey(7), limit: &limit, cost: 1 };
    leases.spend(&[charge], &[], at(START + 2 * SECOND), None, || Spending::Granted(Usages::new()), |_| {});
    assert_eq!((leases.looks(), leases.overflowed()), (2, 990));
}

#[test]
fn who_gets_room_has_used_what_those_without_have() {
    for algorithm in [
        Algorithm::Fixed(Micros(3600 * SECOND)),
        Algorithm::Sliding { period: Micros(3600 * SECOND), buckets: 4 },
        Algorithm::Burst { period: Micros(3600 * SECOND), burst: 10 },
    ] {
        let short = limit(10, Algorithm::Fixed(Micros(SECOND)), 10);
        let long = limit(10, algorithm, 10);
        let (leases, mut store) = (Leases::new(1, [3, 5]), Simulated::default());
        assert!(draw(&leases, &mut store, CounterKey(100), &short, START));
        let first = (0..20).filter(|_| draw(&leases, &mut store, CounterKey(200), &long, START)).count();
        assert_eq!((first, leases.overflowed() > 0), (10, true), "{algorithm:?}");
        // There is room now.
        let then = START + 5 * SECOND;
        let overflowed = leases.overflowed();
        let again = (0..20).filter(|_| draw(&leases, &mut store, CounterKey(200), &long, then)).count();
        assert_eq!((again, leases.overflowed()), (0, overflowed), "{algorithm:?}");
    }
}
