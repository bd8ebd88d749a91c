//! What each connected Envoy accepted and refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use envoy_types::pb::envoy::config::core::v3::{Node, node::UserAgentVersionType};
use microgw_compiler::snapshot::{Generation, ResourceType};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::session::{Dialect, Step, Verdict};
use crate::status::{EnvoyStatus, Metrics, RefusedEndpoints, TypeCounts, TypeStatus};

/// More Envoys than this are turned away.
const MAX_ENVOYS: usize = 256;
/// Characters kept of what an Envoy says about itself, and of its reasons.
pub(crate) const MAX_ID: usize = 256;
const MAX_TEXT: usize = 4096;
/// Clusters that are remembered for their addresses having been refused by one Envoy.
const MAX_REFUSALS: usize = 256;
/// Envoys that left with a refusal, and are remembered for it.
const MAX_UNSURE: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: watch::Sender<BTreeMap<u64, Entry>>,
    streams: AtomicU64,
    pushes: AtomicU64,
    /// By resource type, in the order of [`ResourceType::ALL`].
    acks: [AtomicU64; ResourceType::ALL.len()],
    nacks: [AtomicU64; ResourceType::ALL.len()],
    /// By `node.id`, the types of which an Envoy that left may have something that it refused.
    unsure: Mutex<BTreeMap<String, Types>>,
}

#[derive(Clone, Debug)]
struct Entry {
    id: String,
    version: String,
    dialect: Dialect,
    peer: Option<String>,
    connected_since: u64,
    /// Sequence of the last offer that it holds whole.
    settled: u64,
    refused: Option<(u64, Refusal)>,
    types: BTreeMap<ResourceType, TypeEntry>,
    /// By cluster, with its reasons.
    refused_endpoints: Refusals,
    /// What it refused of these may have been applied in part, and nothing was accepted since.
    unsure: Types,
    out_of_sync: bool,
}

#[derive(Clone, Debug, Default)]
struct TypeEntry {
    acked: Option<Generation>,
    refusal: Option<String>,
}

/// An Envoy's NACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: ResourceType,
    pub(crate) text: String,
}

/// What became of an offer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// By every Envoy that is waited for, and at least one.
    Acked,
    /// By any.
    Refused(Refusal),
    /// No Envoy is connected, or all that are were silent for too long.
    Silent,
}

/// One connected Envoy; leaves the ledger when dropped.
#[derive(Debug)]
pub(crate) struct Membership<'a> {
    ledger: &'a Ledger,
    stream: u64,
    /// What it says that it has of these does not count: see [`Entry::unsure`].
    pub(crate) unsure: Types,
}

#[derive(Debug, thiserror::Error)]
#[error("{MAX_ENVOYS} Envoys are connected already")]
pub(crate) struct Full;

type Entries = BTreeMap<u64, Entry>;
pub(crate) type Types = BTreeSet<ResourceType>;
/// Why an Envoy refuses the addresses of clusters.
pub(crate) type Refusals = BTreeMap<Arc<str>, String>;

// === impl Ledger ===

