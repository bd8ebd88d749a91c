//! Settings as they were given: by file, environment and command line, the later over the earlier.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Code, ConfigDiagnostic, Origin};
use super::keys;

/// Settings by path; `jwtTokenConfig[0].issuer` is the first issuer's.
pub type Layers = BTreeMap<String, Setting>;

#[derive(Clone)]
pub struct Setting {
    pub raw: Raw,
    /// Of the key.
    pub origin: Origin,
    /// Of the value.
    pub value_origin: Origin,
}

/// A value before its key says what it must be.
#[derive(Clone, PartialEq)]
pub enum Raw {
    /// Of the environment or the command line: text that may stand for anything.
    Untyped(String),
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Raw>),
    /// A date, a number beyond 64 bits, or a table in a list.
    Other(&'static str),
    /// It was referred to, and cannot be had.
    Unresolved,
}

/// The tables of a file, and what is wrong with it.
pub struct Document {
    pub layers: Layers,
    pub problems: Vec<ConfigDiagnostic>,
    /// `[jwtTokenConfig]` instead of `[[jwtTokenConfig]]`, as in older releases.
    pub single_issuer: bool,
}

/// `single` in `[single]`, read as the only entry of `[[single]]`.
const ONCE_SINGLE: &str = "jwtTokenConfig";

// === impl Document ===

