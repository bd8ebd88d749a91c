//! What is admitted of a quota: all of it, and never more.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_admit_what_there_is_and_never_more() {
    const N: u64 = 1000;
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let setting = Setting::new(&format!("count: {N}, unitTime: 1, timeUnit: day, shared: leased")).await;
    let homes: Vec<TempDir> = (0..3).map(|_| TempDir::new().unwrap()).collect();
    let mut gateways = Vec::new();
    for home in &homes {
        gateways.push(setting.gateway(home.path(), &[PATIENT]).await);
    }
    let seen = Arc::new(Seen::default());
    let mut clients = Vec::new();
    for (gateway, weight) in gateways.iter().zip([14, 5, 1]) {
        clients.push(Clients::start(gateway, weight, PAUSE, &seen));
    }
    seen.reaches(300).await;
    let (mut killed, lost) = (gateways.remove(1), clients.remove(1));
    killed.child.kill().await.unwrap();
    seen.reaches(600).await;
    let in_flight = 5;
    // By now nobody listens there.
    lost.stop().await;
    let again = setting.gateway(homes[1].path(), &[PATIENT]).await;
    clients.push(Clients::start(&again, 5, PAUSE, &seen));
    // One in good order, too: what it has goes back.
    let mut stopped = gateways.remove(0);
    clients.remove(0).stop().await;
    let before = leases(&stopped).await;
    stopped.stop().await;
    gateways.push(setting.gateway(homes[0].path(), &[PATIENT]).await);
    clients.push(Clients::start(gateways.last().unwrap(), 14, PAUSE, &seen));
    seen.is_exhausted().await;
    for clients in clients {
        clients.stop().await;
    }
    let admitted = seen.admitted();
    println!("three gateways, 70/25/5, one killed, two restarted: {admitted} of {N} admitted; {seen:?}");
    println!("leases of the first before it stopped: {before}");
    for gateway in gateways.iter().chain([&again]) {
        println!("leases now: {}", leases(gateway).await);
    }
    assert!(admitted <= N, "{admitted} of {N}");
    // What the killed one had spare, and what it had answered when its clients were gone.
    let least = N - N / 100 - N / 100 - in_flight;
    assert!(admitted >= least, "{admitted}, and not {least} at least");
    let page = gateways[0].get(&gateways[0].admin("/metrics"), &[]).await.body;
    assert!(page.contains("microgw_limit_lease_units_total{outcome=\"taken\"}"), "{page}");
    assert!(page.contains("microgw_limit_lease_undershoot_ratio"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn window_after_window_no_more_and_hardly_less() {
    const N: u64 = 200;
    const SECONDS: u64 = 5;
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let policy = format!("count: {N}, unitTime: {SECONDS}, timeUnit: sec, shared: leased, onStoreFailure: deny");
    let setting = Setting::new(&policy).await;
    let homes: Vec<TempDir> = (0..3).map(|_| TempDir::new().unwrap()).collect();
    let mut gateways = Vec::new();
    for home in &homes {
        gateways.push(setting.gateway(home.path(), &[PATIENT]).await);
    }
    let seen = Arc::new(Seen::default());
    let window = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / SECONDS;
    let next = |from: u64| eventually("the next window", async move || (window() > from).then(window));
    // Redis and we have one clock.
    next(window()).await;
    let mut clients = Vec::new();
    for (gateway, weight) in gateways.iter().zip([14, 5, 1]) {
        clients.push(Clients::start(gateway, weight, PAUSE, &seen));
    }
    let (mut at, mut before) = (window(), 0);
    let first = at;
    for _ in 0..4 {
        seen.reaches(before + N / 2).await;
        let now = next(at).await;
        let admitted = seen.admitted() - before;
        println!("window {}: {admitted} of {N}", at - first);
        (before, at) = (seen.admitted(), now);
    }
    for clients in clients {
        clients.stop().await;
    }
    let (admitted, windows) = (seen.admitted(), window() - first + 1);
    println!("{admitted} in {windows} windows of {N}, the last of them not whole; {seen:?}");
    assert!(admitted <= N * windows, "{admitted} in {windows} windows");
    assert!(admitted >= (N - N / 100) * (windows - 1), "{admitted} in {windows} windows");
    assert_eq!(seen.unanswered.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sliding_windows_and_bursts_are_leased_too() {
    if !envoy_is_here() || !redis_is_here() {
        return;
    }
    let sliding = "count: 100, unitTime: 4, timeUnit: sec, window: sliding, buckets: 8, shared: leased";
    let burst = "count: 200, unitTime: 4, timeUnit: sec, window: burst, burst: 20, shared: leased";
    let setting = Setting::of(&[("sliding", sliding), ("burst", burst)]).await;
    let homes: Vec<TempDir> = (0..2).map(|_| TempDir::new().unwrap()).collect();
    let mut gateways = Vec::new();
    for home in &homes {
        gateways.push(setting.gateway(home.path(), &[PATIENT]).await);
    }
    let seen: [Arc<Seen>; 2] = Default::default();
    let (started, mut clients) = (Instant::now(), Vec::new());
    for (gateway, weight) in gateways.iter().zip([4, 1]) {
        for (operation, seen) in ["sliding", "burst"].iter().zip(&seen) {
            clients.push(Clients::of(operation, gateway, weight, PAUSE, seen));
        }
    }
    // Two periods of the one, four of the other.
    seen[0].reaches(300).await;
    seen[1].reaches(400).await;
    for clients in clients {
        clients.stop().await;
    }
    let passed = started.elapsed().as_millis();
    let [sliding, burst] = seen.each_ref().map(|seen| u128::from(seen.admitted()));
    println!("in {passed} ms: sliding {sliding}, burst {burst}; {seen:?}");
    assert!(sliding <= 100 * (passed / 4000 + 1), "{sliding} in {passed} ms");
    assert!(burst <= 20 + 1 + passed / 20, "{burst} in {passed} ms");
    for seen in &seen {
        assert_eq!(seen.unavailable.load(Ordering::Relaxed), 0);
    }
    for gateway in &gateways {
        let page = gateway.get(&gateway.admin("/metrics"), &[]).await.body;
        let alone = page.lines().filter(|line| line.starts_with("microgw_limit_fallbacks_total"));
        assert!(alone.clone().count() > 0 && alone.clone().all(|line| line.ends_with(" 0")), "{page}");
        println!("leases: {}", leases(gateway).await);
    }
}