impl Ledger {
    /// `peer` is who it is, if it comes over the network.
    pub(crate) fn join(&self, node: &Node, dialect: Dialect, peer: Option<&str>) -> Result<Membership<'_>, Full> {
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        let mut entry = Entry::new(node, dialect, peer);
        let joined = self.entries.send_if_modified(|entries| {
            let room = entries.len() < MAX_ENVOYS;
            if room {
                entry.unsure = self.remembered().remove(&entry.id).unwrap_or_default();
                entries.insert(stream, entry.clone());
            }
            room
        });
        joined.then_some(Membership { ledger: self, stream, unsure: entry.unsure }).ok_or(Full)
    }

    fn remembered(&self) -> MutexGuard<'_, BTreeMap<String, Types>> {
        self.unsure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, entry: Entry) {
        if entry.unsure.is_empty() {
            return;
        }
        let mut remembered = self.remembered();
        remembered.insert(entry.id, entry.unsure);
        if remembered.len() > MAX_UNSURE {
            remembered.pop_first();
        }
    }

    /// Waits until every Envoy holds the offer or one refuses it. Those that did neither within `limit` are out of
    /// sync from then on, and are no longer waited for until they have caught up.
    pub(crate) async fn settle(&self, sequence: u64, limit: Duration) -> Settlement {
        let mut entries = self.entries.subscribe();
        if let Ok(Ok(entries)) =
            timeout(limit, entries.wait_for(|entries| settlement(entries, sequence).is_some())).await
        {
            return settlement(&entries, sequence).unwrap_or(Settlement::Silent);
        }
        self.entries.send_modify(|entries| {
            for entry in entries.values_mut().filter(|entry| entry.settled < sequence && !entry.out_of_sync) {
                tracing::warn!(envoy = ?entry.id, "out of sync: no answer within {limit:?}");
                entry.out_of_sync = true;
            }
        });
        settlement(&self.entries.borrow(), sequence).unwrap_or(Settlement::Silent)
    }

    /// Waits for a refusal.
    pub(crate) async fn refusal(&self, sequence: u64) -> Refusal {
        let mut entries = self.entries.subscribe();
        loop {
            if let Some(refusal) = refusal(&entries.borrow_and_update(), sequence) {
                return refusal;
            }
            if entries.changed().await.is_err() {
                // Cannot happen while `self` lives.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until there is an Envoy whose answer to the offer can be waited for, or has come.
    pub(crate) async fn audience(&self, sequence: u64) {
        self.wait_for(|entries| {
            refusal(entries, sequence).is_some()
                || entries.values().any(|entry| !entry.out_of_sync || entry.settled >= sequence)
        })
        .await;
    }

    /// Waits until no connected Envoy holds anything older than the offer.
    pub(crate) async fn all_hold(&self, sequence: u64) {
        self.wait_for(|entries| entries.values().all(|entry| entry.settled >= sequence)).await;
    }

    async fn wait_for(&self, condition: impl FnMut(&Entries) -> bool) {
        // The sender is `self`: it outlives the wait.
        let _ = self.entries.subscribe().wait_for(condition).await;
    }

    /// Any Envoy is connected that has accepted an offer and is in step.
    pub(crate) fn has_audience(&self) -> bool {
        self.entries.borrow().values().any(|entry| entry.settled > 0 && !entry.out_of_sync)
    }

    pub(crate) fn envoys(&self) -> Vec<EnvoyStatus> {
        self.entries.borrow().values().map(Entry::status).collect()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let mut by_type = [TypeCounts::default(); ResourceType::ALL.len()];
        for (counts, (acks, nacks)) in by_type.iter_mut().zip(self.acks.iter().zip(&self.nacks)) {
            *counts = TypeCounts { acks: acks.load(Ordering::Relaxed), nacks: nacks.load(Ordering::Relaxed) };
        }
        let entries = self.entries.borrow();
        let speaks = |dialect| entries.values().filter(|entry| entry.dialect == dialect).count() as u64;
        Metrics {
            pushes: self.pushes.load(Ordering::Relaxed),
            acks: by_type.iter().map(|counts| counts.acks).sum(),
            nacks: by_type.iter().map(|counts| counts.nacks).sum(),
            envoys: entries.len() as u64,
            state_of_the_world: speaks(Dialect::StateOfTheWorld),
            by_type,
        }
    }
}

fn count(counters: &[AtomicU64], kind: ResourceType) {
    if let Some(counter) = counters.get(kind as usize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn settlement(entries: &Entries, sequence: u64) -> Option<Settlement> {
    if let Some(refusal) = refusal(entries, sequence) {
        return Some(Settlement::Refused(refusal));
    }
    let mut awaited = entries.values().filter(|entry| !entry.out_of_sync).peekable();
    if awaited.peek().is_none() {
        return Some(Settlement::Silent);
    }
    awaited.all(|entry| entry.settled >= sequence).then_some(Settlement::Acked)
}

fn refusal(entries: &Entries, sequence: u64) -> Option<Refusal> {
    let refused =
        |entry: &Entry| entry.refused.as_ref().filter(|(at, _)| *at == sequence).map(|(_, text)| text.clone());
    entries.values().find_map(refused)
}

// === impl Membership ===

impl Membership<'_> {
    pub(crate) fn pushed(&self) {
        self.ledger.pushes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn judged(&self, verdict: Verdict) {
        self.update(|entry| match verdict {
            Verdict::Acked { kind, generation } => {
                count(&self.ledger.acks, kind);
                *entry.types.entry(kind).or_default() = TypeEntry { acked: Some(generation), refusal: None };
                entry.unsure.remove(&kind);
            }
            Verdict::Refused { kind, sequence, text } => {
                count(&self.ledger.nacks, kind);
                let text = shorten(reason(&text), MAX_TEXT);
                tracing::warn!(envoy = ?entry.id, ?kind, ?text, "refused");
                entry.types.entry(kind).or_default().refusal = Some(text.clone());
                entry.unsure.insert(kind);
                // Addresses are no part of an offer.
                if kind != ResourceType::Endpoint {
                    entry.refused = Some((sequence, Refusal { kind, text }));
                }
            }
        });
    }

    /// All clusters whose present addresses it refuses.
    pub(crate) fn refuses_endpoints(&self, refusals: &Refusals) {
        let shorten = |(cluster, text): (&Arc<str>, &String)| (Arc::clone(cluster), shorten(reason(text), MAX_TEXT));
        let refusals: Refusals = refusals.iter().take(MAX_REFUSALS).map(shorten).collect();
        self.update(|entry| {
            for (cluster, text) in
                refusals.iter().filter(|(cluster, _)| !entry.refused_endpoints.contains_key(*cluster))
            {
                tracing::error!(envoy = ?entry.id, %cluster, ?text, "addresses are refused, and those of before stay");
            }
            entry.refused_endpoints = refusals;
        });
    }

    /// Where the session stands with the offer.
    pub(crate) fn reached(&self, sequence: u64, step: &Step) {
        if *step == Step::Settled {
            self.update(|entry| {
                entry.settled = sequence;
                entry.out_of_sync = false;
            });
        }
    }

    fn update(&self, change: impl FnOnce(&mut Entry)) {
        self.ledger.entries.send_modify(|entries| {
            if let Some(entry) = entries.get_mut(&self.stream) {
                change(entry);
            }
        });
    }
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        self.ledger.entries.send_modify(|entries| {
            if let Some(entry) = entries.remove(&self.stream) {
                self.ledger.remember(entry);
            }
        });
    }
}

// === impl Entry ===

impl Entry {
    fn new(node: &Node, dialect: Dialect, peer: Option<&str>) -> Entry {
        Entry {
            id: shorten(&node.id, MAX_ID),
            version: version(node),
            dialect,
            peer: peer.map(str::to_owned),
            connected_since: unix_now(),
            settled: 0,
            refused: None,
            types: BTreeMap::new(),
            refused_endpoints: Refusals::new(),
            unsure: Types::new(),
            out_of_sync: false,
        }
    }

    fn status(&self) -> EnvoyStatus {
        let types = self.types.iter().map(|(kind, entry)| TypeStatus {
            kind: format!("{kind:?}"),
            acked: entry.acked.clone(),
            refusal: entry.refusal.clone(),
        });
        EnvoyStatus {
            id: self.id.clone(),
            version: self.version.clone(),
            dialect: self.dialect,
            peer: self.peer.clone(),
            connected_since: self.connected_since,
            out_of_sync: self.out_of_sync,
            types: types.collect(),
            refused_endpoints: self.refused_endpoints(),
        }
    }
}

impl Entry {
    fn refused_endpoints(&self) -> Vec<RefusedEndpoints> {
        let refused = self.refused_endpoints.iter();
        refused
            .map(|(cluster, refusal)| RefusedEndpoints { cluster: cluster.to_string(), refusal: refusal.clone() })
            .collect()
    }
}

fn version(node: &Node) -> String {
    match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentVersion(version)) => shorten(version, MAX_ID),
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => build
            .version
            .as_ref()
            .map(|version| format!("{}.{}.{}", version.major_number, version.minor_number, version.patch))
            .unwrap_or_default(),
        None => String::new(),
    }
}

/// When a constraint of the proto is violated, Envoy puts the whole message in front of the reason: megabytes of a
/// route table, or a private key.
fn reason(text: &str) -> &str {
    text.rfind("Proto constraint validation failed").and_then(|at| text.get(at..)).unwrap_or(text)
}

pub(crate) fn shorten(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

/// Seconds since the Unix epoch.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
