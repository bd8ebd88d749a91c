//! Whether an artifact's limits are such as a project can declare.

use std::collections::HashSet;

use microgw_expressions::Expression;
use microgw_proto::limits::v1::{Cost, DenyPolicy, Policy, Tiers, cost::Kind};

use super::{Result, invalid};
use crate::limits::{MAX_COST, custom_is_sound, deny_is_sound, policy_is_sound};

pub(super) fn check(limits: &[Policy], tiers: &Tiers) -> Result<()> {
    let Tiers { applications, subscriptions, unknown_application, unknown_subscription, custom, deny } = tiers;
    for policy in [limits, applications, subscriptions].into_iter().flatten() {
        if !policy_is_sound(policy) {
            return invalid(format!("the policy `{}` is malformed", policy.name));
        }
    }
    for custom in custom {
        if !custom_is_sound(custom) {
            let name = custom.policy.as_ref().map_or("", |policy| policy.name.as_str());
            return invalid(format!("the custom policy `{name}` is malformed"));
        }
    }
    if let Some(DenyPolicy { name, .. }) = deny.iter().find(|deny| !deny_is_sound(deny)) {
        return invalid(format!("the deny policy `{name}` is malformed"));
    }
    let customs = custom.iter().filter_map(|custom| custom.policy.as_ref()).map(|policy| policy.name.as_str());
    let denials = deny.iter().map(|deny| deny.name.as_str());
    let sections =
        [names(limits), names(applications), names(subscriptions), customs.collect(), denials.collect::<Vec<_>>()];
    for section in &sections {
        if section.iter().collect::<HashSet<_>>().len() != section.len() {
            return invalid("two policies of one section have one name");
        }
    }
    for (unknown, policies) in [(unknown_application, applications), (unknown_subscription, subscriptions)] {
        if !unknown.is_empty() && !policies.iter().any(|policy| policy.name == *unknown) {
            return invalid(format!("unknown tiers count as `{unknown}`, which is no policy"));
        }
    }
    Ok(())
}

fn names(policies: &[Policy]) -> Vec<&str> {
    policies.iter().map(|policy| policy.name.as_str()).collect()
}

pub(super) fn cost(cost: Option<Cost>) -> Result<Option<Cost>> {
    let sound = cost.as_ref().is_none_or(|cost| match &cost.kind {
        Some(Kind::Constant(constant)) => (1..=MAX_COST).contains(constant),
        Some(Kind::Expression(expression)) => Expression::cost(expression).is_ok(),
        None => false,
    });
    if sound { Ok(cost) } else { invalid("what an operation costs is malformed") }
}
