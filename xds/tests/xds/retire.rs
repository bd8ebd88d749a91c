use std::time::Duration;

use microgw_compiler::snapshot::ResourceType::{Cluster, Listener, Route};
use microgw_xds::Outcome;
use tokio::time::Instant;

use crate::envoy::{Answer, Update};
use crate::fixture::{Gateway, PROJECT, live};

use super::DIALECT;

fn removes(cluster: &'static str) -> impl Fn(&Update) -> bool {
    move |update| update.kind == Cluster && update.removed == [cluster]
}

#[tokio::test(start_paused = true)]
async fn rules_and_clusters_of_the_generation_before_stay_a_while() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    gateway.publish("g2", &[("pets", "2")]).await;
    let start = Instant::now();
    assert_eq!(gateway.rules.armed(), ["g1", "g2"]);
    assert_eq!(envoy.names(Cluster), ["pets-1", "pets-2"]);

    envoy.update(removes("pets-1")).await;
    assert_eq!(start.elapsed().as_secs(), 60);
    assert_eq!(gateway.rules.armed(), ["g2"]);
    assert_eq!((envoy.names(Route), envoy.names(Listener)), (vec!["routes".to_owned()], vec!["http".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn clusters_are_there_before_the_routes_and_go_after_them() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    envoy.updates();
    gateway.publish("g2", &[("pets", "2")]).await;
    envoy.update(removes("pets-1")).await;
    let order: Vec<_> = envoy.updates().into_iter().map(|update| (update.kind, update.removed.is_empty())).collect();
    assert_eq!(order, [(Cluster, true), (Route, true), (Cluster, false)]);
}

#[tokio::test(start_paused = true)]
async fn an_envoy_that_is_behind_keeps_its_rules() {
    let gateway = Gateway::start(DIALECT);
    let behind = gateway.envoy().await;
    let other = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    behind.judge(|_| Answer::Silence);
    assert_eq!(gateway.publish("g2", &[("pets", "2")]).await, live("g2"));
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(gateway.rules.armed(), ["g1", "g2"]);
    assert_eq!(other.names(Cluster), ["pets-1", "pets-2"]);

    behind.disconnect();
    other.update(removes("pets-1")).await;
    assert_eq!(gateway.rules.armed(), ["g2"]);
}

#[tokio::test(start_paused = true)]
async fn an_envoy_that_never_catches_up_does_not_keep_everything() {
    let gateway = Gateway::start(DIALECT);
    let behind = gateway.envoy().await;
    let _other = gateway.envoy().await;
    gateway.publish("g00", &[("pets", "00")]).await;
    behind.judge(|_| Answer::Silence);
    for index in 1..=20 {
        let generation = format!("g{index:02}");
        assert_eq!(gateway.publish(&generation, &[("pets", &generation)]).await, live(&generation));
    }
    assert_eq!(gateway.rules.armed().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_candidate_withdrawn_before_any_envoy_came_is_retired_too() {
    let gateway = Gateway::start(DIALECT);
    assert!(matches!(gateway.publish("g1", &[("pets", "1")]).await, Outcome::Pending { .. }));
    assert!(matches!(gateway.publish("g2", &[("pets", "2")]).await, Outcome::Pending { .. }));
    while gateway.rules.armed() != ["g2"] {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let envoy = gateway.envoy().await;
    gateway.until_live("g2").await;
    assert_eq!(envoy.names(Cluster), ["pets-2"]);
}

#[tokio::test(start_paused = true)]
async fn publishing_the_live_generation_withdraws_what_is_pending() {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    envoy.disconnect();
    while !gateway.publisher.status().envoys.is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(gateway.publish("g2", &[("pets", "2")]).await, Outcome::Pending { .. }));
    assert_eq!(gateway.publish("g1", &[("pets", "1")]).await, Outcome::Unchanged);
    envoy.updates();
    envoy.connect(PROJECT).await;
    while !gateway.publisher.ready() {
        tokio::task::yield_now().await;
    }
    assert!(!envoy.updates().iter().any(|update| update.contains("g2")));
}
