use std::sync::Arc;
use std::time::Duration;

use microgw_compiler::snapshot::{Resource, ResourceType};
use microgw_xds::{Outcome, Rejection, State};
use tokio::time::Instant;

use crate::envoy::Answer;
use crate::fixture::{Gateway, candidate, live, snapshot};

use super::DIALECT;

#[tokio::test(start_paused = true)]
async fn is_live_when_acked_and_seen() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    assert_eq!(gateway.publish("g1", &[("pets", "1")]).await, live("g1"));
    assert_eq!(envoy.held.serves().as_deref(), Some("g1"));
    let status = gateway.publisher.status();
    assert_eq!((status.ready, status.publication.state), (true, State::Live));
    let acked: Vec<_> = status.envoys[0].types.iter().map(|one| one.acked.as_ref().unwrap().to_string()).collect();
    assert_eq!(acked, ["g1"; 4]);
}

#[tokio::test(start_paused = true)]
async fn the_live_generation_is_unchanged() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    envoy.updates();
    assert_eq!(gateway.publish("g1", &[("pets", "1")]).await, Outcome::Unchanged);
    assert_eq!(envoy.updates(), []);
    assert_eq!(gateway.state(), State::Live);
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_is_published_though_the_generation_is_the_same() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    let mut next = candidate("g1", &[("pets", "1")]);
    let renewed = Resource { version: "2".into(), body: Arc::from(*b"new key"), references: Arc::default() };
    next.snapshot.resources.get_mut(&ResourceType::Secret).unwrap().insert("identity".into(), renewed);
    assert_eq!(gateway.publisher.publish(next).await, live("g1"));
    assert!(envoy.updates().last().unwrap().contains("new key"));
    assert_eq!(gateway.rules.armed(), ["g1"]);
}

#[tokio::test(start_paused = true)]
async fn without_an_envoy_it_waits_for_one() {
    let gateway = Gateway::start(DIALECT);
    let outcome = gateway.publish("g1", &[("pets", "1")]).await;
    assert!(matches!(outcome, Outcome::Pending { generation } if &*generation.0 == "g1"));
    assert!(!gateway.publisher.ready());
    assert_eq!(gateway.state(), State::Publishing);
    let _envoy = gateway.envoy().await;
    assert_eq!(gateway.until_live("g1").await.state, State::Live);
    assert!(gateway.publisher.ready());
}

#[tokio::test(start_paused = true)]
async fn a_newer_candidate_replaces_one_that_waits_for_an_envoy() {
    let gateway = Gateway::start(DIALECT);
    gateway.publish("g1", &[("pets", "1")]).await;
    gateway.publish("g2", &[("pets", "2")]).await;
    let envoy = gateway.envoy().await;
    gateway.until_live("g2").await;
    assert!(!envoy.updates().iter().any(|update| update.contains("g1")));
}

#[tokio::test(start_paused = true)]
async fn is_not_ready_without_an_envoy() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    envoy.disconnect();
    while gateway.publisher.ready() {
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.publisher.status().envoys, []);
    envoy.connect(crate::fixture::PROJECT).await;
    while !gateway.publisher.ready() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_inconsistent_snapshot_is_not_offered() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    envoy.updates();
    let mut broken = candidate("g2", &[("pets", "2")]);
    broken.snapshot.resources.get_mut(&ResourceType::Cluster).unwrap().clear();
    let outcome = gateway.publisher.publish(broken).await;
    let Outcome::Rejected(Rejection::Inconsistent(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.to_string(), "Route `routes` refers to Cluster `pets-2`, which does not exist");
    assert_eq!(envoy.updates(), []);
    assert_eq!((gateway.state(), gateway.publisher.ready()), (State::Rejected, true));
    assert_eq!(gateway.rules.armed(), ["g1"]);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_whose_rules_cannot_be_armed_is_not_offered() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    envoy.updates();
    gateway.rules.broken.lock().unwrap().insert("g2".into());
    let outcome = gateway.publish("g2", &[("pets", "2")]).await;
    assert_eq!(outcome, Outcome::Rejected(Rejection::Rules("they contradict themselves".into())));
    assert_eq!(envoy.updates(), []);
    assert_eq!((gateway.state(), gateway.publisher.ready()), (State::Rejected, true));
    assert_eq!(gateway.rules.armed(), ["g1"]);
}

