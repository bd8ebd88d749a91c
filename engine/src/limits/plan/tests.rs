use std::collections::HashMap;
use std::sync::OnceLock;

use microgw_proto::limits::v1 as limits;
use microgw_proto::rules::v1 as rules;

use super::super::{Caller, Level, Micros, Spending, Table};
use super::*;
use crate::exchange::RequestHead;
use crate::facts::{CredentialDigest, Facts};
use crate::identity::{Identity, KeyType};
use crate::rules::Rule;

const NOW: Micros = Micros(1_700_000_000_000_000);

fn policy(name: &str, windows: &[(u64, u64)]) -> limits::Policy {
    let limit = |(quota, seconds): &(u64, u64)| limits::Limit {
        quota: *quota,
        window: Some(limits::limit::Window::Fixed(limits::Fixed { seconds: *seconds })),
        ..limits::Limit::default()
    };
    limits::Policy { name: name.to_owned(), limits: windows.iter().map(limit).collect(), ..limits::Policy::default() }
}

/// Of operations by method and path, the API limited by the first policy and each operation by the second.
fn book(operations: &[(&str, &str)], policies: [limits::Policy; 2], tiers: limits::Tiers) -> rules::RuleBook {
    rules::RuleBook {
        apis: vec![rules::Api {
            name: "pets".into(),
            version: "1".into(),
            base_path: "/v2".into(),
            ..Default::default()
        }],
        policies: vec![rules::Policy { public: true, credential_header: "authorization".into(), ..Default::default() }],
        rules: operations
            .iter()
            .zip(1..)
            .map(|((method, path), id)| rules::Rule {
                id: u128::to_be_bytes(id).to_vec(),
                method: (*method).to_owned(),
                path: (*path).to_owned(),
                api_limit: 1,
                operation_limit: 2,
                ..Default::default()
            })
            .collect(),
        limits: policies.into(),
        tiers: Some(tiers),
        ..Default::default()
    }
}

struct Nothing;

impl Facts for Nothing {
    fn get(&self, _: &CredentialDigest) -> Option<Arc<Identity>> {
        None
    }

    fn put(&self, _: CredentialDigest, _: Arc<Identity>) {}
}

/// Of the operation of that name, for somebody at an address, or for a user.
fn spend(book: &rules::RuleBook, operation: &str, who: Result<&Identity, &str>, table: &Table) -> Vec<(Level, u64)> {
    let rules = Rule::load(book).unwrap();
    let rule = &rules.iter().find(|(_, rule)| rule.operation() == operation).unwrap().1;
    let headers = HashMap::from([("x-forwarded-for".to_owned(), who.err().unwrap_or("192.0.2.9").to_owned())]);
    let request = Request {
        rule,
        facts: &Nothing,
        head: Some(RequestHead {
            method: "GET",
            scheme: "https",
            authority: "api.example",
            path: "/v2/pet",
            headers: &headers,
            certificate: None,
            peer: "",
            has_body: None,
        }),
        caller: Caller { identity: who.ok(), subscription: None, vouchers: &[] },
        key_type: KeyType::Production,
        address: &OnceLock::new(),
    };
    let mut charges = Charges::new();
    rule.limits.as_deref().unwrap().charge(&request, &mut charges);
    let Spending::Granted(usages) = table.spend(&charges, NOW) else { panic!("refused") };
    charges.iter().zip(usages).map(|(charge, usage)| (charge.limit.level, usage.remaining)).collect()
}

fn tiers(subscriptions: Vec<limits::Policy>) -> limits::Tiers {
    limits::Tiers { subscriptions, ..limits::Tiers::default() }
}

#[test]
fn a_publish_resets_nothing_that_it_does_not_name() {
    let table = Table::new(1000, [1, 2]);
    let default = |name: &str, quota| vec![policy("Default", &[(quota, 60)]), policy(name, &[(1, 60)])];
    let policies = [policy("Gold", &[(100, 60)]), policy("Silver", &[(50, 60), (500, 3600)])];
    let before = book(&[("GET", "/pet")], policies, tiers(default("Unused", 10)));
    let alice = Identity::user("alice", []);
    let [api, resource, subscription] = [Level::Api, Level::Resource, Level::Subscription];
    assert_eq!(
        spend(&before, "GET /pet", Ok(&alice), &table),
        [(api, 99), (resource, 49), (resource, 499), (subscription, 9)]
    );
    // More operations, policies renamed, quotas changed, a window added.
    let policies = [policy("Golden", &[(200, 60)]), policy("Silver", &[(5, 1), (40, 60), (500, 3600)])];
    let after = book(&[("GET", "/cat"), ("GET", "/pet")], policies, tiers(default("Other", 20)));
    assert_eq!(
        spend(&after, "GET /pet", Ok(&alice), &table),
        [(api, 198), (resource, 4), (resource, 38), (resource, 498), (subscription, 18)]
    );
    // Another operation has counters of its own, and its API's.
    assert_eq!(
        spend(&after, "GET /cat", Ok(&alice), &table),
        [(api, 197), (resource, 4), (resource, 39), (resource, 499), (subscription, 17)]
    );
}

#[test]
fn callers_of_whom_nothing_is_known_are_told_apart_by_their_networks() {
    let table = Table::new(1000, [1, 2]);
    let policies = [policy("Gold", &[(100, 60)]), policy("Silver", &[(50, 60)])];
    let book = book(&[("GET", "/pet")], policies, tiers(vec![policy("Unauthenticated", &[(10, 60)])]));
    let left = |address| spend(&book, "GET /pet", Err(address), &table).last().copied();
    let of = |remaining| Some((Level::Unauthenticated, remaining));
    assert_eq!(left("192.0.2.1"), of(9));
    assert_eq!(left("192.0.2.1"), of(8));
    assert_eq!(left("::ffff:192.0.2.1"), of(7));
    assert_eq!(left("192.0.2.2"), of(9));
    assert_eq!(left("2001:db8:0:1::1"), of(9));
    assert_eq!(left("2001:db8:0:1:ffff::2"), of(8));
    assert_eq!(left("2001:db8:0:2::1"), of(9));
}
