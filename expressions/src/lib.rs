//! Expressions in CEL that operators write: conditions, and what a request costs. The only crate that knows the language's
//! implementation.
//!
//! An expression is checked when it is read: what it names is known, what it compares can be equal, and what it costs to evaluate
//! is bounded, whatever a request says. At run time only what it names is made.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod check;
mod evaluate;
mod pattern;
mod template;
mod variable;

use std::fmt;

use cel::IdedExpr;

use self::check::Kind;
use self::pattern::Pattern;
pub use self::pattern::{MAX_PATTERN_LENGTH, PatternError, pattern};
pub use self::template::{MAX_TEMPLATE_LENGTH, Template, TemplateError};
pub use self::variable::{Value, Variable, Variables};

/// Bytes of an expression.
pub const MAX_LENGTH: usize = 4096;
/// Words and signs of an expression; what it takes to read it grows with them.
pub const MAX_WORDS: usize = 512;
/// Expressions within expressions.
pub const MAX_DEPTH: usize = 32;
/// Steps of an evaluation, at most.
pub const MAX_STEPS: usize = 4096;
/// Texts of a variable that is a list. An expression that meets more has failed.
pub const MAX_ITEMS: usize = 100;
/// Bytes of a text. An expression that meets a longer one has failed.
pub const MAX_TEXT: usize = 8 * 1024;
/// What a request may cost.
pub const MAX_COST: u64 = 1_000_000;

/// One that was checked, ready to be evaluated.
pub struct Expression {
    text: Box<str>,
    /// Variables and patterns in it are names by which [`evaluate`] finds them.
    tree: IdedExpr,
    variables: Box<[Variable]>,
    patterns: Box<[Pattern]>,
}

/// Why an expression is not accepted. Told to whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    #[error("it is longer than {MAX_LENGTH} bytes")]
    TooLong,
    #[error("it has more than {MAX_WORDS} words and signs")]
    TooManyWords,
    #[error("it nests more than {MAX_DEPTH} levels")]
    TooDeep,
    #[error(
        "it may take more than {MAX_STEPS} steps: each of `all`, `exists` and `exists_one` counts {MAX_ITEMS} times"
    )]
    TooCostly,
    #[error("at character {column}: {message}")]
    Syntax { column: usize, message: String },
    #[error("`{0}` is not known")]
    UnknownName(String),
    #[error("`{0}` needs the name of what is meant, as in `{0}[\"name\"]`")]
    NoName(&'static str),
    #[error("`{0}` is no function that expressions have")]
    UnknownFunction(String),
    #[error("`{0}` makes lists, which could be of any size; `all`, `exists` and `exists_one` are there")]
    MakesLists(&'static str),
    #[error("`all`, `exists` and `exists_one` cannot be within one another")]
    NestedLoops,
    #[error("texts cannot be joined within `all`, `exists` and `exists_one`")]
    Joins,
    #[error("maps and messages cannot be made")]
    MakesMaps,
    #[error("`matches` needs a pattern in quotes, and nothing else")]
    NoPattern,
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error("`{operator}` of {left} and {right} has no result")]
    Kinds { operator: String, left: &'static str, right: &'static str },
    #[error("it must be {wanted}, and is {found}")]
    Result { wanted: &'static str, found: &'static str },
}

/// An expression could not be evaluated with what a request has. What follows is up to what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the expression has no result for this request")]
pub struct Failed;

// === impl Expression ===

impl Expression {
    /// One that is true or false, of a request.
    pub fn condition(text: &str) -> Result<Expression, ExpressionError> {
        Expression::read(text, Kind::Boolean, "true or false").and_then(Expression::of_request)
    }

    /// One that is true or false, of a response and the request that it answers.
    pub fn response_condition(text: &str) -> Result<Expression, ExpressionError> {
        Expression::read(text, Kind::Boolean, "true or false")
    }

    /// One that is a number.
    pub fn cost(text: &str) -> Result<Expression, ExpressionError> {
        Expression::read(text, Kind::Number, "a number").and_then(Expression::of_request)
    }

    fn of_request(self) -> Result<Expression, ExpressionError> {
        match self.variables.iter().find_map(Variable::of_response) {
            Some(name) => Err(ExpressionError::UnknownName(name.to_owned())),
            None => Ok(self),
        }
    }

    fn read(text: &str, kind: Kind, wanted: &'static str) -> Result<Expression, ExpressionError> {
        let (found, expression) = check::read(text)?;
        let fits = found == kind || found == Kind::Any;
        if fits { Ok(expression) } else { Err(ExpressionError::Result { wanted, found: found.as_str() }) }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it asks of a request.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests;
