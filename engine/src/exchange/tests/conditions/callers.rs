//! Conditions and limits that depend on who calls, and by what.

use super::*;
use crate::identity::Application;
use crate::rules::Api;
use crate::subscription::{State, Subscribed, Subscription};

fn both() -> proto::Policy {
    policy(vec![vec![header_key("x-key"), oauth2(&[], false)]])
}

fn with_both(of_key: Value, of_token: Value) -> Request {
    request().header("x-key", key(of_key)).bearer(of_token)
}

/// `deny` alone; the name of the policy that refuses.
fn refused_by(credentials: proto::Policy, deny: limits::DenyPolicy, request: &Request) -> Option<String> {
    let rule = load(&book_of(credentials, limits::Tiers { deny: vec![deny], ..Default::default() }));
    let host = Host::default();
    let mut exchange = Exchange::new(&rule, &host, UnixTime(NOW));
    let mut step = exchange.on_request_head(head("/v2/pet/1", &request.headers));
    loop {
        match step {
            Step::Ask(lookup) => step = exchange.resume(answer(&lookup), UnixTime(NOW)),
            Step::NeedBody | Step::Intercept(_) | Step::Done(Decision::Respond(_)) => {
                unreachable!("no rule here looks at bodies")
            }
            Step::Done(Decision::Allow(_)) => return None,
            Step::Done(Decision::Deny(deny)) => {
                assert_eq!((deny.reason, deny.limit.is_none()), (Reason::Blocked, true));
                return deny.policy.map(str::to_owned);
            }
        }
    }
}

fn deny(application: &str, user: &str, when: Option<limits::Condition>) -> limits::DenyPolicy {
    let (application, user) = (application.into(), user.into());
    limits::DenyPolicy { name: "Abuser".into(), api: String::new(), application, user, when }
}

/// Tokens alone, limited by `policy`, with nothing else that would look at subscriptions.
fn resource(policy_of_api: limits::Policy, cost: Option<&str>) -> proto::RuleBook {
    let mut book = book(policy(vec![vec![oauth2(&[], false)]]));
    book.limits = vec![policy_of_api];
    book.rules[0].api_limit = 1;
    book.rules[0].cost = cost.map(|text| limits::Cost { kind: Some(limits::cost::Kind::Expression(text.into())) });
    book
}

fn subscribed(tier: &str) -> Request {
    let apis = json!([{"name": "pets", "version": "1.0", "subscriptionTier": tier}]);
    request().bearer(json!({"subscribedAPIs": apis}))
}

#[test]
fn a_tier_is_known_wherever_something_looks_at_it() {
    let gold = || expression("caller.tier == 'Gold'");
    let host = Host::default();
    let before = load(&resource(plain("Grouped", 10), None));
    assert!(!before.realm.subscriptions, "nobody looks at it");
    assert_eq!(spent(&before, &host, &subscribed("Gold")), Ok(vec![("Grouped".into(), 9)]));

    let groups = load(&resource(grouped(vec![("gold", gold(), 100)]), None));
    assert_eq!(spent(&groups, &host, &subscribed("Gold")), Ok(vec![("Grouped".into(), 99)]), "in spite of the cache");
    assert_eq!(spent(&groups, &host, &subscribed("Bronze")), Ok(vec![("Grouped".into(), 8)]));

    let cost = load(&resource(plain("Dear", 10), Some("caller.tier == 'Gold' ? 1 : 5")));
    assert_eq!(spent(&cost, &Host::default(), &subscribed("Gold")), Ok(vec![("Dear".into(), 9)]));
    assert_eq!(spent(&cost, &Host::default(), &subscribed("Bronze")), Ok(vec![("Dear".into(), 5)]));
}

/// What stores know of every client.
struct Store(Host);

impl Facts for Store {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.0.get(digest)
    }

    fn put(&self, digest: CredentialDigest, identity: Arc<Identity>) {
        self.0.put(digest, identity);
    }

    fn subscription(&self, _: &str, _: &Api) -> Subscribed {
        let application = Application { name: Some("shop".into()), owner: Some("bob".into()), ..Default::default() };
        let subscription = Subscription { application, tier: Some("Gold".into()), state: State::Unblocked };
        Subscribed::Known(Arc::new(subscription), None)
    }

    fn spend(&self, charges: &[Charge<'_>]) -> Spending {
        self.0.spend(charges)
    }
}

