//! What a service answers: edits of the message, or an answer in its place.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use microgw_engine::interceptors::{Interception, Verdict};
use microgw_transforms::{Editor, EditorError};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::answer::Answer as Instead;
use crate::attributes::{self, AttributeError};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(super) struct Answer {
    method: Option<String>,
    path: Option<String>,
    query: Object<Edits>,
    status: Option<u16>,
    headers: Object<Edits>,
    body: Option<Object<Body>>,
    attributes: Unique<Option<String>>,
    respond: Option<Object<Respond>>,
}

/// Taken in this order: remove, set, add.
#[derive(Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Edits {
    remove: Vec<String>,
    set: Unique<String>,
    add: Vec<Object<Pair>>,
}

#[derive(Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Pair {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Body {
    text: Option<String>,
    base64: Option<String>,
    content_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Respond {
    status: u16,
    #[serde(default)]
    headers: Vec<Object<Pair>>,
    body: Option<Object<Body>>,
}

/// Serde takes a list of an object's members for the object. This does not.
#[derive(Default, PartialEq)]
struct Object<T>(T);

/// By name; one that is there twice would mean what a reader makes of it.
#[derive(PartialEq)]
struct Unique<T>(BTreeMap<String, T>);

/// Why an answer is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("it is not the JSON that is documented, at line {line}, column {column}")]
    Json { line: usize, column: usize },
    #[error("a body is `text` or `base64`, one of them")]
    Body,
    #[error("whoever responds edits nothing")]
    Both,
    #[error("the header `{0}` is refused: {1}")]
    Header(Box<str>, #[source] EditorError),
    #[error("an edit is refused: {0}")]
    Edit(#[from] EditorError),
    #[error(transparent)]
    Attribute(#[from] AttributeError),
}

/// Follows it, or leaves it: nothing is half done.
pub fn read(interception: Interception, answer: &[u8]) -> Result<Verdict, AnswerError> {
    follow(interception, parse(answer)?)
}

pub(super) fn parse(answer: &[u8]) -> Result<Answer, AnswerError> {
    if answer.is_empty() {
        return Ok(Answer::default());
    }
    // What serde says has parts of the answer in it.
    let read = serde_json::from_slice(answer).map(|Object(answer)| answer);
    read.map_err(|error| AnswerError::Json { line: error.line(), column: error.column() })
}

pub(super) fn follow(mut interception: Interception, answer: Answer) -> Result<Verdict, AnswerError> {
    let Answer { method, path, query: Object(query), status, headers: Object(headers), body, attributes, respond } =
        answer;
    if let Some(Object(respond)) = respond {
        let edits = method.is_some() || path.is_some() || status.is_some() || body.is_some();
        if edits || query != Edits::default() || headers != Edits::default() || !attributes.0.is_empty() {
            return Err(AnswerError::Both);
        }
        let is_head = interception.terms().is_head;
        return Ok(Verdict::Respond(respond.into_answer()?.into_message(is_head)?));
    }
    let mut message = std::mem::take(&mut interception.message);
    let mut editor = Editor { message: &mut message, terms: interception.terms() };
    if let Some(method) = method {
        editor.set_method(&method)?;
    }
    if let Some(path) = path {
        editor.set_path(&path)?;
    }
    for name in &query.remove {
        editor.remove_query(name)?;
    }
    for (name, value) in &query.set.0 {
        editor.set_query(name, value)?;
    }
    for Object(Pair { name, value }) in &query.add {
        editor.add_query(name, value)?;
    }
    if let Some(status) = status {
        editor.set_status(status)?;
    }
    for name in &headers.remove {
        editor.remove_header(name).map_err(|error| of_header(name, error))?;
    }
    for (name, value) in &headers.set.0 {
        editor.set_header(name, value.as_bytes()).map_err(|error| of_header(name, error))?;
    }
    for Object(Pair { name, value }) in &headers.add {
        editor.add_header(name, value.as_bytes()).map_err(|error| of_header(name, error))?;
    }
    if let Some(Object(body)) = body {
        let (bytes, content_type) = body.read()?;
        editor.set_body(bytes, content_type.as_deref())?;
    }
    let mut all = std::mem::take(&mut interception.attributes);
    for (name, value) in attributes.0 {
        match value {
            Some(value) => attributes::set(&mut all, &name, &value)?,
            None => drop(all.remove(&name)),
        }
    }
    Ok(Verdict::Continue { message, attributes: all })
}

fn of_header(name: &str, error: EditorError) -> AnswerError {
    let name: String = name.chars().take(64).filter(|char| !char.is_control()).collect();
    AnswerError::Header(name.into(), error)
}

// === impl Object ===

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Members(PhantomData)).map(Object)
    }
}

// === impl Unique ===

impl<T> Default for Unique<T> {
    fn default() -> Unique<T> {
        Unique(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Unique<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unique<T>, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = BTreeMap<String, T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BTreeMap<String, T>, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name is there twice"));
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members(PhantomData)).map(Unique)
    }
}

// === impl Body ===

impl Body {
    fn read(self) -> Result<(Vec<u8>, Option<String>), AnswerError> {
        let bytes = match (self.text, self.base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => STANDARD.decode(base64).map_err(|_| AnswerError::Body)?,
            _ => return Err(AnswerError::Body),
        };
        Ok((bytes, self.content_type))
    }
}

// === impl Respond ===

impl Respond {
    fn into_answer(self) -> Result<Instead, AnswerError> {
        let mut headers: Vec<_> = self.headers.into_iter().map(|Object(Pair { name, value })| (name, value)).collect();
        let body = match self.body {
            None => Vec::new(),
            Some(Object(body)) => {
                let (bytes, content_type) = body.read()?;
                headers.extend(content_type.map(|content_type| ("content-type".to_owned(), content_type)));
                bytes
            }
        };
        Ok(Instead { status: self.status, headers, body })
    }
}
