use std::sync::Arc;

use microgw_proto::limits::v1 as proto;
use proto::limit::{Unit, Window};

use super::super::conformance::{Numbers, limit};
use super::super::{CounterKey, Limit, Sharing};
use super::*;

const NOW: Micros = Micros(1_700_000_000_000_000);

fn requests(window: Window, quota: u64) -> Arc<Limit> {
    Arc::new(limit(window, quota, Unit::Requests, Sharing::default()))
}

fn fixed(seconds: u64, quota: u64) -> Arc<Limit> {
    requests(Window::Fixed(proto::Fixed { seconds }), quota)
}

/// A hundred years.
fn lasting(quota: u64) -> Arc<Limit> {
    fixed(100 * 365 * 86_400, quota)
}

fn key(number: u64) -> CounterKey {
    let mut numbers = Numbers::new(number);
    CounterKey(u128::from(numbers.draw()) << 64 | u128::from(numbers.draw()))
}

fn draw(table: &Table, limit: &Arc<Limit>, number: u64, now: Micros) -> Spending {
    table.spend(&[Charge { key: key(number), limit, cost: 1 }], now)
}

fn is_granted(spending: &Spending) -> bool {
    matches!(spending, Spending::Granted(_))
}

#[test]
fn eight_threads_get_exactly_the_quota() {
    for limit in [lasting(1000), requests(Window::Sliding(proto::Sliding { seconds: 60, buckets: 6 }), 1000)] {
        let table = Table::new(1000, [1, 2]);
        let granted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..500).filter(|_| is_granted(&draw(&table, &limit, 1, NOW))).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(granted, 1000);
    }
}