impl Document {
    pub fn parse(file: &Path, text: &str) -> Document {
        let positions = Positions::new(file, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        let problem = |error: &toml::de::Error| {
            let origin = positions.of(&error.span().unwrap_or_default());
            ConfigDiagnostic::error(Code::Syntax, &origin, error.message().trim_end())
        };
        let mut document =
            Document { layers: Layers::new(), problems: errors.iter().map(problem).collect(), single_issuer: false };
        // What the parser made of a broken file would only be reported a second time.
        if document.problems.is_empty() {
            document.table("", table.get_ref(), &positions);
        }
        document
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>, positions: &Positions<'_>) {
        for (key, value) in table {
            let name = keys::quoted(key.get_ref());
            let path = if prefix.is_empty() { name.into_owned() } else { format!("{prefix}.{name}") };
            match value.get_ref() {
                DeValue::Table(table) if path == ONCE_SINGLE => {
                    self.single_issuer = true;
                    self.table(&format!("{path}[0]"), table, positions);
                }
                DeValue::Table(table) => self.table(&path, table, positions),
                DeValue::Array(entries)
                    if !entries.is_empty() && entries.iter().all(|entry| entry.get_ref().is_table()) =>
                {
                    for (index, entry) in entries.iter().enumerate() {
                        if let DeValue::Table(table) = entry.get_ref() {
                            if table.is_empty() {
                                let message = format!("`[[{path}]]` has an entry that says nothing");
                                let origin = positions.of(&entry.span());
                                self.problems.push(ConfigDiagnostic::error(Code::BadValue, &origin, message));
                            }
                            self.table(&format!("{path}[{index}]"), table, positions);
                        }
                    }
                }
                value_ref => {
                    let setting = Setting {
                        raw: Raw::of(value_ref),
                        origin: positions.of(&key.span()),
                        value_origin: positions.of(&value.span()),
                    };
                    self.layers.insert(path, setting);
                }
            }
        }
    }
}

/// Adds what the environment says. Variables that seem to be meant for us and are not are warned of.
pub fn add_environment(layers: &mut Layers, variables: &[(String, String)]) -> Vec<ConfigDiagnostic> {
    let mut problems = Vec::new();
    for (name, value) in variables {
        let origin = Origin::Environment(name.clone());
        let of_endpoint = || keys::of_endpoint(name).map(|_| name.clone());
        if let Some(path) = keys::all().find_map(|key| key.of_variable(name)).or_else(of_endpoint) {
            layers.insert(path, Setting::untyped(value, &origin));
        } else if let Some(problem) = misspelt(name, &origin) {
            problems.push(problem);
        }
    }
    problems
}

fn misspelt(name: &str, origin: &Origin) -> Option<ConfigDiagnostic> {
    let warning = |message: &str| ConfigDiagnostic::warning(Code::UnknownKey, origin, format!("`{name}` {message}"));
    if ["_prod_endpoint_", "_sand_endpoint_", "_prod_basic_", "_sand_basic_"].iter().any(|part| name.contains(part)) {
        return Some(warning("looks like a setting of an endpoint and is none"));
    }
    let section = name.split(['_', '.']).next().filter(|section| section.len() < name.len())?;
    let of_section = |path: &str| path.split(['.', '[']).next() == Some(section);
    if !keys::all().any(|key| of_section(key.path)) {
        return None;
    }
    let in_array = |key: &keys::Key| !key.in_environment() && key.path.replace("[]", "").replace('.', "_") == name;
    if keys::all().any(in_array) {
        return Some(warning("has no effect: entries of an array cannot be set by environment"));
    }
    let help = keys::suggest(&name.replace('_', ".")).filter(|known| !known.contains("[]"));
    let help = help.map_or_else(String::new, |known| format!("did you mean `{}`?", known.replace('.', "_")));
    Some(warning("looks like a setting and is none").help(help))
}

/// Adds the command line's `key=value`s.
pub fn add_command_line(layers: &mut Layers, overrides: &[String]) -> Vec<ConfigDiagnostic> {
    let mut problems = Vec::new();
    for text in overrides {
        match text.split_once('=') {
            Some((path, value)) => {
                layers.insert(path.trim_start_matches("--").to_owned(), Setting::untyped(value, &Origin::CommandLine));
            }
            None => problems.push(ConfigDiagnostic::error(
                Code::BadValue,
                &Origin::CommandLine,
                // Not all of it: what was meant may be a password.
                "a setting has no `=`: it must be `--section.key=value`",
            )),
        }
    }
    problems
}

// === impl Setting ===

impl Setting {
    fn untyped(value: &str, origin: &Origin) -> Setting {
        Setting { raw: Raw::Untyped(value.to_owned()), origin: origin.clone(), value_origin: origin.clone() }
    }
}

// === impl Raw ===

impl Raw {
    fn of(value: &DeValue<'_>) -> Raw {
        match value {
            DeValue::String(text) => Raw::Text(text.clone().into_owned()),
            DeValue::Boolean(value) => Raw::Bool(*value),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Raw::Other("a number beyond 64 bits"), Raw::Integer),
            DeValue::Float(number) => number.as_str().parse().map_or(Raw::Other("a number"), Raw::Float),
            DeValue::Array(entries) => Raw::List(entries.iter().map(Spanned::get_ref).map(Raw::of).collect()),
            DeValue::Datetime(_) => Raw::Other("a date"),
            DeValue::Table(_) => Raw::Other("a table"),
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Raw::Untyped(_) | Raw::Text(_) => "text",
            Raw::Bool(_) => "a truth value",
            Raw::Integer(_) => "a whole number",
            Raw::Float(_) => "a fraction",
            Raw::List(_) => "a list",
            Raw::Other(kind) => kind,
            Raw::Unresolved => "a reference",
        }
    }

    /// As it would be written on the command line.
    pub fn text(&self) -> String {
        match self {
            Raw::Untyped(text) | Raw::Text(text) => text.clone(),
            Raw::Bool(value) => value.to_string(),
            Raw::Integer(number) => number.to_string(),
            Raw::Float(number) => number.to_string(),
            Raw::List(entries) => entries.iter().map(Raw::text).collect::<Vec<_>>().join(","),
            Raw::Other(_) | Raw::Unresolved => self.kind().to_owned(),
        }
    }
}

impl fmt::Debug for Raw {
    /// It may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// From offsets to lines.
struct Positions<'a> {
    file: &'a Path,
    text: &'a str,
    /// Where each line starts.
    lines: Vec<usize>,
}

impl<'a> Positions<'a> {
    fn new(file: &'a Path, text: &'a str) -> Positions<'a> {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        Positions { file, text, lines }
    }

    fn of(&self, span: &Range<usize>) -> Origin {
        let line = self.lines.partition_point(|start| *start <= span.start);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let before = self.text.get(start..span.start).unwrap_or_default();
        Origin::File { file: self.file.to_owned(), line, column: before.chars().count() + 1 }
    }
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
