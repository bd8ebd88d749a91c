//! Conditions, groups, custom keys, deny policies and costs.

mod callers;

use std::sync::atomic::{AtomicUsize, Ordering};

use microgw_expressions::Expression;
use microgw_proto::limits::v1 as limits;
use microgw_proto::limits::v1::condition::Kind;

use super::*;
use crate::fixtures::introspection;
use crate::limits::{Charge, Micros, Table};
use crate::{LoadError, OpaqueKey};

/// Counters, and how often an expression had no result.
struct Host {
    memory: Memory,
    table: Table,
    failed: AtomicUsize,
}

impl Default for Host {
    fn default() -> Host {
        Host { memory: Memory::default(), table: Table::new(1000, [1, 2]), failed: AtomicUsize::new(0) }
    }
}

impl Facts for Host {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.memory.get(digest)
    }

    fn put(&self, digest: CredentialDigest, identity: Arc<Identity>) {
        self.memory.put(digest, identity);
    }

    fn opaque_key(&self, hash: &crate::opaque::KeyHash) -> OpaqueKey {
        self.memory.opaque_key(hash)
    }

    fn spend(&self, charges: &[Charge<'_>]) -> Spending {
        self.table.spend(charges, Micros::of_seconds(NOW))
    }

    fn failed(&self, _: &Expression) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

fn of(kind: Kind) -> limits::Condition {
    limits::Condition { kind: Some(kind) }
}

fn not(condition: limits::Condition) -> limits::Condition {
    of(Kind::Not(Box::new(condition)))
}

fn all(conditions: Vec<limits::Condition>) -> limits::Condition {
    of(Kind::All(limits::Conditions { conditions }))
}

fn any(conditions: Vec<limits::Condition>) -> limits::Condition {
    of(Kind::Any(limits::Conditions { conditions }))
}

fn text(name: &str, value: limits::text::Value) -> limits::Text {
    limits::Text { name: name.into(), value: Some(value) }
}

fn equals(name: &str, value: &str) -> limits::Text {
    text(name, limits::text::Value::Equals(value.into()))
}

fn matches(name: &str, pattern: &str) -> limits::Text {
    text(name, limits::text::Value::Matches(pattern.into()))
}

fn present(name: &str) -> limits::Text {
    text(name, limits::text::Value::Present(true))
}

fn expression(text: &str) -> limits::Condition {
    of(Kind::Expression(text.into()))
}

fn addresses(ranges: &[(&str, &str)]) -> limits::Condition {
    let bytes = |text: &str| match text.parse::<std::net::IpAddr>().unwrap() {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    };
    let range = |(first, last): &(&str, &str)| limits::AddressRange { first: bytes(first), last: bytes(last) };
    of(Kind::Addresses(limits::Addresses { ranges: ranges.iter().map(range).collect() }))
}

fn limit(quota: u64) -> limits::Limit {
    let window = limits::limit::Window::Fixed(limits::Fixed { seconds: 60 });
    limits::Limit { quota, window: Some(window), ..Default::default() }
}

fn plain(name: &str, quota: u64) -> limits::Policy {
    limits::Policy { name: name.into(), limits: vec![limit(quota)], ..Default::default() }
}

fn denying(when: limits::Condition) -> limits::Tiers {
    let deny = limits::DenyPolicy { name: "Abuser".into(), when: Some(when), ..Default::default() };
    limits::Tiers { deny: vec![deny], ..Default::default() }
}

fn public() -> proto::Policy {
    proto::Policy { public: true, ..policy(vec![]) }
}

fn book_of(policy: proto::Policy, tiers: limits::Tiers) -> proto::RuleBook {
    proto::RuleBook { tiers: Some(tiers), introspection: Some(introspection()), ..book(policy) }
}

fn load(book: &proto::RuleBook) -> Arc<Rule> {
    Arc::clone(&Rule::load(book).unwrap()[0].1)
}

/// Policies and what is left of them, or why it is refused.
fn spent(rule: &Rule, host: &Host, request: &Request) -> Result<Vec<(String, u64)>, Reason> {
    let path = format!("{}{}", request.path, request.query);
    let mut exchange = Exchange::new(rule, host, UnixTime(NOW));
    let mut step = exchange.on_request_head(head(&path, &request.headers));
    loop {
        match step {
            Step::Ask(lookup) => step = exchange.resume(answer(&lookup), UnixTime(NOW)),
            Step::NeedBody | Step::Intercept(_) | Step::Done(Decision::Respond(_)) => {
                unreachable!("no rule here looks at bodies")
            }
            Step::Done(Decision::Allow(allow)) => {
                let balance = |balance: &Balance<'_>| (balance.limit.policy.to_string(), balance.usage.remaining);
                return Ok(allow.limits.iter().map(balance).collect());
            }
            Step::Done(Decision::Deny(deny)) => return Err(deny.reason),
        }
    }
}

fn from(address: &str) -> Request {
    request().header("x-forwarded-for", address)
}

/// Whether a request is refused by a deny policy with that condition.
fn denied(when: &limits::Condition, request: &Request) -> bool {
    let rule = load(&book_of(public(), denying(when.clone())));
    match spent(&rule, &Host::default(), request) {
        Err(Reason::Blocked) => true,
        Ok(_) => false,
        other => panic!("{other:?}"),
    }
}

/// The same of those whose token has these claims.
fn denied_to(when: &limits::Condition, claims: Value) -> bool {
    let rule = load(&book_of(policy(vec![vec![oauth2(&[], false)]]), denying(when.clone())));
    let (host, request) = (Host::default(), request().bearer(claims));
    let first = spent(&rule, &host, &request);
    assert_eq!(spent(&rule, &host, &request), first, "what is cached knows the claims, too");
    first == Err(Reason::Blocked)
}

#[test]
fn headers_are_compared_and_matched() {
    let acme = of(Kind::Header(matches("x-partner", "^acme")));
    assert!(denied(&acme, &request().header("x-partner", "acme-1")));
    assert!(!denied(&acme, &request().header("x-partner", "our acme")));
    assert!(!denied(&acme, &request()));
    let equal = of(Kind::Header(equals("x-partner", "a")));
    assert!(denied(&equal, &request().header("x-partner", "a")));
    assert!(!denied(&equal, &request().header("x-partner", "A")));
    let there = of(Kind::Header(present("x-partner")));
    assert!(denied(&there, &request().header("x-partner", "")) && !denied(&there, &request()));
    assert!(denied(&not(there.clone()), &request()) && !denied(&not(there), &request().header("x-partner", "")));
    assert!(denied(&not(equal), &request()), "what is not there is nothing in particular");
    assert!(denied(&of(Kind::Header(equals("host", "api.example"))), &request()));
}

#[test]
fn a_second_value_helps_nobody() {
    let bad = of(Kind::Header(equals("x-kind", "bad")));
    let good = of(Kind::Header(equals("x-kind", "good")));
    for joined in ["bad,good", "good,bad", "good, bad", "bad,", ",bad"] {
        let request = request().header("x-kind", joined);
        assert!(denied(&bad, &request), "{joined}");
    }
    for joined in ["bad,good", "good,bad"] {
        assert!(denied(&not(good.clone()), &request().header("x-kind", joined)), "{joined}");
    }
    // A comma within one header, with a blank after it, makes no second one.
    let browser = of(Kind::Header(matches("user-agent", "^Mozilla")));
    let usual = request().header("user-agent", "Mozilla/5.0 (KHTML, like Gecko)");
    assert!(denied(&browser, &usual) && !denied(&not(browser), &usual));
    let bad = of(Kind::Query(equals("kind", "bad")));
    let good = of(Kind::Query(equals("kind", "good")));
    for query in ["kind=bad&kind=good", "kind=good&x=1&kind=bad", "kin%64=%62ad&kind=good"] {
        assert!(denied(&bad, &request().query(query)), "{query}");
        assert!(denied(&not(good.clone()), &request().query(query)), "{query}");
    }
    assert!(!denied(&not(good), &request().query("kind=good&kind=good&other=bad")));
}

#[test]
fn parameters_are_decoded_as_backends_do() {
    let condition = of(Kind::Query(equals("a b", "ü/+")));
    for query in ["a+b=%C3%BC/%2B", "a%20b=%c3%bc%2F%2b", "x&a+b=%C3%BC%2f%2B&y"] {
        assert!(denied(&condition, &request().query(query)), "{query}");
    }
    assert!(!denied(&condition, &request().query("a+b=%C3%BC/+")));
    let there = of(Kind::Query(present("debug")));
    assert!(denied(&there, &request().query("debug")) && denied(&there, &request().query("%64ebug=1")));
    assert!(!denied(&there, &request().query("Debug=1")) && !denied(&there, &request()));
    assert!(denied(&of(Kind::Query(matches("q", "^evil"))), &request().query("q=evil%FF")), "no UTF-8 is no way round");
}

#[test]
fn addresses_are_of_ranges_and_of_trusted_hops() {
    let ranges =
        addresses(&[("10.0.0.0", "10.255.255.255"), ("192.168.1.1", "192.168.1.9"), ("2001:db8::", "2001:db8::ff")]);
    for inside in ["10.1.2.3", "192.168.1.1", "192.168.1.9", "::ffff:10.0.0.1", "2001:db8::ff", "1.1.1.1, 10.0.0.1"] {
        assert!(denied(&ranges, &from(inside)), "{inside}");
    }
    for outside in ["11.0.0.0", "192.168.1.10", "2001:db8::100", "10.0.0.1, 1.1.1.1", "::1"] {
        assert!(!denied(&ranges, &from(outside)), "{outside}");
        assert!(denied(&not(ranges.clone()), &from(outside)), "{outside}");
    }
    let mapped = addresses(&[("::ffff:10.0.0.0", "::ffff:10.0.0.255")]);
    assert!(denied(&mapped, &from("10.0.0.7")) && !denied(&mapped, &from("::1")));
    // Nobody knows where it comes from: neither the range nor its opposite lets it through.
    assert!(denied(&ranges, &request()) && denied(&not(ranges.clone()), &from("unknown")));
    let mut behind_a_proxy = book_of(public(), denying(ranges));
    behind_a_proxy.trusted_hops = 1;
    let rule = load(&behind_a_proxy);
    assert_eq!(spent(&rule, &Host::default(), &from("9.9.9.9, 10.0.0.1, 1.1.1.1")), Err(Reason::Blocked));
    assert_eq!(spent(&rule, &Host::default(), &from("10.0.0.1, 9.9.9.9, 1.1.1.1")), Ok(vec![]));
}

#[test]
fn claims_are_kept_where_something_looks_at_them() {
    let sales = of(Kind::Claim(equals("dept", "sales")));
    assert!(denied_to(&sales, json!({"dept": "sales"})));
    assert!(denied_to(&sales, json!({"dept": ["it", "sales"]})));
    for other in [
        json!({"dept": "Sales"}),
        json!({}),
        json!({"dept": ["it"]}),
        json!({"dept": {"sales": 1}}),
        json!({"dept": null}),
    ] {
        assert!(!denied_to(&sales, other.clone()), "{other}");
        assert!(denied_to(&not(sales.clone()), other.clone()), "{other}");
    }
    for (value, claim) in [
        ("7", json!(7)),
        ("true", json!(true)),
        ("0.5", json!(0.5)),
        ("9007199254740993", json!(9_007_199_254_740_993_u64)),
    ] {
        assert!(denied_to(&of(Kind::Claim(equals("level", value))), json!({"level": claim})), "{value}");
    }
    assert!(denied_to(&of(Kind::Claim(present("dept"))), json!({"dept": []})));
    assert!(denied_to(&of(Kind::Claim(equals("sub", "alice"))), json!({})), "those that are judged are claims, too");
    assert!(denied_to(
        &expression("caller.claims.level > 6 && caller.claims.dept == 'it'"),
        json!({"level": 7, "dept": "it"})
    ));
    assert!(!denied(&sales, &request()), "who has no token has no claims");
}

#[test]
fn a_publish_that_looks_at_a_claim_does_not_go_by_what_was_cached_without() {
    let guarded = || policy(vec![vec![oauth2(&[], false)]]);
    let (host, request) = (Host::default(), request().bearer(json!({"dept": "sales"})));
    let before = load(&book_of(guarded(), denying(of(Kind::Header(present("x-none"))))));
    assert_eq!(spent(&before, &host, &request), Ok(vec![]));
    let after = load(&book_of(guarded(), denying(of(Kind::Claim(equals("dept", "sales"))))));
    assert_eq!(spent(&after, &host, &request), Err(Reason::Blocked));
}

#[test]
fn opaque_tokens_and_keys_have_claims() {
    let sales = denying(of(Kind::Claim(equals("dept", "sales"))));
    let rule = load(&book_of(policy(vec![vec![header_key("x-key")]]), sales));
    let signed = |claims: Value| request().header("x-key", key(claims));
    assert_eq!(spent(&rule, &Host::default(), &signed(json!({"dept": "sales"}))), Err(Reason::Blocked));
    assert_eq!(spent(&rule, &Host::default(), &signed(json!({}))), Ok(vec![]));
    let terms = |dept: &str| crate::KeyTerms { metadata: [("dept".into(), dept.into())].into(), ..Default::default() };
    for (dept, outcome) in [("sales", Err(Reason::Blocked)), ("it", Ok(vec![]))] {
        let (mut host, key) = (Host::default(), crate::opaque::key([1; 32]));
        let identity = Arc::new(Identity::opaque_key(terms(dept)));
        host.memory.1.insert(crate::opaque::hash(&key).unwrap(), OpaqueKey::Known(identity));
        assert_eq!(spent(&rule, &host, &request().header("x-key", key)), outcome, "{dept}");
    }
}

#[test]
fn what_introspection_says_is_a_claim() {
    let rule =
        load(&book_of(policy(vec![vec![oauth2(&[], false)]]), denying(of(Kind::Claim(equals("dept", "sales"))))));
    let (host, request) = (Host::default(), request().header("authorization", "Bearer opaque"));
    let mut exchange = Exchange::new(&rule, &host, UnixTime(NOW));
    let step = exchange.on_request_head(head("/v2/pet/1", &request.headers));
    let Step::Ask(Lookup::Introspection { reader, .. }) = step else { panic!("{step:?}") };
    let identity = reader.read(br#"{"active": true, "sub": "alice", "dept": ["it", "sales"]}"#).unwrap();
    let step = exchange.resume(Answer::Identity(Arc::new(identity)), UnixTime(NOW));
    assert!(matches!(step, Step::Done(Decision::Deny(Deny { reason: Reason::Blocked, .. }))), "{step:?}");
    assert_eq!(spent(&rule, &host, &request), Err(Reason::Blocked), "what is remembered, too");
}

#[test]
fn versions_and_expressions_are_looked_at() {
    let names = |names: &[&str]| limits::Names { names: names.iter().map(ToString::to_string).collect() };
    assert!(denied(&of(Kind::Versions(names(&["0.9", "1.0"]))), &request()));
    assert!(!denied(&of(Kind::Versions(names(&["2.0"]))), &request()));
    for expression_text in [
        "request.method == 'GET' && request.path == '/v2/pet/1' && request.host == 'api.example' && request.scheme == 'https'",
        "request.headers['X-A'] == '1' && 'x-a' in request.headers",
        "'2' in request.query.a && size(request.query.a) == 2",
        "client.ip == '192.0.2.1'",
        "api.name == 'pets' && api.version == '1.0' && api.basePath == '/v2' && operation == 'GET /v2/pet/{petId}'",
        "caller.subject == '' && caller.keyType == '' && size(caller.scopes) == 0",
    ] {
        let request = from("192.0.2.1").header("x-a", "1").query("a=1&a=2");
        assert!(denied(&expression(expression_text), &request), "{expression_text}");
    }
    let of_caller = "caller.subject == 'alice' && 'read' in caller.scopes && caller.keyType == 'PRODUCTION' && caller.client == 'app'";
    assert!(denied_to(&expression(of_caller), json!({"client_id": "app"})));
}

#[test]
fn expressions_are_told_nothing_of_what_is_not_clear() {
    let header = |sign: &str| expression(&format!("request.headers['x-kind'] {sign} 'bad'"));
    for joined in ["bad,bad", "bad,good", "good,bad", ",bad", "bad,"] {
        let request = request().header("x-kind", joined);
        assert!(denied(&header("=="), &request) && denied(&header("!="), &request), "{joined}");
        assert!(denied(&expression("'x-kind' in request.headers"), &request), "that it is there is clear");
        assert!(!denied(&expression("request.headers['x-kind'] == 'bad' && false"), &request));
    }
    let list = request().header("x-kind", "bad, good");
    assert!(!denied(&header("=="), &list) && denied(&expression("request.headers['x-kind'] == 'bad, good'"), &list));
    assert!(!denied(&header("=="), &request()) && denied(&header("!="), &request()), "what is not there is clear");

    let address = |sign: &str| expression(&format!("client.ip {sign} '192.0.2.1'"));
    for unknown in [request(), from("unknown"), from("")] {
        assert!(denied(&address("=="), &unknown) && denied(&address("!="), &unknown));
    }
    for same in ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"] {
        assert!(denied(&address("=="), &from(same)) && !denied(&address("!="), &from(same)), "{same}");
    }
    assert!(!denied(&address("=="), &from("192.0.2.2")));
}

#[test]
fn what_cannot_be_told_is_taken_to_be_what_lets_less_through() {
    let failing = || expression("caller.claims.none > 1");
    let denies = |when: limits::Condition| denied_to(&when, json!({}));
    let never = || of(Kind::Header(present("x-none")));
    assert!(denies(failing()) && denies(not(failing())) && denies(all(vec![failing(), not(never())])));
    assert!(!denies(all(vec![failing(), never()])), "what decides need not know the rest");
    assert!(denies(any(vec![failing(), never()])));
    let rule = load(&book_of(public(), denying(expression("1 / size(request.query.a) == 0"))));
    let host = Host::default();
    assert_eq!(spent(&rule, &host, &request()), Err(Reason::Blocked));
    assert_eq!(host.failed.into_inner(), 1, "somebody is told");
}

fn grouped(groups: Vec<(&str, limits::Condition, u64)>) -> limits::Policy {
    let group = |(name, when, quota): (&str, limits::Condition, u64)| limits::Group {
        name: name.into(),
        when: Some(when),
        limits: vec![limit(quota)],
    };
    limits::Policy { groups: groups.into_iter().map(group).collect(), ..plain("Grouped", 10) }
}

#[test]
fn each_group_that_matches_applies_and_then_the_rest_does_not() {
    let header = |name: &str| of(Kind::Header(present(name)));
    let mut book = book(public());
    book.limits = vec![grouped(vec![("a", header("x-a"), 5), ("b", header("x-b"), 7)])];
    book.rules[0].api_limit = 1;
    book.rules[0].operation_limit = 1;
    let (rule, host) = (load(&book), Host::default());
    let left = |request: Request| -> Vec<u64> {
        spent(&rule, &host, &request).unwrap().into_iter().map(|(_, left)| left).collect()
    };
    assert_eq!(left(request()), [9, 9]);
    assert_eq!(left(request().header("x-a", "1")), [4, 4], "counters of its own, at each level");
    assert_eq!(left(request().header("x-b", "1")), [6, 6]);
    assert_eq!(left(request().header("x-a", "1").header("x-b", "1")), [3, 5, 3, 5]);
    assert_eq!(left(request()), [8, 8], "the others' are as they were");
    for _ in 0..3 {
        let _ = spent(&rule, &host, &request().header("x-a", "1"));
    }
    assert_eq!(spent(&rule, &host, &request().header("x-a", "1")), Err(Reason::ApiLimit));
    assert_eq!(left(request()), [7, 7]);
}

#[test]
fn groups_of_tiers_and_of_custom_policies_apply() {
    let partner = || of(Kind::Claim(equals("plan", "partner")));
    let named = |name: &str| limits::Policy { name: name.into(), ..grouped(vec![("partners", partner(), 100)]) };
    let tiers = limits::Tiers {
        applications: vec![named("App")],
        subscriptions: vec![named("Default")],
        custom: vec![limits::CustomPolicy { policy: Some(named("Own")), key: "$userId".into(), when: None }],
        ..Default::default()
    };
    let rule = load(&book_of(policy(vec![vec![oauth2(&[], false)]]), tiers));
    let host = Host::default();
    let claims = |plan: &str| request().bearer(json!({"plan": plan, "application": {"id": 1, "tier": "App"}}));
    let all = |left| ["Default", "App", "Own"].map(|name| (name.to_owned(), left)).to_vec();
    assert_eq!(spent(&rule, &host, &claims("partner")), Ok(all(99)));
    assert_eq!(spent(&rule, &host, &claims("other")), Ok(all(9)));
}

#[test]
fn a_group_that_may_be_meant_takes_nothing_from_the_rest() {
    let mut book = book(public());
    book.limits = vec![grouped(vec![("dear", expression("1 / size(request.query.a) == 1"), 100)])];
    book.rules[0].api_limit = 1;
    let (rule, host) = (load(&book), Host::default());
    let policies = |left: &[u64]| left.iter().map(|left| ("Grouped".to_owned(), *left)).collect();
    assert_eq!(spent(&rule, &host, &request()), Ok(policies(&[99, 9])), "both, as nobody can tell");
    assert_eq!(spent(&rule, &host, &request().query("a")), Ok(policies(&[98])));
}

#[test]
fn custom_policies_count_by_their_key() {
    let custom = |key: &str, when| limits::Tiers {
        custom: vec![limits::CustomPolicy { policy: Some(plain("Own", 2)), key: key.into(), when }],
        ..Default::default()
    };
    let rule = load(&book_of(public(), custom("$header.x-device:$query.q:$clientIp:$apiContext", None)));
    let host = Host::default();
    let ask =
        |device: &str, query: &str| spent(&rule, &host, &from("192.0.2.1").header("x-device", device).query(query));
    assert!(ask("a", "q=b").is_ok() && ask("a", "q=b").is_ok());
    assert_eq!(ask("a", "q=b"), Err(Reason::CustomLimit), "of public operations, too");
    for (device, query) in
        [("a:b", ""), ("", "q=a:b"), ("a", "q=b&q=b"), ("a", "q=b:192"), ("A", "q=b"), ("", "q="), ("", "")]
    {
        assert!(ask(device, query).is_ok(), "{device} {query}: no separator makes another's key");
    }
    let users = load(&book_of(policy(vec![vec![oauth2(&[], false)]]), custom("$userId:$appId:$claim.dept", None)));
    let user = |sub: &str, dept: Value| spent(&users, &host, &request().bearer(json!({"sub": sub, "dept": dept})));
    assert!(user("bob", json!("it")).is_ok() && user("bob", json!("it")).is_ok() && user("bob", json!(["it"])).is_ok());
    assert_eq!(user("bob", json!("it")), Err(Reason::CustomLimit));
    assert!(user("eve", json!("it")).is_ok());
    let some = load(&book_of(public(), custom("all", Some(of(Kind::Header(present("x-a")))))));
    let host = Host::default();
    assert_eq!(spent(&some, &host, &request()), Ok(vec![]));
    assert_eq!(spent(&some, &host, &request().header("x-a", "")), Ok(vec![("Own".into(), 1)]));
}

#[test]
fn a_deny_policy_names_apis_applications_and_users() {
    let deny = |api: &str, application: &str, user: &str| {
        let deny = limits::DenyPolicy {
            name: "Abuser".into(),
            api: api.into(),
            application: application.into(),
            user: user.into(),
            when: None,
        };
        limits::Tiers { deny: vec![deny], ..Default::default() }
    };
    let outcome = |tiers: limits::Tiers, claims: Value| {
        let mut book = book_of(policy(vec![vec![oauth2(&[], false)]]), tiers);
        book.limits = vec![plain("OfApi", 5)];
        book.rules[0].api_limit = 1;
        let host = Host::default();
        let outcome = spent(&load(&book), &host, &request().bearer(claims));
        assert_eq!(host.table.len(), usize::from(outcome.is_ok()), "what is denied draws on nothing");
        outcome.err()
    };
    let blocked = Some(Reason::Blocked);
    assert_eq!(outcome(deny("/v2/1.0", "", ""), json!({})), blocked);
    assert_eq!(outcome(deny("/v2/1.1", "", ""), json!({})), None);
    assert_eq!(outcome(deny("/v2", "", ""), json!({})), None, "a version belongs to it");
    assert_eq!(outcome(deny("", "", "alice"), json!({})), blocked);
    assert_eq!(outcome(deny("", "", "alice"), json!({"sub": "alice@carbon.super"})), blocked);
    assert_eq!(outcome(deny("", "", "alice@carbon.super"), json!({})), blocked);
    assert_eq!(outcome(deny("", "", "alic"), json!({})), None);
    let application = json!({"application": {"id": 1, "name": "shop", "owner": "bob"}});
    assert_eq!(outcome(deny("", "bob:shop", ""), application.clone()), blocked);
    assert_eq!(outcome(deny("", "eve:shop", ""), application.clone()), None);
    assert_eq!(outcome(deny("/v2/1.0", "bob:shop", "alice"), application.clone()), blocked);
    assert_eq!(outcome(deny("/v2/1.0", "bob:shop", "eve"), application), None, "all that it names");
    let versioned =
        proto::Api { name: "pets".into(), version: "1.0".into(), base_path: "/pets/1.0".into(), ..Default::default() };
    let book = proto::RuleBook { apis: vec![versioned], ..book_of(public(), deny("/pets/1.0", "", "")) };
    assert_eq!(spent(&load(&book), &Host::default(), &request()), Err(Reason::Blocked));
}

#[test]
fn whom_an_address_denies_is_asked_for_nothing() {
    let rule =
        load(&book_of(policy(vec![vec![oauth2(&[], false)]]), denying(addresses(&[("192.0.2.1", "192.0.2.1")]))));
    let (request, host) = (from("192.0.2.1").bearer(json!({})), Host::default());
    let mut exchange = Exchange::new(&rule, &host, UnixTime(NOW));
    let step = exchange.on_request_head(head("/v2/pet/1", &request.headers));
    assert!(matches!(step, Step::Done(Decision::Deny(Deny { reason: Reason::Blocked, .. }))), "{step:?}");
    assert_eq!(spent(&rule, &host, &from("192.0.2.2")), Err(Reason::MissingCredentials));
}

#[test]
fn requests_cost_what_their_operation_says() {
    let costing = |kind: limits::cost::Kind, quota: u64| {
        let mut book = book(public());
        book.limits = vec![plain("OfApi", quota)];
        book.rules[0].api_limit = 1;
        book.rules[0].cost = Some(limits::Cost { kind: Some(kind) });
        load(&book)
    };
    let left = |rule: &Rule, request: &Request| spent(rule, &Host::default(), request).map(|spent| spent[0].1);
    let constant = costing(limits::cost::Kind::Constant(10), 25);
    let host = Host::default();
    assert!(spent(&constant, &host, &request()).is_ok() && spent(&constant, &host, &request()).is_ok());
    assert_eq!(spent(&constant, &host, &request()), Err(Reason::ApiLimit));
    let text = "size(request.query.id) > 0 ? size(request.query.id) : 1";
    let rule = costing(limits::cost::Kind::Expression(text.into()), 25);
    assert_eq!((left(&rule, &request()), left(&rule, &request().query("id=1&id=2"))), (Ok(24), Ok(23)));
    let failing = costing(limits::cost::Kind::Expression("10 / size(request.query.id)".into()), 25);
    assert_eq!(left(&failing, &request().query("id=1")), Ok(15));
    assert_eq!(left(&failing, &request()), Ok(0), "all that there is");
    let negative = costing(limits::cost::Kind::Expression("size(request.query.id) - 1".into()), 25);
    assert_eq!(left(&negative, &request()), Ok(0), "no way round");
    assert_eq!(left(&negative, &request().query("id=1")), Ok(25));
    let free = costing(limits::cost::Kind::Expression("0".into()), 1);
    assert_eq!(left(&free, &request()), Ok(1));
}

#[test]
fn what_cannot_be_read_is_not_loaded() {
    let refused = |tiers: limits::Tiers| Rule::load(&book_of(public(), tiers)).unwrap_err();
    let nested = (0..20).fold(of(Kind::Header(present("x-a"))), |inner, _| not(inner));
    for condition in [
        nested,
        limits::Condition::default(),
        of(Kind::Header(limits::Text { name: "x-a".into(), value: None })),
        of(Kind::Query(present(""))),
        of(Kind::Header(matches("x-a", "("))),
        of(Kind::Header(matches("x-a", &"a".repeat(2000)))),
        expression("foo == 1"),
        expression("1"),
    ] {
        assert!(matches!(refused(denying(condition.clone())), LoadError::Condition(_)), "{condition:?}");
    }
    assert!(matches!(refused(denying(of(Kind::Header(present("X-A"))))), LoadError::HeaderName(_)));
    let backwards = addresses(&[("10.0.0.2", "10.0.0.1")]);
    assert_eq!(refused(denying(backwards)), LoadError::AddressRange);
    assert_eq!(refused(denying(addresses(&[("10.0.0.2", "::1")]))), LoadError::AddressRange);
    let empty = limits::DenyPolicy { name: "All".into(), ..Default::default() };
    assert_eq!(refused(limits::Tiers { deny: vec![empty], ..Default::default() }), LoadError::Denial);
    let custom = limits::CustomPolicy { policy: Some(plain("Own", 1)), key: "$customProperty.x".into(), when: None };
    assert!(matches!(refused(limits::Tiers { custom: vec![custom], ..Default::default() }), LoadError::Condition(_)));
}
