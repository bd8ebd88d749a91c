//! Bandwidth that is leased.

use std::collections::HashMap;

use microgw_tests::bodies::Bodies;
use microgw_tests::gateway::Answer;

use super::*;

/// What Redis was told of the one limit there is, without what gateways have spare.
async fn used(redis: &RedisServer) -> u64 {
    let mut connection = redis.client().connect().await.unwrap();
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("*leases*").query_async(&mut connection).await.unwrap();
    let Some(key) = keys.first() else { return 0 };
    let fields: HashMap<String, String> = ::redis::cmd("HGETALL").arg(key).query_async(&mut connection).await.unwrap();
    let of = |kind: &'static str| fields.iter().filter(move |(name, _)| name.starts_with(kind)).map(|(_, value)| value);
    let taken: u64 = of("s:").map(|value| value.parse::<u64>().unwrap()).sum();
    let spare: u64 = of("g:").map(|said| said.split(' ').nth(2).unwrap().parse::<u64>().unwrap()).sum();
    taken - spare
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_let_pass_the_quota_and_what_was_in_flight() {
    const N: u64 = 1_000_000;
    /// More than all gateways together may have spare: each is told of.
    const PIECE: u64 = 20_000;
    const ABREAST: usize = 3;
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let (redis, bodies, project) = (RedisServer::start().await, Bodies::start().await, Project::new());
    let mut download = get(&json!([]));
    download["get"]["x-wso2-throttling-tier"] = json!("Megabyte");
    let paths = json!({ "/bytes/{count}": download });
    project.define("shop", &definition("Shop", "/shop", bodies.address, &paths));
    let policy = "{bandwidth: 1 MB, unitTime: 1, timeUnit: year, shared: leased}";
    project.write("policies.yaml", &format!("resourcePolicies:\n  - Megabyte: {policy}\n"));
    project.build().await;
    let homes: Vec<TempDir> = (0..2).map(|_| TempDir::new().unwrap()).collect();
    let settings = ["--throttlingConfig.bandwidth=true", PATIENT, &at(&redis)];
    let gateways = at_each(&homes, &project, &settings).await;
    let ask = async |gateway: &Gateway, bytes: u64| {
        let answer = gateway.get(&gateway.http(&format!("/shop/bytes/{bytes}")), &[]).await;
        match answer.status {
            200 => assert_eq!(answer.body.len() as u64, bytes),
            _ => assert_eq!((answer.status, answer.code()), (429, 900_802), "{answer:?}"),
        }
        answer
    };
    // Requests of both at once, and then what they took is told.
    let (mut passed, mut rounds, mut last) = ([0, 0], 0, 0);
    loop {
        let before: u64 = passed.iter().sum();
        let each = gateways.iter().zip(&mut passed).map(async |(gateway, passed)| {
            let answers = futures_util::future::join_all((0..ABREAST).map(|_| ask(gateway, PIECE))).await;
            *passed += answers.iter().filter(|answer: &&Answer| answer.status == 200).count() as u64 * PIECE;
        });
        futures_util::future::join_all(each).await;
        let all: u64 = passed.iter().sum();
        if all == before && all >= N {
            break;
        }
        eventually("what passed is told", async || (used(&redis).await == all).then_some(())).await;
        (rounds, last) = (rounds + 1, all - before);
    }
    let all: u64 = passed.iter().sum();
    println!("leased: {passed:?} bytes passed of {N} in {rounds} rounds, {last} of them in the last");
    assert!(passed.iter().all(|passed| *passed > 0));
    assert!(all < N + 2 * ABREAST as u64 * PIECE, "{all} of {N}");
    // None has any that is spare.
    for gateway in &gateways {
        let answer = ask(gateway, 0).await;
        assert_eq!(answer.status, 429);
        assert!(answer.header("ratelimit").starts_with("\"Megabyte\";r=0;t="), "{answer:?}");
    }
    assert_eq!(used(&redis).await, all);
}
