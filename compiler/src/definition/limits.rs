//! What an API or an operation is limited to.

use microgw_proto::limits::v1::{Cost, cost::Kind};

use super::fields::{suggest, text};
use crate::compile::{Policies, Report};
use crate::diagnostic::Code;
use crate::limits::{MAX_COST, MAX_TEXT, UNLIMITED};
use crate::model::LimitId;
use crate::source::{Content, Value};

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

/// What each request of an API or operation counts: a number, or an expression that finds it.
pub(super) fn cost(report: &mut Report, owner: Value<'_>) -> Option<Cost> {
    const KEY: &str = "x-microgw-cost";
    let at = owner.get(KEY)?;
    let kind = match at.content() {
        Content::Number(number) => {
            let cost = number.parse::<u64>().ok().filter(|cost| (1..=MAX_COST).contains(cost));
            if cost.is_none() {
                let message = format!("`{KEY}` must be a whole number from 1 to {MAX_COST}, not {number}");
                report.advise(Code::BadCost, at, message, "for no limit, use the tier `Unlimited`");
            }
            Kind::Constant(cost?)
        }
        Content::Text(expression) if expression.trim().is_empty() || expression.len() > MAX_TEXT => {
            report.say(Code::BadCost, at, format!("`{KEY}` is empty or longer than {MAX_TEXT} bytes"));
            return None;
        }
        Content::Text(expression) => Kind::Expression(expression.to_owned()),
        _ => {
            let message = format!("`{KEY}` must be a number or an expression, not {}", at.type_name());
            report.say(Code::BadCost, at, message);
            return None;
        }
    };
    Some(Cost { kind: Some(kind) })
}
