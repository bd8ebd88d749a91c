//! What an Envoy wants and has of one resource type. The same in both dialects, but for how wishes are put
//! ([`Subscription::change`], [`Subscription::replace`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use microgw_compiler::snapshot::{Generation, Resource, ResourceType};
use sha2::{Digest as _, Sha256};

use super::Verdict;
use crate::ledger::Refusals;
use crate::located::UNKNOWN;
use crate::offer::{Offer, is_wildcard};

/// Bytes of a state's version, before they are written in hex.
const VERSION_LEN: usize = 16;

#[derive(Debug)]
pub(super) struct Subscription {
    kind: ResourceType,
    wildcard: bool,
    names: BTreeSet<Arc<str>>,
    /// By name, what the Envoy has.
    has: BTreeMap<Arc<str>, Held>,
    /// Must be answered even if nothing changed: just asked for.
    asked: BTreeSet<Arc<str>>,
    /// Must be told all there is, even if that is nothing: it has just subscribed to everything.
    greet: bool,
    /// It has named something once: naming nothing means nothing from then on, not everything.
    has_named: bool,
    /// Version of the state that it says it has; believed or not with the first offer.
    claim: Option<String>,
    in_flight: Option<InFlight>,
    /// Of the last response; empty: there was none.
    nonce: String,
    /// Sequence of the offer that was last refused. It is not tried again.
    refused: Option<u64>,
    /// Endpoints that were refused by themselves: with their versions, which are not tried again, and the reasons.
    refusals: BTreeMap<Arc<str>, (Arc<str>, String)>,
    /// Endpoints that are sent at once: fewer after a refusal, until it is known which are meant.
    batch: usize,
    /// Names of the last response that was answered.
    judged: Vec<Arc<str>>,
}

#[derive(Clone, Debug)]
pub(super) enum Held {
    /// After a NACK, which may have been applied in part.
    Unsure,
    Version(Arc<str>),
    /// To be repeated in each response for as long as the Envoy should keep it, on offer or not.
    Repeated(Resource),
}

/// A response that was not answered yet.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) nonce: String,
    pub(super) sequence: u64,
    pub(super) generation: Generation,
    /// What an ACK must repeat, where it must.
    pub(super) version: Option<String>,
    /// By name, what it will have; `None`: removed.
    pub(super) sent: Vec<(Arc<str>, Option<Held>)>,
}

pub(super) type Named = Vec<(Arc<str>, Resource)>;

// === impl Subscription ===

impl Subscription {
    pub(super) fn new(kind: ResourceType) -> Subscription {
        Subscription {
            kind,
            wildcard: false,
            names: BTreeSet::new(),
            has: BTreeMap::new(),
            asked: BTreeSet::new(),
            greet: false,
            has_named: false,
            claim: None,
            in_flight: None,
            nonce: String::new(),
            refused: None,
            refusals: BTreeMap::new(),
            batch: usize::MAX,
            judged: Vec::new(),
        }
    }

    fn has_endpoints(&self) -> bool {
        self.kind == ResourceType::Endpoint
    }

    pub(super) fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Names that are kept.
    pub(super) fn size(&self) -> usize {
        self.names.len().max(self.has.len()).max(self.asked.len())
    }

    pub(super) fn awaits_answer(&self) -> bool {
        self.in_flight.is_some()
    }

    pub(super) fn has_refused(&self, offer: &Offer) -> bool {
        self.refused == Some(offer.sequence)
    }

    /// Whether a request bears the nonce of the last response; before that any will do, since an Envoy may still have
    /// one from an earlier stream.
    pub(super) fn is_up_to_date(&self, nonce: &str) -> bool {
        self.nonce.is_empty() || self.nonce == nonce
    }

    // === what it wants ===

    /// Delta. What it has counts with the first request only.
    pub(super) fn change(
        &mut self,
        first: bool,
        subscribe: Vec<String>,
        unsubscribe: Vec<String>,
        has: Vec<(String, String)>,
    ) {
        if first {
            self.wildcard = is_wildcard(self.kind) && subscribe.is_empty() && unsubscribe.is_empty();
            let held = |(name, version): (String, String)| (name.into(), Held::Version(version.into()));
            self.has = has.into_iter().map(held).collect();
            self.greet = self.wildcard && self.has.is_empty();
        }
        for name in unsubscribe {
            self.unsubscribe(name.into());
        }
        for name in subscribe {
            self.subscribe(name.into(), first);
        }
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
        self.refusals.retain(|name, _| self.wildcard || self.names.contains(name));
    }

