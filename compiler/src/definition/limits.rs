//! What an API or an operation is limited to.

use super::fields::{suggest, text};
use crate::compile::{Policies, Report};
use crate::diagnostic::Code;
use crate::model::LimitId;
use crate::source::Value;

/// Built in at every level.
const UNLIMITED: &str = "Unlimited";
/// The first that is there counts.
const TIERS: &[&str] = &["x-wso2-throttling-tier", "x-throttling-tier"];

/// The policy that the tier of an API or operation names.
pub(super) fn tier(report: &mut Report, policies: &mut Policies, owner: Value<'_>) -> Option<LimitId> {
    let (key, at) = TIERS.iter().find_map(|key| Some((key, owner.get(key)?)))?;
    let name = text(report, key, at)?;
    if name == UNLIMITED {
        return None;
    }
    let id = policies.use_resource_policy(name);
    if id.is_none() {
        let message = format!("the tier `{name}` is not among the `resourcePolicies` of `policies.yaml`");
        suggest(report, Code::UnknownPolicy, at, message, name, policies.resource_policies());
    }
    id
}
