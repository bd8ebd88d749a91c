//! Which policies callers get, by what is known of them.

use std::collections::HashMap;
use std::sync::Arc;

use microgw_proto::limits::v1 as proto;

use super::choice::Choice;
use super::condition::Condition;
use super::custom::Custom;
use super::key::{Counted, KeyStem};
use super::{Interest, Level, Limit};
use crate::rules::LoadError;

/// Built in, at every level.
const UNLIMITED: &str = "Unlimited";
/// Of those who say nothing of a subscription.
const DEFAULT: &str = "Default";
/// Of those who say nothing of themselves.
const UNAUTHENTICATED: &str = "Unauthenticated";

/// The policies that one book offers to callers.
#[derive(Debug, Default)]
pub(crate) struct Tiers {
    applications: HashMap<Box<str>, Tier>,
    subscriptions: HashMap<Box<str>, Tier>,
    unknown_application: Option<Tier>,
    unknown_subscription: Option<Tier>,
    pub(super) default: Option<Tier>,
    pub(super) unauthenticated: Option<Tier>,
    /// Of every request.
    pub(super) custom: Box<[Custom]>,
}

/// The limits of one policy, with the stems of their counters' names.
#[derive(Clone, Debug)]
pub(crate) struct Tier(Arc<Choice<Stems>>);

type Stems = Box<[(Arc<Limit>, KeyStem)]>;

// === impl Tiers ===

impl Tiers {
    pub(crate) fn load(tiers: &proto::Tiers) -> Result<Tiers, LoadError> {
        let section = |policies: &[proto::Policy], level| {
            let tier = |policy: &proto::Policy| Ok((policy.name.as_str().into(), Tier::load(policy, level)?));
            policies.iter().map(tier).collect::<Result<HashMap<Box<str>, Tier>, LoadError>>()
        };
        let applications = section(&tiers.applications, Level::Application)?;
        let subscriptions = section(&tiers.subscriptions, Level::Subscription)?;
        let unauthenticated = tiers.subscriptions.iter().find(|policy| policy.name == UNAUTHENTICATED);
        Ok(Tiers {
            unknown_application: applications.get(tiers.unknown_application.as_str()).cloned(),
            unknown_subscription: subscriptions.get(tiers.unknown_subscription.as_str()).cloned(),
            default: subscriptions.get(DEFAULT).cloned(),
            unauthenticated: unauthenticated.map(|policy| Tier::load(policy, Level::Unauthenticated)).transpose()?,
            applications,
            subscriptions,
            custom: tiers.custom.iter().map(Custom::load).collect::<Result<_, _>>()?,
        })
    }

    /// They limit nobody.
    pub(super) fn is_empty(&self) -> bool {
        self.applications.is_empty() && self.subscriptions.is_empty() && self.custom.is_empty()
    }

    /// Adds what something looks at.
    pub(super) fn looks_at(&self, interest: &mut Interest) {
        // They are chosen by nothing else.
        interest.subscriptions |= !self.applications.is_empty() || !self.subscriptions.is_empty();
        self.applications.values().chain(self.subscriptions.values()).for_each(|tier| tier.looks_at(interest));
        self.custom.iter().for_each(|custom| custom.looks_at(interest));
    }

    /// `unknown` is told of a name that is not declared; the tier is then the one that counts for such.
    pub(super) fn application(&self, name: &str, unknown: impl FnOnce(&str)) -> Option<&Tier> {
        find(&self.applications, name, self.unknown_application.as_ref(), unknown)
    }

    /// The same of subscriptions.
    pub(super) fn subscription(&self, name: &str, unknown: impl FnOnce(&str)) -> Option<&Tier> {
        find(&self.subscriptions, name, self.unknown_subscription.as_ref(), unknown)
    }
}

fn find<'a>(
    section: &'a HashMap<Box<str>, Tier>,
    name: &str,
    instead: Option<&'a Tier>,
    unknown: impl FnOnce(&str),
) -> Option<&'a Tier> {
    if name == UNLIMITED {
        return None;
    }
    section.get(name).or_else(|| {
        unknown(name);
        instead
    })
}

// === impl Tier ===

impl Tier {
    pub(super) fn load(policy: &proto::Policy, level: Level) -> Result<Tier, LoadError> {
        Tier::load_with(policy, level, &[])
    }

    /// With more names for all its counters. Those of a group have the group's, too.
    pub(super) fn load_with(policy: &proto::Policy, level: Level, names: &[&str]) -> Result<Tier, LoadError> {
        let stems = |limits: &[proto::Limit], names: &[&str]| -> Result<Stems, LoadError> {
            let mut windows: Vec<String> = Vec::new();
            let mut stems = Vec::new();
            for limit in limits {
                let mut limit = Limit::load(policy, level, limit)?;
                let window = limit.window_name();
                // Limits are told apart by their windows: one that comes or goes resets no other.
                let stem = KeyStem::new(&limit, windows.iter().filter(|other| **other == window).count(), names);
                limit.overflow = stem.of(Counted::by(&["overflow", &limit.policy]));
                windows.push(window);
                stems.push((Arc::new(limit), stem));
            }
            Ok(stems.into())
        };
        let group = |group: &proto::Group| {
            let when = Condition::load(group.when.as_ref().ok_or(LoadError::Limit)?)?;
            Ok((Arc::new(when), stems(&group.limits, &[&[group.name.as_str()], names].concat())?))
        };
        let groups = policy.groups.iter().map(group).collect::<Result<_, _>>()?;
        Ok(Tier(Arc::new(Choice { groups, otherwise: stems(&policy.limits, names)? })))
    }

    pub(super) fn choice(&self) -> &Choice<Stems> {
        &self.0
    }

    pub(super) fn looks_at(&self, interest: &mut Interest) {
        self.0.groups.iter().for_each(|(when, _)| when.looks_at(interest));
    }
}
