//! Reads what a book says of limits: each policy, condition and expression once, however many operations have it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use microgw_proto::limits::v1 as limits;
use microgw_proto::rules::v1 as proto;

use super::cost::Cost;
use super::denial::Denial;
use super::tiers::{Tier, Tiers};
use super::{Interest, Level, Plan};
use crate::rules::{Api, LoadError};

pub(crate) struct Loader<'b> {
    tiers: Option<Arc<Tiers>>,
    denials: Vec<Arc<Denial>>,
    /// By their place in the book, plus one.
    policies: HashMap<(u32, Level), Tier>,
    costs: HashMap<&'b str, Cost>,
}

// === impl Loader ===

impl<'b> Loader<'b> {
    pub(crate) fn load(book: &'b proto::RuleBook) -> Result<Loader<'b>, LoadError> {
        let denials = book.tiers.iter().flat_map(|tiers| &tiers.deny);
        let mut loader = Loader {
            tiers: book.tiers.as_ref().map(|tiers| Tiers::load(tiers).map(Arc::new)).transpose()?,
            denials: denials.map(|policy| Denial::load(policy).map(Arc::new)).collect::<Result<_, _>>()?,
            policies: HashMap::new(),
            costs: HashMap::new(),
        };
        for rule in &book.rules {
            for place in [(rule.api_limit, Level::Api), (rule.operation_limit, Level::Resource)] {
                let Some(index) = place.0.checked_sub(1) else { continue };
                if let Entry::Vacant(vacant) = loader.policies.entry(place) {
                    let policy = book.limits.get(index as usize).ok_or(LoadError::Limit)?;
                    vacant.insert(Tier::load(policy, place.1)?);
                }
            }
            if let Some(cost) = &rule.cost
                && let Some(limits::cost::Kind::Expression(text)) = &cost.kind
                && let Entry::Vacant(vacant) = loader.costs.entry(text)
            {
                vacant.insert(Cost::load(cost)?);
            }
        }
        Ok(loader)
    }

    /// What something looks at.
    pub(crate) fn interest(&self) -> Interest {
        let mut interest = Interest::default();
        self.tiers.iter().for_each(|tiers| tiers.looks_at(&mut interest));
        self.denials.iter().for_each(|denial| denial.looks_at(&mut interest));
        self.policies.values().for_each(|tier| tier.looks_at(&mut interest));
        self.costs.values().for_each(|cost| cost.looks_at(&mut interest));
        interest
    }

    /// `None`: nothing limits or denies any request.
    pub(crate) fn plan(&self, api: &Api, rule: &'b proto::Rule) -> Result<Option<Box<Plan>>, LoadError> {
        let policy = |index, level| self.policies.get(&(index, level));
        let policies = (policy(rule.api_limit, Level::Api), policy(rule.operation_limit, Level::Resource));
        let denials: Box<[_]> = self.denials.iter().filter(|denial| denial.concerns(api)).cloned().collect();
        let tiers = self.tiers.as_ref().filter(|tiers| !tiers.is_empty());
        if tiers.is_none() && denials.is_empty() && policies.0.is_none() && policies.1.is_none() {
            return Ok(None);
        }
        let cost = match rule.cost.as_ref() {
            None => Cost::default(),
            Some(cost) => match &cost.kind {
                Some(limits::cost::Kind::Expression(text)) => {
                    self.costs.get(text.as_str()).cloned().ok_or(LoadError::Limit)?
                }
                _ => Cost::load(cost)?,
            },
        };
        Ok(Some(Box::new(Plan::new(api, (&rule.method, &rule.path), policies, cost, tiers, denials))))
    }
}
