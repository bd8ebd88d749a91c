//! The tree of routes as Envoy's `RouteConfiguration`.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, RouteList, VirtualHost};
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
use super::routes::Entry;
use super::tree::{Branch, Builder, Groups};
use super::wire::{any, append};
use crate::path::PathTemplate;

// Field numbers of what is encoded by hand, because the generated types hold hash maps.
const ROUTE_CONFIGURATION_VIRTUAL_HOSTS: u32 = 2;
const VIRTUAL_HOST_MATCHER: u32 = 21;
const MATCHER_TREE: u32 = 2;
const TREE_INPUT: u32 = 1;
const TREE_PREFIX_MAP: u32 = 3;
const MAP_ENTRY: u32 = 1;
const ENTRY_KEY: u32 = 1;
const ENTRY_VALUE: u32 = 2;
const ROUTE_LIST_ROUTES: u32 = 1;

/// Encodes the table: one virtual host for every `Host`, whose matcher finds the routes.
pub fn encode(areas: BTreeMap<String, Vec<Entry>>, operations: usize) -> Vec<u8> {
    let bases: Vec<String> = areas.keys().cloned().collect();
    let mut templates: Vec<PathTemplate> = Vec::new();
    let mut routes: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut lists = Vec::new();
    for (base, entries) in areas {
        let first = templates.len();
        for entry in entries {
            templates.push(entry.template);
            routes.push(entry.routes);
        }
        lists.push((base, (first..templates.len()).collect()));
    }
    let weights: Vec<usize> = routes.iter().map(Vec::len).collect();
    let mut builder = Builder::new(&templates, &weights, operations, bases.iter().map(String::as_str));
    for (base, list) in lists {
        builder.area(&base, list);
    }
    let tree = builder.finish();
    drop(templates);

    let mut map = Vec::new();
    for (prefix, branch) in tree.prefixes {
        let mut entry = Vec::new();
        append(&mut entry, ENTRY_KEY, prefix.as_bytes());
        append(&mut entry, ENTRY_VALUE, &on_match(&branch, &routes).encode_to_vec());
        append(&mut map, MAP_ENTRY, &entry);
    }
    drop(routes);
    let mut tree = Vec::new();
    append(&mut tree, TREE_INPUT, &path_input().encode_to_vec());
    append(&mut tree, TREE_PREFIX_MAP, &map);
    drop(map);
    let mut matcher = Vec::new();
    append(&mut matcher, MATCHER_TREE, &tree);
    drop(tree);
    let host = VirtualHost { name: names::GATEWAY.to_owned(), domains: vec!["*".to_owned()], ..Default::default() };
    let mut host = host.encode_to_vec();
    append(&mut host, VIRTUAL_HOST_MATCHER, &matcher);
    drop(matcher);
    let configuration = RouteConfiguration {
        name: names::GATEWAY.to_owned(),
        // The gateway's own headers are for route selection, not for backends.
        request_headers_to_remove: vec![names::ENVIRONMENT_HEADER.to_owned(), names::LISTENER_HEADER.to_owned()],
        ..Default::default()
    };
    let mut configuration = configuration.encode_to_vec();
    append(&mut configuration, ROUTE_CONFIGURATION_VIRTUAL_HOSTS, &host);
    configuration
}

fn on_match(branch: &Branch, routes: &[Vec<Vec<u8>>]) -> OnMatch {
    let then = match branch {
        Branch::List(list) => {
            let mut encoded = Vec::new();
            for route in list.iter().filter_map(|template| routes.get(*template)).flatten() {
                append(&mut encoded, ROUTE_LIST_ROUTES, route);
            }
            Then::Action(TypedExtensionConfig {
                name: "routes".to_owned(),
                typed_config: Some(Any { type_url: RouteList::type_url(), value: encoded }),
            })
        }
        Branch::Groups(groups) => Then::Matcher(Box::new(matcher(groups, routes))),
    };
    OnMatch { on_match: Some(then), ..Default::default() }
}

fn matcher(groups: &Groups, routes: &[Vec<Vec<u8>>]) -> Matcher {
    let matchers = groups.groups.iter().map(|(regex, branch)| FieldMatcher {
        predicate: Some(Predicate {
            match_type: Some(MatchType::SinglePredicate(SinglePredicate {
                input: Some(path_input()),
                matcher: Some(single_predicate::Matcher::ValueMatch(StringMatcher {
                    match_pattern: Some(MatchPattern::SafeRegex(RegexMatcher {
                        regex: regex.clone(),
                        engine_type: Some(EngineType::GoogleRe2(GoogleRe2 {})),
                    })),
                    ..Default::default()
                })),
            })),
        }),
        on_match: Some(on_match(branch, routes)),
    });
    let nothing = matches!(&*groups.otherwise, Branch::List(list) if list.is_empty());
    Matcher {
        matcher_type: Some(MatcherType::MatcherList(MatcherList { matchers: matchers.collect() })),
        on_no_match: (!nothing).then(|| Box::new(on_match(&groups.otherwise, routes))),
    }
}

fn path_input() -> TypedExtensionConfig {
    let input = HttpRequestHeaderMatchInput { header_name: ":path".to_owned() };
    TypedExtensionConfig { name: "path".to_owned(), typed_config: Some(any(&input)) }
}
