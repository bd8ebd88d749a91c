use std::collections::HashSet;

use microgw_proto::limits::v1 as proto;
use proto::limit::{Unit, Window};

use super::super::conformance::limit;
use super::*;

fn stem(level: Level, policy: &str, index: usize) -> KeyStem {
    let limit = limit(Window::Fixed(proto::Fixed { seconds: 60 }), 1, Unit::Requests, super::super::Sharing::default());
    KeyStem::new(&Limit { level, policy: policy.into(), ..limit }, index, &[])
}

/// Counters in a store are found again by another version.
#[test]
fn names_stay_the_same() {
    let key = stem(Level::Subscription, "Gold", 0).of(Counted::by(&["id", "", "42", "/pets:1.0"]));
    assert_eq!(key.to_string(), "601e7a6631a258119b1f2da13f960938");
}

#[test]
fn no_two_lists_of_names_have_one_counter() {
    let stem = stem(Level::Subscription, "Gold", 0);
    let long = "x".repeat(255);
    let longer = "x".repeat(70_000);
    let names: [&[&str]; 18] = [
        &[],
        &[""],
        &["", ""],
        &["a:b", "c"],
        &["a", "b:c"],
        &["a", "b", "c"],
        &["a", "bc"],
        &["ab", "c"],
        &["abc"],
        &["\u{1}a", "b"],
        &["\u{1}ab"],
        &["a", "\u{1}b", ""],
        &["", "a", "b"],
        &["a\0", "b"],
        &["a", "\0b"],
        &[&long, ""],
        &[&longer, ""],
        &["", &longer],
    ];
    let keys: HashSet<CounterKey> = names.iter().map(|names| stem.of(Counted::by(names))).collect();
    assert_eq!(keys.len(), names.len());
}

#[test]
fn a_policy_is_told_by_its_level_and_windows_and_a_custom_one_by_name() {
    let key = |stem: &KeyStem| stem.of(Counted::by(&["a"]));
    assert_eq!(key(&stem(Level::Api, "Gold", 0)), key(&stem(Level::Api, "Renamed", 0)));
    assert_ne!(key(&stem(Level::Api, "Gold", 0)), key(&stem(Level::Api, "Gold", 1)));
    assert_ne!(key(&stem(Level::Api, "Gold", 0)), key(&stem(Level::Resource, "Gold", 0)));
    assert_ne!(key(&stem(Level::Custom, "Gold", 0)), key(&stem(Level::Custom, "Renamed", 0)));
}