#[test]
fn stores_are_asked_wherever_something_looks_at_what_they_know() {
    let request = request().bearer(json!({"client_id": "app"}));
    for text in ["caller.tier == 'Gold'", "caller.application == 'shop'"] {
        let rule = load(&resource(grouped(vec![("some", expression(text), 100)]), None));
        let store = Store(Host::default());
        let mut exchange = Exchange::new(&rule, &store, UnixTime(NOW));
        let mut step = exchange.on_request_head(head("/v2/pet/1", &request.headers));
        while let Step::Ask(lookup) = step {
            step = exchange.resume(answer(&lookup), UnixTime(NOW));
        }
        let Step::Done(Decision::Allow(allow)) = step else { panic!("{step:?}") };
        assert_eq!(allow.limits.iter().map(|balance| balance.usage.remaining).collect::<Vec<_>>(), [99], "{text}");
    }
}

#[test]
fn a_deny_policy_refuses_whom_any_credential_stands_for() {
    let trial = || json!({"sub": "owner", "application": {"id": 7, "name": "trial", "owner": "alice"}, "plan": "free"});
    let request = with_both(trial(), json!({"sub": "bob", "dept": "sales"}));
    let refused = |deny: limits::DenyPolicy| refused_by(both(), deny, &request).is_some();
    assert_eq!(refused_by(both(), deny("alice:trial", "", None), &request).as_deref(), Some("Abuser"));
    assert!(!refused(deny("alice:shop", "", None)));
    assert!(refused(deny("", "bob", None)) && refused(deny("", "owner", None)) && !refused(deny("", "alice", None)));
    assert!(refused(deny("alice:trial", "bob", None)), "what it names may be said by two");
    let claim = |name: &str, value: &str| of(Kind::Claim(equals(name, value)));
    for when in [
        claim("plan", "free"),
        claim("dept", "sales"),
        all(vec![claim("plan", "free"), claim("dept", "sales")]),
        expression("caller.subject == 'owner'"),
        expression("caller.subject == 'bob' && caller.application == 'trial'"),
        expression("caller.claims.plan == 'free' && caller.claims.dept == 'sales' && 'read' in caller.scopes"),
    ] {
        assert!(refused(deny("", "", Some(when.clone()))), "{when:?}");
    }
    // What one does not say the other says: who is of the right department is, whatever else is shown.
    assert!(!refused(deny("", "", Some(not(claim("dept", "sales"))))));
    assert!(!refused(deny("", "", Some(expression("caller.claims.dept != 'sales'")))));
    assert!(!refused(deny("alice:trial", "", Some(claim("dept", "it")))));
    // One that was shown and not asked for is nobody's.
    let tokens = || policy(vec![vec![oauth2(&[], false)]]);
    assert_eq!(refused_by(tokens(), deny("alice:trial", "", None), &request), None);
    let either = policy(vec![vec![oauth2(&[], false)], vec![header_key("x-key")]]);
    assert_eq!(refused_by(either, deny("alice:trial", "", None), &request), None);
}

#[test]
fn limits_are_of_whichever_credential_says() {
    let tiers = || limits::Tiers {
        applications: vec![plain("Small", 20)],
        subscriptions: vec![plain("Bronze", 5), plain("Gold", 50), plain("Default", 500)],
        custom: vec![limits::CustomPolicy { policy: Some(plain("Own", 9)), key: "$appId:$userId".into(), when: None }],
        ..Default::default()
    };
    let rule = load(&book_of(both(), tiers()));
    let host = Host::default();
    let trial = || {
        let apis = json!([{"name": "pets", "version": "1.0", "subscriptionTier": "Bronze"}]);
        json!({"application": {"id": 7, "name": "trial", "owner": "alice", "tier": "Small"}, "subscribedAPIs": apis})
    };
    let named = |spent: &[(&str, u64)]| Ok(spent.iter().map(|(name, left)| ((*name).to_owned(), *left)).collect());
    let of_bob = |of_token: Value| spent(&rule, &host, &with_both(trial(), with(json!({"sub": "bob"}), of_token)));
    assert_eq!(of_bob(json!({})), named(&[("Bronze", 4), ("Small", 19), ("Own", 8)]));
    // The token says something of its own: that comes first.
    let gold = json!([{"name": "pets", "version": "1.0", "subscriptionTier": "Gold"}]);
    let of_token = json!({"application": {"id": 8}, "subscribedAPIs": gold});
    assert_eq!(of_bob(of_token), named(&[("Gold", 49), ("Small", 19), ("Own", 8)]));
    // The key alone draws on what it drew on along with a token.
    let keys = load(&book_of(policy(vec![vec![header_key("x-key")]]), tiers()));
    let alone = spent(&keys, &host, &request().header("x-key", key(trial())));
    assert_eq!(alone, named(&[("Bronze", 3), ("Small", 19), ("Own", 8)]), "of another user");
}
