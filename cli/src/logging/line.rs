//! One event as one line. Whatever is in its values, it stays one line.

use std::error::Error;
use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

/// What an event or a span says, in the order in which it says it.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    message: String,
    values: Vec<(&'static str, Value)>,
}

/// A span that an event happened in.
pub struct Scope {
    pub name: &'static str,
    pub fields: Fields,
}

pub struct Line<'a> {
    pub metadata: &'a Metadata<'a>,
    pub fields: Fields,
    /// Outermost first.
    pub scopes: Vec<Scope>,
    /// The ids of the trace and of the innermost span.
    pub trace: Option<(String, String)>,
}

const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

// === impl Line ===

impl Line<'_> {
    /// `time LEVEL target: span{name=value}: message name=value`.
    pub fn human(&self, colour: bool) -> String {
        let (dim, plain) = if colour { (DIM, PLAIN) } else { ("", "") };
        let tint = if colour { tint(*self.metadata.level()) } else { "" };
        let (level, target) = (self.metadata.level(), self.metadata.target());
        let mut line = format!("{dim}{}{plain} {tint}{level:>5}{plain} {dim}{target}:{plain} ", time());
        for Scope { name, fields } in &self.scopes {
            line.push_str(name);
            if !fields.values.is_empty() {
                line.push('{');
                push_values(&mut line, &fields.values, false);
                line.push('}');
            }
            line.push_str(": ");
        }
        push_printable(&mut line, &self.fields.message);
        push_values(&mut line, &self.fields.values, !self.fields.message.is_empty());
        if let Some((trace, _)) = &self.trace {
            // Writing to a string does not fail.
            let _ = write!(line, " trace_id={trace}");
        }
        line.push('\n');
        line
    }

    /// `time`, `level`, `target`, `message`, and where there are any `fields`, `spans`, `trace_id` and `span_id`.
    pub fn json(&self) -> String {
        let mut members = vec![
            ("time", time().into()),
            ("level", self.metadata.level().as_str().into()),
            ("target", self.metadata.target().into()),
            ("message", self.fields.message.as_str().into()),
        ];
        if !self.fields.values.is_empty() {
            members.push(("fields", self.fields.json()));
        }
        if !self.scopes.is_empty() {
            let scopes = self.scopes.iter().map(|scope| {
                let mut span = scope.fields.json();
                span["name"] = scope.name.into();
                span
            });
            members.push(("spans", scopes.collect()));
        }
        if let Some((trace, span)) = &self.trace {
            members.extend([("trace_id", trace.as_str().into()), ("span_id", span.as_str().into())]);
        }
        // In this order, which a JSON map would not keep.
        let mut line = String::from("{");
        for (index, (name, value)) in members.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = write!(line, "{}\"{name}\":{value}", if index > 0 { "," } else { "" });
        }
        line.push_str("}\n");
        line
    }
}

/// RFC 3339, UTC.
fn time() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

fn tint(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}

fn push_values(line: &mut String, values: &[(&'static str, Value)], mut separate: bool) {
    for (name, value) in values {
        if std::mem::replace(&mut separate, true) {
            line.push(' ');
        }
        line.push_str(name);
        line.push('=');
        match value {
            Value::String(text) => push_printable(line, text),
            // Writing to a string does not fail.
            other => drop(write!(line, "{other}")),
        }
    }
}

/// Line breaks would begin a line that nobody logged; escape sequences and changes of direction would show another than
/// the one that was.
fn push_printable(line: &mut String, text: &str) {
    let misleads = |c: char| matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    for c in text.chars() {
        if c.is_control() || misleads(c) {
            line.extend(c.escape_debug());
        } else {
            line.push(c);
        }
    }
}

// === impl Fields ===

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            // A span's field can be recorded again.
            (name, value) => match self.values.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = value,
                None => self.values.push((name, value)),
            },
        }
    }

    fn json(&self) -> Value {
        let members = self.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Value::Object(members.collect::<Map<_, _>>())
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    /// With the reasons below it.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            // Writing to a string does not fail.
            let _ = write!(text, ": {error}");
            source = error.source();
        }
        self.put(field, text.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}
