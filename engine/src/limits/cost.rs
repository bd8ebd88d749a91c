//! What a request counts.

use std::sync::Arc;

use microgw_expressions::{Expression, MAX_COST};
use microgw_proto::limits::v1 as proto;

use super::{Algorithm, Interest, Limit, Request};
use crate::rules::LoadError;

#[derive(Clone, Debug)]
pub(crate) enum Cost {
    Constant(u64),
    Expression(Arc<Expression>),
}

/// Of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Price {
    Known(u64),
    /// It cannot be told: all that a limit ever has at once.
    Everything,
}

// === impl Cost ===

impl Cost {
    pub(super) fn load(cost: &proto::Cost) -> Result<Cost, LoadError> {
        match cost.kind.as_ref().ok_or(LoadError::Limit)? {
            proto::cost::Kind::Constant(cost) if *cost <= MAX_COST => Ok(Cost::Constant(*cost)),
            proto::cost::Kind::Constant(_) => Err(LoadError::Limit),
            proto::cost::Kind::Expression(text) => {
                let expression = Expression::cost(text).map_err(|error| LoadError::Condition(error.to_string()))?;
                Ok(Cost::Expression(Arc::new(expression)))
            }
        }
    }

    /// Adds what it looks at.
    pub(super) fn looks_at(&self, interest: &mut Interest) {
        if let Cost::Expression(expression) = self {
            interest.in_all(expression.variables());
        }
    }

    pub(super) fn of(&self, request: &Request<'_>) -> Price {
        match self {
            Cost::Constant(cost) => Price::Known(*cost),
            Cost::Expression(expression) => expression.cost_of(request).map_or_else(
                |_| {
                    request.facts.failed(expression);
                    Price::Everything
                },
                Price::Known,
            ),
        }
    }
}

impl Default for Cost {
    fn default() -> Cost {
        Cost::Constant(1)
    }
}

// === impl Price ===

impl Price {
    pub(super) fn at(self, limit: &Limit) -> u64 {
        match (self, &limit.algorithm) {
            (Price::Known(cost), _) => cost,
            (Price::Everything, Algorithm::Burst { burst, .. }) => *burst,
            (Price::Everything, _) => limit.quota,
        }
    }
}
