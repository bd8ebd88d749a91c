//! Virtual hosts: which APIs each has, and whose rules.

use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};

use super::tests::{lists_of, model, resource, rule_of, settings, snapshot};
use super::*;
use crate::compile::{Options, compile};
use crate::diagnostic::Code;
use crate::files::MemoryFiles;

fn definition(name: &str, base: &str, hosts: &str) -> String {
    format!(
        r#"{{ "openapi": "3.0.3", "info": {{ "title": "{name}", "version": "1" }}, "x-wso2-basePath": "{base}", {hosts}
             "servers": [{{ "url": "http://10.0.0.1" }}],
             "components": {{ "securitySchemes": {{ "key": {{ "type": "apiKey", "in": "query", "name": "key" }} }} }},
             "paths": {{ "/items": {{ "get": {{ "security": [{{ "key": [] }}], "responses": {{}} }} }} }} }}"#
    )
}

fn hosts(list: &str) -> String {
    format!(r#""x-microgw-hosts": [{list}],"#)
}

fn virtual_hosts(definitions: &[String]) -> (RouteConfiguration, Vec<VirtualHost>) {
    let definitions: Vec<&str> = definitions.iter().map(String::as_str).collect();
    let snapshot = snapshot(&model(&definitions), &settings());
    let table = resource(&snapshot, ResourceType::Route, names::GATEWAY);
    let table = <RouteConfiguration as prost::Message>::decode(&*table.body).unwrap();
    let hosts = table.virtual_hosts.clone();
    (table, hosts)
}

#[test]
fn each_group_of_hosts_has_all_its_apis() {
    let (table, found) = virtual_hosts(&[
        definition("one", "/shop", &hosts(r#""a.example.com""#)),
        definition("two", "/notes", &hosts(r#""*.Example.com", "10.0.0.9", "[::1]""#)),
        definition("all", "/all", ""),
    ]);
    assert!(table.ignore_port_in_host_matching);
    let found: Vec<_> = found
        .iter()
        .map(|host| {
            let prefixes = lists_of(host).into_iter().filter(|(prefix, _)| prefix != "/").map(|(prefix, _)| prefix);
            (host.name.as_str(), host.domains.join(" "), prefixes.collect::<Vec<_>>().join(" "))
        })
        .collect();
    let expected = [
        ("microgw", "*", "/all/"),
        ("microgw:a.example.com", "a.example.com a.example.com.", "/all/ /notes/ /shop/"),
        ("microgw:*.example.com", "*.example.com 10.0.0.9 [::1] *.example.com. 10.0.0.9.", "/all/ /notes/"),
    ];
    for expected in &expected {
        let (name, domains, prefixes) = expected;
        let found =
            found.iter().find(|(found, _, _)| found == name || domains.contains(found.trim_start_matches("microgw:")));
        let (_, found_domains, found_prefixes) = found.unwrap();
        let sorted = |text: &str| {
            let mut words: Vec<_> = text.split(' ').map(str::to_owned).collect();
            words.sort();
            words
        };
        assert_eq!((sorted(found_domains), found_prefixes.as_str()), (sorted(domains), *prefixes));
    }
    assert_eq!(found.len(), expected.len());
    // Without hosts nothing is paid for them.
    let (table, found) = virtual_hosts(&[definition("all", "/all", "")]);
    assert!(!table.ignore_port_in_host_matching && found.len() == 1);
}

#[test]
fn rules_are_those_of_the_hosts() {
    let rules = |list: &str| {
        let (_, found) = virtual_hosts(&[definition("one", "/shop", list)]);
        let lists = found.iter().map(lists_of).find_map(|mut lists| lists.remove("/shop/")).unwrap();
        lists.iter().find_map(rule_of).unwrap()
    };
    let (none, a, b) = (rules(""), rules(&hosts(r#""a.example""#)), rules(&hosts(r#""b.example""#)));
    assert!(none != a && a != b && none != b);
    assert_eq!(a, rules(&hosts(r#""A.example.""#)));
}

#[test]
fn base_paths_may_be_shared_by_disjoint_hosts_only() {
    let codes = |definitions: [(&str, &str); 2]| {
        let mut files = MemoryFiles::new();
        for (index, (base, list)) in definitions.into_iter().enumerate() {
            let list = if list.is_empty() { String::new() } else { hosts(list) };
            files.insert(format!("api_definitions/{index}.json"), definition(&index.to_string(), base, &list));
        }
        let found = compile(&files, "test", &Options::default());
        found.diagnostics.iter().map(|diagnostic| diagnostic.code).collect::<Vec<_>>()
    };
    assert_eq!(codes([("/a", r#""one.example""#), ("/a", r#""two.example""#)]), []);
    for (one, other) in [
        ("", r#""two.example""#),
        (r#""one.example""#, r#""ONE.example.""#),
        (r#""*.example""#, r#""one.example""#),
        (r#""*.example""#, r#""*.one.example""#),
    ] {
        assert_eq!(codes([("/a", one), ("/a", other)]), [Code::DuplicateBasePath], "{one} {other}");
    }
    // `/a/items` is the inner one's where both answer.
    assert_eq!(codes([("/a", r#""one.example""#), ("/a/items", r#""two.example""#)]), []);
    assert_eq!(codes([("/a", ""), ("/a/items", r#""two.example""#)]), [Code::NestedBasePath]);
    assert_eq!(codes([("/a", r#""two.example""#), ("/a", "")]), [Code::DuplicateBasePath]);
    // What was meant to be a host does not stand for all.
    assert_eq!(codes([("/a", r#""two.example:80""#), ("/a", r#""two.example""#)]), [Code::BadHost]);
    let hidden = codes([("/a", r#""two.example""#), ("/a/items", r#""*.example""#)]);
    assert!(hidden.contains(&Code::NestedBasePath), "{hidden:?}");
}
