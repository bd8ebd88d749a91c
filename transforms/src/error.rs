//! Why a transformation cannot be used, and why it could not be applied.

use microgw_expressions::ExpressionError;

use crate::editable::{Direction, EditError};
use crate::names::NameError;
use crate::path::PathError;
use crate::place::PlaceError;
use crate::template::TemplateError;
use crate::{MAX_EDITS, MAX_STEPS};

/// Told to whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct TransformError {
    pub step: usize,
    /// Which edit of the step, where it has several.
    pub edit: Option<usize>,
    pub cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    #[error("it has more than {MAX_STEPS} steps")]
    TooManySteps,
    #[error("a step has more than {MAX_EDITS} edits")]
    TooManyEdits,
    #[error("a step does nothing")]
    Nothing,
    #[error("`{0}` is for requests alone")]
    OfRequests(&'static str),
    #[error("`{0}` is for responses alone")]
    OfResponses(&'static str),
    #[error("the condition is not accepted: {0}")]
    Condition(#[source] ExpressionError),
    #[error("the template is not accepted: {0}")]
    Template(#[source] TemplateError),
    #[error("the header `{0}` cannot be edited: {1}")]
    Header(String, #[source] EditError),
    #[error("the value of the header `{0}` cannot be sent: {1}")]
    HeaderValue(String, #[source] EditError),
    #[error("each `set-cookie` is a header of its own: `add` is there for them")]
    AppendedCookie,
    #[error("`{0}` cannot be a query parameter: {1}")]
    Query(String, #[source] NameError),
    #[error("the path cannot be sent: {0}")]
    Path(#[source] PathError),
    #[error("a path begins with `/`, whatever is filled in")]
    PathStart,
    #[error("`{0}` is no method that a request can be given: GET, POST, PUT, PATCH and DELETE are")]
    Method(String),
    #[error("{0} is no status that a response can be given: 200 to 599 are, without 204, 205, 206 and 304")]
    Status(u32),
    #[error("`{0}` is no place in a body: {1}")]
    Place(String, #[source] PlaceError),
    #[error("the value is no JSON, or nests too deeply")]
    Value,
    #[error("`{0}` is no content type")]
    ContentType(String),
    #[error("`{0}` is no content type of XML")]
    XmlContentType(String),
    #[error("`{0}` cannot be an element's name")]
    Element(String),
    #[error("the parameters are no JSON object")]
    Parameters,
}

/// A closed list. None of them says anything of what the message has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the body is no JSON, repeats a member, or is too deep")]
    NoJson,
    #[error("the body is no XML without document type, or is too deep")]
    NoXml,
    #[error("the body's JSON has no form in XML")]
    NoXmlForm,
    #[error("the body has something else where an object or a list is needed")]
    Place,
    #[error("the body has more places that are meant than are edited")]
    Hits,
    #[error("the body is encoded, or not in UTF-8")]
    Encoded,
    #[error("the body is a part of one")]
    Partial,
    #[error("the body is too large, or would be")]
    TooLarge,
    #[error("a condition has no result")]
    Condition,
    #[error("a template names something that is not there")]
    Missing,
    #[error("a template takes too long")]
    Endless,
    #[error("a template does with a value what is not done with one of its kind, or leaves a part of a path empty")]
    Template,
    #[error("a template makes a value that cannot be sent")]
    Value,
    #[error("a template makes a path that cannot be sent")]
    Path,
    #[error("a template makes a body that is not well-formed")]
    Malformed,
}

// === impl Failure ===

impl Failure {
    /// What the client is answered: that its body is not what is needed, or that the backend's is not, or that the gateway's own rules
    /// cannot be followed.
    pub fn status(self, direction: Direction) -> u16 {
        match (direction, self) {
            (
                _,
                Failure::Condition
                | Failure::Missing
                | Failure::Endless
                | Failure::Template
                | Failure::Value
                | Failure::Path
                | Failure::Malformed,
            ) => 500,
            (Direction::Response, _) => 502,
            (Direction::Request, Failure::Encoded) => 415,
            (Direction::Request, Failure::TooLarge) => 413,
            (Direction::Request, _) => 400,
        }
    }
}
