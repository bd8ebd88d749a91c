//! The tree of routes as Envoy's `RouteConfiguration`.

mod screen;

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::route::v3::{Route, RouteConfiguration, RouteList, VirtualHost};
use envoy_types::pb::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::predicate::{
    MatchType, SinglePredicate, single_predicate,
};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::{FieldMatcher, Predicate};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::on_match::OnMatch as Then;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherList, MatcherType, OnMatch};
use envoy_types::pb::xds::r#type::matcher::v3::regex_matcher::{EngineType, GoogleRe2};
use envoy_types::pb::xds::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::xds::r#type::matcher::v3::{Matcher, RegexMatcher, StringMatcher};
use prost::{Message as _, Name as _};

use super::names;
use super::routes::{Area, Areas, Entry, Refusal};
use super::tree::{Branch, Builder, Groups};
use super::wire::{any, append, append_entry, number};
use crate::hosts;
use crate::path::PathTemplate;

// Field numbers of what is encoded by hand, because the generated types hold hash maps.
const ROUTE_CONFIGURATION_VIRTUAL_HOSTS: u32 = 2;
const VIRTUAL_HOST_MATCHER: u32 = 21;
const MATCHER_TREE: u32 = 2;
const TREE_INPUT: u32 = 1;
const TREE_PREFIX_MAP: u32 = 3;
const MAP_ENTRY: u32 = 1;
const ROUTE_LIST_ROUTES: u32 = 1;

/// Bytes of a route's own answer that Envoy takes unless told otherwise.
const DIRECT_BODY: u32 = 4096;
/// Templates that may share a 405: their expressions become one.
const SHARING: usize = 16;

/// Encodes the table: a virtual host for each group of `Host`s with the same APIs, one for all others, and in each a matcher that finds
/// the routes. The headers `withheld` do not pass, nor do URIs of more than `longest_uri` bytes.
pub fn encode(areas: Areas, longest_body: usize, longest_uri: Option<u32>, mut withheld: Vec<String>) -> Vec<u8> {
    let sets: Vec<&[String]> = areas.keys().map(Vec::as_slice).collect();
    let trees: Vec<(VirtualHost, Vec<u8>)> = hosts::groups(&sets)
        .into_iter()
        .map(|group| {
            let reached = group.sets.iter().filter_map(|set| areas.get(*sets.get(*set)?));
            (virtual_host(&group.hosts), prefixes(&reached.collect::<Vec<_>>()))
        })
        .collect();
    drop(sets);
    drop(areas);
    // The gateway's own are for route selection, not for backends.
    withheld.extend([names::ENVIRONMENT_HEADER, names::LISTENER_HEADER].map(str::to_owned));
    let configuration = RouteConfiguration {
        name: names::GATEWAY.to_owned(),
        request_headers_to_remove: withheld,
        max_direct_response_body_size_bytes: u32::try_from(longest_body)
            .ok()
            .filter(|longest| *longest > DIRECT_BODY)
            .and_then(number),
        // Of the search alone: the header stays as it is.
        ignore_port_in_host_matching: trees.len() > 1,
        ..Default::default()
    };
    let mut configuration = configuration.encode_to_vec();
    for (host, map) in trees {
        let mut tree = Vec::new();
        append(&mut tree, TREE_INPUT, &path_input().encode_to_vec());
        append(&mut tree, TREE_PREFIX_MAP, &map);
        drop(map);
        let mut matcher = Vec::new();
        append(&mut matcher, MATCHER_TREE, &tree);
        drop(tree);
        let matcher = screen::before(&matcher, longest_uri);
        let mut host = host.encode_to_vec();
        append(&mut host, VIRTUAL_HOST_MATCHER, &matcher);
        drop(matcher);
        append(&mut configuration, ROUTE_CONFIGURATION_VIRTUAL_HOSTS, &host);
    }
    configuration
}

/// A table of these routes alone, for every `Host`, behind the same screen. None of them leads to a backend.
pub fn of_routes(name: &str, list: &[Route], longest_uri: Option<u32>) -> Vec<u8> {
    let mut encoded = Vec::new();
    for route in list {
        append(&mut encoded, ROUTE_LIST_ROUTES, &route.encode_to_vec());
    }
    let on_no_match = Some(Box::new(OnMatch { on_match: Some(routes(encoded)), ..Default::default() }));
    let matcher = screen::before(&Matcher { matcher_type: None, on_no_match }.encode_to_vec(), longest_uri);
    let host = VirtualHost { name: name.to_owned(), domains: vec!["*".to_owned()], ..Default::default() };
    let mut host = host.encode_to_vec();
    append(&mut host, VIRTUAL_HOST_MATCHER, &matcher);
    let mut configuration = RouteConfiguration { name: name.to_owned(), ..Default::default() }.encode_to_vec();
    append(&mut configuration, ROUTE_CONFIGURATION_VIRTUAL_HOSTS, &host);
    configuration
}

