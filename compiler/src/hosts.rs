//! `Host`s that APIs answer to: names, and `*.` with a name for all below it.
//!
//! Of the patterns that match a `Host`, the most particular one decides which APIs it reaches: all whose own patterns match it, too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use crate::model::Api;
use crate::url;

/// Of one API.
pub const MOST: usize = 64;
/// Operations of all virtual hosts but the one for every `Host`: an API is in the table once for each group of hosts.
pub const MOST_REPEATED: usize = 200_000;

/// Why something is no host that an API can answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("it has a port, which does not count")]
    Port,
    #[error("it has letters outside ASCII")]
    International,
    #[error("`*` stands for everything below a name, and for nothing else: `*.example.com`")]
    Wildcard,
    #[error("it is neither a DNS name nor an IP address")]
    Malformed,
}

/// Hosts with the same APIs.
#[derive(Debug, PartialEq, Eq)]
pub struct Group<'h> {
    /// Empty: all others.
    pub hosts: Vec<&'h str>,
    /// Those sets, by index, whose APIs are reached.
    pub sets: Vec<usize>,
}

/// As it is compared: in lower case, without a dot at the end, IPv6 in brackets.
pub fn parse(text: &str) -> Result<String, HostError> {
    if !text.is_ascii() {
        return Err(HostError::International);
    }
    if text.contains('/') {
        return Err(HostError::Malformed);
    }
    if let Some(address) = text.strip_prefix('[') {
        let (address, rest) = address.split_once(']').ok_or(HostError::Malformed)?;
        let address: Ipv6Addr = address.parse().map_err(|_| HostError::Malformed)?;
        return if rest.is_empty() { Ok(format!("[{address}]")) } else { Err(HostError::Port) };
    }
    let (prefix, name) = text.strip_prefix("*.").map_or(("", text), |name| ("*.", name));
    if name.contains('*') {
        return Err(HostError::Wildcard);
    }
    if name.matches(':').count() == 1 {
        return Err(HostError::Port);
    }
    let lower = name.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    let is_address = name.parse::<std::net::Ipv4Addr>().is_ok();
    if name.contains(':') || !url::is_host(name) || is_address && !prefix.is_empty() {
        return Err(HostError::Malformed);
    }
    Ok(format!("{prefix}{name}"))
}

/// Whether a definition could have declared them.
pub fn are_sound(hosts: &[String]) -> bool {
    hosts.len() <= MOST
        && hosts.is_sorted_by(|a, b| a < b)
        && hosts.iter().all(|host| parse(host).is_ok_and(|normal| normal == *host))
}

/// Whether there is a `Host` that both answer to. Without hosts an API answers to all.
pub fn overlap(a: &[String], b: &[String]) -> bool {
    let within = |narrow: &[String], wide: &[String]| narrow.iter().any(|host| is_among(host, wide));
    a.is_empty() || b.is_empty() || within(a, b) || within(b, a)
}

/// A host that both name, or one of them with a wildcard.
pub fn shared<'h>(a: &'h [String], b: &'h [String]) -> Option<&'h str> {
    let within = |narrow: &'h [String], wide: &[String]| narrow.iter().find(|host| is_among(host, wide));
    within(a, b).or_else(|| within(b, a)).map(String::as_str)
}

/// Whether every `Host` of `narrow` is one of `wide`.
pub fn contain(wide: &[String], narrow: &[String]) -> bool {
    wide.is_empty() || !narrow.is_empty() && narrow.iter().all(|host| is_among(host, wide))
}

fn is_among(host: &str, wide: &[String]) -> bool {
    wide.iter().any(|other| other == host || other.strip_prefix('*').is_some_and(|below| is_below(host, below)))
}

/// `below` begins with a dot.
fn is_below(host: &str, below: &str) -> bool {
    let name = host.strip_prefix('*').unwrap_or(host);
    name.len() > below.len() && name.ends_with(below)
}

/// All patterns that match whatever `host` does: itself, and the wildcards above it.
fn above(host: &str) -> impl Iterator<Item = String> {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let wildcards = name.match_indices('.').filter_map(|(at, _)| Some(format!("*{}", name.get(at..)?)));
    std::iter::once(host.to_owned()).chain(wildcards)
}

