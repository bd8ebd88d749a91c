//! Templates in Jinja's syntax, checked when they are read: what they name is known. Values are written as what they stand in
//! has it: as JSON, escaped, or percent-encoded as one segment.

mod calls;
mod names;
mod value;

use std::fmt;
use std::io;

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior};

pub(crate) use self::names::Uses;
pub(crate) use self::value::{from_headers, from_json, json_text, to_text};
use crate::editable::Direction;
use crate::{Failure, MAX_BODY, query};

/// Bytes of a template.
pub const MAX_TEMPLATE: usize = 64 * 1024;
/// Instructions of one rendering, and bytes that pass through it.
const FUEL: u64 = 2_000_000;

/// What a template makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Values are written as JSON: texts come with their quotes.
    Json,
    Xml,
    Html,
    Text,
    /// A path: each value is one segment, or a part of one.
    Path,
}

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("it is longer than {MAX_TEMPLATE} bytes")]
    TooLong,
    #[error("line {line}: {message}")]
    Syntax { line: usize, message: String },
    #[error("`{0}` is not known")]
    Unknown(String),
    #[error("there is no filter or test `{0}`")]
    UnknownFilter(String),
    #[error("`{0}` needs the name of what is meant, as in `{0}.name` or `{0}[\"name\"]`")]
    NoName(String),
}

/// All templates of a transformation.
pub(crate) struct Templates {
    environment: Environment<'static>,
    count: usize,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    name: String,
    pub uses: Uses,
}

/// A text, or a template that makes one.
#[derive(Clone, Debug)]
pub(crate) enum Words {
    Plain(String),
    Template(Template),
}

/// Refuses more than [`MAX_BODY`] bytes.
struct Bounded(Vec<u8>);

/// A name that no file extension has.
const PATH: &str = "path";

// === impl Templates ===

impl Templates {
    pub(crate) fn new() -> Templates {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|name| match name.split('.').next() {
            Some("json") => AutoEscape::Json,
            Some("xml" | "html") => AutoEscape::Html,
            Some(PATH) => AutoEscape::Custom(PATH.into()),
            _ => AutoEscape::None,
        });
        environment.set_formatter(format);
        environment.add_filter("tojson", |value: &Value| json_text(value).map(Value::from_safe_string));
        Templates { environment, count: 0 }
    }

    pub(crate) fn add(
        &mut self,
        syntax: Syntax,
        direction: Direction,
        source: &str,
    ) -> Result<Template, TemplateError> {
        if source.len() > MAX_TEMPLATE {
            return Err(TemplateError::TooLong);
        }
        let name = format!("{}.{}", syntax.as_str(), self.count);
        self.count += 1;
        let wrong = |error: &minijinja::Error| TemplateError::Syntax {
            line: error.line().unwrap_or(1).max(1),
            message: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
        };
        self.environment.add_template_owned(name.clone(), source.to_owned()).map_err(|error| wrong(&error))?;
        let template = self.environment.get_template(&name).map_err(|error| wrong(&error))?;
        calls::check(&self.environment, source)?;
        let uses = Uses::of(template.undeclared_variables(true), source, direction)?;
        Ok(Template { name, uses })
    }

    pub(crate) fn words(&mut self, syntax: Syntax, direction: Direction, source: &str) -> Result<Words, TemplateError> {
        Ok(match is_template(source) {
            true => Words::Template(self.add(syntax, direction, source)?),
            false if source.len() > MAX_TEMPLATE => return Err(TemplateError::TooLong),
            false => Words::Plain(source.to_owned()),
        })
    }

    pub(crate) fn render(&self, template: &Template, values: Value) -> Result<String, Failure> {
        let found = self.environment.get_template(&template.name).map_err(|_| Failure::Template)?;
        let mut out = Bounded(Vec::new());
        let rendered = found.render_captured_to(values, &mut out).map(drop);
        match rendered {
            Ok(()) => String::from_utf8(out.0).map_err(|_| Failure::Template),
            // What it says may have something of the message in it, so its kind alone is told.
            Err(error) => Err(match error.kind() {
                ErrorKind::WriteFailure => Failure::TooLarge,
                ErrorKind::UndefinedError => Failure::Missing,
                ErrorKind::OutOfFuel => Failure::Endless,
                _ => Failure::Template,
            }),
        }
    }
}

/// Something in it is to be filled in.
pub(crate) fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|sign| text.contains(sign))
}

/// Nothing but one value to be filled in: it keeps its kind then.
pub(crate) fn is_one_value(text: &str) -> bool {
    let inner = text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    inner.is_some_and(|inner| !inner.contains("{{") && !inner.contains("}}"))
}

/// Whatever a value is, nothing that it says is taken for more than a value.
fn format(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    let failed = |message: &'static str| minijinja::Error::new(ErrorKind::InvalidOperation, message);
    let written = match state.auto_escape() {
        AutoEscape::Json | AutoEscape::Html if value.is_safe() => to_text(value)?,
        AutoEscape::Json => json_text(value)?,
        AutoEscape::Html => escaped(&to_text(value)?),
        AutoEscape::None => to_text(value)?,
        _ => {
            let text = to_text(value)?;
            if text.is_empty() {
                return Err(failed("a part of a path is empty"));
            }
            let mut encoded = String::with_capacity(text.len());
            query::encode(&text, &mut encoded);
            encoded
        }
    };
    out.write_str(&written).map_err(minijinja::Error::from)
}

/// For text and for attributes in either quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            character => out.push(character),
        }
    }
    out
}

// === impl Words ===

impl Words {
    pub(crate) fn template(&self) -> Option<&Template> {
        match self {
            Words::Plain(_) => None,
            Words::Template(template) => Some(template),
        }
    }
}

// === impl Syntax ===

impl Syntax {
    fn as_str(self) -> &'static str {
        match self {
            Syntax::Json => "json",
            Syntax::Xml => "xml",
            Syntax::Html => "html",
            Syntax::Text => "text",
            Syntax::Path => PATH,
        }
    }

    /// Of a body of this content type.
    pub fn of_content_type(content_type: &str) -> Syntax {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/json" | "text/json" => Syntax::Json,
            "text/html" => Syntax::Html,
            "application/xml" | "text/xml" => Syntax::Xml,
            kind if kind.ends_with("+json") => Syntax::Json,
            kind if kind.ends_with("+xml") => Syntax::Xml,
            _ => Syntax::Text,
        }
    }
}

// === impl Bounded ===

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BODY {
            return Err(io::Error::other("too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates").field("count", &self.count).finish_non_exhaustive()
    }
}
