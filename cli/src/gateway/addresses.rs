//! Where backends are that are called by names: looked up for whatever is live, on offer or retiring, and told to Envoy when it
//! changes. Nothing is published for it.

mod memory;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use microgw_compiler::assemble::load_assignment;
use microgw_compiler::model::BackendUrl;
use microgw_compiler::snapshot::{Assigned, Assignment, Assignments, Found, Generation, Instance, Resource};
use microgw_compiler::url::bracketed;
use microgw_discovery::{Discovery, Finds, SourceStatus, Wanted};
use microgw_extproc::metrics::{Reading, Value, families};
use microgw_xds::{Endpoints, Located, UNKNOWN};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use self::memory::Memory;

/// A publish waits this long for names that are new.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two times that what was found is written.
const WRITING: Duration = Duration::from_secs(1);
/// Targets that `/status` shows; those without an address come first.
const SHOWN: usize = 1000;
/// Those without, that a publish tells the log of.
const LOGGED: usize = 100;

/// Cheap to clone.
#[derive(Clone)]
pub struct Addresses {
    shared: Arc<Shared>,
    _task: Arc<Task>,
}

struct Shared {
    discovery: Discovery,
    located: Located,
    /// What was found last before the gateway started.
    memory: Memory,
    /// Something else was found, by whoever looked first: it is to be written.
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of generations whose rules are armed.
    armed: BTreeMap<Generation, Assignments>,
    /// Of the one that is about to be offered.
    expected: Assignments,
    clusters: BTreeMap<Arc<str>, Cluster>,
    /// How often Envoy was told of something else for a cluster.
    changes: u64,
}

/// One that Envoy is told of.
struct Cluster {
    assignment: Arc<Assignment>,
    /// Of each target: what is looked up, and what it came to.
    targets: Vec<(Wanted, Option<Found>)>,
    told: Resource,
}

struct Task(JoinHandle<()>);

// === impl Addresses ===

impl Addresses {
    /// On the runtime that it is called on. `memory` is a file.
    pub fn start(discovery: Discovery, memory: PathBuf) -> Addresses {
        let shared = Arc::new(Shared {
            memory: Memory::read(memory),
            discovery,
            located: Located::default(),
            changed: Notify::new(),
            state: Mutex::default(),
        });
        let task = Task(tokio::spawn(Shared::follow(Arc::clone(&shared))));
        Addresses { shared, _task: Arc::new(task) }
    }

    /// For the publisher.
    pub fn located(&self) -> Located {
        self.shared.located.clone()
    }

    /// Looks up what a snapshot needs that is to be offered, and waits a while for what is new.
    pub async fn expect(&self, assignments: &Assignments) {
        let discovery = &self.shared.discovery;
        self.anticipate(assignments);
        if !assignments.is_empty() && !discovery.settled(PATIENCE).await {
            tracing::warn!(
                "not all names of backends have an answer within {PATIENCE:?}: they are served when they have"
            );
        }
        self.shared.refresh(&mut self.shared.state());
        for (apis, backend) in self.shared.state().without_addresses().into_iter().take(LOGGED) {
            tracing::warn!(?apis, ?backend, "no address is known: while there is none, requests are answered 503");
        }
    }

    /// The same, without waiting.
    pub fn anticipate(&self, assignments: &Assignments) {
        let mut state = self.shared.state();
        state.expected.clone_from(assignments);
        self.shared.rearrange(&mut state);
    }

    /// Follows a generation until it is [`Self::retire`]d.
    pub fn arm(&self, generation: &Generation, assignments: &Assignments) {
        let mut state = self.shared.state();
        state.armed.insert(generation.clone(), assignments.clone());
        self.shared.rearrange(&mut state);
    }

    pub fn retire(&self, generation: &Generation) {
        let mut state = self.shared.state();
        state.armed.remove(generation);
        self.shared.rearrange(&mut state);
    }

