//! Limits that gateways share, counted exactly in a real Redis.

mod bounds;
mod counted;
mod kept;
mod lost;
mod places;
mod together;

use std::sync::Arc;
use std::time::Duration;

use microgw_engine::limits::{
    Algorithm, CounterKey, Level, Limit, Micros, Mode, OnFailure, OwnedCharge, Sharing, Told, Unit,
};
use microgw_extproc::limits::store::{Credentials, Crowd, Login, Place, Servers};
use microgw_extproc::limits::{Exact, Fate, Store};
use microgw_extproc::metrics::Metrics;
use microgw_tests::redis::RedisServer;

/// Where gateways count, in a test.
fn place(servers: Servers) -> Place {
    Place {
        servers,
        tls: false,
        database: 0,
        login: Login::default(),
        prefix: "microgw".to_owned(),
        // Generous: machines that test are busy.
        timeout: Duration::from_secs(5),
    }
}

fn one(server: &RedisServer) -> Place {
    place(Servers::One(("127.0.0.1".to_owned(), server.port)))
}

async fn store(place: Place, credentials: Credentials) -> Arc<Store> {
    microgw_tests::install_crypto();
    let store = Store::start(place, credentials, Crowd::default(), &Metrics::new());
    store.want();
    store.settle(Duration::from_secs(10)).await;
    assert!(store.is_reachable(), "{:?}", store.state());
    store
}

async fn exact(place: Place) -> Arc<Exact> {
    Arc::new(Exact::new(store(place, Credentials::default()).await))
}

fn charge(key: u128, quota: u64, algorithm: Algorithm) -> OwnedCharge {
    let limit = Limit {
        policy: "Some".into(),
        level: Level::Api,
        quota,
        unit: Unit::Requests,
        algorithm,
        sharing: Sharing { mode: Mode::Exact, max_undershoot_permille: 0, on_failure: OnFailure::Part },
        stops: true,
        told: Told::default(),
        overflow: CounterKey::default(),
    };
    // Anywhere among the slots of a cluster.
    let key = CounterKey(key.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
    OwnedCharge { key, limit: Arc::new(limit), cost: 1 }
}

const DAY: Algorithm = Algorithm::Fixed(Micros(86_400_000_000));

fn granted(fates: &[Option<Fate>]) -> bool {
    fates.iter().all(|fate| matches!(fate, Some(Fate::Has { .. })))
}

fn remaining(fate: Option<&Option<Fate>>) -> u64 {
    match fate {
        Some(Some(Fate::Has { usage, .. } | Fate::Lacks { usage, .. })) => usage.remaining,
        other => panic!("{other:?}"),
    }
}
