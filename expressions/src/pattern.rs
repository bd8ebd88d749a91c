//! Regular expressions, in time that is linear in what they are matched with.

use std::any::Any;
use std::fmt;

use cel::common::types::{Kind, Type};
use cel::common::value::{StaticVal, Val};
use regex::{Regex, RegexBuilder};

/// Bytes of a pattern.
pub const MAX_PATTERN_LENGTH: usize = 1024;
/// Of a compiled one, and of what matching it remembers.
const MAX_SIZE: usize = 256 * 1024;

/// Why a pattern is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("a pattern is longer than {MAX_PATTERN_LENGTH} bytes")]
    TooLong,
    #[error("a pattern is too large: it takes more than {} kB", MAX_SIZE / 1024)]
    TooLarge,
    #[error("a pattern is no regular expression: {0}")]
    Syntax(String),
}

/// Compiles a pattern that is to be found anywhere in a text.
pub fn pattern(text: &str) -> Result<Regex, PatternError> {
    if text.len() > MAX_PATTERN_LENGTH {
        return Err(PatternError::TooLong);
    }
    let regex = RegexBuilder::new(text).size_limit(MAX_SIZE).dfa_size_limit(MAX_SIZE).nest_limit(32).build();
    regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
        error => PatternError::Syntax(error.to_string().lines().last().unwrap_or_default().trim().to_owned()),
    })
}

/// One in an expression: an argument that only `matches` knows.
#[derive(Clone)]
pub(crate) struct Pattern(pub(crate) Regex);

static PATTERN: Type = Type::simple_type(Kind::Opaque, "pattern");

// === impl Pattern ===

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn equals(&self, _: &dyn Val) -> bool {
        false
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.0.as_str()).finish()
    }
}
