//! What limits need of the gateway's settings.

use microgw_proto::limits::v1::{Limit, Policy, limit::Unit, sharing::Mode};

use crate::model::Model;
use crate::settings::Settings;

/// A policy that these settings do not let the gateway enforce.
pub fn conflict(model: &Model, settings: &Settings) -> Option<String> {
    let shared = |policy: &Policy| policy.sharing.as_ref().is_some_and(|sharing| sharing.mode() != Mode::Local);
    if let Some(policy) = policies(model).find(|policy| shared(policy)).filter(|_| !settings.limits.shared_store) {
        return Some(format!(
            "the policy `{}` counts together with other gateways (`shared` in `policies.yaml`), and \
             neither `[throttlingConfig.redis]` nor `[redis]` says where: set `throttlingConfig.redis.url`, or leave \
             `shared` out",
            policy.name
        ));
    }
    let bandwidth = |policy: &Policy| limits(policy).any(|limit| limit.unit() == Unit::Bytes);
    if let Some(policy) = policies(model).find(|policy| bandwidth(policy)).filter(|_| !settings.limits.bandwidth) {
        return Some(format!(
            "the policy `{}` limits `bandwidth`, which is not measured: set `throttlingConfig.bandwidth = true`, or \
             leave the limit out",
            policy.name
        ));
    }
    None
}

/// The headers by which clients are told of limits.
pub fn told(model: &Model, settings: &Settings) -> &'static [&'static str] {
    if policies(model).next().is_some() { settings.limits.headers.exposed() } else { &[] }
}

fn policies(model: &Model) -> impl Iterator<Item = &Policy> {
    let tiers = &model.tiers;
    let custom = tiers.custom.iter().filter_map(|custom| custom.policy.as_ref());
    model.limits.iter().chain(&tiers.applications).chain(&tiers.subscriptions).chain(custom)
}

fn limits(policy: &Policy) -> impl Iterator<Item = &Limit> {
    policy.limits.iter().chain(policy.groups.iter().flat_map(|group| &group.limits))
}
