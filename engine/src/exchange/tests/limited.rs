//! What callers of every kind draw on.

use std::sync::Mutex;

use microgw_proto::limits::v1 as limits;

use super::*;
use crate::OpaqueKey;
use crate::fixtures::{basic, introspection};
use crate::identity::{Application, KeyTerms};
use crate::limits::{Charge, Level, Micros, Spending, Table};
use crate::opaque::{self, KeyHash};
use crate::rules::Api;
use crate::subscription::{State, Subscribed, Subscription};

/// Counters, and what else a host knows; it hears of tiers that nobody has declared.
struct Host {
    memory: Memory,
    table: Table,
    store: Subscribed,
    unknown: Mutex<Vec<(Level, String)>>,
}

impl Default for Host {
    fn default() -> Host {
        let (memory, table) = (Memory::default(), Table::new(1000, [1, 2]));
        Host { memory, table, store: Subscribed::Unknown, unknown: Mutex::default() }
    }
}

impl Facts for Host {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.memory.get(digest)
    }

    fn put(&self, digest: CredentialDigest, identity: Arc<Identity>) {
        self.memory.put(digest, identity);
    }

    fn opaque_key(&self, hash: &KeyHash) -> OpaqueKey {
        self.memory.opaque_key(hash)
    }

    fn subscription(&self, _: &str, _: &Api) -> Subscribed {
        self.store.clone()
    }

    fn spend(&self, charges: &[Charge<'_>]) -> Spending {
        self.table.spend(charges, Micros::of_seconds(NOW))
    }

    fn unknown_tier(&self, level: Level, tier: &str) {
        self.unknown.lock().unwrap().push((level, tier.to_owned()));
    }
}

fn tier(name: &str, quota: u64) -> limits::Policy {
    let window = limits::limit::Window::Fixed(limits::Fixed { seconds: 60 });
    limits::Policy {
        name: name.into(),
        limits: vec![limits::Limit { quota, window: Some(window), ..Default::default() }],
        ..Default::default()
    }
}

/// Everything that a caller can have.
fn tiers() -> limits::Tiers {
    limits::Tiers {
        applications: vec![tier("10PerMin", 10), tier("20PerMin", 20)],
        subscriptions: vec![tier("Gold", 50), tier("Bronze", 5), tier("Default", 500), tier("Unauthenticated", 7)],
        unknown_application: "10PerMin".into(),
        unknown_subscription: "Bronze".into(),
        ..Default::default()
    }
}

fn limited(policy: proto::Policy, tiers: limits::Tiers) -> Arc<Rule> {
    let mut book = book(policy);
    book.tiers = Some(tiers);
    book.introspection = Some(introspection());
    book.limits = vec![tier("OfApi", 1000), tier("OfOperation", 900)];
    book.rules[0].api_limit = 1;
    book.rules[0].operation_limit = 2;
    Arc::clone(&Rule::load(&book).unwrap()[0].1)
}

fn any_credential() -> proto::Policy {
    policy(vec![vec![oauth2(&[], false)], vec![header_key("x-key")], vec![basic(&[])]])
}

/// Levels, policies and what is left; or why it is refused, and by which policy.
type Spent = Result<Vec<(Level, String, u64)>, (Reason, String)>;

/// Each level and policy that a request drew on, with what is left; or the reason of its refusal and the policy that refused.
fn spent(rule: &Rule, host: &Host, request: &Request) -> Spent {
    let mut exchange = Exchange::new(rule, host, UnixTime(NOW));
    let mut step = exchange.on_request_head(head("/v2/pet/1", &request.headers));
    loop {
        match step {
            Step::Ask(lookup) => step = exchange.resume(answer(&lookup), UnixTime(NOW)),
            Step::NeedBody | Step::Intercept(_) | Step::Done(Decision::Respond(_)) => {
                unreachable!("no rule here looks at bodies")
            }
            Step::Done(Decision::Allow(allow)) => {
                let balance = |balance: &Balance<'_>| {
                    (balance.limit.level, balance.limit.policy.to_string(), balance.usage.remaining)
                };
                return Ok(allow.limits.iter().map(balance).collect());
            }
            Step::Done(Decision::Deny(deny)) => {
                let policy = deny.limit.map(|limit| limit.policy.to_string()).unwrap_or_default();
                return Err((deny.reason, policy));
            }
        }
    }
}

