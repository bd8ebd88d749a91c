//! What the requests of one operation draw on.

use std::sync::Arc;

use smallvec::SmallVec;

use super::caller::NetworkName;
use super::choice::Choice;
use super::cost::Cost;
use super::denial::Denial;
use super::key::Counted;
use super::tiers::{Tier, Tiers};
use super::{Charge, CounterKey, Limit, Request, Unit};
use crate::rules::Api;

/// The limits of an operation and of its API, with the names of their counters; and how those of callers are named here.
#[derive(Debug)]
pub(crate) struct Plan {
    fixed: Box<[Choice<Keyed>]>,
    cost: Cost,
    /// `context:version`.
    api: Box<str>,
    tiers: Option<Arc<Tiers>>,
    /// That concern the API.
    denials: Box<[Arc<Denial>]>,
}

type Keyed = Box<[(Arc<Limit>, CounterKey)]>;

/// What one request draws on.
pub(crate) type Charges<'a> = SmallVec<[Charge<'a>; 4]>;

// === impl Plan ===

impl Plan {
    /// `path` is the operation's, with its API's base path.
    pub(super) fn new(
        api: &Api,
        (method, path): (&str, &str),
        (of_api, of_operation): (Option<&Tier>, Option<&Tier>),
        cost: Cost,
        tiers: Option<&Arc<Tiers>>,
        denials: Box<[Arc<Denial>]>,
    ) -> Plan {
        let mut name = format!("{}:{}", api.base_path, api.version);
        if api.of_hosts {
            // What tells it from those with its base path on other hosts; no version has such a character.
            name.push('\0');
            name.push_str(&api.name);
        }
        let keyed = |tier: &Tier, names: &[&str]| {
            tier.choice().map(|limits| {
                limits.iter().map(|(limit, stem)| (Arc::clone(limit), stem.of(Counted::by(names)))).collect::<Keyed>()
            })
        };
        let of_api = of_api.map(|tier| keyed(tier, &[&name]));
        let of_operation = of_operation.map(|tier| keyed(tier, &[&name, method, path]));
        let fixed = of_api.into_iter().chain(of_operation).collect();
        Plan { fixed, cost, api: name.into(), tiers: tiers.cloned(), denials }
    }

    /// The policy that refuses the request, however much is left: by what is known before it is known who calls, or after.
    pub(crate) fn denies(&self, request: &Request<'_>, with_caller: bool) -> Option<&str> {
        let mut due = self.denials.iter().filter(|denial| denial.needs_caller() == with_caller);
        due.find(|denial| denial.refuses(request)).map(|denial| &*denial.name)
    }

    /// Adds what a request draws on, in the order of levels.
    pub(crate) fn charge<'a>(&'a self, request: &Request<'_>, charges: &mut Charges<'a>) {
        for choice in &self.fixed {
            choice.each(request, |limits| {
                for (limit, key) in limits {
                    charges.push(Charge { key: *key, limit, cost: 0 });
                }
            });
        }
        if let Some(tiers) = &self.tiers {
            self.of_caller(charges, tiers, request);
            for custom in tiers.custom.iter().filter(|custom| custom.applies(request)) {
                draw(charges, &custom.tier, request, custom.counted(request));
            }
        }
        if charges.iter().any(|charge| charge.limit.unit == Unit::Requests) {
            let price = self.cost.of(request);
            for charge in charges.iter_mut().filter(|charge| charge.limit.unit == Unit::Requests) {
                charge.cost = price.at(charge.limit);
            }
        }
    }

    fn of_caller<'a>(&'a self, charges: &mut Charges<'a>, tiers: &'a Tiers, request: &Request<'_>) {
        let caller = request.caller;
        if caller.identity.is_none() {
            if let Some(tier) = &tiers.unauthenticated {
                let network = NetworkName::of(request.address());
                draw(charges, tier, request, Counted::by(&[network.as_bytes(), self.api.as_bytes()]));
            }
            return;
        }
        let mut unknown = |level, name: &str| request.facts.unknown_tier(level, name);
        let [kind, owner, name] = caller.application_name();
        if let Some(tier) = caller.subscription_tier(tiers, &mut unknown) {
            draw(charges, tier, request, Counted::by(&[kind, owner, name, &self.api]));
        }
        if let Some(tier) = caller.application_tier(tiers, &mut unknown) {
            draw(charges, tier, request, Counted::by(&[kind, owner, name, caller.user()]));
        }
    }
}

fn draw<'a>(charges: &mut Charges<'a>, tier: &'a Tier, request: &Request<'_>, counted: Counted) {
    tier.choice().each(request, |limits| {
        for (limit, stem) in limits {
            charges.push(Charge { key: stem.of(counted), limit, cost: 0 });
        }
    });
}

#[cfg(test)]
mod tests;