/// The groups that hosts fall into, that of all others first. A set without hosts is in every group.
pub fn groups<'h>(sets: &[&'h [String]]) -> Vec<Group<'h>> {
    let mut everywhere = Vec::new();
    let mut by_host: BTreeMap<&'h str, Vec<usize>> = BTreeMap::new();
    for (index, hosts) in sets.iter().enumerate() {
        if hosts.is_empty() {
            everywhere.push(index);
        }
        for host in *hosts {
            by_host.entry(host).or_default().push(index);
        }
    }
    let mut groups: BTreeMap<Vec<usize>, Vec<&'h str>> = BTreeMap::new();
    for host in by_host.keys() {
        let own = above(host).filter_map(|pattern| by_host.get(pattern.as_str())).flatten().copied();
        let reached: BTreeSet<usize> = own.chain(everywhere.iter().copied()).collect();
        groups.entry(reached.into_iter().collect()).or_default().push(host);
    }
    let others = Group { hosts: Vec::new(), sets: everywhere };
    std::iter::once(others).chain(groups.into_iter().map(|(sets, hosts)| Group { hosts, sets })).collect()
}

/// How many operations virtual hosts of their own need.
pub fn repeated(apis: &[Api]) -> usize {
    let mut counts: BTreeMap<&[String], usize> = BTreeMap::new();
    for api in apis {
        *counts.entry(&api.traffic.hosts).or_default() += api.operations.len();
    }
    let (sets, counts): (Vec<&[String]>, Vec<usize>) = counts.into_iter().unzip();
    let groups = groups(&sets).into_iter().filter(|group| !group.hosts.is_empty());
    groups.flat_map(|group| group.sets).filter_map(|set| counts.get(set)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_and_what_is_none() {
        for (text, normal) in [
            ("API.Example.com.", "api.example.com"),
            ("*.Example.org", "*.example.org"),
            ("localhost", "localhost"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::0001]", "[::1]"),
            ("*.com", "*.com"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(normal));
        }
        for (text, error) in [
            ("a.example.com:8443", HostError::Port),
            ("[::1]:80", HostError::Port),
            ("bücher.example", HostError::International),
            ("*", HostError::Wildcard),
            ("a.*.example.com", HostError::Wildcard),
            ("*a.example.com", HostError::Wildcard),
            ("*.*.example.com", HostError::Wildcard),
            ("*.10.0.0.1", HostError::Malformed),
            ("*.", HostError::Malformed),
            ("", HostError::Malformed),
            ("a..example.com", HostError::Malformed),
            ("https://a.example.com/", HostError::Malformed),
            ("a b", HostError::Malformed),
            ("::1", HostError::Malformed),
            ("1.2", HostError::Malformed),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        assert!(are_sound(&hosts(&["*.a.example", "b.example"])) && are_sound(&[]));
        for bad in [&["b.example", "a.example"][..], &["a.example", "a.example"], &["A.example"], &["a.example."]] {
            assert!(!are_sound(&hosts(bad)), "{bad:?}");
        }
    }

    #[test]
    fn what_answers_to_one_host() {
        let (all, wild, deep) = (hosts(&[]), hosts(&["*.example.com"]), hosts(&["*.a.example.com"]));
        let (one, other) = (hosts(&["a.example.com"]), hosts(&["example.com", "a.example.org"]));
        for (a, b, expected) in [
            (&all, &one, true),
            (&wild, &one, true),
            (&wild, &deep, true),
            (&deep, &one, false),
            (&wild, &other, false),
            (&one, &other, false),
            (&other, &other, true),
        ] {
            assert_eq!((overlap(a, b), overlap(b, a)), (expected, expected), "{a:?} {b:?}");
        }
        assert!(contain(&all, &one) && contain(&wild, &deep) && contain(&wild, &wild) && contain(&all, &all));
        assert!(!contain(&one, &all) && !contain(&deep, &wild) && !contain(&other, &one));
    }

    #[test]
    fn the_most_particular_pattern_reaches_all_that_match_what_it_does() {
        let sets = [
            hosts(&[]),
            hosts(&["*.example.com"]),
            hosts(&["a.example.com", "z.example.org"]),
            hosts(&["*.a.example.com"]),
        ];
        let sets: Vec<&[String]> = sets.iter().map(Vec::as_slice).collect();
        let group = |hosts: &[&'static str], sets: &[usize]| Group { hosts: hosts.to_vec(), sets: sets.to_vec() };
        assert_eq!(
            groups(&sets),
            [
                group(&[], &[0]),
                group(&["*.example.com"], &[0, 1]),
                group(&["a.example.com"], &[0, 1, 2]),
                group(&["*.a.example.com"], &[0, 1, 3]),
                group(&["z.example.org"], &[0, 2]),
            ]
        );
    }
}
