//! What an API or an operation is limited to.

use microgw_expressions::Expression;
use microgw_proto::limits::v1::{Cost, cost::Kind};

use super::fields::{suggest, text};
use crate::compile::{Policies, Report};
use crate::diagnostic::Code;
use crate::limits::{MAX_COST, UNLIMITED};
use crate::model::{LimitId, Position};
use crate::source::{Content, Value};

/// The first that is there counts.
const TIERS: &[&str] = &["x-wso2-throttling-tier", "x-throttling-tier"];

/// The policy that the tier of an API or operation names, which is at `source`.
pub(super) fn tier(
    report: &mut Report,
    policies: &mut Policies,
    owner: Value<'_>,
    source: Position,
) -> Option<LimitId> {
    let (key, at) = TIERS.iter().find_map(|key| Some((key, owner.get(key)?)))?;
    let name = text(report, key, at)?;
    if name == UNLIMITED {
        return None;
    }
    let id = policies.use_resource_policy(name, at.place(), source);
    if id.is_none() && policies.are_known() {
        let message = format!("the tier `{name}` is not among the `resourcePolicies` of `policies.yaml`");
        suggest(report, Code::UnknownPolicy, at, message, name, policies.resource_policies());
    }
    id
}

/// What each request of an API or operation counts: a number, or an expression that finds it.
pub(super) fn cost(report: &mut Report, policies: &mut Policies, owner: Value<'_>, source: Position) -> Option<Cost> {
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
        Content::Text(expression) => {
            if let Err(error) = Expression::cost(expression) {
                report.say(Code::BadCost, at, format!("the expression `{expression}` cannot be used: {error}"));
                return None;
            }
            Kind::Expression(expression.to_owned())
        }
        _ => {
            let message = format!("`{KEY}` must be a number or an expression, not {}", at.type_name());
            report.say(Code::BadCost, at, message);
            return None;
        }
    };
    policies.cost_of(source, at.place());
    Some(Cost { kind: Some(kind) })
}
