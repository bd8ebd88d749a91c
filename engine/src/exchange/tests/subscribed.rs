//! Callers whose application must be subscribed.

use super::*;
use crate::KeyType;
use crate::fixtures::introspection;
use crate::identity::Application;
use crate::rules::Api;
use crate::subscription::{State, Subscribed, Subscription};

/// What stores know of every client.
struct Store(Subscribed);

impl Facts for Store {
    fn get(&self, _: &CredentialDigest) -> Option<Arc<Identity>> {
        None
    }

    fn put(&self, _: CredentialDigest, _: Arc<Identity>) {}

    fn subscription(&self, client: &str, api: &Api) -> Subscribed {
        assert_eq!((client, &*api.name, &*api.version), ("app", "pets", "1.0"));
        self.0.clone()
    }
}

fn known(state: State, key_type: Option<KeyType>) -> Store {
    let application = Application { name: Some("the app".into()), ..Application::default() };
    Store(Subscribed::Known(Arc::new(Subscription { application, tier: Some("Gold".into()), state }), key_type))
}

fn validating(required: bool) -> Arc<Rule> {
    let mut book = book(policy(vec![vec![oauth2(&[], false)]]));
    book.subscriptions = true;
    book.issuers[0].validate_subscription = required;
    book.introspection = Some(proto::Introspection { validate_subscription: required, ..introspection() });
    Arc::clone(&Rule::load(&book).unwrap()[0].1)
}

/// Why a token is refused, or under which tier it is let in.
fn outcome(rule: &Rule, store: &Store, claims: Value) -> Result<Option<String>, Reason> {
    let headers = request().bearer(claims).headers;
    let mut exchange = Exchange::new(rule, store, UnixTime(NOW));
    let mut step = exchange.on_request_head(head("/v2/pet/1", &headers));
    while let Step::Ask(lookup) = step {
        step = exchange.resume(answer(&lookup), UnixTime(NOW));
    }
    match step {
        Step::NeedBody | Step::Intercept(_) | Step::Done(Decision::Respond(_)) => {
            unreachable!("no rule here looks at bodies")
        }
        Step::Done(Decision::Allow(allow)) => {
            Ok(allow.subscription.and_then(|subscription| subscription.tier.as_deref().map(str::to_owned)))
        }
        Step::Done(Decision::Deny(deny)) => Err(deny.reason),
        Step::Ask(_) => unreachable!(),
    }
}

#[test]
fn states_of_stores_and_their_codes() {
    let gold = || Ok(Some("Gold".to_owned()));
    let rule = validating(true);
    for (name, key_type, expected) in [
        ("UNBLOCKED", KeyType::Production, gold()),
        ("TIER_UPDATE_PENDING", KeyType::Sandbox, gold()),
        ("ON_HOLD", KeyType::Production, Err(Reason::SubscriptionInactive)),
        ("BLOCKED", KeyType::Sandbox, Err(Reason::SubscriptionBlocked)),
        ("PROD_ONLY_BLOCKED", KeyType::Production, Err(Reason::SubscriptionBlocked)),
        ("PROD_ONLY_BLOCKED", KeyType::Sandbox, gold()),
        ("REJECTED", KeyType::Production, Err(Reason::NotSubscribed)),
        ("", KeyType::Production, Err(Reason::NotSubscribed)),
    ] {
        let store = known(State::named(name), Some(key_type));
        assert_eq!(outcome(&rule, &store, json!({"azp": "app"})), expected, "{name} {key_type:?}");
    }
    // Without a type of the key's own that of the token counts.
    let store = known(State::ProductionBlocked, None);
    assert_eq!(outcome(&rule, &store, json!({"azp": "app", "keytype": "SANDBOX"})), gold());
    assert_eq!(outcome(&rule, &store, json!({"azp": "app"})), Err(Reason::SubscriptionBlocked));

    let faults = [Reason::SubscriptionBlocked, Reason::NotSubscribed, Reason::SubscriptionInactive];
    let codes = faults.map(|reason| (reason.fault().status(), reason.fault().code()));
    assert_eq!(codes, [(401, 900_907), (403, 900_908), (401, 900_909)]);
}

