//! The gateway's own counters do what every store has to do: see `microgw_engine::limits::conformance`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use microgw_engine::limits::conformance::{Store, conforms, has_edges};
use microgw_engine::limits::{Charge, Micros, Spending, Table};
use proptest::prelude::*;

struct Local(Table);

impl Store for Local {
    async fn spend(&self, charges: &[Charge<'_>], now: Micros) -> Spending {
        self.0.spend(charges, now)
    }

    async fn add(&self, charge: &Charge<'_>, now: Micros) {
        self.0.add(charge, now);
    }
}

/// Of what waits for nobody.
fn finish<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn every_algorithm_has_its_edges() {
    let store = Local(Table::new(1000, [1, 2]));
    for seed in 0..50 {
        finish(has_edges(&store, seed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_table_conforms(seed: u64) {
        finish(conforms(&Local(Table::new(1000, [1, 2])), seed));
    }

    /// In a table that others have filled, too: what has expired makes room.
    #[test]
    fn the_table_conforms_beside_others(seeds: [u64; 4]) {
        let store = Local(Table::new(10_000, [1, 2]));
        for seed in seeds {
            finish(conforms(&store, seed));
        }
    }
}
