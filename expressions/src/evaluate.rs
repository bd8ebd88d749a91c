//! Evaluation: what an expression names is made when it is met, and once.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, OnceLock};

use cel::common::types::{self, CelBool, CelDouble, CelInt, CelList, CelNull, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, Value as Cel};

use crate::check::Kind;
use crate::pattern::Pattern;
use crate::{Expression, Failed, MAX_COST, MAX_ITEMS, MAX_TEXT, Value, Variable, Variables};

/// Of variables and patterns in a checked tree, followed by their number. No expression can have such names.
pub(crate) const VARIABLE: &str = "@v";
pub(crate) const PATTERN: &str = "@p";
pub(crate) const MATCHES: &str = "@matches";

/// The functions of the language.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::default().with_optional_support(false).with_stdlib();
    let arguments = vec![types::STRING_TYPE, types::DYN_TYPE];
    // Fails where there is such a function already, and there is none.
    let _ = environment.add_overload(MATCHES, MATCHES, arguments, matches);
    Arc::new(environment)
});

/// What one evaluation has made so far.
struct Names<'a> {
    expression: &'a Expression,
    variables: &'a dyn Variables,
    made: Box<[OnceLock<Made<'a>>]>,
}

/// `None`: too much, or nobody can tell.
type Made<'a> = Option<Box<dyn Val + 'a>>;

// === impl Expression ===

impl Expression {
    pub fn is_true(&self, variables: &dyn Variables) -> Result<bool, Failed> {
        self.evaluate(variables, |value| value.downcast_ref::<CelBool>().map(|value| *value.inner()))
    }

    /// At most [`MAX_COST`], with parts of one rounded up. What is less than nothing is no cost: it would pass for free.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A cast from a double saturates.
    pub fn cost_of(&self, variables: &dyn Variables) -> Result<u64, Failed> {
        let cost = self.evaluate(variables, |value| {
            if let Some(integer) = value.downcast_ref::<CelInt>() {
                return u64::try_from(*integer.inner()).ok();
            }
            let unsigned = || value.downcast_ref::<types::CelUInt>().map(|value| *value.inner());
            // Nor is what is no number.
            let double = || value.downcast_ref::<CelDouble>().map(|value| *value.inner()).filter(|value| *value >= 0.0);
            unsigned().or_else(|| double().map(|value| value.ceil() as u64))
        })?;
        Ok(cost.min(MAX_COST))
    }

    fn evaluate<T>(&self, variables: &dyn Variables, read: impl Fn(&dyn Val) -> Option<T>) -> Result<T, Failed> {
        let made = self.variables.iter().map(|_| OnceLock::new()).collect();
        let names = Names { expression: self, variables, made };
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(&names);
        let value = Cel::resolve_val(&self.tree, &context).map_err(|_| Failed)?;
        read(value.as_ref()).ok_or(Failed)
    }
}

// === impl Names ===

impl VariableResolver for Names<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(number) = name.strip_prefix(VARIABLE) {
            let number: usize = number.parse().ok()?;
            let variable = self.expression.variables.get(number)?;
            let made = self.made.get(number)?.get_or_init(|| make(variable, self.variables));
            return made.as_deref().map(|value| CowVal::Borrowed(value as &(dyn Val + 'b)));
        }
        let number: usize = name.strip_prefix(PATTERN)?.parse().ok()?;
        self.expression.patterns.get(number).map(|pattern| CowVal::Borrowed(pattern as &(dyn Val + 'b)))
    }
}

fn make<'a>(variable: &Variable, variables: &'a dyn Variables) -> Made<'a> {
    let text = |text: Cow<'a, str>| -> Made<'a> {
        if text.len() > MAX_TEXT {
            return None;
        }
        Some(match text {
            Cow::Borrowed(text) => Box::new(CelString::from(text)),
            Cow::Owned(text) => Box::new(CelString::from(text)),
        })
    };
    if let Variable::Present(variable) = variable {
        return Some(Box::new(CelBool::from(variables.get(variable) != Value::Absent)));
    }
    let list = |texts: Vec<Cow<'a, str>>| -> Made<'a> {
        if texts.len() > MAX_ITEMS {
            return None;
        }
        let items = texts.into_iter().map(text).collect::<Option<Vec<_>>>()?;
        Some(Box::new(CelList::from(items)))
    };
    match variables.get(variable) {
        Value::Unclear => None,
        Value::Text(value) => text(value),
        Value::Texts(values) => list(values),
        Value::Integer(value) => Some(Box::new(CelInt::from(value))),
        Value::Number(value) => Some(Box::new(CelDouble::from(value))),
        Value::Boolean(value) => Some(Box::new(CelBool::from(value))),
        Value::Absent => match variable.kind() {
            Kind::Text => text(Cow::Borrowed("")),
            Kind::List => list(Vec::new()),
            _ => Some(Box::new(CelNull)),
        },
    }
}

#[allow(clippy::needless_pass_by_value)] // As the language calls functions.
fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [text, pattern] = arguments.as_slice() else { return Err(ExecutionError::missing_argument_or_target()) };
    match (text.downcast_ref::<CelString>(), pattern.downcast_ref::<Pattern>()) {
        (Some(text), Some(pattern)) => Ok(CowVal::owned(CelBool::from(pattern.0.is_match(text.inner())))),
        _ => Err(ExecutionError::missing_argument_or_target()),
    }
}
