//! Definitions as they were written: a tree in which every key and value knows its line and column.
//!
//! A [`Document`] keeps the text and one 16-byte node per value, in the order of the text, so that a definition of
//! many megabytes costs little more than itself; it is dropped when its definition has been read.

mod json;
mod lines;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::HashMap;
use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic, LineColumn, Place};
use crate::model::Position;
use lines::Lines;

/// Bytes; a longer file is refused.
pub const MAX_FILE: u64 = 256 << 20;
/// Containers inside each other.
const MAX_DEPTH: usize = 200;

/// One parsed file.
pub struct Document {
    file: Arc<str>,
    /// Index of the file in the model.
    id: u32,
    lines: Lines,
    tape: Tape,
}

/// A value of a [`Document`].
#[derive(Clone, Copy)]
pub struct Value<'d> {
    document: &'d Document,
    node: u32,
}

/// What a [`Value`] is. Plain YAML scalars have the type of YAML 1.2's core schema.
pub enum Content<'d> {
    Null,
    Bool(bool),
    /// As written.
    Number(&'d str),
    Text(&'d str),
    List,
    Map,
}

/// The values in the order of the text; a container is followed by what it contains.
struct Tape {
    text: String,
    nodes: Vec<Node>,
    /// Scalars that are not a part of the text as they stand: escapes, folded lines.
    decoded: Vec<Box<str>>,
}

#[derive(Clone, Copy)]
struct Node {
    kind: Kind,
    /// Bytes of the text.
    start: u32,
    end: u32,
    /// Of a container: how many nodes it takes, itself included. Of a decoded scalar: its index.
    detail: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Map,
    List,
    /// Unquoted: typed by its text.
    Plain,
    /// Between two quotes.
    Quoted,
    Decoded,
    /// The key of a YAML merge, whose content has been copied into the mapping.
    Merge,
}

/// Why a text is no document: a span of bytes and what is wrong there.
struct Malformed {
    code: Code,
    start: usize,
    message: String,
}

// === impl Document ===

impl Document {
    /// Reads JSON or YAML; `id` is the index that positions in it will have.
    ///
    /// # Errors
    /// The first problem of form, or every key that a mapping has twice.
    pub fn parse(file: &str, id: u32, bytes: Vec<u8>) -> Result<Document, Vec<Diagnostic>> {
        let file: Arc<str> = file.into();
        let text = into_text(&file, bytes).map_err(|diagnostic| vec![diagnostic])?;
        let json = file.ends_with(".json");
        // Many a `.yaml` holds JSON, which the YAML parser reads far more slowly.
        let tape = if json {
            json::parse(text)
        } else if text.trim_start().starts_with('{') {
            json::parse(text).or_else(|(text, _)| yaml::parse(text))
        } else {
            yaml::parse(text)
        };
        match tape {
            Ok(tape) => Document { file, id, lines: Lines::of(&tape.text), tape }.without_duplicates(),
            Err((text, malformed)) => {
                let at = Lines::of(&text).locate(&text, malformed.start);
                Err(vec![Diagnostic::new(malformed.code, Place::point(file, at), malformed.message)])
            }
        }
    }

    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    pub fn root(&self) -> Value<'_> {
        Value { document: self, node: 0 }
    }

    /// Every value and key, in the order of the text.
    pub fn values(&self) -> impl Iterator<Item = Value<'_>> {
        (0..u32::try_from(self.tape.nodes.len()).unwrap_or(u32::MAX)).map(|node| Value { document: self, node })
    }

    /// The value at a [`Spot`] of this document.
    pub(crate) fn at(&self, (_, node): Spot) -> Value<'_> {
        Value { document: self, node }
    }

    /// What [`Spot`]s of this document have first.
    pub(crate) fn number(&self) -> u32 {
        self.id
    }

    fn without_duplicates(self) -> Result<Document, Vec<Diagnostic>> {
        let mut diagnostics = Vec::new();
        // Sorted, equal keys are neighbours: one buffer for all mappings, where a set would be cleared for each.
        let mut keys: Vec<Value<'_>> = Vec::new();
        for map in self.values().filter(|value| value.is_map()) {
            keys.clear();
            keys.extend(map.entries().map(|(key, _)| key));
            keys.sort_by_key(|key| (key.text(), key.node));
            for pair in keys.windows(2) {
                let [first, key] = pair else { continue };
                if first.text() == key.text() {
                    let message = format!("the key `{}` stands twice in one mapping", key.text());
                    diagnostics.push(
                        Diagnostic::new(Code::DuplicateKey, key.place(), message).related(first.place(), "first here"),
                    );
                }
            }
        }
        if diagnostics.is_empty() { Ok(self) } else { Err(diagnostics) }
    }
}

