//! One ADS stream, without its I/O: what the Envoy has, what it asked for, what it should be sent next.
//!
//! Clusters, endpoints, secrets, listeners and routes are sent in this order, each only when what comes before it was
//! ACKed, so that nothing is referred to before it exists; removals follow in the reverse order, clusters last. Listeners
//! and routes wait until the Envoy knows where the backends of all clusters are: until then it does not use these.
//!
//! Endpoints change without an offer, and an Envoy that refuses some does not refuse the offer: it stays with those that it had
//! ([`subscription`]).
//!
//! The dialects differ in how an Envoy puts its wishes ([`request`]) and in what a response has to say. Delta: what
//! changed and what is gone. State of the world: of clusters and listeners all there are, and whatever is missing is
//! gone; of the others what changed, and there is no word for what is gone.

mod request;
mod subscription;

use std::collections::BTreeMap;
use std::sync::Arc;

use microgw_compiler::snapshot::{Generation, Resource, ResourceType};
use serde::{Serialize, Serializer};

use crate::ledger::{Refusals, Types};
use crate::offer::{Offer, is_wildcard};
use request::Interest;
pub(crate) use request::{Incoming, Request};
use subscription::{Held, InFlight, Named, Subscription, version};

/// Names that one Envoy may subscribe to, or say that it has, per resource type.
const MAX_NAMES: usize = 200_000;

/// A variant of the xDS protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `DeltaAggregatedResources`.
    Delta,
    /// `StreamAggregatedResources`.
    StateOfTheWorld,
}

#[derive(Debug)]
pub(crate) struct Session {
    dialect: Dialect,
    /// What the Envoy says that it has of these does not count.
    unsure: Types,
    subscriptions: BTreeMap<ResourceType, Subscription>,
    last_nonce: u64,
}

/// What to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) kind: ResourceType,
    pub(crate) nonce: String,
    pub(crate) generation: Generation,
    pub(crate) resources: Named,
    pub(crate) change: Change,
}

/// What a response says beside its resources.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Delta: what is gone.
    Removed(Vec<Arc<str>>),
    /// State of the world: the version of the state that the Envoy is then in.
    State(String),
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

/// What becomes of what the Envoy has and is no longer offered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Surplus {
    Kept,
    Removed,
}

/// What an Envoy said about a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Acked { kind: ResourceType, generation: Generation },
    Refused { kind: ResourceType, sequence: u64, text: String },
}

/// Why a stream cannot go on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Abuse {
    #[error("more than {MAX_NAMES} names of one resource type")]
    TooManyNames,
    #[error("a request names no resource type")]
    NoType,
}

// === impl Dialect ===

impl Dialect {
    pub const ALL: [Dialect; 2] = [Dialect::Delta, Dialect::StateOfTheWorld];

    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::Delta => "delta",
            Dialect::StateOfTheWorld => "sotw",
        }
    }

    /// Whether each response has all resources of the type.
    fn repeats(self, kind: ResourceType) -> bool {
        self == Dialect::StateOfTheWorld && is_wildcard(kind)
    }

    /// Whether a response can say that a resource is gone.
    fn tells_removals(self, kind: ResourceType) -> bool {
        self == Dialect::Delta || self.repeats(kind)
    }
}

impl Serialize for Dialect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

// === impl Session ===

impl Session {
    pub(crate) fn new(dialect: Dialect, unsure: Types) -> Session {
        Session { dialect, unsure, subscriptions: BTreeMap::new(), last_nonce: 0 }
    }

    /// Resource types that are not ours are ignored: Envoy asks only for what its configuration names.
    pub(crate) fn receive(&mut self, request: Request) -> Result<Option<Verdict>, Abuse> {
        let Request { type_url, nonce, refusal, interest } = request;
        let Some(kind) = ResourceType::from_type_url(&type_url) else {
            tracing::debug!(?type_url, "ignored a request for an unknown resource type");
            return if type_url.is_empty() { Err(Abuse::NoType) } else { Ok(None) };
        };
        let first = !self.subscriptions.contains_key(&kind);
        let subscription = self.subscriptions.entry(kind).or_insert_with(|| Subscription::new(kind));
        let verdict = match interest {
            // What is wished for counts, whichever response it follows.
            Interest::Change { subscribe, unsubscribe, has } => {
                let verdict = subscription.judge(&nonce, refusal, None);
                subscription.change(first, subscribe, unsubscribe, has);
                verdict
            }
            // The answer to the last response says it all again.
            Interest::Whole { .. } if !subscription.is_up_to_date(&nonce) => None,
            Interest::Whole { names, version } => {
                let verdict = subscription.judge(&nonce, refusal, Some(&version));
                subscription.replace(first, names, version);
                verdict
            }
        };
        if first && self.unsure.contains(&kind) {
            subscription.distrust();
        }
        let size = subscription.size();
        let judged = subscription.take_judged();
        if kind == ResourceType::Cluster
            && let Some(endpoints) = self.subscriptions.get_mut(&ResourceType::Endpoint)
        {
            // A cluster that changes is a new one to Envoy, which waits for its endpoints, and does not ask for what it has.
            endpoints.ask_again(&judged);
        }
        if size > MAX_NAMES { Err(Abuse::TooManyNames) } else { Ok(verdict) }
    }

