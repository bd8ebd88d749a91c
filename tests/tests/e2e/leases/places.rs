//! Leases where Redis is several servers.

use microgw_tests::redis::Replicated;

use super::*;

/// Whoever takes over may lack the last of what the master was told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_under_load_admits_no_more() {
    const N: u64 = 600;
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let mut redis = Replicated::start(directory.path()).await;
    let policy = format!("count: {N}, unitTime: 1, timeUnit: year, shared: leased, onStoreFailure: deny");
    let (project, _backend) = shop(&[("limited", &policy)]).await;
    let config = project.config(&format!(
        "[throttlingConfig.redis]\ntimeout = 1000\n\n[throttlingConfig.redis.sentinel]\nmaster = \"mymaster\"\n\
         nodes = [\"redis://127.0.0.1:{}\"]\n",
        redis.sentinel.port
    ));
    let homes: Vec<TempDir> = (0..2).map(|_| TempDir::new().unwrap()).collect();
    let gateways = at_each(&homes, &project, &[&config]).await;
    let seen = Arc::new(Seen::default());
    let load = gateways.iter().zip([4, 1]);
    let clients: Vec<Clients> = load.map(|(gateway, weight)| Clients::start(gateway, weight, PAUSE, &seen)).collect();
    seen.reaches(N / 3).await;
    redis.master.stop();
    let lost = Instant::now();
    seen.misses_some().await;
    for gateway in &gateways {
        gateway.status_where("the other is the master", |status| status["sharedLimits"]["reachable"] == true).await;
    }
    let (away, at) = (lost.elapsed(), seen.admitted());
    seen.reaches(at + N / 10).await;
    seen.is_exhausted().await;
    for clients in clients {
        clients.stop().await;
    }
    let admitted = seen.admitted();
    println!("Sentinel, failover after a third: away for {away:?}, {admitted} of {N} admitted; {seen:?}");
    assert!(admitted <= N, "{admitted} of {N}");
    assert!(admitted >= N - N / 100, "{admitted} of {N}");
    assert_eq!(seen.unanswered.load(Ordering::Relaxed), 0);
}

/// Of each limit; those of a node that does not answer are denied meanwhile, the others go on, and none hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_admits_what_there_is_though_a_node_is_away() {
    const N: u64 = 150;
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let cluster = Cluster::start(directory.path()).await;
    let policy = format!("count: {N}, unitTime: 1, timeUnit: year, shared: leased, onStoreFailure: deny");
    let names: Vec<String> = (0..8).map(|number| format!("limited{number}")).collect();
    let operations: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), policy.as_str())).collect();
    let (project, _backend) = shop(&operations).await;
    let config = project.config(&of_cluster(&cluster));
    let homes: Vec<TempDir> = (0..2).map(|_| TempDir::new().unwrap()).collect();
    let gateways = at_each(&homes, &project, &[&config]).await;
    let seen: Vec<Arc<Seen>> = names.iter().map(|_| Arc::default()).collect();
    let mut clients = Vec::new();
    for (name, seen) in names.iter().zip(&seen) {
        clients.extend(gateways.iter().map(|gateway| Clients::of(name, gateway, 1, 2 * PAUSE, seen)));
    }
    for seen in &seen {
        seen.reaches(N / 5).await;
    }
    let mut held = Vec::new();
    for node in &cluster.nodes {
        let mut connection = node.client().connect().await.unwrap();
        let keys: Vec<String> = ::redis::cmd("KEYS").arg("*leases*").query_async(&mut connection).await.unwrap();
        held.push(keys.len());
    }
    let frozen = held.iter().position(|held| (1..names.len()).contains(held)).expect("they are on several nodes");
    cluster.nodes[frozen].freeze();
    let missing = async || {
        let missed: Vec<bool> = seen.iter().map(|seen| seen.unavailable.load(Ordering::Relaxed) > 0).collect();
        (missed.iter().filter(|missed| **missed).count() >= held[frozen]).then_some(missed)
    };
    let missed = eventually("all that is there is missed", missing).await;
    for (seen, _) in seen.iter().zip(&missed).filter(|(_, missed)| !**missed) {
        seen.reaches((seen.admitted() + N / 10).min(N - N / 100)).await;
    }
    cluster.nodes[frozen].thaw();
    for seen in &seen {
        seen.reaches(N - N / 100).await;
    }
    exhausted(&seen).await;
    for clients in clients {
        clients.stop().await;
    }
    let admitted: Vec<u64> = seen.iter().map(|seen| seen.admitted()).collect();
    let slowest = seen.iter().map(|seen| seen.slowest.load(Ordering::Relaxed)).max();
    println!("cluster, {held:?} limits a node, one frozen: {admitted:?} of {N} each; the slowest took {slowest:?} ms");
    assert!(admitted.iter().all(|admitted| *admitted <= N), "{admitted:?}");
    for seen in &seen {
        assert_eq!(seen.unanswered.load(Ordering::Relaxed), 0, "{seen:?}");
    }
}
