//! One delta ADS stream, without its I/O: what the Envoy has, what it asked for, what it should be sent next.
//!
//! Clusters, secrets, listeners and routes are sent in this order, each only when what comes before it was ACKed, so
//! that nothing is referred to before it exists; removals follow in the reverse order, clusters last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use microgw_compiler::snapshot::{Generation, Resource, ResourceType};

use crate::offer::{Offer, is_wildcard};

/// Names that one Envoy may subscribe to, or say that it has, per resource type.
const MAX_NAMES: usize = 200_000;

#[derive(Debug, Default)]
pub(crate) struct Session {
    subscriptions: BTreeMap<ResourceType, Subscription>,
    last_nonce: u64,
}

#[derive(Debug, Default)]
struct Subscription {
    wildcard: bool,
    names: BTreeSet<Arc<str>>,
    /// By name, the version that the Envoy has; `None` after a NACK, which may have been applied in part.
    has: BTreeMap<Arc<str>, Option<Arc<str>>>,
    /// Must be answered even if nothing changed: just asked for.
    asked: BTreeSet<Arc<str>>,
    /// An Envoy that subscribes to everything and has nothing waits for an answer, even an empty one.
    greet: bool,
    in_flight: Option<InFlight>,
    /// Sequence of the offer that was last refused. It is not tried again.
    refused: Option<u64>,
}

#[derive(Debug)]
struct InFlight {
    nonce: String,
    sequence: u64,
    generation: Generation,
    /// By name, the version sent; `None`: removed.
    sent: Vec<(Arc<str>, Option<Arc<str>>)>,
}

/// What to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) kind: ResourceType,
    pub(crate) nonce: String,
    pub(crate) generation: Generation,
    pub(crate) upserts: Vec<(Arc<str>, Resource)>,
    pub(crate) removed: Vec<Arc<str>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Response),
    /// The Envoy's turn: to answer, or to ask for what it needs.
    Wait,
    /// It holds the whole offer.
    Settled,
    /// It refused the offer.
    Refused,
}

/// What an Envoy said about a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Acked { kind: ResourceType, generation: Generation },
    Refused { kind: ResourceType, sequence: u64, text: String },
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_NAMES} names of one resource type")]
pub(crate) struct TooManyNames;

// === impl Session ===

impl Session {
    /// Resource types that are not ours are ignored: Envoy asks only for what its configuration names.
    pub(crate) fn receive(&mut self, request: DeltaDiscoveryRequest) -> Result<Option<Verdict>, TooManyNames> {
        let Some(kind) = ResourceType::from_type_url(&request.type_url) else {
            tracing::debug!(type_url = ?request.type_url, "ignored a request for an unknown resource type");
            return Ok(None);
        };
        let first = !self.subscriptions.contains_key(&kind);
        let subscription = self.subscriptions.entry(kind).or_default();
        let verdict = subscription.judge(kind, &request);
        if first {
            subscription.wildcard = is_wildcard(kind) && request.resource_names_subscribe.is_empty();
            subscription.has = request
                .initial_resource_versions
                .into_iter()
                .map(|(name, version)| (name.into(), Some(version.into())))
                .collect();
            subscription.greet = subscription.wildcard && subscription.has.is_empty();
        }
        for name in request.resource_names_unsubscribe {
            subscription.unsubscribe(name.into());
        }
        for name in request.resource_names_subscribe {
            subscription.subscribe(name.into(), first);
        }
        let names = subscription.names.len().max(subscription.has.len()).max(subscription.asked.len());
        if names > MAX_NAMES { Err(TooManyNames) } else { Ok(verdict) }
    }

    /// To be called until it gives no [`Step::Send`], after each request and each new offer.
    pub(crate) fn next(&mut self, offer: &Offer) -> Step {
        for kind in ResourceType::ALL {
            let Some(subscription) = self.subscriptions.get_mut(&kind) else { continue };
            if subscription.refused == Some(offer.sequence) {
                return Step::Refused;
            }
            if subscription.in_flight.is_some() {
                return Step::Wait;
            }
            let upserts = subscription.missing(kind, offer);
            if subscription.greet || !upserts.is_empty() {
                return self.send(kind, offer, upserts, Vec::new());
            }
        }
        for kind in ResourceType::ALL.into_iter().rev() {
            let Some(subscription) = self.subscriptions.get(&kind) else { continue };
            let removed = subscription.surplus(kind, offer);
            if !removed.is_empty() {
                return self.send(kind, offer, Vec::new(), removed);
            }
        }
        if self.has_asked_for(offer) { Step::Settled } else { Step::Wait }
    }

