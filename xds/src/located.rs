//! Where the backends of clusters are. Not part of an offer: it changes by itself, and Envoys are told at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use microgw_compiler::snapshot::{Resource, ResourceType, Resources};
use tokio::sync::watch;

use crate::offer::{Inconsistent, references};

/// Version of an assignment that says nothing, because nothing is known yet. An Envoy that has another keeps it.
pub const UNKNOWN: &str = "unknown";

/// Assignments by the name of their cluster.
pub type Endpoints = BTreeMap<Arc<str>, Resource>;

/// What Envoys are told of the clusters that they ask about, whoever finds it out. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Located(Arc<watch::Sender<Arc<Endpoints>>>);

// === impl Located ===

impl Located {
    /// All that is known from now on.
    pub fn replace(&self, endpoints: Arc<Endpoints>) {
        self.0.send_replace(endpoints);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Endpoints>> {
        self.0.subscribe()
    }

    /// Whatever a snapshot's clusters refer to must be known, if only that there is nobody: Envoy waits for it.
    pub(crate) fn check(&self, resources: &Resources) -> Result<(), Inconsistent> {
        let endpoints = self.0.borrow();
        let unknown = references(resources)
            .find(|(_, _, (kind, target))| *kind == ResourceType::Endpoint && !endpoints.contains_key(target));
        unknown.map_or(Ok(()), |(kind, name, (target_kind, target))| {
            Err(Inconsistent { kind, name: Arc::clone(name), target_kind: *target_kind, target: Arc::clone(target) })
        })
    }
}
