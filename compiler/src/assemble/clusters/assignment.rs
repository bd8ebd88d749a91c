//! Who serves a cluster: in the cluster itself if its addresses are all known, else told of apart from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::Policy;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints};
use microgw_proto::traffic::v1::Balance;
use prost::Message as _;

use super::hosts::{Called, host, tcp};
use crate::assemble::forward_proxy;
use crate::assemble::wire::{number, resource};
use crate::model::{BackendUrl, Endpoint, Lookup, Target};
use crate::settings::Backends;
use crate::snapshot::{Assigned, Assignment, Found, Instance, Resource};

/// Targets share requests to this precision, where the numbers of their addresses and weights have no small multiple in common.
const PRECISION: u64 = 1_000_000;
/// A priority of SRV records has all requests while one of its hosts is well; by itself Envoy would send some of them to the next.
const WHOLE_PRIORITY: u32 = 100_000;
/// Envoy knows no more priorities.
const PRIORITIES: usize = 128;

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
    // By the priority of the target, then by those of who was found for it.
    let mut ordered: BTreeMap<(u32, usize), Vec<Shared>> = BTreeMap::new();
    for (target, found) in assignment.targets.iter().zip(found) {
        // One without anybody is there all the same: Envoy knows no gaps.
        ordered.entry((target.priority, 0)).or_default();
        for (rank, groups) in assignment.ranks(target, found).into_iter().enumerate() {
            ordered.entry((target.priority, rank)).or_default().push((target.weight, groups));
        }
    }
    let ranked = ordered.keys().any(|(_, rank)| *rank > 0);
    let mut levels: Vec<Vec<Shared>> = Vec::new();
    for targets in ordered.into_values() {
        let all = levels.len() == PRIORITIES;
        match levels.last_mut() {
            Some(last) if all => last.extend(targets),
            _ => levels.push(targets),
        }
    }
    // Who is in several priorities is in the first: to Envoy it is one host.
    let mut known: BTreeSet<Way> = BTreeSet::new();
    let endpoints = (0..).zip(levels).map(|(priority, targets)| {
        let mut shares = shares(&targets);
        shares.retain(|(place, _)| known.insert(place.way.clone()));
        LocalityLbEndpoints {
            lb_endpoints: shares.iter().map(|(place, share)| assignment.host(place, *share)).collect(),
            priority,
            ..Default::default()
        }
    });
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: endpoints.collect(),
        policy: ranked.then(|| Policy { overprovisioning_factor: number(WHOLE_PRIORITY), ..Default::default() }),
        ..Default::default()
    }
}

/// What a target has of a priority, and its weight against the others there.
type Shared = (u32, Vec<Group>);

/// The places of one who was found, and its weight against others of its target.
struct Group {
    weight: u32,
    places: Vec<Place>,
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

    /// By priority, the first one first.
    fn ranks(&self, target: &Assigned, found: &Found) -> Vec<Vec<Group>> {
        let Assigned { url, lookup, .. } = target;
        if *lookup == Lookup::Host
            && let Some(way) = self.way_to(url)
        {
            let place = Place { url: url.clone(), way, discovered: false };
            return vec![vec![Group { weight: 1, places: vec![place] }]];
        }
        let mut ranks: BTreeMap<u32, Vec<Group>> = BTreeMap::new();
        for Instance { priority, weight, addresses } in &found.instances {
            let places = self.places(target, found.host.as_deref(), addresses);
            if !places.is_empty() {
                ranks.entry(*priority).or_default().push(Group { weight: *weight, places });
            }
        }
        ranks.into_values().collect()
    }

    /// To a host that nobody looks up.
    fn way_to(&self, url: &BackendUrl) -> Option<Way> {
        if self.tunnelled {
            return Some(Way::Through(url.host.clone(), url.port));
        }
        let address: IpAddr = url.host.parse().ok()?;
        Some(Way::To(SocketAddr::new(address, url.port)))
    }

    fn places(&self, target: &Assigned, found_host: Option<&str>, addresses: &[SocketAddr]) -> Vec<Place> {
        let Assigned { url, lookup, .. } = target;
        let found_host = found_host.filter(|_| *lookup != Lookup::Host);
        // An address is no name: TLS goes by the URL's.
        let is_name = |host: &&str| !url.tls || host.parse::<IpAddr>().is_err();
        let host = found_host.filter(is_name).unwrap_or(&url.host);
        let way = |address: &SocketAddr| match found_host {
            _ if !self.tunnelled => Way::To(*address),
            Some(host) => Way::Through(host.to_owned(), address.port()),
            None => Way::Through(address.ip().to_string(), address.port()),
        };
        let place = |address: &SocketAddr| Place {
            url: BackendUrl { host: host.to_owned(), port: address.port(), ..url.clone() },
            way: way(address),
            discovered: !self.names().contains(host),
        };
        let places: BTreeSet<Place> = addresses.iter().map(place).collect();
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

/// The share of each target, divided among those who were found for it by their weights, and among the places of each. Without a place
/// of theirs targets leave their share to the others. A place that several have is there once, as Envoy would have it.
fn shares(targets: &[Shared]) -> Vec<(Place, u64)> {
    let parts = targets.iter().flat_map(|(target, groups)| {
        let sum = groups.iter().map(|group| u64::from(group.weight.max(1))).sum::<u64>().max(1);
        groups.iter().map(move |group| {
            let (weight, of) = (u64::from(group.weight.max(1)), sum.saturating_mul(group.places.len() as u64).max(1));
            let common = gcd(weight, of).max(1);
            (*target, group, weight / common, of / common)
        })
    });
    let parts: Vec<_> = parts.collect();
    let denominators = parts.iter().map(|(_, _, _, of)| *of);
    let whole = denominators.fold(1, |whole, of| (whole / gcd(whole, of)).saturating_mul(of).min(PRECISION));
    let mut shares: Vec<(Place, u64)> = Vec::new();
    for (target, group, weight, of) in parts {
        let share = u128::from(target) * u128::from(whole) * u128::from(weight) / u128::from(of);
        let share = u64::try_from(share).unwrap_or(u64::MAX).max(1);
        for place in &group.places {
            match shares.iter_mut().find(|(known, _)| known.way == place.way) {
                Some((_, known)) => *known = known.saturating_add(share),
                None => shares.push((place.clone(), share)),
            }
        }
    }
    let common = shares.iter().fold(0, |common, (_, share)| gcd(common, *share)).max(1);
    // Envoy adds them up in 32 bits.
    let sum = shares.iter().map(|(_, share)| share / common).fold(0, u64::saturating_add);
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