    /// Clusters whose present endpoints the Envoy does not take.
    pub(crate) fn refused_endpoints(&self) -> Refusals {
        let endpoints = self.subscriptions.get(&ResourceType::Endpoint);
        endpoints.map(Subscription::refusals).unwrap_or_default()
    }

    /// To be called until it gives no [`Step::Send`], after each request and each new offer.
    pub(crate) fn next(&mut self, offer: &Offer) -> Step {
        let dialect = self.dialect;
        for kind in ResourceType::ALL {
            if kind == ResourceType::Listener && !self.has_asked_for_endpoints(offer) {
                return Step::Wait;
            }
            let Some(subscription) = self.subscriptions.get_mut(&kind) else { continue };
            subscription.believe(offer, dialect.repeats(kind) || kind == ResourceType::Endpoint);
            if subscription.has_refused(offer) {
                return Step::Refused;
            }
            if subscription.awaits_answer() {
                return Step::Wait;
            }
            if let Some(missing) = subscription.missing(offer) {
                // What is no longer offered stays until everything else is in place.
                return self.send(kind, offer, missing, Surplus::Kept);
            }
        }
        for kind in ResourceType::ALL.into_iter().rev() {
            let Some(subscription) = self.subscriptions.get_mut(&kind) else { continue };
            let surplus = subscription.surplus(offer);
            if surplus.is_empty() {
                continue;
            }
            if dialect.tells_removals(kind) {
                return self.send(kind, offer, Named::new(), Surplus::Removed);
            }
            subscription.forget(&surplus);
        }
        if self.has_asked_for(offer) { Step::Settled } else { Step::Wait }
    }

    fn send(&mut self, kind: ResourceType, offer: &Offer, missing: Named, surplus: Surplus) -> Step {
        self.last_nonce += 1;
        let nonce = format!("{:x}", self.last_nonce);
        let (dialect, repeats) = (self.dialect, self.dialect.repeats(kind));
        // The last good endpoints are what a cluster that changes gets if the present ones are refused.
        let keeps = repeats || kind == ResourceType::Endpoint;
        let subscription = self.subscriptions.entry(kind).or_insert_with(|| Subscription::new(kind));
        let kept = if repeats && surplus == Surplus::Kept { subscription.kept(offer) } else { Named::new() };
        let removed = match surplus {
            Surplus::Removed => subscription.surplus(offer),
            // Whatever is neither offered nor kept is gone without a word.
            Surplus::Kept if repeats => subscription.lost(offer),
            Surplus::Kept => Vec::new(),
        };
        let held =
            |(name, resource): &(Arc<str>, Resource)| (Arc::clone(name), Some(Held::new(resource.clone(), keeps)));
        let sent = missing.iter().map(held).chain(removed.iter().map(|name| (Arc::clone(name), None))).collect();
        let (resources, change) = match dialect {
            Dialect::Delta => (missing, Change::Removed(removed)),
            Dialect::StateOfTheWorld => {
                let mut state = subscription.offered(offer);
                state.extend(kept);
                state.sort_by(|(a, _), (b, _)| a.cmp(b));
                let version = version(&state);
                (if repeats { state } else { missing }, Change::State(version))
            }
        };
        subscription.sent(InFlight {
            nonce: nonce.clone(),
            sequence: offer.sequence,
            generation: offer.generation.clone(),
            version: match &change {
                Change::Removed(_) => None,
                Change::State(version) => Some(version.clone()),
            },
            sent,
        });
        Step::Send(Response { kind, nonce, generation: offer.generation.clone(), resources, change })
    }

    /// Of all clusters. It asks as soon as it has a cluster, but for those that it needs to begin with.
    fn has_asked_for_endpoints(&self, offer: &Offer) -> bool {
        let endpoints = self.subscriptions.get(&ResourceType::Endpoint);
        !self.subscriptions.contains_key(&ResourceType::Cluster)
            || offer
                .named()
                .filter(|(kind, _)| *kind == ResourceType::Endpoint)
                .all(|(_, name)| endpoints.is_some_and(|endpoints| endpoints.wants(name)))
    }

    /// An Envoy that starts asks for clusters, then for listeners, then for what they refer to.
    fn has_asked_for(&self, offer: &Offer) -> bool {
        let wants =
            |kind, name: &str| self.subscriptions.get(&kind).is_some_and(|subscription| subscription.wants(name));
        [ResourceType::Cluster, ResourceType::Listener].into_iter().all(|kind| self.subscriptions.contains_key(&kind))
            && offer.named().all(|(kind, name)| wants(*kind, name))
    }
}

#[cfg(test)]
mod tests;