#[test]
fn who_is_not_known_is_not_subscribed_and_what_is_not_known_is_no_refusal() {
    let rule = validating(true);
    assert_eq!(outcome(&rule, &Store(Subscribed::Unknown), json!({"azp": "app"})), Err(Reason::NotSubscribed));
    let unavailable = Store(Subscribed::Unavailable);
    assert_eq!(outcome(&rule, &unavailable, json!({"azp": "app"})), Err(Reason::SubscriptionsUnknown));
    assert_eq!(Reason::SubscriptionsUnknown.fault().status(), 503);
    // No client: `aud` has two values.
    let nobody = json!({"aud": ["gateway", "other"]});
    assert_eq!(outcome(&rule, &known(State::Unblocked, None), nobody), Err(Reason::NotSubscribed));
    // A host that knows of no stores.
    let request = request().bearer(json!({"azp": "app"}));
    let outcome = run(&rule, &request, &Memory::default(), &mut answer);
    assert_eq!(outcome, deny(Reason::SubscriptionsUnknown, &[]));
}

#[test]
fn a_token_that_says_it_itself_is_believed() {
    let rule = validating(true);
    let store = known(State::Unblocked, None);
    let claims = |apis: Value| json!({"azp": "app", "subscribedAPIs": apis, "application": {"id": 7, "name": "own"}});
    let api = |name: &str, version: &str| json!({"name": name, "version": version, "context": "/x", "subscriptionTier": "Bronze", "publisher": "admin"});
    let bronze = || Ok(Some("Bronze".to_owned()));
    assert_eq!(outcome(&rule, &store, claims(json!([api("other", "1"), api("pets", "1.0")]))), bronze());
    assert_eq!(outcome(&rule, &store, claims(json!([api("pets", "*")]))), bronze());
    for apis in [json!([]), json!([api("pets", "2.0")]), json!([api("Pets", "1.0")])] {
        assert_eq!(outcome(&rule, &store, claims(apis)), Err(Reason::NotSubscribed));
    }
    for apis in [json!({}), json!("pets"), json!([{"name": "pets"}]), json!([7])] {
        assert_eq!(outcome(&rule, &store, claims(apis)), Err(Reason::InvalidCredentials));
    }
}

#[test]
fn without_validation_nobody_is_refused_and_what_is_known_is_told() {
    let rule = validating(false);
    let gold = Ok(Some("Gold".to_owned()));
    for state in [State::Unblocked, State::Blocked, State::OnHold] {
        assert_eq!(outcome(&rule, &known(state, None), json!({"azp": "app"})), gold);
    }
    for store in [Store(Subscribed::Unknown), Store(Subscribed::Unavailable)] {
        assert_eq!(outcome(&rule, &store, json!({"azp": "app"})), Ok(None));
    }
    let off = super::rule(policy(vec![vec![oauth2(&[], false)]]));
    let claims = json!({"azp": "app", "subscribedAPIs": "not read at all"});
    assert_eq!(outcome(&off, &known(State::Unblocked, None), claims), Ok(None));
}

#[test]
fn opaque_tokens_by_their_client_and_api_keys_never() {
    struct Shop(State);
    impl Facts for Shop {
        fn get(&self, _: &CredentialDigest) -> Option<Arc<Identity>> {
            None
        }

        fn put(&self, _: CredentialDigest, _: Arc<Identity>) {}

        fn subscription(&self, client: &str, _: &Api) -> Subscribed {
            assert_eq!(client, "shop");
            Subscribed::Known(Arc::new(Subscription { state: self.0, ..Subscription::default() }), None)
        }
    }
    let rule = validating(true);
    let good = request().header("authorization", "Bearer good");
    assert!(matches!(run(&rule, &good, &Shop(State::Unblocked), &mut answer), Outcome::Allow { .. }));
    let blocked = run(&rule, &good, &Shop(State::Blocked), &mut answer);
    assert!(matches!(blocked, Outcome::Deny { reason: Reason::SubscriptionBlocked, .. }));

    let mut book = book(policy(vec![vec![header_key("api_key")]]));
    book.subscriptions = true;
    let keys = Arc::clone(&Rule::load(&book).unwrap()[0].1);
    let outcome = run(&keys, &request().header("api_key", key(json!({}))), &Memory::default(), &mut answer);
    assert!(matches!(outcome, Outcome::Allow { .. }));
}