/// Without the API's and the operation's own.
fn of_caller(rule: &Rule, host: &Host, request: &Request) -> Vec<(Level, String)> {
    let spent = spent(rule, host, request).unwrap();
    let own = [(Level::Api, "OfApi"), (Level::Resource, "OfOperation")];
    for (spent, own) in spent.iter().zip(own) {
        assert_eq!((spent.0, &*spent.1), own);
    }
    spent.into_iter().skip(2).map(|(level, policy, _)| (level, policy)).collect()
}

fn levels(expected: &[(Level, &str)]) -> Vec<(Level, String)> {
    expected.iter().map(|(level, policy)| (*level, (*policy).to_owned())).collect()
}

const GOLD: (Level, &str) = (Level::Subscription, "Gold");
const BRONZE: (Level, &str) = (Level::Subscription, "Bronze");
const DEFAULT: (Level, &str) = (Level::Subscription, "Default");
const TEN: (Level, &str) = (Level::Application, "10PerMin");
const TWENTY: (Level, &str) = (Level::Application, "20PerMin");

fn gold() -> Value {
    json!([{"name": "pets", "version": "1.0", "context": "/v2", "subscriptionTier": "Gold"}])
}

#[test]
fn tokens_say_their_tiers_or_a_store_does() {
    let rule = limited(any_credential(), tiers());
    let application = json!({"id": 7, "name": "shop", "tier": "20PerMin", "owner": "carol"});
    let host = Host::default();
    for (claims, expected) in [
        (json!({}), vec![DEFAULT]),
        (json!({"application": application}), vec![DEFAULT, TWENTY]),
        (json!({"application": application, "subscribedAPIs": gold()}), vec![GOLD, TWENTY]),
        (json!({"subscribedAPIs": gold()}), vec![GOLD]),
        (json!({"subscribedAPIs": [{"name": "pets", "version": "*", "subscriptionTier": "Unlimited"}]}), vec![]),
        // To others alone; or so that nobody can read it, where nobody has to be subscribed.
        (json!({"subscribedAPIs": [{"name": "birds", "version": "*", "subscriptionTier": "Gold"}]}), vec![DEFAULT]),
        (json!({"subscribedAPIs": "Gold"}), vec![DEFAULT]),
        (json!({"application": {"id": 7, "tier": "Unlimited"}}), vec![DEFAULT]),
    ] {
        assert_eq!(of_caller(&rule, &host, &request().bearer(claims.clone())), levels(&expected), "{claims}");
    }
    // A number is a name, too.
    let unknown = |tier: Value| {
        let apis = json!([{"name": "pets", "version": "1.0", "subscriptionTier": tier}]);
        of_caller(&rule, &Host::default(), &request().bearer(json!({ "subscribedAPIs": apis })))
    };
    assert_eq!(unknown(json!(5)), unknown(json!("5")));
    assert_ne!(unknown(json!(5)), levels(&[DEFAULT]));
    // What is known of the client today, in whichever state: who must be subscribed is another question.
    let application = Application { id: Some("9".into()), tier: Some("10PerMin".into()), ..Application::default() };
    let known = |tier: Option<&str>, state| Host {
        store: Subscribed::Known(
            Arc::new(Subscription { application: application.clone(), tier: tier.map(Box::from), state }),
            None,
        ),
        ..Host::default()
    };
    let token = request().bearer(json!({"azp": "app"}));
    assert_eq!(of_caller(&rule, &known(Some("Bronze"), State::Unblocked), &token), levels(&[BRONZE, TEN]));
    assert_eq!(of_caller(&rule, &known(None, State::None), &token), levels(&[DEFAULT, TEN]));
    // An opaque token has its client.
    let opaque = request().header("authorization", "Bearer good");
    assert_eq!(of_caller(&rule, &known(Some("Gold"), State::Unblocked), &opaque), levels(&[GOLD, TEN]));
    assert_eq!(of_caller(&rule, &host, &opaque), levels(&[DEFAULT]));
    let unavailable = Host { store: Subscribed::Unavailable, ..Host::default() };
    assert_eq!(of_caller(&rule, &unavailable, &token), levels(&[DEFAULT]), "nobody is refused for the lack of it");
}

