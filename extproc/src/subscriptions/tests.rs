use microgw_engine::subscription::State;
use microgw_engine::{KeyType, Subscription};
use serde_json::{Value, json};

use super::*;

fn api(name: &str) -> Api {
    Api { name: name.into(), version: "1.0".into(), base_path: "/".into(), of_hosts: false }
}

/// Application 1 of alice, with the production key `key` and the sandbox key `sandbox`, and two APIs.
fn records() -> Vec<(Table, Value)> {
    vec![
        (
            Table::Apis,
            json!({"apiId": 7, "name": "pets", "version": "1.0", "context": "/pets/1.0", "provider": "admin"}),
        ),
        (Table::Apis, json!({"apiId": "8", "name": "shop", "version": "2.0"})),
        (Table::Applications, json!({"id": 1, "subName": "alice", "name": "app", "policy": "10PerMin", "uuid": "u-1"})),
        (Table::Keys, json!({"applicationId": "1", "consumerKey": "key", "keyType": "PRODUCTION"})),
        (Table::Keys, json!({"applicationId": 1, "consumerKey": "sandbox", "keyType": "SANDBOX"})),
        (Table::Subscriptions, json!({"apiId": "7", "appId": 1, "policyId": "Gold", "subscriptionState": "UNBLOCKED"})),
    ]
}

fn tables(records: &[(Table, Value)]) -> Tables {
    let mut tables = Tables::default();
    for (table, record) in records {
        tables.apply(Change::record(*table, record).unwrap());
    }
    tables
}

fn store(most: usize) -> Arc<Subscriptions> {
    Subscriptions::new(most, &Metrics::new())
}

fn known(store: &Subscriptions, client: &str, name: &str) -> Option<(Arc<Subscription>, Option<KeyType>)> {
    match store.of(client, &api(name)) {
        Subscribed::Known(subscription, key_type) => Some((subscription, key_type)),
        Subscribed::Unknown => None,
        Subscribed::Unavailable => panic!("not loaded"),
    }
}

fn state(store: &Subscriptions) -> State {
    known(store, "key", "pets").unwrap().0.state
}

fn subscription(state: &str, time: u64) -> Value {
    json!({"apiId": 7, "appId": 1, "policyId": "Gold", "subscriptionState": state, "timeStamp": time})
}

#[test]
fn a_client_is_joined_with_its_application_and_its_subscriptions() {
    let store = store(10);
    assert!(matches!(store.of("key", &api("pets")), Subscribed::Unavailable), "it has not been loaded");
    store.replace(tables(&records()));
    let (found, key_type) = known(&store, "key", "pets").unwrap();
    let application = &found.application;
    let texts = [&application.id, &application.uuid, &application.name, &application.tier, &application.owner];
    assert_eq!(texts.map(|text| text.as_deref().unwrap()), ["1", "u-1", "app", "10PerMin", "alice"]);
    assert_eq!(
        (found.tier.as_deref(), found.state, key_type),
        (Some("Gold"), State::Unblocked, Some(KeyType::Production))
    );
    assert_eq!(known(&store, "sandbox", "pets").unwrap().1, Some(KeyType::Sandbox));
    let (stranger, _) = known(&store, "key", "shop").unwrap();
    assert_eq!((stranger.state, stranger.application.owner.as_deref()), (State::None, Some("alice")));
    assert!(known(&store, "other", "pets").is_none());
    // By name, where ids are not known.
    let by_name = json!({"apiName": "shop", "apiVersion": "1.0", "appId": 1, "subscriptionState": "ON_HOLD"});
    store.apply(vec![Change::record(Table::Subscriptions, &by_name).unwrap()]);
    assert_eq!(known(&store, "key", "shop").unwrap().0.state, State::OnHold);
}

