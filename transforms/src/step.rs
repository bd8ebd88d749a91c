//! Steps as they are taken.

use microgw_expressions::Expression;
use microgw_proto::transforms::v1::edit::Operation;

use crate::json::{Json, Object};
use crate::json_edit::JsonEdit;
use crate::template::{Syntax, Template, Words};
use crate::xml::ToJson;

#[derive(Debug)]
pub(crate) struct Step {
    pub condition: Option<Expression>,
    /// Index into the transformation's.
    pub parameters: Option<usize>,
    pub source: Box<str>,
    pub action: Action,
}

#[derive(Debug)]
pub(crate) enum Action {
    /// Nothing; without its condition so many steps that follow are left out.
    Guard(usize),
    Headers(Box<[Edit]>),
    Query(Box<[Edit]>),
    Path(Words),
    Method(&'static str),
    /// Values are made before any of the edits.
    Json(Box<[Filled]>),
    Body {
        words: Words,
        syntax: Syntax,
        content_type: Box<str>,
    },
    ToXml {
        content_type: Box<str>,
        root: Option<Box<str>>,
    },
    ToJson(ToJson),
    Status(u16),
}

#[derive(Debug)]
pub(crate) struct Edit {
    pub operation: Operation,
    pub name: Box<str>,
    /// Of all but removing; of renaming the new name.
    pub value: Words,
}

/// An edit of a body, with the value that it puts in.
pub(crate) type Filled = (JsonEdit, Option<Filler>);

/// A JSON value, with what is to be filled in.
#[derive(Debug)]
pub(crate) enum Filler {
    Plain(Json),
    /// Becomes a text.
    Text(Template),
    /// Becomes what it says as JSON.
    Value(Template),
    Array(Vec<Filler>),
    Object(Vec<(String, Filler)>),
}

/// Methods that a request can be given.
pub(crate) const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// One that a response can be given: it may have a body, and says nothing of another one.
pub(crate) fn is_status(status: u16) -> bool {
    (200..=599).contains(&status) && !matches!(status, 204 | 205 | 206 | 304)
}

// === impl Filler ===

impl Filler {
    pub(crate) fn fill<E>(&self, render: &mut impl FnMut(&Template, bool) -> Result<Json, E>) -> Result<Json, E> {
        Ok(match self {
            Filler::Plain(json) => json.clone(),
            Filler::Text(template) => render(template, false)?,
            Filler::Value(template) => render(template, true)?,
            Filler::Array(items) => Json::Array(items.iter().map(|item| item.fill(render)).collect::<Result<_, E>>()?),
            Filler::Object(members) => {
                let filled = members.iter().map(|(name, value)| Ok((name.clone(), value.fill(render)?)));
                Json::Object(filled.collect::<Result<Object, E>>()?)
            }
        })
    }

    pub(crate) fn templates(&self) -> Vec<&Template> {
        match self {
            Filler::Plain(_) => Vec::new(),
            Filler::Text(template) | Filler::Value(template) => vec![template],
            Filler::Array(items) => items.iter().flat_map(Filler::templates).collect(),
            Filler::Object(members) => members.iter().flat_map(|(_, value)| value.templates()).collect(),
        }
    }
}

// === impl Action ===

impl Action {
    /// Everything in it that may be a template.
    pub(crate) fn templates(&self) -> Vec<&Template> {
        match self {
            Action::Headers(edits) | Action::Query(edits) => {
                edits.iter().filter_map(|edit| edit.value.template()).collect()
            }
            Action::Path(words) | Action::Body { words, .. } => words.template().into_iter().collect(),
            Action::Json(edits) => {
                edits.iter().filter_map(|(_, value)| value.as_ref()).flat_map(Filler::templates).collect()
            }
            Action::Guard(_) | Action::Method(_) | Action::ToXml { .. } | Action::ToJson(_) | Action::Status(_) => {
                Vec::new()
            }
        }
    }
}