#[test]
fn keys_and_users() {
    let rule = limited(any_credential(), tiers());
    let host = Host::default();
    let keyed = |claims| request().header("x-key", key(claims));
    let claims = json!({
        "application": {"id": 3, "tier": "10PerMin", "uuid": "u"}, "subscribedAPIs": gold(),
        "tierInfo": {"Gold": {"tierQuotaType": "requestCount", "stopOnQuotaReach": true}},
    });
    assert_eq!(of_caller(&rule, &host, &keyed(claims)), levels(&[GOLD, TEN]));
    assert_eq!(of_caller(&rule, &host, &keyed(json!({}))), levels(&[DEFAULT]));
    let user = request().header("authorization", "Basic YWxpY2U6c2VjcmV0");
    assert_eq!(of_caller(&rule, &host, &user), levels(&[DEFAULT]));

    let opaque = opaque::key([7; 32]);
    let with = |terms: KeyTerms| {
        let known = OpaqueKey::Known(Arc::new(Identity::opaque_key(terms)));
        let mut host = Host::default();
        host.memory.1.insert(opaque::hash(&opaque).unwrap(), known);
        host
    };
    let presented = request().header("x-key", &*opaque);
    assert_eq!(of_caller(&rule, &with(KeyTerms::default()), &presented), levels(&[DEFAULT]));
    let own = KeyTerms { tier: Some("Bronze".into()), ..KeyTerms::default() };
    assert_eq!(of_caller(&rule, &with(own), &presented), levels(&[BRONZE]));
    let application = Application { tier: Some("20PerMin".into()), ..Application::default() };
    let both = KeyTerms { tier: Some("Gold".into()), application: Some(application), ..KeyTerms::default() };
    assert_eq!(of_caller(&rule, &with(both), &presented), levels(&[GOLD, TWENTY]));
}

#[test]
fn nobody_in_particular_is_counted_by_address() {
    let public = proto::Policy { public: true, ..policy(vec![]) };
    let rule = limited(public, tiers());
    let host = Host::default();
    let from = |address: &str| request().header("x-forwarded-for", address);
    let left = |request: &Request| spent(&rule, &host, request).unwrap().pop().unwrap();
    assert_eq!(left(&from("198.51.100.1")), (Level::Unauthenticated, "Unauthenticated".into(), 6));
    assert_eq!(left(&from("198.51.100.2")).2, 6);
    // What the client itself says comes before what Envoy saw.
    assert_eq!(left(&from("203.0.113.9, 198.51.100.1")).2, 5);
    assert_eq!(left(&from("2001:db8::1")).2, 6);
    assert_eq!(left(&from("2001:db8:0:0:ffff::2")).2, 5, "a host has its /64");
    assert_eq!(left(&from("2001:db8:0:1::1")).2, 6);
    assert_eq!(left(&from("nowhere")).2, 6);
    assert_eq!(left(&request()).2, 5, "of whom no address is known");
    // A credential that is not asked for says nothing.
    assert_eq!(left(&from("198.51.100.1").bearer(json!({"subscribedAPIs": gold()}))).2, 4);
    for _ in 0..4 {
        left(&from("198.51.100.1"));
    }
    let refused = spent(&rule, &host, &from("198.51.100.1"));
    assert_eq!(refused, Err((Reason::SubscriptionLimit, "Unauthenticated".to_owned())));
}

#[test]
fn default_and_unauthenticated_count_only_where_they_are_declared() {
    let without = limits::Tiers { subscriptions: vec![tier("Gold", 5)], ..Default::default() };
    let rule = limited(any_credential(), without.clone());
    assert_eq!(of_caller(&rule, &Host::default(), &request().bearer(json!({}))), []);
    let public = proto::Policy { public: true, ..policy(vec![]) };
    assert_eq!(of_caller(&limited(public, without), &Host::default(), &request()), []);
}