    /// For `/status`.
    pub fn status(&self) -> serde_json::Value {
        let state = self.shared.state();
        let mut targets: Vec<_> = state.targets().collect();
        targets.sort_by_key(|(_, _, found)| found.is_some_and(|found| !found.is_empty()));
        let all = targets.len();
        let shown = targets.into_iter().take(SHOWN).map(|(cluster, wanted, found)| {
            json!({
                "cluster": cluster.as_ref(),
                "apis": apis(state.clusters.get(cluster)),
                "url": shown(&wanted.1),
                "lookup": format!("{:?}", wanted.0),
                "host": found.and_then(|found| found.host.as_ref()),
                "addresses": found.map(|found| found.addresses().collect::<Vec<_>>()),
                "shares": found.filter(|found| found.instances.len() > 1).map(instances),
            })
        });
        let shown: Vec<_> = shown.collect();
        json!({ "targets": all, "sources": self.sources(), "shown": shown })
    }

    /// Those that are, or were, asked, and those that would be if they were configured.
    fn sources(&self) -> Vec<serde_json::Value> {
        let sources = self.shared.discovery.status().into_iter();
        let asked = sources.filter(|of| of.targets > 0 || of.last_success.is_some() || !of.reachable);
        let shown = asked.map(|of| {
            let since_1970 =
                |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|time| time.as_secs());
            json!({
                "source": of.source.as_str(),
                "targets": of.targets,
                "reachable": of.reachable,
                "lastSuccess": of.last_success.and_then(since_1970),
                "failures": of.failures,
                "refused": of.refused,
                "lastError": of.last_error,
            })
        });
        shown.collect()
    }

    /// Whom a cluster serves.
    pub fn apis(&self, cluster: &str) -> Vec<String> {
        apis(self.shared.state().clusters.get(cluster))
    }

    pub fn metrics(&self) -> Vec<Reading> {
        let state = self.shared.state();
        let known = state.targets().filter(|(_, _, found)| found.is_some_and(|found| !found.is_empty()));
        let known = known.count() as u64;
        let samples = [("found", known), ("unknown", state.targets().count() as u64 - known)];
        let sources = self.shared.discovery.status();
        let by_source = |family, value: fn(&SourceStatus) -> u64| Reading {
            family,
            samples: sources
                .iter()
                .map(|of| (vec![of.source.as_str().to_owned()], Value::Integer(value(of))))
                .collect(),
        };
        vec![
            by_source(&families::DISCOVERY_REACHABLE, |of| of.reachable.into()),
            by_source(&families::DISCOVERY_FAILURES, |of| of.failures),
            by_source(&families::DISCOVERY_REFUSED, |of| of.refused),
            Reading {
                family: &families::BACKEND_TARGETS,
                samples: samples.map(|(label, count)| (vec![label.to_owned()], Value::Integer(count))).into(),
            },
            Reading::of(&families::ADDRESS_CHANGES, Value::Integer(state.changes)),
        ]
    }
}

// === impl Shared ===

