//! Settings as their keys take them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::diagnostic::{Code, ConfigDiagnostic, Origin};
use super::keys::{self, Danger, Key, Kind, Status};
use super::layers::{Layers, Raw, Setting};

/// Values of supported keys, by path. What was not given, or wrong, has its key's default.
pub struct Values {
    given: BTreeMap<String, Value>,
    /// Where everything comes from that was given, right or wrong.
    origins: BTreeMap<String, Origin>,
}

#[derive(Clone)]
enum Value {
    Bool(bool),
    Integer(i64),
    Ratio(f64),
    Text(String),
    List(Vec<String>),
}

/// Judges every setting by its key.
pub fn judge(layers: &Layers, allow_unenforced: bool, problems: &mut Vec<ConfigDiagnostic>) -> Values {
    let origins = layers.iter().map(|(path, setting)| (path.clone(), setting.value_origin.clone())).collect();
    let mut values = Values { given: BTreeMap::new(), origins };
    for (path, setting) in layers {
        let Some(key) = keys::find(path) else {
            problems.push(unknown(path, setting));
            continue;
        };
        // That has been said.
        if setting.raw == Raw::Unresolved {
            continue;
        }
        match key.status {
            Status::Supported => match key.kind.read(&setting.raw) {
                Ok(value) => {
                    values.given.insert(path.clone(), value);
                }
                Err(wanted) => problems.push(ConfigDiagnostic::error(
                    Code::BadValue,
                    &setting.value_origin,
                    format!("`{path}` {wanted}"),
                )),
            },
            Status::NotYet { danger, instead } => {
                problems.extend(ignored(path, setting, key, danger, instead, allow_unenforced));
            }
        }
    }
    values
}

fn unknown(path: &str, setting: &Setting) -> ConfigDiagnostic {
    let help = keys::suggest(path).map_or_else(String::new, |known| match known.split_once("[]") {
        Some((array, name)) if !path.contains('[') => {
            format!("did you mean `{}` in `[[{array}]]`?", name.trim_start_matches('.'))
        }
        _ => format!("did you mean `{known}`?"),
    });
    ConfigDiagnostic::error(Code::UnknownKey, &setting.origin, format!("`{path}` is not known")).help(help)
}

fn ignored(
    path: &str,
    setting: &Setting,
    key: &Key,
    danger: Danger,
    instead: &str,
    allow_unenforced: bool,
) -> Option<ConfigDiagnostic> {
    let text = setting.raw.text();
    let instead = if key.kind == Kind::Secret { instead.to_owned() } else { instead.replace("{}", &text) };
    let dangerous = match danger {
        Danger::Never => false,
        Danger::Always => true,
        Danger::When(dangerous) => dangerous(&text),
    };
    if dangerous {
        let message = format!("`{path}` is declared and not enforced: this version does not have it");
        let consent = "remove it, or let it be ignored with `--allow-unenforced`";
        let help = if instead.is_empty() { consent.to_owned() } else { format!("{instead}; or {consent}") };
        let problem = if allow_unenforced { ConfigDiagnostic::warning } else { ConfigDiagnostic::error };
        return Some(problem(Code::NotEnforced, &setting.value_origin, message).help(help));
    }
    // Switched off is what it is, unless it is on without being asked for.
    if (text == "false" && key.default != "true") || text == "-1" {
        return None;
    }
    Some(ConfigDiagnostic::warning(Code::NoEffect, &setting.origin, format!("`{path}` has no effect")).help(instead))
}

// === impl Kind ===

impl Kind {
    /// Or what the value must be.
    fn read(self, raw: &Raw) -> Result<Value, String> {
        let found = |wanted: &str| Err(format!("must be {wanted}, not {}", raw.kind()));
        match (self, raw) {
            (Kind::Bool, Raw::Bool(value)) => Ok(Value::Bool(*value)),
            (Kind::Bool, Raw::Untyped(text)) => {
                text.parse().map(Value::Bool).map_err(|_| "must be `true` or `false`".to_owned())
            }
            (Kind::Bool, _) => found("`true` or `false`"),
            (Kind::Integer(..), Raw::Integer(number)) => self.in_range(*number),
            (Kind::Integer(..), Raw::Untyped(text)) => {
                text.parse().map_err(|_| "must be a whole number".to_owned()).and_then(|number| self.in_range(number))
            }
            (Kind::Integer(..) | Kind::Number, _) => found("a whole number"),
            (Kind::Ratio, Raw::Float(number)) => ratio(*number),
            (Kind::Ratio, Raw::Integer(0)) => ratio(0.0),
            (Kind::Ratio, Raw::Integer(1)) => ratio(1.0),
            (Kind::Ratio, Raw::Untyped(text)) => {
                text.parse().map_err(|_| "must be a number from 0 to 1".to_owned()).and_then(ratio)
            }
            (Kind::Ratio, _) => found("a number from 0 to 1"),
            (Kind::Text | Kind::Secret | Kind::Path, Raw::Text(text) | Raw::Untyped(text)) => {
                decrypted(text).map(|text| Value::Text(text.to_owned()))
            }
            (Kind::Text | Kind::Secret | Kind::Path, _) => found("text, in quotes"),
            (Kind::OneOf(choices), Raw::Text(text) | Raw::Untyped(text)) => choices
                .iter()
                .find(|choice| choice.eq_ignore_ascii_case(text))
                .map(|choice| Value::Text((*choice).to_owned()))
                .ok_or_else(|| format!("must be one of {}", choices.join(", "))),
            (Kind::OneOf(choices), _) => found(&format!("one of {}, in quotes", choices.join(", "))),
            (Kind::List | Kind::CommaList, Raw::List(entries)) => entries
                .iter()
                .map(|entry| match entry {
                    Raw::Text(text) => decrypted(text).map(str::to_owned),
                    other => Err(format!("must be a list of texts, and has {} in it", other.kind())),
                })
                .collect::<Result<_, _>>()
                .map(Value::List),
            (Kind::CommaList, Raw::Text(text) | Raw::Untyped(text)) | (Kind::List, Raw::Untyped(text)) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Ok(Value::List(parts.map(str::to_owned).collect()))
            }
            (Kind::List, Raw::Text(text)) if text.is_empty() => Ok(Value::List(Vec::new())),
            (Kind::List, Raw::Text(text)) => Ok(Value::List(vec![decrypted(text)?.to_owned()])),
            (Kind::List | Kind::CommaList, _) => found("text or a list of texts"),
        }
    }

    fn in_range(self, number: i64) -> Result<Value, String> {
        match self {
            Kind::Integer(least, most) if !(least..=most).contains(&number) => {
                Err(format!("is {number}, and must be from {least} to {most}"))
            }
            _ => Ok(Value::Integer(number)),
        }
    }
}

