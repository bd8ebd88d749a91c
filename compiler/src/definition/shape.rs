//! Objects that are checked whole although nothing reads them yet: their types, ranges and keys.

use super::fields::{boolean, did_you_mean, list, object, suggest, text};
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::source::{Content, Value};

pub(crate) enum Shape {
    Boolean,
    Text,
    Integer(i64, i64),
    Number(f64, f64),
    /// HTTP status codes, from this one on.
    Statuses(i64),
    Object(&'static [(&'static str, Shape)]),
}

/// Whose words the keys of an object are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// The old product's: one that is not known is a warning, unless it is nearly one that is.
    Old,
    /// The gateway's own, and no others.
    Own,
}

// === impl Shape ===

impl Shape {
    /// Whether `value` has this shape; reports why not. A key that is not known is none of its business, unless it is misspelled.
    pub(crate) fn check(&self, report: &mut Report, key: &str, value: Value<'_>) -> bool {
        match self {
            Shape::Boolean => boolean(report, key, value).is_some(),
            Shape::Text => text(report, key, value).is_some(),
            Shape::Integer(min, max) => integer(report, key, value, *min, *max).is_some(),
            Shape::Number(min, max) => number(report, key, value, *min, *max),
            Shape::Statuses(least) => {
                let items = list(report, key, value).map(|list| {
                    let status = |item| integer(report, key, item, *least, 599).is_some();
                    list.items().map(status).fold(true, |all, one| all & one)
                });
                items.unwrap_or(false)
            }
            Shape::Object(keys) => {
                let Some(object) = object(report, key, value) else { return false };
                object
                    .entries()
                    .map(|(name, value)| entry(report, key, keys, name, value))
                    .fold(true, |all, one| all & one)
            }
        }
    }
}

/// One of the allowed words.
pub(crate) fn one_of<'d>(report: &mut Report, key: &str, value: Value<'d>, allowed: &[&str]) -> Option<&'d str> {
    let word = text(report, key, value)?;
    if allowed.contains(&word) {
        return Some(word);
    }
    let list = allowed.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    suggest(
        report,
        Code::BadValue,
        value,
        format!("`{key}` must be one of {list}, not `{word}`"),
        word,
        allowed.iter().copied(),
    );
    None
}

/// Tells of a key that is not among `known`. Whoever wrote it believes that something is protected or bounded, and it is not.
pub(crate) fn unknown_key<'k>(
    report: &mut Report,
    words: Words,
    owner: &str,
    key: Value<'_>,
    known: impl IntoIterator<Item = &'k str>,
) {
    let name = key.text();
    let message = format!("`{owner}` has no key `{name}`");
    match (did_you_mean(name, known), words) {
        (Some(help), _) => report.advise(Code::Misspelled, key, message, help),
        (None, Words::Own) => report.say(Code::Misspelled, key, message),
        (None, Words::Old) => report.say(Code::UnknownKey, key, message),
    }
}

fn entry(report: &mut Report, owner: &str, keys: &[(&str, Shape)], name: Value<'_>, value: Value<'_>) -> bool {
    if let Some((known, shape)) = keys.iter().find(|(known, _)| same_key(known, name.text())) {
        return shape.check(report, known, value);
    }
    unknown_key(report, Words::Old, owner, name, keys.iter().map(|(known, _)| *known));
    true
}

/// What `object` has under `key`, in any of its spellings.
pub(crate) fn member<'d>(object: Value<'d>, key: &str) -> Option<Value<'d>> {
    object.entries().find(|(name, _)| same_key(key, name.text())).map(|(_, value)| value)
}

/// `maxAge`, `max_age` and `max-age` are one key.
pub(crate) fn same_key(known: &str, written: &str) -> bool {
    known == written || {
        let letters = |text: &str| {
            text.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect::<String>()
        };
        written.contains(['_', '-']) && letters(known) == letters(written)
    }
}

/// A whole number of that range.
pub(crate) fn integer(report: &mut Report, key: &str, value: Value<'_>, min: i64, max: i64) -> Option<i64> {
    match value.content() {
        Content::Number(text) => match text.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => return Some(number),
            Ok(number) => {
                report.say(Code::BadValue, value, format!("`{key}` must be from {min} to {max}, not {number}"));
            }
            Err(_) => report.say(Code::WrongType, value, format!("`{key}` must be a whole number, not `{text}`")),
        },
        _ => report.say(Code::WrongType, value, format!("`{key}` must be a whole number, not {}", value.type_name())),
    }
    None
}

fn number(report: &mut Report, key: &str, value: Value<'_>, min: f64, max: f64) -> bool {
    match value.content() {
        Content::Number(text) => match text.parse::<f64>() {
            Ok(number) if (min..=max).contains(&number) => return true,
            _ => report.say(Code::BadValue, value, format!("`{key}` must be from {min} to {max}, not {text}")),
        },
        _ => report.say(Code::WrongType, value, format!("`{key}` must be a number, not {}", value.type_name())),
    }
    false
}