impl Shared {
    async fn follow(shared: Arc<Shared>) {
        let mut found = shared.discovery.found();
        let mut unwritten: Option<Instant> = None;
        loop {
            let written = async {
                match unwritten {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = found.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    found.mark_unchanged();
                    shared.refresh(&mut shared.state());
                }
                () = shared.changed.notified(), if unwritten.is_none() => unwritten = Some(Instant::now() + WRITING),
                () = written => {
                    unwritten = None;
                    let shared = Arc::clone(&shared);
                    // It has said what went wrong.
                    let _ = tokio::task::spawn_blocking(move || shared.memory.write(shared.state().all_found())).await;
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows what is wanted now, and nothing else.
    fn rearrange(&self, state: &mut State) {
        let mut wanted: Assignments =
            state.armed.values().flatten().map(|(name, of)| (name.clone(), of.clone())).collect();
        wanted.extend(state.expected.iter().map(|(name, of)| (name.clone(), of.clone())));
        let before = state.clusters.len();
        state.clusters.retain(|name, cluster| wanted.get(name).is_some_and(|of| *of == cluster.assignment));
        let mut changed = state.clusters.len() != before;
        let found = self.discovery.found().borrow().clone();
        for (name, assignment) in wanted {
            if let Entry::Vacant(vacant) = state.clusters.entry(name) {
                let cluster = Cluster::new(vacant.key(), assignment, &found, &self.memory);
                vacant.insert(cluster);
                changed = true;
            }
        }
        if changed {
            let targets = state.clusters.values().flat_map(|cluster| &cluster.targets);
            let wanted: BTreeSet<Wanted> = targets.map(|(wanted, _)| wanted.clone()).collect();
            self.discovery.follow(wanted);
            self.tell(state);
        }
    }

    /// Takes what is found by now.
    fn refresh(&self, state: &mut State) {
        let found = self.discovery.found().borrow().clone();
        let mut changes = 0;
        for (name, cluster) in &mut state.clusters {
            changes += u64::from(cluster.refresh(name, &found, &self.memory));
        }
        state.changes += changes;
        if changes > 0 {
            self.tell(state);
            self.changed.notify_one();
        }
    }

    fn tell(&self, state: &State) {
        let endpoints: Endpoints =
            state.clusters.iter().map(|(name, cluster)| (name.clone(), cluster.told.clone())).collect();
        self.located.replace(Arc::new(endpoints));
    }
}

// === impl State ===

impl State {
    fn targets(&self) -> impl Iterator<Item = (&Arc<str>, &Wanted, Option<&Found>)> {
        self.clusters.iter().flat_map(|(name, cluster)| {
            cluster.targets.iter().map(move |(wanted, found)| (name, wanted, found.as_ref()))
        })
    }

    fn without_addresses(&self) -> Vec<(Vec<String>, String)> {
        let unknown = self.targets().filter(|(_, _, found)| found.is_none_or(Found::is_empty));
        unknown.map(|(cluster, wanted, _)| (apis(self.clusters.get(cluster)), shown(&wanted.1))).collect()
    }

    fn all_found(&self) -> BTreeMap<Wanted, Found> {
        let found = self.targets().filter_map(|(_, wanted, found)| Some((wanted.clone(), found?.clone())));
        found.collect()
    }
}

// === impl Cluster ===

impl Cluster {
    fn new(name: &str, assignment: Arc<Assignment>, found: &Finds, memory: &Memory) -> Cluster {
        let wanted = |target: &Assigned| {
            let wanted = (target.lookup.clone(), target.url.clone());
            let found = find(&wanted, found, memory);
            (wanted, found)
        };
        let targets: Vec<_> = assignment.targets.iter().map(wanted).collect();
        let told = told(name, &assignment, &targets);
        Cluster { assignment, targets, told }
    }

    fn refresh(&mut self, name: &str, found: &Finds, memory: &Memory) -> bool {
        let mut changed = false;
        for (wanted, last) in &mut self.targets {
            // What is known stays until something else is.
            if let Some(now) = find(wanted, found, memory)
                && last.as_ref() != Some(&now)
            {
                *last = Some(now);
                changed = true;
            }
        }
        if changed {
            let told = told(name, &self.assignment, &self.targets);
            changed = told != self.told;
            self.told = told;
        }
        changed
    }
}

fn apis(cluster: Option<&Cluster>) -> Vec<String> {
    cluster.into_iter().flat_map(|cluster| &cluster.assignment.apis).map(ToString::to_string).collect()
}

/// Priorities and weights, where there are several.
fn instances(found: &Found) -> Vec<serde_json::Value> {
    let shown = |Instance { priority, weight, addresses }: &Instance| json!({ "priority": priority, "weight": weight, "addresses": addresses });
    found.instances.iter().map(shown).collect()
}

fn find(wanted: &Wanted, found: &Finds, memory: &Memory) -> Option<Found> {
    found.get(wanted).or_else(|| memory.get(wanted)).cloned()
}

fn told(name: &str, assignment: &Assignment, targets: &[(Wanted, Option<Found>)]) -> Resource {
    if targets.iter().all(|(_, found)| found.is_none()) {
        return unknown(name, assignment);
    }
    let found: Vec<Found> = targets.iter().map(|(_, found)| found.clone().unwrap_or_default()).collect();
    load_assignment(name, assignment, &found)
}

/// Nobody has said anything of these backends yet.
pub fn unknown(name: &str, assignment: &Assignment) -> Resource {
    Resource { version: UNKNOWN.into(), ..load_assignment(name, assignment, &[]) }
}

fn shown(url: &BackendUrl) -> String {
    let scheme = if url.tls { "https" } else { "http" };
    format!("{scheme}://{}:{}{}", bracketed(&url.host), url.port, url.path)
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
