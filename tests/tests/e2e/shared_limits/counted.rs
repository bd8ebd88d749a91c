//! What is admitted: exactly what the limits say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use microgw_engine::limits::conformance::{self, conforms, has_edges};
use microgw_engine::limits::{Algorithm, Charge, CounterKey, Micros, Mode, OwnedCharge, Sharing, Spending};
use microgw_extproc::limits::{Exact, Fate};
use microgw_proto::limits::v1::Burst;
use microgw_proto::limits::v1::limit::{Unit, Window};
use microgw_tests::eventually;
use microgw_tests::redis::{Cluster, RedisServer, redis_is_here};

use super::{DAY, charge, exact, granted, one, place, remaining};
use microgw_extproc::limits::store::Servers;

/// As every store of counters is tested.
struct Conforming(Arc<Exact>);

impl conformance::Store for Conforming {
    async fn spend(&self, charges: &[Charge<'_>], now: Micros) -> Spending {
        let charges: Vec<OwnedCharge> = charges.iter().map(|charge| charge.owned()).collect();
        let fates = self.0.spend(&charges, Some(now)).await;
        let mut refused: Option<(usize, Micros)> = None;
        let mut usages = microgw_engine::limits::Usages::new();
        for (index, fate) in fates.iter().enumerate() {
            match fate {
                Some(Fate::Has { usage, .. }) => usages.push(*usage),
                Some(Fate::Lacks { wait, usage }) => {
                    usages.push(*usage);
                    refused = Some(refused.map_or((index, *wait), |(first, longest)| (first, longest.max(*wait))));
                }
                Some(Fate::Lost) | None => return Spending::Unavailable,
            }
        }
        match refused {
            None => Spending::Granted(usages),
            Some((by, wait)) => Spending::Refused { by, wait, usages },
        }
    }

    async fn add(&self, charge: &Charge<'_>, now: Micros) {
        self.0.add(&charge.owned(), Some(now)).await.unwrap();
    }

    fn sharing(&self) -> Sharing {
        Sharing { mode: Mode::Exact, ..Sharing::default() }
    }
}

#[tokio::test]
async fn it_does_what_every_store_of_counters_has_to_do() {
    if !redis_is_here() {
        return;
    }
    let server = RedisServer::start().await;
    let store = Conforming(exact(one(&server)).await);
    for seed in 0..150 {
        conforms(&store, seed).await;
    }
    for seed in 0..3 {
        has_edges(&store, 1_000_000 + seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_gateways_admit_exactly_the_quota_together() {
    if !redis_is_here() {
        return;
    }
    let server = RedisServer::start().await;
    let gateways = [exact(one(&server)).await, exact(one(&server)).await];
    assert_eq!(admitted(&gateways, &[charge(1, 500, DAY)], 1000).await, 500);
    let sliding = Algorithm::Sliding { period: Micros(3_600_000_000), buckets: 60 };
    assert_eq!(admitted(&gateways, &[charge(2, 300, sliding)], 600).await, 300);
    let burst = Algorithm::Burst { period: Micros(86_400_000_000), burst: 40 };
    assert_eq!(admitted(&gateways, &[charge(3, 40, burst)], 200).await, 40);
    // All of them expire: nothing stays for ever.
    let mut connection = server.client().connect().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    assert!(keys.len() >= 4, "{keys:?}");
    for key in keys {
        let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
        assert!(left > 0, "{key} does not expire");
    }
}

/// Of so many requests from each gateway at once.
async fn admitted(gateways: &[Arc<Exact>], charges: &[OwnedCharge], requests: usize) -> u64 {
    let admitted = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for gateway in gateways {
        for _ in 0..10 {
            let (gateway, charges, admitted) = (gateway.clone(), charges.to_vec(), admitted.clone());
            tasks.push(tokio::spawn(async move {
                for _ in 0..requests / 10 {
                    let fates = gateway.spend(&charges, None).await;
                    if granted(&fates) {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    } else {
                        gateway.refund(&charges, &fates, None).await;
                    }
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    admitted.load(Ordering::Relaxed)
}

#[tokio::test]
async fn what_one_limit_refuses_debits_none() {
    if !redis_is_here() {
        return;
    }
    let server = RedisServer::start().await;
    let exact = exact(one(&server)).await;
    let charges = [charge(1, 100, DAY), charge(2, 2, DAY), charge(3, 100, DAY)];
    for _ in 0..5 {
        exact.spend(&charges, None).await;
    }
    let fates = exact.spend(&charges, None).await;
    let left: Vec<u64> = (0..3).map(|index| remaining(fates.get(index))).collect();
    assert_eq!(left, [98, 0, 98]);
    // What was granted and is not wanted comes back.
    let one = [charge(4, 3, DAY)];
    let fates = exact.spend(&one, None).await;
    assert_eq!(remaining(fates.first()), 2);
    exact.refund(&one, &fates, None).await;
    let free = [OwnedCharge { cost: 0, ..charge(4, 3, DAY) }];
    assert_eq!(remaining(exact.spend(&free, None).await.first()), 3, "it is given back");
}

#[tokio::test]
async fn a_redis_that_forgot_the_scripts_is_told_again() {
    if !redis_is_here() {
        return;
    }
    let server = RedisServer::start().await;
    let exact = exact(one(&server)).await;
    let charges = [charge(1, 3, DAY)];
    assert!(granted(&exact.spend(&charges, None).await));
    let mut connection = server.client().connect().await.unwrap();
    redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut connection).await.unwrap();
    let fates = exact.spend(&charges, None).await;
    assert_eq!(remaining(fates.first()), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_cluster_never_more_and_nothing_is_kept_back() {
    if !redis_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path()).await;
    let seeds = cluster.nodes.iter().take(1).map(|node| ("127.0.0.1".to_owned(), node.port)).collect();
    let cluster_place = place(Servers::Cluster(seeds));
    let gateways = [exact(cluster_place.clone()).await, exact(cluster_place).await];
    // One key: one script.
    assert_eq!(admitted(&gateways, &[charge(1, 200, DAY)], 400).await, 200);
    // Several slots, so several scripts, and the scarcest anywhere among them.
    for scarce in 0..3 {
        let charges: Vec<OwnedCharge> =
            (0..3).map(|index| charge(10 + 3 * scarce + index, if index == scarce { 30 } else { 1000 }, DAY)).collect();
        let admitted = admitted(&gateways, &charges, 200).await;
        println!("cluster: {admitted} of 30 admitted by 400 requests at once");
        assert!((20..=30).contains(&admitted), "{admitted}");
        let free: Vec<OwnedCharge> = charges.iter().map(|charge| OwnedCharge { cost: 0, ..charge.clone() }).collect();
        let [gateway, _] = &gateways;
        eventually("what was refused is given back", async || {
            let fates = gateway.spend(&free, None).await;
            let left: Vec<u64> =
                charges.iter().zip(&fates).map(|(charge, fate)| charge.limit.quota - remaining(Some(fate))).collect();
            left.iter().all(|used| *used == admitted).then_some(())
        })
        .await;
    }
}

/// What was used without Redis is told late, and counts as if it had been told at once.
#[tokio::test]
async fn what_is_told_late_of_a_burst_counts_from_when_it_was_used() {
    if !redis_is_here() {
        return;
    }
    let server = RedisServer::start().await;
    let exact = exact(one(&server)).await;
    let window = Window::Burst(Burst { seconds: 60, burst: 10 });
    let limit = conformance::limit(window, 60, Unit::Requests, Sharing { mode: Mode::Exact, ..Sharing::default() });
    let limit = Arc::new(limit);
    let at = |second: u64| Micros::of_seconds(1_700_000_000 + second);
    // Used up at 0, five more at 2, and told of at 5; or nothing used at 0. Left is what had come back by then.
    for (number, used, left) in [(1, 10, 0), (2, 0, 8)] {
        let charge = |cost| OwnedCharge { key: CounterKey(number), limit: Arc::clone(&limit), cost };
        let fates = exact.spend(&[charge(used)], Some(at(0))).await;
        assert!(matches!(fates[..], [Some(Fate::Has { .. })]), "{fates:?}");
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
        exact.add_in(&charge(5), Some(at(2).0), Some(at(5)), deadline).await.unwrap();
        let fates = exact.spend(&[charge(0)], Some(at(5))).await;
        let [Some(Fate::Has { usage, .. } | Fate::Lacks { usage, .. })] = fates[..] else { panic!("{fates:?}") };
        assert_eq!(usage.remaining, left);
    }
}
