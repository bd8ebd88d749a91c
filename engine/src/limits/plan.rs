//! What the requests of one operation draw on.

use std::sync::Arc;

use microgw_proto::limits::v1 as proto;
use smallvec::SmallVec;

use super::tiers::{Tier, Tiers};
use super::{Caller, Charge, CounterKey, Level, Limit, Unit, UnknownTier};
use crate::rules::{Api, LoadError};

/// The limits of an operation and of its API, with the names of their counters; and how those of callers are named here.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    fixed: Box<[(Arc<Limit>, CounterKey)]>,
    cost: u64,
    /// `context:version`.
    api: Box<str>,
    tiers: Option<Arc<Tiers>>,
}

/// What one request draws on.
pub(crate) type Charges<'a> = SmallVec<[Charge<'a>; 4]>;

// === impl Plan ===

impl Plan {
    /// `path` is the operation's, with its API's base path. `None`: nothing limits any request.
    pub(crate) fn load(
        api: &Api,
        (method, path): (&str, &str),
        (of_api, of_operation): (Option<&proto::Policy>, Option<&proto::Policy>),
        cost: Option<&proto::Cost>,
        tiers: Option<&Arc<Tiers>>,
    ) -> Result<Option<Box<Plan>>, LoadError> {
        if tiers.is_none() && of_api.is_none() && of_operation.is_none() {
            return Ok(None);
        }
        let name = format!("{}:{}", api.base_path, api.version);
        let mut fixed = Vec::new();
        let levels = [(of_api, Level::Api), (of_operation, Level::Resource)];
        for (policy, level) in levels.into_iter().filter_map(|(policy, level)| Some((policy?, level))) {
            for (limit, stem) in Tier::load(policy, level)?.0.iter() {
                let key = match level {
                    Level::Api => stem.finish(&[&name]),
                    _ => stem.finish(&[&name, method, path]),
                };
                fixed.push((Arc::clone(limit), key));
            }
        }
        let cost = match cost.and_then(|cost| cost.kind.as_ref()) {
            None => 1,
            Some(proto::cost::Kind::Constant(cost)) => *cost,
            Some(proto::cost::Kind::Expression(_)) => return Err(LoadError::Limit),
        };
        Ok(Some(Box::new(Plan { fixed: fixed.into(), cost, api: name.into(), tiers: tiers.cloned() })))
    }

    /// What a request of that caller draws on, in the order of levels. `unknown` is told of tiers that are not declared.
    pub(crate) fn charges(&self, caller: Caller<'_>, unknown: &mut UnknownTier<'_>) -> Charges<'_> {
        let fixed = self.fixed.iter();
        let mut charges: Charges<'_> = fixed.map(|(limit, key)| self.charge(limit, *key)).collect();
        let Some(tiers) = &self.tiers else { return charges };
        if caller.identity.is_none() {
            self.draw(&mut charges, tiers.unauthenticated.as_ref(), &[caller.network().as_str(), &self.api]);
            return charges;
        }
        let [kind, owner, name] = caller.application_name();
        let subscription = caller.subscription_tier(tiers, unknown);
        self.draw(&mut charges, subscription, &[kind, owner, name, &self.api]);
        let application = caller.application_tier(tiers, unknown);
        self.draw(&mut charges, application, &[kind, owner, name, caller.user()]);
        charges
    }

    fn draw<'a, N: AsRef<[u8]>>(&self, charges: &mut Charges<'a>, tier: Option<&'a Tier>, names: &[N]) {
        for (limit, stem) in tier.into_iter().flat_map(|tier| tier.0.iter()) {
            charges.push(self.charge(limit, stem.finish(names)));
        }
    }

    fn charge<'a>(&self, limit: &'a Arc<Limit>, key: CounterKey) -> Charge<'a> {
        let cost = if limit.unit == Unit::Requests { self.cost } else { 0 };
        Charge { key, limit, cost }
    }
}