    /// What is wanted of these is to be sent once more.
    pub(super) fn ask_again(&mut self, names: &[Arc<str>]) {
        self.asked.extend(names.iter().filter(|name| self.names.contains(*name)).cloned());
    }

    /// State of the world.
    pub(super) fn replace(&mut self, first: bool, names: Vec<String>, version: String) {
        let names_nothing = names.is_empty();
        let (everything, names): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| name == "*");
        let names: BTreeSet<Arc<str>> = names.into_iter().map(Arc::from).collect();
        let wildcard = !everything.is_empty() || (names_nothing && !self.has_named && is_wildcard(self.kind));
        self.has_named |= !names_nothing;
        if first {
            self.claim = Some(version).filter(|version| !version.is_empty());
        }
        self.greet |= wildcard && !self.wildcard;
        self.asked.retain(|name| names.contains(name));
        // What is newly named must be answered, although the Envoy may have had it unasked.
        self.asked.extend(names.difference(&self.names).cloned());
        self.wildcard = wildcard;
        self.names = names;
        self.has.retain(|name, _| wildcard || self.names.contains(name));
        self.refusals.retain(|name, _| wildcard || self.names.contains(name));
    }

    // === what it has ===

    /// An answer that bears another nonce than the response in flight judges an older one: not counted.
    pub(super) fn judge(&mut self, nonce: &str, refusal: Option<String>, version: Option<&str>) -> Option<Verdict> {
        let in_flight = self.in_flight.take_if(|in_flight| in_flight.nonce == nonce)?;
        let refusal = refusal.or_else(|| {
            // How Envoys said no before there were reasons.
            let repeated = in_flight.version.as_deref().is_none_or(|sent| version == Some(sent));
            (!repeated).then(|| "no reason given, but it stays with another version".to_owned())
        });
        self.judged = in_flight.sent.iter().map(|(name, _)| Arc::clone(name)).collect();
        if self.has_endpoints()
            && let Some(text) = refusal
        {
            let sequence = in_flight.sequence;
            self.refuse(in_flight.sent, &text);
            return Some(Verdict::Refused { kind: self.kind, sequence, text });
        }
        self.batch = self.batch.saturating_mul(2);
        for (name, held) in in_flight.sent {
            if !self.wants(&name) && held.is_some() {
                continue; // unsubscribed meanwhile
            }
            match (&refusal, held) {
                (None, Some(held)) => self.has.insert(name, held),
                (None, None) => self.has.remove(&name),
                (Some(_), _) => self.has.insert(name, Held::Unsure),
            };
        }
        let kind = self.kind;
        if let Some(text) = refusal {
            self.refused = Some(in_flight.sequence);
            return Some(Verdict::Refused { kind, sequence: in_flight.sequence, text });
        }
        self.refused = None;
        Some(Verdict::Acked { kind, generation: in_flight.generation })
    }

    /// Each of several may be to blame, and others may have been taken: they are sent again, fewer at once.
    fn refuse(&mut self, sent: Vec<(Arc<str>, Option<Held>)>, text: &str) {
        let alone = sent.len() == 1;
        self.batch = (sent.len() / 2).max(1);
        for (name, held) in sent {
            if !self.wants(&name) {
                continue;
            }
            match held.as_ref().and_then(Held::version) {
                Some(version) if alone => {
                    self.refusals.insert(name, (version.into(), text.to_owned()));
                }
                _ if alone => {}
                _ => {
                    self.asked.insert(name);
                }
            }
        }
    }

    pub(super) fn refusals(&self) -> Refusals {
        self.refusals.iter().map(|(name, (_, text))| (Arc::clone(name), text.clone())).collect()
    }

    /// Names of the response that was answered last, once.
    pub(super) fn take_judged(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.judged)
    }

    pub(super) fn sent(&mut self, in_flight: InFlight) {
        self.greet = false;
        for (name, _) in &in_flight.sent {
            self.asked.remove(name);
        }
        self.nonce.clone_from(&in_flight.nonce);
        self.in_flight = Some(in_flight);
    }

    /// It may have something else than it says.
    pub(super) fn distrust(&mut self) {
        self.claim = None;
        self.has.values_mut().for_each(|held| *held = Held::Unsure);
    }

    /// Believes an Envoy that comes back if what it claims to have is what is on offer.
    pub(super) fn believe(&mut self, offer: &Offer, repeats: bool) {
        let present = |name: &str, version: &str| {
            offer.get(self.kind, name).is_some_and(|resource| *resource.version == *version)
        };
        self.refusals.retain(|name, (version, _)| present(name, version));
        let Some(claim) = self.claim.take() else { return };
        let offered = self.offered(offer);
        if claim != version(&offered) {
            return;
        }
        self.greet = false;
        self.asked.clear();
        self.has = offered.into_iter().map(|(name, resource)| (name, Held::new(resource, repeats))).collect();
    }

    /// Offered, wanted, and not what the Envoy has. There may be something to say although nothing is missing.
    pub(super) fn missing(&self, offer: &Offer) -> Option<Named> {
        let missing = self
            .wanted(offer)
            .filter(|(name, resource)| self.asked.contains(*name) || !self.has_current(name, resource));
        let missing = if self.has_endpoints() { self.endpoints(missing) } else { owned(missing) };
        (self.greet || !missing.is_empty()).then_some(missing)
    }

    fn has_current(&self, name: &str, resource: &Resource) -> bool {
        match self.has.get(name) {
            Some(held) if held.version() == Some(&*resource.version) => true,
            Some(Held::Version(_) | Held::Repeated(_)) if self.is_unknown(resource) => true,
            _ => self.refuses(name, resource),
        }
    }

    fn is_unknown(&self, endpoints: &Resource) -> bool {
        self.has_endpoints() && *endpoints.version == *UNKNOWN
    }

    fn refuses(&self, name: &str, resource: &Resource) -> bool {
        self.refusals.get(name).is_some_and(|(version, _)| *version == resource.version)
    }

    /// As many as may be sent at once. Whoever asks again for what it refused, or for what nobody knows any more, gets what it
    /// took before that.
    fn endpoints<'a>(&self, missing: impl Iterator<Item = (&'a Arc<str>, &'a Resource)>) -> Named {
        let good = |(name, resource): (&Arc<str>, &Resource)| match self.has.get(name) {
            Some(Held::Repeated(good)) if self.refuses(name, resource) || self.is_unknown(resource) => {
                (Arc::clone(name), good.clone())
            }
            _ => (Arc::clone(name), resource.clone()),
        };
        missing.map(good).take(self.batch).collect()
    }

    /// Had or asked for, and not offered.
    pub(super) fn surplus(&self, offer: &Offer) -> Vec<Arc<str>> {
        // Endpoints go with their cluster.
        let has = self.has.keys().filter(|_| !self.has_endpoints());
        let names: BTreeSet<&Arc<str>> = has.chain(&self.asked).collect();
        names.into_iter().filter(|name| offer.get(self.kind, name).is_none()).cloned().collect()
    }

    /// The surplus that is not [`Self::kept`].
    pub(super) fn lost(&self, offer: &Offer) -> Vec<Arc<str>> {
        let mut lost = self.surplus(offer);
        lost.retain(|name| !matches!(self.has.get(name), Some(Held::Repeated(_))));
        lost
    }

    /// There is no way to tell an Envoy that these are gone: it finds out when nothing refers to them any more.
    pub(super) fn forget(&mut self, names: &[Arc<str>]) {
        for name in names {
            self.has.remove(name);
            self.asked.remove(name);
        }
    }

    pub(super) fn offered(&self, offer: &Offer) -> Named {
        owned(self.wanted(offer))
    }

    fn wanted<'a>(&'a self, offer: &'a Offer) -> impl Iterator<Item = (&'a Arc<str>, &'a Resource)> {
        offer.of(self.kind).filter(|(name, _)| self.wants(name))
    }

    /// What was accepted and is to stay for now although it is no longer offered.
    pub(super) fn kept(&self, offer: &Offer) -> Named {
        let kept = self.has.iter().filter_map(|(name, held)| match held {
            Held::Repeated(resource) => Some((name, resource)),
            Held::Unsure | Held::Version(_) => None,
        });
        owned(kept.filter(|(name, _)| offer.get(self.kind, name).is_none()))
    }
}

fn owned<'a>(named: impl Iterator<Item = (&'a Arc<str>, &'a Resource)>) -> Named {
    named.map(|(name, resource)| (Arc::clone(name), resource.clone())).collect()
}

// === impl Held ===

impl Held {
    pub(super) fn new(resource: Resource, repeats: bool) -> Held {
        if repeats { Held::Repeated(resource) } else { Held::Version(resource.version) }
    }

    fn version(&self) -> Option<&str> {
        match self {
            Held::Unsure => None,
            Held::Version(version) | Held::Repeated(Resource { version, .. }) => Some(version),
        }
    }
}

/// Of the state that an Envoy is in with these resources and no others of their type: the same in every process.
pub(super) fn version(resources: &Named) -> String {
    let mut hash = Sha256::new();
    for text in resources.iter().flat_map(|(name, resource)| [name, &resource.version]) {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().iter().take(VERSION_LEN).fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
