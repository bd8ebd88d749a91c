//! Who serves a cluster: in the cluster itself if its addresses are all known, else told of apart from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints};
use microgw_proto::traffic::v1::Balance;
use prost::Message as _;

use super::hosts::{Called, host, tcp};
use crate::assemble::forward_proxy;
use crate::assemble::wire::{number, resource};
use crate::model::{BackendUrl, Endpoint, Lookup, Target};
use crate::settings::Backends;
use crate::snapshot::{Assigned, Assignment, Found, Resource};

/// Targets share requests to this precision, where the numbers of their addresses have no small multiple in common.
const PRECISION: u64 = 10_000;

/// Of an endpoint whose addresses are not all in it.
pub fn assignment(endpoint: &Endpoint, backends: &Backends) -> Option<Assignment> {
    let assignment = of(endpoint, backends);
    (!assignment.is_fixed()).then_some(assignment)
}

/// What Envoy is told about a cluster's addresses, given what each of its targets comes to. Equal addresses, equal bytes, in
/// whatever order they were found.
pub fn load_assignment(cluster: &str, assignment: &Assignment, found: &[Found]) -> Resource {
    resource(message(cluster, assignment, found).encode_to_vec(), Vec::new())
}

pub fn of(endpoint: &Endpoint, backends: &Backends) -> Assignment {
    let in_order = endpoint.policy.balance() == Balance::Failover;
    let assigned = |(priority, target): (u32, &Target)| Assigned {
        lookup: target.lookup.clone(),
        url: target.url.clone(),
        weight: target.weight,
        priority: if in_order { priority } else { 0 },
    };
    let mut assignment = Assignment {
        targets: (0..).zip(&endpoint.targets).map(assigned).collect(),
        tunnelled: backends.proxy.is_some() && forward_proxy::leads_to(endpoint),
        named: false,
        apis: Vec::new(),
    };
    let one_name = !endpoint.policy.server_name.is_empty();
    assignment.named = assignment.tls() && !one_name && (assignment.names().len() > 1 || assignment.names_others());
    assignment
}

pub fn message(cluster: &str, assignment: &Assignment, found: &[Found]) -> ClusterLoadAssignment {
    let nothing = Found::default();
    let found = found.iter().chain(std::iter::repeat(&nothing));
    let mut priorities: BTreeMap<u32, Vec<(u32, Vec<Place>)>> = BTreeMap::new();
    for (target, found) in assignment.targets.iter().zip(found) {
        let places = assignment.places(target, found);
        priorities.entry(target.priority).or_default().push((target.weight, places));
    }
    let endpoints = priorities.into_iter().map(|(priority, targets)| LocalityLbEndpoints {
        lb_endpoints: shares(targets).iter().map(|(place, share)| assignment.host(place, *share)).collect(),
        priority,
        ..Default::default()
    });
    ClusterLoadAssignment { cluster_name: cluster.to_owned(), endpoints: endpoints.collect(), ..Default::default() }
}

/// Where requests are sent, and by which name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Host and port are those of the place.
    url: BackendUrl,
    way: Way,
    /// The host is in no URL of the endpoint.
    discovered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    To(SocketAddr),
    /// The proxy is told host and port.
    Through(String, u16),
}

// === impl Assignment ===

impl Assignment {
    /// All addresses are known from the start.
    pub(super) fn is_fixed(&self) -> bool {
        let fixed = |target: &Assigned| {
            target.lookup == Lookup::Host && (self.tunnelled || target.url.host.parse::<IpAddr>().is_ok())
        };
        self.targets.iter().all(fixed)
    }

    /// The hosts that its URLs name.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.targets.iter().map(|target| target.url.host.as_str()).collect()
    }

    pub(super) fn tls(&self) -> bool {
        self.targets.iter().any(|target| target.url.tls)
    }

    /// What is discovered may name other hosts than its URLs.
    pub(super) fn names_others(&self) -> bool {
        self.targets.iter().any(|target| matches!(target.lookup, Lookup::Etcd(_)))
    }

    fn places(&self, target: &Assigned, found: &Found) -> Vec<Place> {
        let Assigned { url, lookup, .. } = target;
        let found_host = found.host.as_deref().filter(|_| *lookup != Lookup::Host);
        // An address is no name: TLS goes by the URL's.
        let is_name = |host: &&str| !url.tls || host.parse::<IpAddr>().is_err();
        let host = found_host.filter(is_name).unwrap_or(&url.host);
        let place = |port, way| Place {
            url: BackendUrl { host: host.to_owned(), port, ..url.clone() },
            way,
            discovered: !self.names().contains(host),
        };
        if *lookup == Lookup::Host {
            match url.host.parse::<IpAddr>() {
                _ if self.tunnelled => return vec![place(url.port, Way::Through(url.host.clone(), url.port))],
                Ok(address) => return vec![place(url.port, Way::To(SocketAddr::new(address, url.port)))],
                Err(_) => {}
            }
        }
        let way = |address: &SocketAddr| match found_host {
            _ if !self.tunnelled => Way::To(*address),
            Some(host) => Way::Through(host.to_owned(), address.port()),
            None => Way::Through(address.ip().to_string(), address.port()),
        };
        let places: BTreeSet<Place> =
            found.addresses.iter().map(|address| place(address.port(), way(address))).collect();
        places.into_iter().collect()
    }

    fn host(&self, Place { url, way, discovered }: &Place, weight: u64) -> LbEndpoint {
        let address = match way {
            Way::To(address) => tcp(address.ip().to_string(), address.port()),
            Way::Through(host, port) => forward_proxy::entry(host, *port),
        };
        let called = match (self.named, discovered) {
            (false, _) => Called::AsAll,
            (true, false) => Called::ByName,
            (true, true) => Called::Otherwise,
        };
        LbEndpoint { load_balancing_weight: u32::try_from(weight).ok().and_then(number), ..host(url, address, called) }
    }
}

/// The share of each target, divided among its places. Without a place of theirs targets leave their share to the others. A
/// place that several targets have is there once, as Envoy would have it.
fn shares(targets: Vec<(u32, Vec<Place>)>) -> Vec<(Place, u64)> {
    let counts = targets.iter().map(|(_, places)| places.len() as u64).filter(|count| *count > 0);
    let whole = counts.fold(1, |whole, count| (whole / gcd(whole, count)).saturating_mul(count).min(PRECISION));
    let mut shares: Vec<(Place, u64)> = Vec::new();
    for (weight, places) in targets {
        let share = (u64::from(weight) * whole / (places.len() as u64).max(1)).max(1);
        for place in places {
            match shares.iter_mut().find(|(known, _)| known.way == place.way) {
                Some((_, known)) => *known += share,
                None => shares.push((place, share)),
            }
        }
    }
    let common = shares.iter().fold(0, |common, (_, share)| gcd(common, *share)).max(1);
    // Envoy adds them up in 32 bits.
    let sum: u64 = shares.iter().map(|(_, share)| share / common).sum();
    let too_much = sum / u64::from(u32::MAX / 2) + 1;
    for (_, share) in &mut shares {
        *share = (*share / common / too_much).max(1);
    }
    shares
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
#[path = "assignment_tests.rs"]
mod tests;