#[tokio::test(start_paused = true)]
async fn an_unseen_generation_is_taken_back() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    *gateway.probe.blind.lock().unwrap() = true;
    assert_eq!(gateway.publish("g2", &[("pets", "2")]).await, Outcome::Rejected(Rejection::Unseen));
    assert_eq!(envoy.held.serves().as_deref(), Some("g1"));
    let publication = gateway.publisher.status().publication;
    assert_eq!(publication.state, State::Rejected);
    assert_eq!(publication.live.unwrap().to_string(), "g1");
    *gateway.probe.blind.lock().unwrap() = false;
    assert_eq!(gateway.publish("g2", &[("pets", "2")]).await, live("g2"));
}

#[tokio::test(start_paused = true)]
async fn the_first_generation_is_probed_until_it_is_seen() {
    let gateway = Gateway::start(DIALECT);
    let _envoy = gateway.envoy().await;
    *gateway.probe.blind.lock().unwrap() = true;
    assert!(matches!(gateway.publish("g1", &[("pets", "1")]).await, Outcome::Pending { .. }));
    assert!(!gateway.publisher.ready());
    *gateway.probe.blind.lock().unwrap() = false;
    gateway.until_live("g1").await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_envoy_is_not_waited_for_again_and_may_catch_up() {
    let gateway = Gateway::start(DIALECT);
    let silent = gateway.envoy().await;
    let _other = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    silent.judge(|_| Answer::Silence);
    let start = Instant::now();
    assert_eq!(gateway.publish("g2", &[("pets", "2")]).await, live("g2"));
    assert_eq!(start.elapsed().as_secs(), 10);
    let out_of_sync = || gateway.publisher.status().envoys.iter().map(|one| one.out_of_sync).collect::<Vec<_>>();
    assert_eq!(out_of_sync(), [true, false]);
    let start = Instant::now();
    assert_eq!(gateway.publish("g3", &[("pets", "3")]).await, live("g3"));
    assert!(start.elapsed() < Duration::from_secs(1));

    silent.disconnect();
    silent.judge(|_| Answer::Ack);
    silent.connect(crate::fixture::PROJECT).await;
    silent.update(|update| update.contains("g3")).await;
    while out_of_sync() != [false, false] {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_envoys_are_silent_it_stays_on_offer() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    envoy.judge(|_| Answer::Silence);
    assert!(matches!(gateway.publish("g2", &[("pets", "2")]).await, Outcome::Pending { .. }));
    assert!(!gateway.publisher.ready());
    envoy.disconnect();
    envoy.judge(|_| Answer::Ack);
    envoy.connect(crate::fixture::PROJECT).await;
    gateway.until_live("g2").await;
}

#[tokio::test(start_paused = true)]
async fn of_the_candidates_that_wait_the_newest_is_kept() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    let (first, second, third) = tokio::join!(
        biased;
        gateway.publish("g1", &[("pets", "1")]),
        async {
            gateway.until(|publication| publication.state == State::Publishing).await;
            gateway.publish("g2", &[("pets", "2")]).await
        },
        async {
            gateway.until(|publication| publication.state == State::Publishing).await;
            gateway.publish("g3", &[("pets", "3")]).await
        },
    );
    assert_eq!((first, second, third), (live("g1"), Outcome::Superseded, live("g3")));
    assert!(!envoy.updates().iter().any(|update| update.contains("g2")));
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_nothing_is_sent_again() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    envoy.updates();

    let restarted = Gateway::resume(DIALECT, Some(snapshot("g1", &[("pets", "1")])));
    let survivor = envoy.moved_to(&restarted);
    survivor.connect(crate::fixture::PROJECT).await;
    assert_eq!(restarted.until_live("g1").await.state, State::Live);
    assert_eq!(survivor.updates(), []);
    assert_eq!(restarted.publish("g1", &[("pets", "1")]).await, Outcome::Unchanged);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_with_a_new_artifact_the_last_live_one_is_the_fallback() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    envoy.updates();

    let restarted = Gateway::resume(DIALECT, Some(snapshot("g1", &[("pets", "1")])));
    assert_eq!(restarted.rules.armed(), ["g1"]);
    restarted.publish("g2", &[("pets", "2")]).await;
    let survivor = envoy.moved_to(&restarted);
    *restarted.probe.blind.lock().unwrap() = true;
    survivor.connect(crate::fixture::PROJECT).await;
    let rejected = restarted.until(|publication| publication.state == State::Rejected).await;
    assert_eq!(rejected.live, None);
    *restarted.probe.blind.lock().unwrap() = false;
    let live = restarted.until_live("g1").await;
    assert_eq!(live.state, State::Rejected);
    assert_eq!(live.rejection, Some(Rejection::Unseen));
}