/// Where a value is, among all documents of a project.
pub(crate) type Spot = (u32, u32);

/// Keys of the mappings that JSON pointers went through.
#[derive(Default)]
pub struct Wide<'d>(HashMap<u32, HashMap<&'d str, Value<'d>>>);

/// UTF-8 without its byte order mark.
pub(crate) fn into_text(file: &Arc<str>, bytes: Vec<u8>) -> Result<String, Diagnostic> {
    let not_text = |at: usize, text: &[u8], message: &str| {
        let text = String::from_utf8_lossy(text.get(..at).unwrap_or_default());
        let at = Lines::of(&text).locate(&text, text.len());
        Diagnostic::new(Code::NotText, Place::point(Arc::clone(file), at), message).help("save the file as UTF-8")
    };
    let mut text = String::from_utf8(bytes)
        .map_err(|error| not_text(error.utf8_error().valid_up_to(), error.as_bytes(), "the file is not UTF-8"))?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    match text.find('\0') {
        Some(at) => Err(not_text(at, text.as_bytes(), "the file has a NUL character")),
        None => Ok(text),
    }
}

/// The place of a range of bytes in a text that is no [`Document`].
pub(crate) fn place_in(file: &Arc<str>, text: &str, range: std::ops::Range<usize>) -> Place {
    let lines = Lines::of(text);
    Place { file: Arc::clone(file), start: lines.locate(text, range.start), end: lines.locate(text, range.end) }
}

// === impl Value ===

