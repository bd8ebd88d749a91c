//! `$env{NAME}` and `$file{PATH}`: where a secret is kept that is not written down.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    Variable(&'a str),
    File(&'a str),
}

/// Why a text is neither a reference nor without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("has a reference to nothing")]
    Nothing,
    #[error("has a reference in it: `$env{{NAME}}` or `$file{{PATH}}` must be all of the value")]
    Partial,
}

// === impl Reference ===

impl Reference<'_> {
    /// `None`: the text is what it says.
    pub fn parse(text: &str) -> Result<Option<Reference<'_>>, ReferenceError> {
        if !["$env{", "$file{"].iter().any(|start| text.contains(start)) {
            return Ok(None);
        }
        let inside = |start| text.strip_prefix(start)?.strip_suffix('}').filter(|name| !name.contains(['{', '}']));
        let reference = inside("$env{").map(Reference::Variable).or_else(|| inside("$file{").map(Reference::File));
        match reference {
            Some(Reference::Variable("") | Reference::File("")) => Err(ReferenceError::Nothing),
            Some(reference) => Ok(Some(reference)),
            None => Err(ReferenceError::Partial),
        }
    }

    pub fn is_one(text: &str) -> bool {
        matches!(Reference::parse(text), Ok(Some(_)))
    }
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Variable(name) => write!(f, "$env{{{name}}}"),
            Reference::File(path) => write!(f, "$file{{{path}}}"),
        }
    }
}
