use std::sync::{Arc, Mutex};

use microgw_compiler::snapshot::{Fallback, ResourceType};
use microgw_xds::{Candidate, Outcome, Rejection, State};

use crate::envoy::{Answer, Envoy, Update};
use crate::fixture::{Gateway, candidate, key, live, replacing};

use super::DIALECT;

const TEXT: &str = "VirtualHosts[0]: bad regex";

/// Refuses updates of one type that contain a text.
fn refuse(kind: ResourceType, text: &'static str) -> impl Fn(&Update) -> Answer {
    move |update| if update.kind == kind && update.contains(text) { Answer::Nack(TEXT) } else { Answer::Ack }
}

async fn gateway() -> (Gateway, Envoy) {
    let gateway = Gateway::start(DIALECT);
    let envoy = gateway.envoy().await;
    (gateway, envoy)
}

fn routes(updates: &[Update]) -> Vec<String> {
    let tables = updates.iter().filter(|update| update.kind == ResourceType::Route);
    tables.flat_map(|update| update.changed.values().cloned()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_previous_generation_is_sent_again_first() {
    let (gateway, envoy) = gateway().await;
    let first = [("pets", "1"), ("users", "1")];
    gateway.publish("g1", &first).await;
    envoy.updates();
    envoy.judge(refuse(ResourceType::Route, "pets=2"));
    gateway.publisher.publish(replacing(&first, "g2", &[("pets", "2"), ("users", "1")])).await;
    let tables = routes(&envoy.updates());
    assert_eq!(tables[..2], ["g2 pets=2 users=1", "g1 pets=1 users=1"]);
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_refused_keeps_its_previous_content() {
    let (gateway, envoy) = gateway().await;
    let first = [("orders", "1"), ("pets", "1"), ("users", "1")];
    gateway.publish("g1", &first).await;
    envoy.judge(refuse(ResourceType::Route, "pets=2"));
    let outcome =
        gateway.publisher.publish(replacing(&first, "g2", &[("orders", "2"), ("pets", "2"), ("users", "2")])).await;
    let Outcome::Degraded { generation, faults } = outcome else { panic!("{outcome:?}") };
    assert_eq!(generation.to_string(), "g2-without-pets:v1");
    assert_eq!(faults.len(), 1);
    assert_eq!((&faults[0].api, faults[0].fallback), (&key("pets"), Fallback::Previous));
    assert_eq!(faults[0].location, "api_definitions/pets.yaml:2:1");
    assert_eq!(faults[0].envoy_text, TEXT);
    assert_eq!(routes(&envoy.updates()).last().unwrap(), "g2-without-pets:v1 orders=2 pets=1 users=2");

    let status = gateway.publisher.status();
    assert_eq!((status.ready, status.publication.state), (true, State::Degraded));
    assert_eq!(status.publication.faults, faults);
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["state"], "degraded");
    assert_eq!(json["faults"][0]["api"], "pets:v1");
    assert_eq!(json["faults"][0]["fallback"], "previous");
    assert_eq!(json["live"], "g2-without-pets:v1");
}

#[tokio::test(start_paused = true)]
async fn a_new_api_that_is_refused_is_unavailable() {
    let (gateway, envoy) = gateway().await;
    envoy.judge(refuse(ResourceType::Route, "pets=1"));
    let outcome = gateway.publish("g1", &[("orders", "1"), ("pets", "1")]).await;
    let Outcome::Degraded { faults, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((&faults[0].api, faults[0].fallback), (&key("pets"), Fallback::Unavailable));
    assert_eq!(routes(&envoy.updates()).last().unwrap(), "g1-without-pets:v1 orders=1 pets=503");
    assert!(gateway.publisher.ready());
}

#[tokio::test(start_paused = true)]
async fn several_apis_at_fault_are_all_found() {
    let (gateway, envoy) = gateway().await;
    let names: Vec<String> = (0..40).map(|index| format!("api{index:02}")).collect();
    let apis: Vec<(&str, &str)> = names
        .iter()
        .map(|name| (&**name, if ["api03", "api17", "api18", "api39"].contains(&&**name) { "bad" } else { "good" }))
        .collect();
    envoy.judge(refuse(ResourceType::Route, "=bad"));
    let outcome = gateway.publish("g1", &apis).await;
    let Outcome::Degraded { faults, .. } = outcome else { panic!("{outcome:?}") };
    let found: Vec<String> = faults.iter().map(|fault| fault.api.to_string()).collect();
    assert_eq!(found, ["api03:v1", "api17:v1", "api18:v1", "api39:v1"]);
    assert!(!routes(&envoy.updates()).last().unwrap().contains("bad"));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_refused_degrades_its_api() {
    let (gateway, envoy) = gateway().await;
    let first = [("orders", "1"), ("pets", "1")];
    gateway.publish("g1", &first).await;
    envoy.updates();
    envoy.judge(refuse(ResourceType::Cluster, "pets=2"));
    let outcome = gateway.publisher.publish(replacing(&first, "g2", &[("orders", "2"), ("pets", "2")])).await;
    let Outcome::Degraded { faults, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(faults[0].api, key("pets"));
    // No route table that needs the cluster was ever sent.
    assert!(!routes(&envoy.updates()).iter().any(|table| table.contains("pets=2")));
    assert_eq!(envoy.held.serves().unwrap(), "g2-without-pets:v1");
}

#[tokio::test(start_paused = true)]
async fn what_all_apis_have_in_common_is_rejected() {
    let (gateway, envoy) = gateway().await;
    let first = [("orders", "1"), ("pets", "1")];
    gateway.publish("g1", &first).await;
    envoy.judge(refuse(ResourceType::Route, "g2"));
    let outcome = gateway.publisher.publish(replacing(&first, "g2", &[("orders", "2"), ("pets", "2")])).await;
    assert_eq!(outcome, Outcome::Rejected(Rejection::Refused { envoy_text: TEXT.to_owned() }));
    assert_eq!(envoy.held.serves().unwrap(), "g1");
    let status = gateway.publisher.status();
    assert_eq!((status.ready, status.publication.state), (true, State::Rejected));
    assert_eq!(status.publication.live.unwrap().to_string(), "g1");
    assert_eq!(status.publication.rejection, Some(Rejection::Refused { envoy_text: TEXT.to_owned() }));

    // The gateway is not stuck.
    envoy.judge(|_| Answer::Ack);
    assert_eq!(gateway.publish("g3", &[("orders", "3")]).await, live("g3"));
}

#[tokio::test(start_paused = true)]
async fn a_first_generation_that_is_refused_whole_leaves_nothing_on_offer() {
    let (gateway, envoy) = gateway().await;
    envoy.judge(refuse(ResourceType::Route, "g1"));
    assert!(matches!(gateway.publish("g1", &[("pets", "1")]).await, Outcome::Rejected(Rejection::Refused { .. })));
    let status = gateway.publisher.status();
    assert_eq!((status.ready, status.publication.offered), (false, None));
    envoy.judge(|_| Answer::Ack);
    assert_eq!(gateway.publish("g1", &[("pets", "1")]).await, live("g1"));
}

#[tokio::test(start_paused = true)]
async fn a_settings_change_that_is_refused_is_rejected_without_trials() {
    let (gateway, envoy) = gateway().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    envoy.updates();
    envoy.judge(refuse(ResourceType::Route, "g2"));
    let outcome = gateway.publisher.publish(replacing(&[("pets", "1")], "g2", &[("pets", "1")])).await;
    assert!(matches!(outcome, Outcome::Rejected(Rejection::Refused { .. })));
    assert_eq!(routes(&envoy.updates()), ["g2 pets=1", "g1 pets=1"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_envoy_may_refuse_what_was_pending() {
    let gateway = Gateway::start(DIALECT);
    assert!(matches!(gateway.publish("g1", &[("orders", "1"), ("pets", "1")]).await, Outcome::Pending { .. }));
    let envoy = Envoy::new(&gateway.socket, Arc::clone(&gateway.rules), DIALECT);
    gateway.probe.watch(&envoy);
    envoy.judge(refuse(ResourceType::Route, "pets=1"));
    envoy.connect(crate::fixture::PROJECT).await;
    let degraded = gateway.until(|publication| publication.state == State::Degraded).await;
    assert_eq!(degraded.faults[0].api, key("pets"));
}

#[tokio::test(start_paused = true)]
async fn one_envoy_that_refuses_decides_for_all() {
    let (gateway, picky) = gateway().await;
    let other = gateway.envoy().await;
    let first = [("pets", "1")];
    gateway.publish("g1", &first).await;
    picky.judge(refuse(ResourceType::Route, "pets=2"));
    let outcome = gateway.publisher.publish(replacing(&first, "g2", &[("pets", "2")])).await;
    assert!(matches!(outcome, Outcome::Degraded { .. }));
    assert_eq!(picky.held.serves(), other.held.serves());
}

#[tokio::test(start_paused = true)]
async fn an_envoy_that_refuses_what_is_live_is_shown_and_changes_nothing() {
    let (gateway, _envoy) = gateway().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    let late = Envoy::new(&gateway.socket, Arc::clone(&gateway.rules), DIALECT);
    late.judge(refuse(ResourceType::Route, "pets=1"));
    late.connect(crate::fixture::PROJECT).await;
    late.update(|update| update.kind == ResourceType::Route).await;
    while gateway.publisher.metrics().nacks == 0 {
        tokio::task::yield_now().await;
    }
    let status = gateway.publisher.status();
    assert_eq!((status.ready, status.publication.state), (true, State::Live));
    let route = status.envoys[1].types.iter().find(|one| one.kind == "Route").unwrap();
    assert_eq!(route.refusal.as_deref(), Some(TEXT));
}

#[tokio::test(start_paused = true)]
async fn an_envoy_that_falls_silent_ends_the_search() {
    let (gateway, envoy) = gateway().await;
    let first = [("orders", "1"), ("pets", "1")];
    gateway.publish("g1", &first).await;
    let refused = Mutex::new(false);
    envoy.judge(move |update| {
        if update.kind != ResourceType::Route || update.contains("g1") {
            Answer::Ack
        } else if std::mem::replace(&mut *refused.lock().unwrap(), true) {
            Answer::Silence
        } else {
            Answer::Nack(TEXT)
        }
    });
    let outcome = gateway.publisher.publish(replacing(&first, "g2", &[("orders", "2"), ("pets", "2")])).await;
    assert_eq!(outcome, Outcome::Rejected(Rejection::Silent));
    assert_eq!(gateway.publisher.status().publication.live.unwrap().to_string(), "g1");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_envoy_quotes_is_not_shown() {
    let (gateway, envoy) = gateway().await;
    envoy.judge(|update| match update.kind {
        ResourceType::Secret => Answer::Nack(
            "private_key { inline_string: \"KEY\" }: Proto constraint validation failed (SecretValidationError.Name)",
        ),
        _ => Answer::Ack,
    });
    let outcome = gateway.publish("g1", &[("pets", "1")]).await;
    let text = "Proto constraint validation failed (SecretValidationError.Name)".to_owned();
    assert_eq!(outcome, Outcome::Rejected(Rejection::Refused { envoy_text: text }));
    assert!(!serde_json::to_string(&gateway.publisher.status()).unwrap().contains("KEY"));
}

#[tokio::test(start_paused = true)]
async fn a_failing_reassembly_is_a_rejection() {
    let (gateway, envoy) = gateway().await;
    gateway.publish("g1", &[("pets", "1")]).await;
    envoy.judge(refuse(ResourceType::Route, "pets=2"));
    let failing = |reassemble| Candidate { reassemble, ..candidate("g2", &[("pets", "2")]) };
    let outcome = gateway.publisher.publish(failing(Arc::new(|_| Err("no artifact".to_owned())))).await;
    assert_eq!(outcome, Outcome::Rejected(Rejection::Reassembly("no artifact".to_owned())));
    let outcome = gateway.publisher.publish(failing(Arc::new(|_| panic!("a bug")))).await;
    assert!(matches!(outcome, Outcome::Rejected(Rejection::Reassembly(_))));
    assert_eq!(envoy.held.serves().unwrap(), "g1");
}

#[tokio::test(start_paused = true)]
async fn trials_leave_no_rules_behind() {
    let (gateway, envoy) = gateway().await;
    let first = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")];
    gateway.publish("g1", &first).await;
    envoy.judge(refuse(ResourceType::Route, "c=2"));
    gateway.publisher.publish(replacing(&first, "g2", &[("a", "2"), ("b", "2"), ("c", "2"), ("d", "2")])).await;
    while gateway.rules.armed() != ["g2-without-c:v1"] {
        // Nothing else to do: the clock moves on to the next retirement.
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
    }
    let log = gateway.rules.log.lock().unwrap();
    let loaded = log.iter().filter(|entry| entry.starts_with('+')).count();
    let retired = log.iter().filter(|entry| entry.starts_with('-')).count();
    assert_eq!((loaded - retired, loaded > 3), (1, true), "{log:?}");
}
