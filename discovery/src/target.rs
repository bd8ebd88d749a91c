//! One target: what its source says, the addresses of the places that are meant, and what has to be told of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use microgw_compiler::model::{BackendUrl, Lookup};
use microgw_compiler::snapshot::{Found, Instance};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::Wanted;
use crate::board::Board;
use crate::consul::Consul;
use crate::dns::Dns;
use crate::etcd::Etcd;
use crate::health::{Health, SourceStatus};
use crate::host::{Hosts, Resolved};
use crate::settings::Settings;
use crate::shared::Following;
use crate::source::{Place, Said, Source};
use crate::srv::Srv;
use crate::value;

/// Everybody who can be asked.
pub(crate) struct Sources {
    hosts: Hosts,
    srv: Srv,
    etcd: Etcd,
    consul: Consul,
}

/// Addresses of one target that are told.
const MAX_ADDRESSES: usize = 1024;
/// How long those of several places wait for each other.
const TOGETHER: Duration = Duration::from_millis(400);

/// Where a target is, as far as its source knows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meant {
    host: Option<String>,
    places: Arc<[Place]>,
}

// === impl Sources ===

impl Sources {
    pub(crate) fn new(settings: &Settings, runtime: &Handle) -> Sources {
        let dns = Arc::new(Dns::new(&settings.dns, runtime));
        Sources {
            hosts: Hosts::new(dns.clone(), &settings.dns, runtime),
            srv: Srv::new(dns, &settings.dns, runtime),
            etcd: Etcd::new(settings.etcd.as_ref(), runtime),
            consul: Consul::new(settings.consul.as_ref(), runtime),
        }
    }

    fn of<'a>(&'a self, lookup: &'a Lookup) -> Option<(&'a dyn Source, &'a str)> {
        match lookup {
            Lookup::Srv(name) => Some((&self.srv, name)),
            Lookup::Etcd(key) => Some((&self.etcd, key)),
            Lookup::Consul(service) => Some((&self.consul, service)),
            Lookup::Host => None,
        }
    }

    /// How many targets are looked up where.
    pub(crate) fn wanted<'a>(&self, lookups: impl Iterator<Item = &'a Lookup>) {
        let (mut hosts, mut services, mut keys, mut instances) = (0, 0, 0, 0);
        for lookup in lookups {
            match lookup {
                Lookup::Host => hosts += 1,
                Lookup::Srv(_) => services += 1,
                Lookup::Etcd(_) => keys += 1,
                Lookup::Consul(_) => instances += 1,
            }
        }
        self.hosts.health().wanted(hosts);
        self.srv.health().wanted(services);
        self.etcd.health().wanted(keys);
        self.consul.health().wanted(instances);
    }

    pub(crate) fn status(&self) -> Vec<SourceStatus> {
        let sources: [&dyn Source; 3] = [&self.srv, &self.etcd, &self.consul];
        let healths = [self.hosts.health()].into_iter().chain(sources.map(Source::health));
        healths.map(Health::status).collect()
    }
}

// === impl Meant ===

impl Meant {
    fn by_default(url: &BackendUrl) -> Meant {
        let place = Place { priority: 0, host: url.host.clone(), port: url.port, weight: 1 };
        Meant { host: None, places: [place].into() }
    }

    /// `found` is what was declared, at another place.
    fn by_value(declared: &BackendUrl, found: &BackendUrl) -> Meant {
        let host = (found.host != declared.host).then(|| found.host.clone());
        Meant { host, ..Meant::by_default(found) }
    }
}

