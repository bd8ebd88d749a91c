use super::*;
use crate::model::{BackendUrl, Canary};

fn target(url: &str, weight: u32) -> Target {
    Target { weight, ..Target::of(crate::url::parse(url).unwrap()) }
}

fn described(endpoint: &Endpoint) -> Vec<(Vec<String>, Option<u32>, bool)> {
    let host = |url: &BackendUrl| url.host.clone();
    ways(endpoint)
        .into_iter()
        .map(|way| (way.endpoint.urls().map(host).collect(), way.choice.below, way.choice.header.is_some()))
        .collect()
}

fn hosts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn alike_targets_are_one_way_whatever_their_weights() {
    let endpoint = Endpoint { targets: vec![target("http://a/v", 1), target("http://b/v", 9)], ..Endpoint::default() };
    assert_eq!(described(&endpoint), [(hosts(&["a", "b"]), None, false)]);
}

#[test]
fn paths_and_schemes_part_ways_that_share_by_weight() {
    let targets =
        vec![target("http://a/x", 1), target("http://b", 2), target("https://c/x", 4), target("http://d/x", 1)];
    let endpoint = Endpoint { targets, ..Endpoint::default() };
    let expected = [
        (hosts(&["a", "d"]), Some(250_000), false),
        (hosts(&["b"]), Some(500_000), false),
        (hosts(&["c"]), None, false),
    ];
    assert_eq!(described(&endpoint), expected);
}

#[test]
fn a_canary_takes_its_header_and_then_its_share() {
    let canary = Canary {
        targets: vec![target("http://n", 1)],
        share: 500,
        header: Some(("x-canary".to_owned(), Some("1".to_owned()))),
    };
    let targets = vec![target("http://a", 1), target("http://b/y", 1)];
    let mut endpoint = Endpoint { targets, canary: Some(canary), ..Endpoint::default() };
    let expected = [
        (hosts(&["n"]), None, true),
        (hosts(&["n"]), Some(50_000), false),
        (hosts(&["a"]), Some(525_000), false),
        (hosts(&["b"]), None, false),
    ];
    assert_eq!(described(&endpoint), expected);
    endpoint.canary.as_mut().unwrap().share = 0;
    assert_eq!(described(&endpoint).len(), 3, "by header alone");
    endpoint.canary.as_mut().unwrap().share = 10_000;
    let all = described(&endpoint);
    assert_eq!(all.last(), Some(&(hosts(&["n"]), None, false)), "everything is the canary's");
}

#[test]
fn the_last_way_takes_all_that_comes_to_it() {
    for weights in [[1, 1, 1], [7, 11, 13], [10_000, 1, 1]] {
        let targets =
            vec![target("http://a/1", weights[0]), target("http://a/2", weights[1]), target("http://a/3", weights[2])];
        let ways = described(&Endpoint { targets, ..Endpoint::default() });
        assert_eq!(ways.last().unwrap().1, None);
        assert!(ways[0].1 < ways[1].1);
    }
}