    fn send(
        &mut self,
        kind: ResourceType,
        offer: &Offer,
        upserts: Vec<(Arc<str>, Resource)>,
        removed: Vec<Arc<str>>,
    ) -> Step {
        self.last_nonce += 1;
        let nonce = format!("{:x}", self.last_nonce);
        let upserted = upserts.iter().map(|(name, resource)| (Arc::clone(name), Some(Arc::clone(&resource.version))));
        let sent: Vec<_> = upserted.chain(removed.iter().map(|name| (Arc::clone(name), None))).collect();
        let subscription = self.subscriptions.entry(kind).or_default();
        subscription.greet = false;
        for (name, _) in &sent {
            subscription.asked.remove(name);
        }
        subscription.in_flight = Some(InFlight {
            nonce: nonce.clone(),
            sequence: offer.sequence,
            generation: offer.generation.clone(),
            sent,
        });
        Step::Send(Response { kind, nonce, generation: offer.generation.clone(), upserts, removed })
    }

    /// An Envoy that starts asks for clusters, then for listeners, then for what they refer to.
    fn has_asked_for(&self, offer: &Offer) -> bool {
        let wants =
            |kind, name: &str| self.subscriptions.get(&kind).is_some_and(|subscription| subscription.wants(name));
        [ResourceType::Cluster, ResourceType::Listener].into_iter().all(|kind| self.subscriptions.contains_key(&kind))
            && offer.named().all(|(kind, name)| wants(*kind, name))
    }
}

// === impl Subscription ===

impl Subscription {
    fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    fn subscribe(&mut self, name: Arc<str>, first: bool) {
        if &*name == "*" {
            self.wildcard = true;
            self.greet |= self.has.is_empty();
            return;
        }
        // What a reconnecting Envoy lists with its version it has; whatever else is asked for must be answered.
        if !(first && self.has.contains_key(&name)) {
            self.asked.insert(Arc::clone(&name));
        }
        self.names.insert(name);
    }

    fn unsubscribe(&mut self, name: Arc<str>) {
        if &*name == "*" {
            self.wildcard = false;
            self.has.retain(|name, _| self.names.contains(name));
            return;
        }
        self.names.remove(&name);
        self.asked.remove(&name);
        if self.wildcard {
            // Still covered: the Envoy wants to hear whether it exists.
            self.asked.insert(name);
        } else {
            self.has.remove(&name);
        }
    }

    /// An answer that bears another nonce than the response in flight judges an older one: not counted.
    fn judge(&mut self, kind: ResourceType, request: &DeltaDiscoveryRequest) -> Option<Verdict> {
        let in_flight = self.in_flight.take_if(|in_flight| in_flight.nonce == request.response_nonce)?;
        let refusal = request.error_detail.as_ref();
        for (name, version) in in_flight.sent {
            if !self.wants(&name) && version.is_some() {
                continue; // unsubscribed meanwhile
            }
            match (refusal, version) {
                (None, Some(version)) => self.has.insert(name, Some(version)),
                (None, None) => self.has.remove(&name),
                (Some(_), _) => self.has.insert(name, None),
            };
        }
        if let Some(status) = refusal {
            self.refused = Some(in_flight.sequence);
            return Some(Verdict::Refused { kind, sequence: in_flight.sequence, text: status.message.clone() });
        }
        self.refused = None;
        Some(Verdict::Acked { kind, generation: in_flight.generation })
    }

    /// Offered, wanted, and not what the Envoy has.
    fn missing(&self, kind: ResourceType, offer: &Offer) -> Vec<(Arc<str>, Resource)> {
        let is_current = |name: &str, resource: &Resource| {
            self.has.get(name).is_some_and(|version| version.as_ref() == Some(&resource.version))
        };
        offer
            .of(kind)
            .filter(|(name, resource)| {
                self.wants(name) && (self.asked.contains(&**name) || !is_current(name, resource))
            })
            .map(|(name, resource)| (Arc::clone(name), resource.clone()))
            .collect()
    }

    /// Had or asked for, and not offered.
    fn surplus(&self, kind: ResourceType, offer: &Offer) -> Vec<Arc<str>> {
        let names: BTreeSet<&Arc<str>> = self.has.keys().chain(&self.asked).collect();
        names.into_iter().filter(|name| offer.get(kind, name).is_none()).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