/// For `hosts`, or all others. Envoy compares in lower case; a dot at the end is the same name.
fn virtual_host(hosts: &[&str]) -> VirtualHost {
    let Some(first) = hosts.first() else {
        return VirtualHost { name: names::GATEWAY.to_owned(), domains: vec!["*".to_owned()], ..Default::default() };
    };
    let is_name = |host: &str| !host.starts_with('[');
    let dotted = hosts.iter().filter(|host| is_name(host)).map(|host| format!("{host}."));
    VirtualHost {
        name: format!("{}:{first}", names::GATEWAY),
        domains: hosts.iter().map(|&host| host.to_owned()).chain(dotted).collect(),
        ..Default::default()
    }
}

/// The tree of all that is reached, as a map of prefixes.
fn prefixes(reached: &[&BTreeMap<String, Area>]) -> Vec<u8> {
    let mut entries: Vec<&Entry> = Vec::new();
    let mut operations = 0;
    let mut lists: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (base, area) in reached.iter().copied().flatten() {
        let first = entries.len();
        entries.extend(&area.entries);
        operations += area.operations;
        lists.entry(base).or_default().extend(first..entries.len());
    }
    let templates: Vec<&PathTemplate> = entries.iter().map(|entry| &entry.template).collect();
    let weights: Vec<usize> = entries.iter().map(|entry| entry.weight()).collect();
    let mut builder = Builder::new(&templates, &weights, operations, lists.keys().copied());
    for (base, list) in std::mem::take(&mut lists) {
        builder.area(base, list);
    }
    let mut map = Vec::new();
    for (prefix, branch) in builder.finish().prefixes {
        append_entry(&mut map, MAP_ENTRY, &prefix, &on_match(&branch, &entries).encode_to_vec());
    }
    map
}

fn on_match(branch: &Branch, entries: &[&Entry]) -> OnMatch {
    let then = match branch {
        Branch::List(list) => {
            let list: Vec<&Entry> = list.iter().filter_map(|index| entries.get(*index).copied()).collect();
            routes(route_list(&list))
        }
        Branch::Groups(groups) => Then::Matcher(Box::new(matcher(groups, entries))),
    };
    OnMatch { on_match: Some(then), ..Default::default() }
}

/// The path decides before the method: the 405 of a template comes before the routes of the next. Where no path matches
/// two templates their 405s can come last, and be one: half the routes, and half of what a request has to try.
fn route_list(list: &[&Entry]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut add = |route: &[u8]| append(&mut encoded, ROUTE_LIST_ROUTES, route);
    if list.len() > SHARING || !are_disjoint(list) {
        for entry in list {
            entry.routes.iter().for_each(|route| add(route));
            if let Some(refusal) = &entry.refusal {
                refusal.routes(&[&entry.template]).iter().for_each(|route| add(&route.encode_to_vec()));
            }
        }
        return encoded;
    }
    let mut refusals: BTreeMap<&Refusal, Vec<&PathTemplate>> = BTreeMap::new();
    for entry in list {
        entry.routes.iter().for_each(|route| add(route));
        if let Some(refusal) = &entry.refusal {
            refusals.entry(refusal).or_default().push(&entry.template);
        }
    }
    for (refusal, templates) in refusals {
        refusal.routes(&templates).iter().for_each(|route| add(&route.encode_to_vec()));
    }
    encoded
}

fn are_disjoint(list: &[&Entry]) -> bool {
    list.iter()
        .enumerate()
        .all(|(index, entry)| list.iter().skip(index + 1).all(|other| !entry.template.may_overlap(&other.template)))
}

fn matcher(groups: &Groups, entries: &[&Entry]) -> Matcher {
    let matchers = groups.groups.iter().map(|(regex, branch)| FieldMatcher {
        predicate: Some(Predicate {
            match_type: Some(MatchType::SinglePredicate(single(path_input(), regex.clone()))),
        }),
        on_match: Some(on_match(branch, entries)),
    });
    let nothing = matches!(&*groups.otherwise, Branch::List(list) if list.is_empty());
    Matcher {
        matcher_type: Some(MatcherType::MatcherList(MatcherList { matchers: matchers.collect() })),
        on_no_match: (!nothing).then(|| Box::new(on_match(&groups.otherwise, entries))),
    }
}

fn path_input() -> TypedExtensionConfig {
    header_input(":path")
}

fn header_input(name: &str) -> TypedExtensionConfig {
    let input = HttpRequestHeaderMatchInput { header_name: name.to_owned() };
    TypedExtensionConfig { name: "header".to_owned(), typed_config: Some(any(&input)) }
}

fn single(input: TypedExtensionConfig, regex: String) -> SinglePredicate {
    SinglePredicate {
        input: Some(input),
        matcher: Some(single_predicate::Matcher::ValueMatch(StringMatcher {
            match_pattern: Some(MatchPattern::SafeRegex(RegexMatcher {
                regex,
                engine_type: Some(EngineType::GoogleRe2(GoogleRe2 {})),
            })),
            ..Default::default()
        })),
    }
}

fn routes(list: Vec<u8>) -> Then {
    Then::Action(TypedExtensionConfig {
        name: "routes".to_owned(),
        typed_config: Some(Any { type_url: RouteList::type_url(), value: list }),
    })
}
