use std::time::Duration;

use microgw_envoy::{State, Supervisor};

use crate::log::Log;
use crate::testbed::{self, Testbed, alive, eventually, state, within};

#[tokio::test]
async fn a_killed_envoy_comes_back() {
    let Some(envoy) = testbed::envoy() else { return };
    let bed = Testbed::new(envoy).await;
    let supervisor = bed.start().await;
    let first = supervisor.pid().unwrap();

    let pid = nix::unistd::Pid::from_raw(first.try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();

    let State::Running { pid: second, .. } =
        state(&supervisor, |state| matches!(state, State::Running { restarts: 1, .. })).await
    else {
        unreachable!()
    };
    assert_ne!(first, second);
    bed.ready().await;
    drop(supervisor);
    assert!(!alive(first) && !alive(second), "dropping the supervisor kills its Envoy");
}

#[tokio::test]
async fn an_envoy_that_cannot_start_is_reported() {
    let Some(envoy) = testbed::envoy() else { return };
    let log = Log::of_process();
    let mut bed = Testbed::new(envoy).await;
    bed.launch.bootstrap = bed.directory.path().join("missing.json");
    let supervisor = Supervisor::start(bed.launch.clone()).unwrap();
    let State::BackingOff { reason, delay, .. } =
        state(&supervisor, |state| matches!(state, State::BackingOff { restarts: 1, .. })).await
    else {
        unreachable!()
    };
    assert_eq!((reason.as_str(), delay), ("exit status: 1", Duration::from_millis(200)));
    let missing = bed.launch.bootstrap.to_str().unwrap();
    let said =
        |line: &str| line.contains("ERROR envoy: ") && line.contains(missing) && line.contains("logger=\"main\"");
    eventually("Envoy's own words are in our log", async || log.text().lines().any(said)).await;
    within(supervisor.drain_and_stop()).await;
}

#[tokio::test]
async fn a_request_in_flight_outlives_the_order_to_stop() {
    let Some(envoy) = testbed::envoy() else { return };
    let bed = Testbed::new(envoy).await;
    let supervisor = bed.start().await;
    let pid = supervisor.pid().unwrap();
    let request = bed.request().await;

    let stop = tokio::spawn(supervisor.drain_and_stop());
    let admin = bed.admin();
    eventually("it drains", async || admin.server_info().await.unwrap().state == "DRAINING").await;
    let response = request.answer().await;

    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("done"), "{response}");
    assert!(response.contains("connection: close"), "{response}");
    within(stop).await.unwrap();
    assert!(!alive(pid));
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_in_time() {
    let Some(envoy) = testbed::envoy() else { return };
    let mut bed = Testbed::new(envoy).await;
    bed.launch.drain = Duration::from_millis(300);
    let supervisor = bed.start().await;
    let pid = supervisor.pid().unwrap();
    let request = bed.request().await;

    within(supervisor.drain_and_stop()).await;

    assert!(!alive(pid));
    assert_eq!(request.abandoned().await, "");
}
