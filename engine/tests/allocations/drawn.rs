//! What a request draws on costs no allocation, and a counter a few bytes.

use microgw_engine::limits::{Charge, CounterKey, Micros, Sharing, Spending, Table};
use microgw_proto::limits::v1 as limits;

use super::*;

/// Counters, and nothing else.
struct Counters(Table);

impl Facts for Counters {
    fn get(&self, _: &CredentialDigest) -> Option<Arc<Identity>> {
        None
    }

    fn put(&self, _: CredentialDigest, _: Arc<Identity>) {}

    fn spend(&self, charges: &[Charge<'_>]) -> Spending {
        self.0.spend(charges, Micros::of_seconds(NOW.0))
    }
}

#[test]
fn conditions_groups_and_custom_keys_cost_no_allocation_and_an_expression_a_few() {
    use limits::condition::Kind;
    let text = |name: &str, value| limits::Text { name: name.into(), value: Some(value) };
    let equals = |name: &str, value: &str| text(name, limits::text::Value::Equals(value.into()));
    let of = |kind| limits::Condition { kind: Some(kind) };
    let both = |first, second| of(Kind::All(limits::Conditions { conditions: vec![first, second] }));
    let limit = || limits::Limit {
        quota: 1000,
        window: Some(limits::limit::Window::Fixed(limits::Fixed { seconds: 60 })),
        ..Default::default()
    };
    let range = limits::AddressRange { first: vec![10, 0, 0, 0], last: vec![10, 255, 255, 255] };
    let deny = |when| limits::DenyPolicy { name: "Deny".into(), when: Some(when), ..Default::default() };
    let group = limits::Group {
        name: "partners".into(),
        when: Some(both(
            of(Kind::Header(text("x-partner", limits::text::Value::Matches("^acme".into())))),
            of(Kind::Query(equals("a", "b"))),
        )),
        limits: vec![limit()],
    };
    let policy = || limits::Policy { name: "Shop".into(), limits: vec![limit()], ..Default::default() };
    let custom =
        limits::CustomPolicy { policy: Some(policy()), key: "$header.x-partner:$apiContext".into(), when: None };
    let load = |expressions: Vec<limits::DenyPolicy>| {
        let denials = vec![deny(of(Kind::Addresses(limits::Addresses { ranges: vec![range.clone()] })))];
        let book = proto::RuleBook {
            policies: vec![proto::Policy { public: true, ..book().policies.remove(0) }],
            rules: vec![proto::Rule { id: vec![1; 16], api_limit: 1, ..Default::default() }],
            limits: vec![limits::Policy { groups: vec![group.clone()], ..policy() }],
            tiers: Some(limits::Tiers {
                custom: vec![custom.clone()],
                deny: [denials, expressions].concat(),
                ..Default::default()
            }),
            ..book()
        };
        Arc::clone(&Rule::load(&book).unwrap().first().unwrap().1)
    };
    let headers = HashMap::from([
        ("x-partner".to_owned(), "acme-1".to_owned()),
        ("x-forwarded-for".to_owned(), "192.0.2.1".to_owned()),
    ]);
    let head = RequestHead { path: "/v2/pet/1?x=1&a=b", ..with_header(&headers) };
    let measure = |rule: &Rule| {
        let facts = Counters(Table::new(1000, [1, 2]));
        let decide = || {
            let before = ALLOCATIONS.with(Cell::get);
            let mut exchange = Exchange::new(rule, &facts, NOW);
            let step = exchange.on_request_head(head);
            let Step::Done(Decision::Allow(allow)) = &step else { panic!("{step:?}") };
            assert_eq!(allow.limits.len(), 2, "of the group and of the key");
            drop(step);
            drop(exchange);
            ALLOCATIONS.with(Cell::get) - before
        };
        assert!(decide() > 0);
        decide()
    };
    assert_eq!(measure(&load(vec![])), 0);
    let expression = "request.headers['x-partner'].startsWith('evil') || 'evil' in request.query.a";
    let allocations = measure(&load(vec![deny(of(Kind::Expression(expression.into())))]));
    assert!((1..=40).contains(&allocations), "{allocations}");
}

/// Counters at hand, and the time at which they are asked.
struct Counted(Memory, Table);

impl Facts for Counted {
    fn get(&self, digest: &CredentialDigest) -> Option<Arc<Identity>> {
        self.0.get(digest)
    }