/// Tells the board of `target`, for as long as it is polled.
pub(crate) async fn follow(target: Wanted, sources: Arc<Sources>, board: Arc<Board>) {
    let (lookup, url) = &target;
    let source = sources.of(lookup);
    let mut said = source.map(|(source, name)| source.follow(name));
    let mut meant = Meant::by_default(url);
    // The places that the addresses on the board are of.
    let mut told: Option<Meant> = None;
    // A source that has not said anything is waited for.
    let mut awaited = said.is_some();
    // What is said is judged once.
    let mut unheard = true;
    let mut names: BTreeMap<String, Following<Resolved>> = BTreeMap::new();
    let mut deadline = Instant::now() + TOGETHER;
    loop {
        if let (Some(following), Some((source, name))) = (&mut said, source)
            && std::mem::take(&mut unheard)
        {
            let now = following.said.borrow_and_update().clone();
            awaited = now == Said::Pending;
            let new = match now {
                Said::Pending | Said::Silent => None,
                Said::Missing => Some(Meant::by_default(url)),
                Said::Places(places) => Some(Meant { host: None, places }),
                Said::Url(value) => match value::read(&value, url) {
                    Ok(found) => Some(Meant::by_value(url, &found)),
                    Err(refusal) => {
                        source.health().refused(name, &refusal);
                        None
                    }
                },
            };
            if let Some(new) = new.filter(|new| *new != meant) {
                meant = new;
                deadline = Instant::now() + TOGETHER;
            }
        }
        names.retain(|name, _| meant.places.iter().any(|place| place.host == *name));
        for place in meant.places.iter() {
            if place.host.parse::<IpAddr>().is_err() && !names.contains_key(&place.host) {
                names.insert(place.host.clone(), sources.hosts.follow(&place.host));
            }
        }
        let known: BTreeMap<&str, Resolved> = names
            .iter_mut()
            .map(|(name, following)| (name.as_str(), following.said.borrow_and_update().clone()))
            .collect();
        let pending = known.values().filter(|resolved| **resolved == Resolved::Pending).count();
        let late = Instant::now() >= deadline;
        if pending == 0 || (late && pending < known.len()) {
            let found = gather(&meant, &known, told.as_ref() == Some(&meant));
            if found.is_some() {
                told = Some(meant.clone());
            }
            match found {
                Some(found) if awaited => board.put_early(&target, found),
                None if awaited => {}
                found => board.put(&target, found),
            }
        }
        drop(known);
        let source_speaks = async {
            match &mut said {
                Some(following) => following.changed().await,
                None => std::future::pending().await,
            }
        };
        let name_speaks = async {
            if names.is_empty() {
                std::future::pending::<()>().await;
            }
            select_all(names.values_mut().map(|following| Box::pin(following.changed()))).await;
        };
        let waits = pending > 0 && !late;
        tokio::select! {
            () = source_speaks => unheard = true,
            () = name_speaks => {}
            () = tokio::time::sleep_until(deadline), if waits => {}
        }
    }
}

/// `None`: what was known before is better than this. `same`: that was of the same places.
fn gather(meant: &Meant, known: &BTreeMap<&str, Resolved>, same: bool) -> Option<Found> {
    let mut instances: Vec<Instance> = Vec::new();
    let (mut gone, mut left) = (0, MAX_ADDRESSES);
    // In the order of their priorities: if there are too many, the last ones are left out.
    for Place { priority, host, port, weight } in meant.places.iter() {
        let mut own = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, *port)],
            Err(_) => match known.get(host.as_str()) {
                Some(Resolved::Addresses(addresses)) => {
                    addresses.iter().map(|address| SocketAddr::new(*address, *port)).collect()
                }
                Some(Resolved::Gone) => {
                    gone += 1;
                    Vec::new()
                }
                Some(Resolved::Pending | Resolved::Nothing) | None => Vec::new(),
            },
        };
        own.sort_unstable();
        own.dedup();
        own.truncate(left);
        left -= own.len();
        if !own.is_empty() {
            instances.push(Instance { priority: *priority, weight: *weight, addresses: own });
        }
    }
    // No place at all is an answer; one without addresses is none, unless it had some and lost them.
    let nothing = instances.is_empty() && !meant.places.is_empty();
    let lost = same && gone > 0;
    (!nothing || lost).then(|| Found { host: meant.host.clone(), instances })
}