#[test]
fn a_tier_that_is_not_declared_counts_as_another_and_is_told_of() {
    let rule = limited(any_credential(), tiers());
    let claims = json!({
        "application": {"id": 7, "tier": "Huge"},
        "subscribedAPIs": [{"name": "pets", "version": "1.0", "subscriptionTier": "Platinum"}],
    });
    let host = Host::default();
    assert_eq!(of_caller(&rule, &host, &request().bearer(claims.clone())), levels(&[BRONZE, TEN]));
    let told = [(Level::Subscription, "Platinum".to_owned()), (Level::Application, "Huge".to_owned())];
    assert_eq!(*host.unknown.lock().unwrap(), told);
    // Where nothing is declared to count for it, nothing limits it.
    let none = limits::Tiers { unknown_application: String::new(), unknown_subscription: String::new(), ..tiers() };
    let host = Host::default();
    assert_eq!(of_caller(&limited(any_credential(), none), &host, &request().bearer(claims)), []);
    assert_eq!(host.unknown.lock().unwrap().len(), 2);
}

#[test]
fn who_counts_together() {
    let rule = limited(any_credential(), tiers());
    let host = Host::default();
    let left = |request: &Request, level: Level| {
        let spent = spent(&rule, &host, request).unwrap();
        spent.into_iter().find(|(own, ..)| *own == level).unwrap().2
    };
    let of = |id: u32, user: &str| {
        let claims = json!({"sub": user, "application": {"id": id, "tier": "20PerMin"}, "subscribedAPIs": gold()});
        request().bearer(claims)
    };
    // A subscription is the application's, its tier is each user's.
    assert_eq!((left(&of(1, "a"), Level::Subscription), left(&of(1, "b"), Level::Subscription)), (49, 48));
    assert_eq!((left(&of(1, "a"), Level::Application), left(&of(1, "b"), Level::Application)), (18, 18));
    assert_eq!(left(&of(2, "a"), Level::Subscription), 49);
    // Callers of no application count together, those of one client apart; a client is no application of its name.
    let client = |client: &str| request().bearer(json!({"azp": client}));
    assert_eq!((left(&client("1"), Level::Subscription), left(&client("1"), Level::Subscription)), (499, 498));
    assert_eq!(left(&client("2"), Level::Subscription), 499);
    // Of keys that anybody with a password makes for himself, as many as he likes, each other has no quota of its own.
    let keyed = |id: &str| request().header("x-key", key(json!({"jti": id})));
    assert_eq!((left(&keyed("a"), Level::Subscription), left(&keyed("b"), Level::Subscription)), (499, 498));
    let user = request().header("authorization", "Basic YWxpY2U6c2VjcmV0");
    assert_eq!(left(&user, Level::Subscription), 497);
}

#[test]
fn the_first_level_that_fails_answers_and_nothing_is_debited() {
    let claims = || json!({"application": {"id": 1, "tier": "20PerMin"}, "subscribedAPIs": gold()});
    for (level, reason, policy) in [
        (0, Reason::ApiLimit, "OfApi"),
        (1, Reason::ResourceLimit, "OfOperation"),
        (2, Reason::SubscriptionLimit, "Gold"),
        (3, Reason::ApplicationLimit, "20PerMin"),
    ] {
        // From this level on each has a quota of one.
        let quota = |own: usize| if own >= level { 1 } else { 1000 };
        let mut book = book(any_credential());
        let subscriptions = vec![tier("Gold", quota(2))];
        let applications = vec![tier("20PerMin", quota(3))];
        book.tiers = Some(limits::Tiers { applications, subscriptions, ..Default::default() });
        book.limits = vec![tier("OfApi", quota(0)), tier("OfOperation", quota(1))];
        (book.rules[0].api_limit, book.rules[0].operation_limit) = (1, 2);
        let rule = Arc::clone(&Rule::load(&book).unwrap()[0].1);
        let host = Host::default();
        let first = spent(&rule, &host, &request().bearer(claims())).unwrap();
        let order: Vec<_> = first.iter().map(|(level, ..)| *level).collect();
        assert_eq!(order, [Level::Api, Level::Resource, Level::Subscription, Level::Application]);
        for _ in 0..3 {
            let refused = spent(&rule, &host, &request().bearer(claims()));
            assert_eq!(refused, Err((reason, policy.to_owned())));
        }
    }
}