#[test]
fn events_in_the_wrong_order_leave_what_the_later_one_says() {
    let store = store(10);
    store.replace(tables(&records()));
    let set = |state: &str, time| Change::record(Table::Subscriptions, &subscription(state, time)).unwrap();
    let remove = |time| {
        let value = json!({"apiId": 7, "appId": 1, "timeStamp": time});
        Change::removal(Table::Subscriptions, &value).unwrap()
    };
    // Created on hold, then unblocked: the events arrive the other way round.
    store.apply(vec![set("UNBLOCKED", 20), set("ON_HOLD", 10)]);
    assert_eq!(state(&store), State::Unblocked);
    store.apply(vec![set("BLOCKED", 30)]);
    assert_eq!(state(&store), State::Blocked);
    store.apply(vec![remove(40), set("UNBLOCKED", 35)]);
    assert_eq!(state(&store), State::None, "an older event does not bring it back");
    // Nor does a list that was made before.
    store.merge(tables(&records()));
    assert_eq!(state(&store), State::None);
    store.apply(vec![set("UNBLOCKED", 50)]);
    assert_eq!(state(&store), State::Unblocked);
    // What a new list lacks is gone.
    store.merge(tables(&records()[..5]));
    assert_eq!(state(&store), State::None);
}

#[test]
fn too_much_lets_nobody_in_and_what_was_removed_does_not_count() {
    let store = store(6);
    store.replace(tables(&records()));
    assert_eq!(state(&store), State::Unblocked);
    let more = json!({"apiId": 9, "name": "more", "version": "1"});
    store.apply(vec![Change::record(Table::Apis, &more).unwrap()]);
    assert!(matches!(store.of("key", &api("pets")), Subscribed::Unavailable));
    store.apply(vec![Change::removal(Table::Apis, &json!({"apiId": 9})).unwrap()]);
    assert_eq!(state(&store), State::Unblocked);
    let mut many = Tables::default();
    for id in 0..25_000u64 {
        many.apply(Change::removal(Table::Apis, &json!({"apiId": id, "timeStamp": id})).unwrap());
    }
    assert!(many.is_empty() && format!("{many:?}").matches("Row").count() <= 10_000, "they do not grow without end");
}

#[test]
fn records_that_cannot_be_read_are_none() {
    for (table, record, error) in [
        (Table::Apis, json!([]), RecordError::Form),
        (Table::Apis, json!({"name": "a", "version": "1"}), RecordError::Member("apiId")),
        (Table::Applications, json!({"id": {}}), RecordError::Member("id")),
        (Table::Applications, json!({"id": "x".repeat(2000)}), RecordError::Member("id")),
        (Table::Keys, json!({"consumerKey": "k"}), RecordError::Member("applicationId")),
        (Table::Keys, json!({"consumerKey": "k", "applicationId": 1, "keyType": "TEST"}), RecordError::KeyType),
        (Table::Subscriptions, json!({"appId": 1, "subscriptionState": "UNBLOCKED"}), RecordError::Member("apiName")),
        (Table::Subscriptions, json!({"appId": 1, "apiId": 1}), RecordError::Member("subscriptionState")),
    ] {
        assert_eq!(Change::record(table, &record).unwrap_err(), error, "{record}");
    }
}

#[tokio::test]
async fn a_file_says_everything_and_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("subscriptions.json");
    let store = store(10);
    store.fill(FromFile(path.clone()));
    store.settle(Duration::from_millis(20)).await;
    assert!(matches!(store.of("key", &api("pets")), Subscribed::Unavailable));
    let write = |subscriptions: Value| {
        let list = |wanted| {
            records().into_iter().filter(|(table, _)| *table == wanted).map(|(_, value)| value).collect::<Vec<_>>()
        };
        let text = json!({
            "apis": { "list": list(Table::Apis) }, "applications": list(Table::Applications),
            "applicationKeyMappings": list(Table::Keys), "subscriptions": subscriptions,
        });
        std::fs::write(&path, text.to_string()).unwrap();
    };
    let becomes = async |expected| {
        let end = Instant::now() + Duration::from_secs(20);
        while store.index.load().is_none() || state(&store) != expected {
            assert!(Instant::now() < end, "{expected:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    write(json!([subscription("ON_HOLD", 20)]));
    becomes(State::OnHold).await;
    write(json!([subscription("UNBLOCKED", 10)]));
    becomes(State::Unblocked).await;
    std::fs::write(&path, "{\"subscription\":[]}").unwrap();
    let seen = crate::polled::Print::of(&std::fs::metadata(&path).unwrap());
    assert!(super::file::look(&path, None, &store).is_err());
    assert!(super::file::look(&path, Some(seen), &store).is_ok(), "it is looked at when it is another");
    assert_eq!(state(&store), State::Unblocked, "what cannot be read changes nothing");
    write(json!([]));
    becomes(State::None).await;
}
