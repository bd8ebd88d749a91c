//! What Envoys should hold at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use microgw_compiler::snapshot::{Generation, Resource, ResourceType, Resources};

use crate::located::Endpoints;

/// Immutable; replaced as a whole. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// Grows with each offer of a publisher.
    pub(crate) sequence: u64,
    /// Whose listeners and routes these are.
    pub(crate) generation: Generation,
    resources: Arc<Resources>,
    /// Where backends are now, whatever is on offer.
    endpoints: Arc<Endpoints>,
    /// Envoy asks for endpoints, routes and secrets by name, and only once it holds what refers to them: until it has asked for
    /// these, it does not hold the offer.
    named: Arc<BTreeSet<(ResourceType, Arc<str>)>>,
}

/// A resource refers to one that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?} `{name}` refers to {target_kind:?} `{target}`, which does not exist")]
pub struct Inconsistent {
    pub kind: ResourceType,
    pub name: Arc<str>,
    pub target_kind: ResourceType,
    pub target: Arc<str>,
}

// === impl Offer ===

impl Offer {
    pub(crate) fn new(sequence: u64, generation: Generation, resources: Resources) -> Offer {
        let named: BTreeSet<_> = references(&resources)
            .map(|(_, _, target)| target)
            .filter(|(kind, _)| !is_wildcard(*kind))
            .cloned()
            .collect();
        Offer { sequence, generation, resources: resources.into(), endpoints: Arc::default(), named: named.into() }
    }

    /// The same, with backends where they are now.
    pub(crate) fn with(&self, endpoints: Arc<Endpoints>) -> Offer {
        Offer { endpoints, ..self.clone() }
    }

    pub(crate) fn get(&self, kind: ResourceType, name: &str) -> Option<&Resource> {
        self.all(kind)?.get(name)
    }

    pub(crate) fn of(&self, kind: ResourceType) -> impl Iterator<Item = (&Arc<str>, &Resource)> {
        self.all(kind).into_iter().flatten()
    }

    fn all(&self, kind: ResourceType) -> Option<&BTreeMap<Arc<str>, Resource>> {
        match kind {
            ResourceType::Endpoint => Some(&self.endpoints),
            _ => self.resources.get(&kind),
        }
    }

    pub(crate) fn named(&self) -> impl Iterator<Item = &(ResourceType, Arc<str>)> {
        self.named.iter()
    }
}

/// Envoy takes all clusters and listeners that there are, endpoints, secrets and routes by name.
pub(crate) fn is_wildcard(kind: ResourceType) -> bool {
    matches!(kind, ResourceType::Cluster | ResourceType::Listener)
}

/// Everything that is referred to must exist, in the snapshot or (clusters only) in Envoy's bootstrap. Endpoints are no part of
/// one: see [`crate::located`].
pub(crate) fn check(resources: &Resources, static_clusters: &BTreeSet<Arc<str>>) -> Result<(), Inconsistent> {
    let exists = |kind: &ResourceType, name: &Arc<str>| {
        *kind == ResourceType::Endpoint
            || resources.get(kind).is_some_and(|named| named.contains_key(name))
            || (*kind == ResourceType::Cluster && static_clusters.contains(name))
    };
    references(resources).find(|(_, _, (kind, target))| !exists(kind, target)).map_or(
        Ok(()),
        |(kind, name, (target_kind, target))| {
            Err(Inconsistent { kind, name: Arc::clone(name), target_kind: *target_kind, target: Arc::clone(target) })
        },
    )
}

pub(crate) type Reference = (ResourceType, Arc<str>);

pub(crate) fn references(resources: &Resources) -> impl Iterator<Item = (ResourceType, &Arc<str>, &Reference)> {
    resources.iter().flat_map(|(kind, named): (&ResourceType, &BTreeMap<_, Resource>)| {
        named
            .iter()
            .flat_map(move |(name, resource)| resource.references.iter().map(move |target| (*kind, name, target)))
    })
}

#[cfg(test)]
mod tests;