/// Half of the threads name the limits in the other order.
#[test]
fn of_two_limits_both_are_debited_or_neither_by_eight_threads() {
    let table = Table::new(100_000, [1, 2]);
    let (more, less) = (lasting(1000), lasting(300));
    let charges = [Charge { key: key(1), limit: &more, cost: 1 }, Charge { key: key(2), limit: &less, cost: 1 }];
    let granted: usize = std::thread::scope(|scope| {
        let (table, charges) = (&table, &charges);
        let draw = |thread: usize| {
            let mut charges = *charges;
            if thread.is_multiple_of(2) {
                charges.reverse();
            }
            (0..200).filter(|_| is_granted(&table.spend(&charges, NOW))).count()
        };
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(move || draw(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(granted, 300);
    let Spending::Refused { by, usages, .. } = table.spend(&charges, NOW) else { panic!() };
    assert_eq!((by, usages[0].remaining, usages[1].remaining), (1, 700, 0));
}

#[test]
fn a_request_may_draw_on_one_counter_twice() {
    let (table, limit) = (Table::new(1000, [1, 2]), lasting(3));
    let charge = Charge { key: key(1), limit: &limit, cost: 1 };
    assert!(is_granted(&table.spend(&[charge, charge], NOW)));
    let Spending::Refused { by, usages, .. } = table.spend(&[charge, charge], NOW) else { panic!() };
    assert_eq!((by, usages[0].remaining), (1, 1));
    assert!(is_granted(&table.spend(&[charge], NOW)));
}

#[test]
fn what_costs_more_than_there_is_never_waits() {
    let (table, limit) = (Table::new(1000, [1, 2]), lasting(3));
    let Spending::Refused { wait, .. } = table.spend(&[Charge { key: key(1), limit: &limit, cost: 4 }], NOW) else {
        panic!()
    };
    assert_eq!(wait, Micros::NEVER);
}

/// A table of one shard, full of counters that live.
fn full(limit: &Arc<Limit>) -> Table {
    let table = Table::new(LEAST_ROOM, [1, 2]);
    for number in 0..LEAST_ROOM as u64 {
        assert!(is_granted(&draw(&table, limit, number, NOW)));
    }
    assert_eq!((table.len(), table.overflowed()), (LEAST_ROOM, 0));
    table
}

#[test]
fn who_has_no_room_shares_a_counter_for_each_limit_and_the_living_stay() {
    let (limit, mut other) = (lasting(2), Arc::unwrap_or_clone(lasting(2)));
    let table = full(&limit);
    other.overflow = key(u64::MAX);
    let other = Arc::new(other);
    let late: Vec<bool> = (1000..1004).map(|number| is_granted(&draw(&table, &limit, number, NOW))).collect();
    assert_eq!(late, [true, true, false, false]);
    let late: Vec<bool> = (1000..1004).map(|number| is_granted(&draw(&table, &other, number, NOW))).collect();
    assert_eq!(late, [true, true, false, false], "another limit has its own");
    assert_eq!((table.overflowed(), table.len()), (8, LEAST_ROOM + 2));
    for number in 0..LEAST_ROOM as u64 {
        assert!(is_granted(&draw(&table, &limit, number, NOW)), "one of two was left of {number}");
        assert!(!is_granted(&draw(&table, &limit, number, NOW)));
    }
}

#[test]
fn what_would_be_spent_is_not() {
    let (table, limit) = (Table::new(1000, [1, 2]), lasting(2));
    let charge = Charge { key: key(1), limit: &limit, cost: 1 };
    for _ in 0..5 {
        assert!(is_granted(&table.would_spend(&[charge, charge], NOW)));
    }
    assert!(is_granted(&table.spend(&[charge], NOW)));
    let Spending::Refused { by: 1, usages, .. } = table.would_spend(&[charge, charge], NOW) else { panic!() };
    assert_eq!(usages[0].remaining, 1);
    assert!(is_granted(&table.spend(&[charge], NOW)));
}

#[test]
fn who_has_no_counter_of_its_own_is_told_and_has_the_shared_one_by_its_name() {
    let mut limit = Arc::unwrap_or_clone(lasting(2));
    limit.overflow = key(u64::MAX);
    let limit = Arc::new(limit);
    let table = full(&limit);
    let charge = |number| Charge { key: key(number), limit: &limit, cost: 1 };
    assert!(table.has_own(&charge(0), NOW) && !table.has_own(&charge(1000), NOW));
    // By either name it is one counter.
    assert!(is_granted(&draw(&table, &limit, 1000, NOW)));
    table.add(&charge(u64::MAX), NOW);
    assert!(!is_granted(&draw(&table, &limit, 1001, NOW)));
}

/// Both draws of a request may find no room: then both are of one counter.
#[test]
fn one_request_may_overflow_twice() {
    let limit = lasting(3);
    let table = full(&limit);
    let charges = [1000, 1001].map(|number| Charge { key: key(number), limit: &limit, cost: 1 });
    assert!(is_granted(&table.spend(&charges, NOW)));
    assert!(!is_granted(&table.spend(&charges, NOW)));
}

#[test]
fn the_one_that_has_expired_goes_first() {
    let (limit, short) = (lasting(2), fixed(1, 2));
    let table = Table::new(LEAST_ROOM, [1, 2]);
    for number in 0..LEAST_ROOM as u64 {
        draw(&table, if number == 300 { &short } else { &limit }, number, NOW);
    }
    let later = NOW.saturating_add(Micros::of_seconds(2));
    draw(&table, &limit, 1000, later);
    assert_eq!((table.len(), table.overflowed()), (LEAST_ROOM, 0));
    draw(&table, &limit, 1001, later);
    assert_eq!(table.overflowed(), 1);
}

/// Beside counters that expire at other times and are used all the time.
#[test]
fn a_flood_of_new_names_looks_at_few_counters_each() {
    let pace = requests(Window::Burst(proto::Burst { seconds: 1, burst: 100 }), 100);
    let (table, mut now) = (Table::new(LEAST_ROOM, [1, 2]), NOW);
    for number in 0..LEAST_ROOM as u64 {
        (0..50).for_each(|_| drop(draw(&table, &pace, number, now)));
    }
    let looked_at = || table.shards.iter().map(|shard| shard.lock().unwrap().looked_at).sum::<usize>();
    let before = looked_at();
    let mut touched = 0;
    for flood in 0..20_000_u64 {
        now = now.saturating_add(Micros(50));
        draw(&table, &pace, 1_000_000 + flood, now);
        if flood % 3 == 0 {
            draw(&table, &pace, flood % LEAST_ROOM as u64, now);
            touched += 1;
        }
    }
    let looked_at = looked_at() - before;
    assert!(looked_at < 2 * 20_000 + LEAST_ROOM + touched, "{looked_at}");
}

#[test]
fn what_has_expired_is_dropped_as_others_come() {
    let (table, limit) = (Table::new(100_000, [1, 2]), fixed(1, 2));
    for number in 0..50_000 {
        // A thousand of them in a second.
        draw(&table, &limit, number, NOW.saturating_add(Micros(number * 1000)));
    }
    assert!(table.len() < 3000, "{}", table.len());
}

/// Room is memory: a ring of a thousand buckets is no small counter.
#[test]
fn large_counters_take_the_room_of_many() {
    let limit = requests(Window::Sliding(proto::Sliding { seconds: 86_400, buckets: 1000 }), 2);
    let table = Table::new(LEAST_ROOM, [1, 2]);
    for number in 0..10 {
        draw(&table, &limit, number, NOW);
    }
    let own = table.shards.first().unwrap().lock().unwrap().len();
    assert!((1..=3).contains(&own), "{own}");
    assert_eq!(table.overflowed(), 10 - own as u64);
}

#[test]
fn what_is_beyond_is_marked_and_not_debited() {
    let sliding = requests(Window::Sliding(proto::Sliding { seconds: 60, buckets: 6 }), 2);
    let marking = Arc::new(Limit { stops: false, ..Arc::unwrap_or_clone(sliding) });
    let (table, stopping) = (Table::new(1000, [1, 2]), lasting(7));
    let charges = [Charge { key: key(1), limit: &marking, cost: 1 }, Charge { key: key(2), limit: &stopping, cost: 1 }];
    let beyond = |seconds| {
        let Spending::Granted(usages) = table.spend(&charges, NOW.saturating_add(Micros::of_seconds(seconds))) else {
            panic!()
        };
        usages[0].beyond
    };
    let marks = [0, 0, 0, 30, 50, 70, 70].map(beyond);
    assert_eq!(marks, [false, false, true, true, true, false, false], "two in a minute and a bucket");
    let Spending::Refused { by: 1, usages, .. } = table.spend(&charges, NOW) else { panic!() };
    assert_eq!(usages[1].remaining, 0);
}

/// What was used together with others counts where there is room again, too: nobody has a quota twice in one window.
#[test]
fn who_had_no_room_begins_where_the_others_are() {
    for window in [
        Window::Fixed(proto::Fixed { seconds: 3600 }),
        Window::Sliding(proto::Sliding { seconds: 3600, buckets: 6 }),
        Window::Burst(proto::Burst { seconds: 3600, burst: 3 }),
    ] {
        let (limit, short) = (requests(window, 3), fixed(1, 1));
        let table = full(&short);
        assert!((0..3).all(|_| is_granted(&draw(&table, &limit, 1000, NOW))), "of all who have no room");
        assert!(!is_granted(&draw(&table, &limit, 1000, NOW)));
        let later = NOW.saturating_add(Micros::of_seconds(5));
        assert!(!is_granted(&draw(&table, &limit, 1000, later)), "in a counter of its own");
        assert_eq!(table.overflowed(), 4);
        let far = NOW.saturating_add(Micros::of_seconds(2 * 3600));
        assert!((0..3).all(|_| is_granted(&draw(&table, &limit, 1000, far))), "in the next window");
    }
}

#[test]
fn which_names_share_a_shard_is_known_to_nobody() {
    let numbers = |secret: u64| {
        let table = Table::new(100_000, [secret, secret.rotate_left(21)]);
        let mut counts = vec![0; table.shards.len() - 1];
        // By their names alone these would all be in one.
        (0..6400_u128).for_each(|name| counts[table.number(table.secret.name(CounterKey(name << 64 | 5)))] += 1);
        counts
    };
    let (one, other) = (numbers(0x9e37_79b9_7f4a_7c15), numbers(0x1234_5678_9abc_def1));
    assert_ne!(one, other);
    for counts in [one, other] {
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }
    assert_eq!(format!("{:?}", Table::new(1, [4242, 4343]).secret), "Secret");
}

/// Counters of a clock that was ten years ahead are no burden for ten years.
#[test]
fn a_clock_that_is_put_back_leaves_room() {
    let (limit, ahead) = (fixed(60, 2), NOW.saturating_add(Micros::of_seconds(10 * 365 * 86_400)));
    let table = Table::new(LEAST_ROOM, [1, 2]);
    for number in 0..LEAST_ROOM as u64 {
        draw(&table, &limit, number, ahead);
    }
    // One goes along with the clock, and so does what was used of it.
    assert!(is_granted(&draw(&table, &limit, 0, NOW)) && !is_granted(&draw(&table, &limit, 0, NOW)));
    draw(&table, &limit, 1000, NOW);
    assert_eq!(table.overflowed(), 1, "they may be in use");
    // In the next window.
    assert!(is_granted(&draw(&table, &limit, 0, NOW.saturating_add(Micros::of_seconds(50)))));
    let later = NOW.saturating_add(Micros::of_seconds(61));
    for number in 1001..1301 {
        draw(&table, &limit, number, later);
    }
    assert_eq!(table.overflowed(), 1);
    assert!(
        is_granted(&draw(&table, &limit, 0, later)) && !is_granted(&draw(&table, &limit, 0, later)),
        "one was left"
    );
}
