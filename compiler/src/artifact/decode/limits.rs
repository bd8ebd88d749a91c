//! Whether an artifact's limits are such as a project can declare.

use microgw_proto::limits::v1::{Limit, Policy, Tiers, limit::Window};

use super::{Result, invalid};

pub(super) fn check(limits: &[Policy], tiers: &Tiers) -> Result<()> {
    let custom = tiers.custom.iter().filter_map(|custom| custom.policy.as_ref());
    let policies = limits.iter().chain(&tiers.applications).chain(&tiers.subscriptions).chain(custom);
    for policy in policies {
        let groups = policy.groups.iter().flat_map(|group| &group.limits);
        if policy.name.is_empty() || policy.limits.is_empty() && policy.groups.is_empty() {
            return invalid("a policy has no name, or limits nothing");
        }
        if !policy.limits.iter().chain(groups).all(is_sound) {
            return invalid(format!("the policy `{}` has a limit that is malformed", policy.name));
        }
    }
    Ok(())
}

fn is_sound(limit: &Limit) -> bool {
    let window = match &limit.window {
        Some(Window::Fixed(fixed)) => fixed.seconds > 0,
        Some(Window::Calendar(calendar)) => calendar.count > 0,
        Some(Window::Sliding(sliding)) => sliding.seconds > 0 && sliding.buckets > 0,
        Some(Window::Burst(burst)) => burst.seconds > 0 && burst.burst > 0,
        None => false,
    };
    window && limit.quota > 0
}
