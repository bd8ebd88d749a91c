use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use microgw_engine::limits::{
    Algorithm, CounterKey, Directions, Level, Limit, Micros, Sharing, Told as Named, Unit, Usage,
};

use super::*;

fn limit(policy: &str, level: Level, quota: u64, unit: Unit) -> Arc<Limit> {
    let algorithm = Algorithm::Fixed(Micros::of_seconds(60));
    Arc::new(Limit {
        policy: policy.into(),
        level,
        quota,
        unit,
        told: Named::of(policy, level, quota, (unit, &algorithm)),
        algorithm,
        sharing: Sharing::default(),
        stops: true,
        overflow: CounterKey(0),
    })
}

fn balance(limit: &Limit, remaining: u64, reset: u64) -> Balance<'_> {
    let usage = Usage { remaining, reset: Micros(reset), beyond: false };
    Balance { limit, key: CounterKey(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10), usage }
}

fn told(which: RateLimitHeaders, balances: &[Balance<'_>], refused: Option<(&Limit, u64)>) -> Vec<(String, String)> {
    let balances = balances.iter().copied().collect();
    headers(which, &balances, refused).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn every_limit_is_told_of() {
    let api = limit("10kPerMin", Level::Api, 10_000, Unit::Requests);
    let resource = limit("10kPerMin", Level::Resource, 10_000, Unit::Requests);
    let bytes = Unit::Bytes(Directions { requests: true, responses: true });
    let gold = limit("Go\"ld", Level::Subscription, 1_000_000, bytes);
    let balances = [balance(&api, 9999, 1), balance(&resource, 0, 59_000_001), balance(&gold, 1_000_000, 0)];
    assert_eq!(
        told(RateLimitHeaders::Standard, &balances, None),
        pairs(&[
            (
                "ratelimit-policy",
                "\"10kPerMin\";q=10000;w=60;pk=:AQIDBAUG:, \"10kPerMin (resource)\";q=10000;w=60;pk=:AQIDBAUG:, \
                 \"Go\\\"ld\";q=1000000;qu=\"content-bytes\";w=60;pk=:AQIDBAUG:"
            ),
            ("ratelimit", "\"10kPerMin\";r=9999;t=1, \"10kPerMin (resource)\";r=0;t=60, \"Go\\\"ld\";r=1000000;t=0"),
        ])
    );
    assert_eq!(STANDARD.decode("AQIDBAUG").unwrap(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(told(RateLimitHeaders::None, &balances, None), []);
    for which in RateLimitHeaders::ALL {
        assert_eq!(told(which, &[], None), [], "nothing limits it");
        let names: Vec<_> = told(which, &balances, None).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, which.exposed()[1..], "what is sent may be read");
    }
}

#[test]
fn the_old_headers_have_room_for_one() {
    let wide = limit("wide", Level::Api, 1000, Unit::Requests);
    let narrow = limit("narrow", Level::Resource, 10, Unit::Requests);
    let bytes = limit("bytes", Level::Custom, 10, Unit::Bytes(Directions { requests: true, responses: false }));
    let legacy = |balances: &[Balance<'_>], refused| {
        let told = told(RateLimitHeaders::Legacy, balances, refused);
        told.into_iter().map(|(_, value)| value.parse().unwrap()).collect::<Vec<u64>>()
    };
    let second = 1_000_000;
    // A tenth of either: the one that lasts longer.
    assert_eq!(legacy(&[balance(&wide, 100, 5 * second), balance(&narrow, 1, 60 * second)], None), [10, 1, 60]);
    assert_eq!(legacy(&[balance(&wide, 99, 5 * second), balance(&narrow, 1, 60 * second)], None), [1000, 99, 5]);
    assert_eq!(legacy(&[balance(&bytes, 0, second), balance(&narrow, 9, second)], None), [10, 9, 1]);
    assert!(legacy(&[balance(&bytes, 0, second)], None).is_empty());
    assert_eq!(legacy(&[balance(&bytes, 0, second), balance(&narrow, 0, second)], Some((&bytes, 1))), [10, 0, 1]);
    assert_eq!(legacy(&[balance(&wide, 0, 50 * second)], Some((&wide, 3))), [1000, 0, 3], "as `Retry-After` says");
}

#[test]
fn numbers_are_written_as_everywhere() {
    for number in [0, 9, 10, 1_234_567_890, u64::MAX] {
        let mut text = String::new();
        push_number(&mut text, number);
        assert_eq!(text, number.to_string());
    }
}