    fn put(&self, digest: CredentialDigest, facts: Arc<Identity>) {
        self.0.put(digest, facts);
    }

    fn secret(&self) -> Option<&[u8; 32]> {
        self.0.secret()
    }

    fn spend(&self, charges: &[Charge<'_>]) -> Spending {
        self.1.spend(charges, Micros::of_seconds(NOW.0))
    }
}

fn policy(name: &str, windows: impl IntoIterator<Item = limits::limit::Window>) -> limits::Policy {
    let limit = |window| limits::Limit { quota: 1000, window: Some(window), ..Default::default() };
    limits::Policy { name: name.to_owned(), limits: windows.into_iter().map(limit).collect(), ..Default::default() }
}

/// Of every kind, for an address and for a user, granted and refused.
#[test]
fn four_limits_cost_no_allocation() {
    let month = limits::Calendar { unit: limits::calendar::Unit::Month.into(), count: 1, offset_minutes: 60 };
    let of_api = policy(
        "Gold",
        [
            limits::limit::Window::Burst(limits::Burst { seconds: 1, burst: 1000 }),
            limits::limit::Window::Sliding(limits::Sliding { seconds: 60, buckets: 10 }),
        ],
    );
    let of_caller =
        [limits::limit::Window::Fixed(limits::Fixed { seconds: 60 }), limits::limit::Window::Calendar(month)];
    for public in [true, false] {
        let mut book = book();
        book.rules[0].api_limit = 1;
        book.limits = vec![of_api.clone()];
        let subscriptions = vec![policy("Unauthenticated", of_caller), policy("Default", of_caller)];
        book.tiers = Some(limits::Tiers { subscriptions, ..Default::default() });
        book.policies[0].public = public;
        let rule = Arc::clone(&Rule::load(&book).unwrap().first().unwrap().1);
        let facts = Counted(Memory::default(), Table::new(1000, [1, 2]));
        let headers = HashMap::from([
            ("authorization".to_owned(), "Basic YWxpY2U6c2VjcmV0".to_owned()),
            ("x-forwarded-for".to_owned(), "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".to_owned()),
        ]);
        let decide = |allowed: bool| {
            let before = ALLOCATIONS.with(Cell::get);
            let mut exchange = Exchange::new(&rule, &facts, NOW);
            let mut step = exchange.on_request_head(with_header(&headers));
            if let Step::Ask(_) = step {
                step = exchange.resume(Answer::Identity(Arc::new(Identity::user("alice", ["read"]))), NOW);
            }
            let drawn = match &step {
                Step::Done(Decision::Allow(allow)) if allowed => allow.limits.len(),
                Step::Done(Decision::Deny(deny)) if !allowed => deny.limits.len(),
                _ => panic!("{step:?}"),
            };
            assert_eq!(drawn, 4);
            drop(step);
            drop(exchange);
            ALLOCATIONS.with(Cell::get) - before
        };
        assert!(decide(true) > 0, "the counters are made");
        for _ in 1..1000 {
            assert_eq!(decide(true), 0);
        }
        for _ in 0..3 {
            assert_eq!(decide(false), 0);
        }
    }
}

#[test]
fn a_hundred_thousand_counters_cost_ten_megabytes() {
    use microgw_engine::limits::conformance::{Numbers, limit};

    let windows = [
        limits::limit::Window::Fixed(limits::Fixed { seconds: 60 }),
        limits::limit::Window::Burst(limits::Burst { seconds: 1, burst: 10 }),
    ];
    for window in windows {
        let limit = Arc::new(limit(window, 10, limits::limit::Unit::Requests, Sharing::default()));
        let (before, mut numbers) = (HELD.with(Cell::get), Numbers::new(1));
        let table = Table::new(100_000, [1, 2]);
        for _ in 0..100_000 {
            let key = CounterKey(u128::from(numbers.draw()) << 64 | u128::from(numbers.draw()));
            table.spend(&[Charge { key, limit: &limit, cost: 5 }], Micros::of_seconds(NOW.0));
        }
        let each = (HELD.with(Cell::get) - before) / table.len().cast_signed();
        println!("{each} bytes for each of {} counters", table.len());
        assert!(table.len() > 95_000, "{}", table.len());
        assert!((40..100).contains(&each), "{each} bytes");
    }
}