/// Taken literally an encrypted password would be a password that everybody can read.
fn decrypted(text: &str) -> Result<&str, String> {
    if text.starts_with("@encrypted:") {
        return Err("is encrypted (`@encrypted:{..}`), which this version cannot read".to_owned());
    }
    Ok(text)
}

fn ratio(number: f64) -> Result<Value, String> {
    let within = (0.0..=1.0).contains(&number);
    within.then_some(Value::Ratio(number)).ok_or_else(|| format!("is {number}, and must be from 0 to 1"))
}

// === impl Values ===

impl Values {
    pub fn origin(&self, path: &str) -> Origin {
        self.origins.get(path).cloned().unwrap_or(Origin::Settings)
    }

    /// Of the first setting in a section.
    pub fn section_origin(&self, section: &str) -> Origin {
        let inside = |path: &str| path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
        let found = self.origins.iter().filter(|(path, _)| inside(path)).map(|(_, origin)| origin);
        found.min().cloned().unwrap_or(Origin::Settings)
    }

    /// What was given, right or wrong.
    pub fn given(&self) -> impl Iterator<Item = &str> {
        self.origins.keys().map(String::as_str)
    }

    /// Whether it was given, right or wrong.
    pub fn is_given(&self, path: &str) -> bool {
        self.origins.contains_key(path)
    }

    /// Whether it was given, and is not a value that it could have: that has been said.
    pub fn is_wrong(&self, path: &str) -> bool {
        self.is_given(path) && !self.given.contains_key(path)
    }

    pub fn bool(&self, path: &str) -> bool {
        matches!(self.value(path), Some(Value::Bool(true)))
    }

    pub fn integer(&self, path: &str) -> i64 {
        match self.value(path) {
            Some(Value::Integer(number)) => number,
            _ => 0,
        }
    }

    /// An integer whose key has no negative values, or fewer than `T` has.
    pub fn number<T: TryFrom<i64> + Default>(&self, path: &str) -> T {
        T::try_from(self.integer(path)).unwrap_or_default()
    }

    pub fn ratio(&self, path: &str) -> f64 {
        match self.value(path) {
            Some(Value::Ratio(number)) => number,
            _ => 0.0,
        }
    }

    /// Empty where there is none.
    pub fn text(&self, path: &str) -> String {
        match self.value(path) {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        }
    }

    pub fn list(&self, path: &str) -> Vec<String> {
        match self.value(path) {
            Some(Value::List(entries)) => entries,
            _ => Vec::new(),
        }
    }

    /// Relative to the file that names it, if a file does.
    pub fn path(&self, path: &str) -> Option<PathBuf> {
        let text = Some(self.text(path)).filter(|text| !text.is_empty())?;
        Some(self.origin(path).resolve(&text))
    }

    /// The entries of `[[array]]` in their order: `array[0]` and so on.
    pub fn entries(&self, array: &str) -> Vec<String> {
        let index =
            |path: &String| path.strip_prefix(array)?.strip_prefix('[')?.split_once(']')?.0.parse::<usize>().ok();
        let indexes: BTreeSet<usize> = self.origins.keys().filter_map(index).collect();
        indexes.into_iter().map(|index| format!("{array}[{index}]")).collect()
    }

    /// The names that sections below `section` have.
    pub fn names(&self, section: &str) -> BTreeSet<&str> {
        self.origins
            .keys()
            .filter_map(|path| Some(path.strip_prefix(section)?.strip_prefix('.')?.rsplit_once('.')?.0))
            .collect()
    }

    /// The names of the settings in `section`.
    pub fn members(&self, section: &str) -> Vec<&str> {
        self.origins.keys().filter_map(|path| path.strip_prefix(section)?.strip_prefix('.')).collect()
    }

    fn value(&self, path: &str) -> Option<Value> {
        if let Some(value) = self.given.get(path) {
            return Some(value.clone());
        }
        let key = keys::find(path).filter(|key| !key.default.is_empty())?;
        key.kind.read(&Raw::Untyped(key.default.to_owned())).ok()
    }
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
