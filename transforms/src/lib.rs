//! Declarative transformations: what becomes of requests and responses before they are passed on. Pure: a message goes in, and
//! comes out changed, or not at all.
//!
//! Everything is compiled when a transformation is loaded: expressions, templates, places in bodies, names. What a message can make
//! it cost is bounded by the constants here.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod apply;
mod context;
pub mod editable;
mod editor;
mod error;
pub mod json;
pub mod json_edit;
mod load;
mod message;
pub mod names;
pub mod overrides;
pub mod parameters;
pub mod path;
pub mod place;
pub mod query;
mod step;
mod template;
pub mod xml;

use std::collections::BTreeSet;

use minijinja::value::Value;

pub use self::context::Context;
pub use self::editable::Direction;
pub use self::editor::{Editor, EditorError, Terms};
pub use self::error::{Cause, Failure, TransformError};
pub use self::message::{Changes, Headers, Message};
use self::step::Step;
use self::template::Templates;
pub use self::template::{MAX_TEMPLATE, Syntax, TemplateError};

/// Bytes of a body that is read, of one that is made, and of what edits put into one.
pub const MAX_BODY: usize = 8 * 1024 * 1024;
/// Values within values, or elements within elements.
pub const MAX_DEPTH: usize = 64;
/// Values of a body; elements and attributes count as such.
pub const MAX_VALUES: usize = 250_000;
/// Places that one edit finds.
pub const MAX_HITS: usize = 10_000;
/// Steps of a transformation.
pub const MAX_STEPS: usize = 128;
/// Edits of one step.
pub const MAX_EDITS: usize = 64;
/// Bytes of all headers of a message.
pub const MAX_HEAD: usize = 56 * 1024;

/// Steps, ready to be taken.
#[derive(Debug)]
pub struct Transform {
    direction: Direction,
    steps: Box<[Step]>,
    templates: Templates,
    /// Of policies.
    parameters: Box<[Value]>,
    needs: Needs,
    mentions: Mentions,
}

/// What a transformation takes, known before any message comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Each says something by itself.
pub struct Needs {
    /// It reads the body: the whole must be there.
    pub body: bool,
    /// The body may be another one afterwards.
    pub writes_body: bool,
    /// The path or its query may be another one.
    pub writes_path: bool,
    pub writes_method: bool,
}

/// What a transformation names, so that it is there, or is found to be nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    pub claims: BTreeSet<String>,
    /// By which application somebody calls, or under which tier.
    pub subscriptions: bool,
    /// Parameters of the path, and the step that names them.
    pub path_parameters: BTreeSet<(usize, String)>,
    /// Parameters of a policy, likewise.
    pub parameters: BTreeSet<(usize, String)>,
    /// Names of headers that are set, or renamed to or from, by step.
    pub headers: BTreeSet<(usize, String)>,
    /// Of query parameters, likewise.
    pub query: BTreeSet<(usize, String)>,
}

// === impl Transform ===

impl Transform {
    pub fn needs(&self) -> Needs {
        self.needs
    }

    pub fn mentions(&self) -> &Mentions {
        &self.mentions
    }

    /// Where a step was written.
    pub fn source(&self, step: usize) -> Option<&str> {
        self.steps.get(step).map(|step| &*step.source)
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

#[cfg(test)]
mod tests;
