//! Whether a request is meant: by what it says, by who sends it from where, and by what it is for.

mod addresses;
mod text;

use std::sync::Arc;

use microgw_expressions::{Expression, Variable};
use microgw_proto::limits::v1 as proto;

use self::addresses::Addresses;
use self::text::Text;
pub(super) use self::text::lines;
use super::{Interest, Request};
use crate::rules::LoadError;

#[derive(Debug)]
pub(crate) enum Condition {
    All(Box<[Condition]>),
    Any(Box<[Condition]>),
    Not(Box<Condition>),
    Header(Text),
    Query(Text),
    Claim(Text),
    Addresses(Addresses),
    /// Of the API.
    Versions(Box<[Box<str>]>),
    Expression(Arc<Expression>),
}

/// It cannot be told: values of one name disagree, an expression fails, or nobody knows where the request comes from. Neither
/// the condition nor its opposite may be taken to hold; whoever asks does what lets less through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Undecided;

/// Conditions within conditions.
const MAX_DEPTH: usize = 16;

// === impl Condition ===

impl Condition {
    pub(crate) fn load(condition: &proto::Condition) -> Result<Condition, LoadError> {
        Condition::load_at(condition, 0)
    }

    fn load_at(condition: &proto::Condition, depth: usize) -> Result<Condition, LoadError> {
        use proto::condition::Kind;
        if depth > MAX_DEPTH {
            return Err(LoadError::Condition("it nests too deeply".to_owned()));
        }
        let several = |conditions: &proto::Conditions| -> Result<Box<[Condition]>, LoadError> {
            conditions.conditions.iter().map(|condition| Condition::load_at(condition, depth + 1)).collect()
        };
        Ok(match condition.kind.as_ref().ok_or_else(|| LoadError::Condition("it says nothing".to_owned()))? {
            Kind::All(conditions) => Condition::All(several(conditions)?),
            Kind::Any(conditions) => Condition::Any(several(conditions)?),
            Kind::Not(condition) => Condition::Not(Box::new(Condition::load_at(condition, depth + 1)?)),
            Kind::Header(text) => {
                crate::policy::header_name(&text.name)?;
                Condition::Header(Text::load(text)?)
            }
            Kind::Query(text) => Condition::Query(Text::load(text)?),
            Kind::Claim(text) => Condition::Claim(Text::load(text)?),
            Kind::Addresses(addresses) => Condition::Addresses(Addresses::load(addresses)?),
            Kind::Versions(names) => Condition::Versions(names.names.iter().map(|name| name.as_str().into()).collect()),
            Kind::Expression(text) => {
                let expression = Expression::condition(text);
                Condition::Expression(Arc::new(expression.map_err(|error| LoadError::Condition(error.to_string()))?))
            }
        })
    }

    /// What does not decide need not be known: `false` and something undecided are `false`.
    pub(crate) fn judge(&self, request: &Request<'_>) -> Result<bool, Undecided> {
        match self {
            Condition::All(conditions) => until(false, conditions, request),
            Condition::Any(conditions) => until(true, conditions, request),
            Condition::Not(condition) => condition.judge(request).map(|met| !met),
            Condition::Header(text) => text.judge_header(request.header(text.name())),
            Condition::Query(text) => text.judge_query(request.query(text.name())),
            Condition::Claim(text) => Ok(text.judge_claim(request.claim(text.name()))),
            Condition::Addresses(addresses) => {
                request.address().map(|address| addresses.contain(address)).ok_or(Undecided)
            }
            Condition::Versions(names) => Ok(names.contains(&request.rule.api().version)),
            Condition::Expression(expression) => expression.is_true(request).map_err(|_| {
                request.facts.failed(expression);
                Undecided
            }),
        }
    }

    /// It holds, or nobody can tell.
    pub(crate) fn may_hold(&self, request: &Request<'_>) -> bool {
        self.judge(request).unwrap_or(true)
    }

    /// It depends on who calls, not on the request alone.
    pub(crate) fn needs_caller(&self) -> bool {
        match self {
            Condition::All(conditions) | Condition::Any(conditions) => conditions.iter().any(Condition::needs_caller),
            Condition::Not(condition) => condition.needs_caller(),
            Condition::Claim(_) => true,
            Condition::Expression(expression) => expression.variables().iter().any(is_of_caller),
            Condition::Header(_) | Condition::Query(_) | Condition::Addresses(_) | Condition::Versions(_) => false,
        }
    }

    /// Adds what it looks at.
    pub(crate) fn looks_at(&self, interest: &mut Interest) {
        match self {
            Condition::All(conditions) | Condition::Any(conditions) => {
                conditions.iter().for_each(|condition| condition.looks_at(interest));
            }
            Condition::Not(condition) => condition.looks_at(interest),
            Condition::Claim(text) => interest.in_claim(text.name()),
            Condition::Expression(expression) => interest.in_all(expression.variables()),
            Condition::Header(_) | Condition::Query(_) | Condition::Addresses(_) | Condition::Versions(_) => {}
        }
    }
}

/// Whether one of them is `decides`; if none is, the opposite.
fn until(decides: bool, conditions: &[Condition], request: &Request<'_>) -> Result<bool, Undecided> {
    let mut so_far = Ok(!decides);
    for condition in conditions {
        match condition.judge(request) {
            Ok(met) if met == decides => return Ok(decides),
            Ok(_) => {}
            Err(Undecided) => so_far = Err(Undecided),
        }
    }
    so_far
}

fn is_of_caller(variable: &Variable) -> bool {
    match variable {
        Variable::Subject
        | Variable::Client
        | Variable::Application
        | Variable::ApplicationId
        | Variable::Tier
        | Variable::Scopes
        | Variable::KeyType
        | Variable::Claim(_) => true,
        Variable::Present(variable) => is_of_caller(variable),
        _ => false,
    }
}