impl<'d> Value<'d> {
    pub fn content(self) -> Content<'d> {
        let node = self.raw();
        match node.kind {
            Kind::Map => Content::Map,
            Kind::List => Content::List,
            Kind::Plain => plain(self.text()),
            Kind::Quoted | Kind::Decoded | Kind::Merge => Content::Text(self.text()),
        }
    }

    /// Of a scalar, its text whatever its type: `1.0` without quotes is a version. Empty for a container.
    pub fn text(self) -> &'d str {
        let node = self.raw();
        let tape = &self.document.tape;
        let slice = |from: u32, to: u32| tape.text.get(from as usize..to as usize).unwrap_or_default();
        match node.kind {
            Kind::Map | Kind::List => "",
            Kind::Plain | Kind::Merge => slice(node.start, node.end),
            Kind::Quoted => slice(node.start + 1, node.end.saturating_sub(1)),
            Kind::Decoded => tape.decoded.get(node.detail as usize).map_or("", |text| text),
        }
    }

    pub fn is_map(self) -> bool {
        self.raw().kind == Kind::Map
    }

    /// Tells it from all other places, as long as its document is there.
    pub fn id(self) -> (usize, u32) {
        (std::ptr::from_ref(self.document).addr(), self.node)
    }

    pub(crate) fn spot(self) -> Spot {
        (self.document.id, self.node)
    }

    /// All that is in it.
    pub(crate) fn extent(self) -> std::ops::Range<u32> {
        self.node..self.node.saturating_add(self.raw().size())
    }

    /// The value that a JSON pointer (RFC 6901, decoded from its URI fragment) leads to from here. `wide` remembers the keys of
    /// large mappings, so that many pointers into one cost no more than the mapping.
    pub fn resolve(self, pointer: &str, wide: &mut Wide<'d>) -> Option<Value<'d>> {
        let mut value = self;
        if pointer.is_empty() {
            return Some(value);
        }
        for token in pointer.strip_prefix('/')?.split('/') {
            let token = token.replace("~1", "/").replace("~0", "~");
            value = match value.content() {
                Content::Map => *wide
                    .0
                    .entry(value.node)
                    .or_insert_with(|| value.entries().map(|(key, value)| (key.text(), value)).collect())
                    .get(token.as_str())?,
                Content::List => value.items().nth(token.parse().ok()?)?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// The very same place of the same document.
    pub fn is(self, other: Value<'_>) -> bool {
        std::ptr::eq(self.document, other.document) && self.node == other.node
    }

    pub fn is_null(self) -> bool {
        matches!(self.content(), Content::Null)
    }

    /// Key and value of each entry; nothing for what is not a mapping.
    pub fn entries(self) -> impl Iterator<Item = (Value<'d>, Value<'d>)> {
        let mut children = self.children(Kind::Map);
        std::iter::from_fn(move || Some((children.next()?, children.next()?)))
            .filter(|(key, _)| key.raw().kind != Kind::Merge)
    }

    /// Each item; nothing for what is not a list.
    pub fn items(self) -> impl Iterator<Item = Value<'d>> {
        self.children(Kind::List)
    }

    /// The value of `key`. Takes time in proportion to the number of entries.
    pub fn get(self, key: &str) -> Option<Value<'d>> {
        self.entry(key).map(|(_, value)| value)
    }

    pub fn entry(self, key: &str) -> Option<(Value<'d>, Value<'d>)> {
        self.entries().find(|(candidate, _)| candidate.text() == key)
    }

    pub fn document(self) -> &'d Document {
        self.document
    }

    /// Where the value is. Of a container, only the first line.
    pub fn place(self) -> Place {
        let node = self.raw();
        let start = self.locate(node.start);
        let end = match node.kind {
            Kind::Map | Kind::List => start,
            _ => self.locate(node.end),
        };
        Place { file: Arc::clone(&self.document.file), start, end }
    }

    pub fn position(self) -> Position {
        let LineColumn { line, column } = self.locate(self.raw().start);
        Position { file: self.document.id, line, column }
    }

    /// What a message calls the value's type.
    pub fn type_name(self) -> &'static str {
        match self.content() {
            Content::Null => "nothing",
            Content::Bool(_) => "a boolean",
            Content::Number(_) => "a number",
            Content::Text(_) => "text",
            Content::List => "a list",
            Content::Map => "an object",
        }
    }

    fn children(self, kind: Kind) -> impl Iterator<Item = Value<'d>> {
        let Value { document, node } = self;
        let raw = self.raw();
        let end = if raw.kind == kind { node + raw.detail } else { 0 };
        let mut next = node + 1;
        std::iter::from_fn(move || {
            let child = Value { document, node: next };
            (next < end).then(|| {
                next += child.raw().size();
                child
            })
        })
    }

    fn raw(self) -> Node {
        self.document.tape.nodes.get(self.node as usize).copied().unwrap_or(Node::NULL)
    }

    fn locate(self, offset: u32) -> LineColumn {
        self.document.lines.locate(&self.document.tape.text, offset as usize)
    }
}

// === impl Node ===

impl Node {
    const NULL: Node = Node { kind: Kind::Plain, start: 0, end: 0, detail: 0 };

    fn size(self) -> u32 {
        match self.kind {
            Kind::Map | Kind::List => self.detail.max(1),
            _ => 1,
        }
    }
}

/// YAML 1.2 section 10.3.2; JSON's literals are a part of it.
fn plain(text: &str) -> Content<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Content::Null,
        "true" | "True" | "TRUE" => return Content::Bool(true),
        "false" | "False" | "FALSE" => return Content::Bool(false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && (text.parse::<f64>().is_ok()
            || matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN")
            || digits(text, "0x", |c| c.is_ascii_hexdigit())
            || digits(text, "0o", |c| matches!(c, '0'..='7')));
    if number { Content::Number(text) } else { Content::Text(text) }
}

fn digits(text: &str, prefix: &str, valid: impl Fn(char) -> bool) -> bool {
    text.strip_prefix(prefix).is_some_and(|digits| !digits.is_empty() && digits.chars().all(valid))
}
