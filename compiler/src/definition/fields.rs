//! Typed access to values. What has another type than its key needs is reported here, once, and then counts as absent.

use crate::compile::Report;
use crate::diagnostic::Code;
use crate::source::{Content, Value};

pub(crate) fn text<'d>(report: &mut Report, key: &str, value: Value<'d>) -> Option<&'d str> {
    match value.content() {
        Content::Text(text) => Some(text),
        _ => wrong_type(report, key, value, "text"),
    }
}

/// Text, or what YAML takes for something else because it has no quotes: `1.0` is a version.
pub(crate) fn scalar<'d>(report: &mut Report, key: &str, value: Value<'d>) -> Option<&'d str> {
    match value.content() {
        Content::Text(text) | Content::Number(text) => Some(text),
        Content::Bool(_) => Some(value.text()),
        Content::Null | Content::List | Content::Map => wrong_type(report, key, value, "text"),
    }
}

pub(crate) fn boolean(report: &mut Report, key: &str, value: Value<'_>) -> Option<bool> {
    match value.content() {
        Content::Bool(boolean) => Some(boolean),
        _ => wrong_type(report, key, value, "`true` or `false`"),
    }
}

pub(crate) fn object<'d>(report: &mut Report, key: &str, value: Value<'d>) -> Option<Value<'d>> {
    match value.content() {
        Content::Map => Some(value),
        _ => wrong_type(report, key, value, "an object"),
    }
}

pub(crate) fn list<'d>(report: &mut Report, key: &str, value: Value<'d>) -> Option<Value<'d>> {
    match value.content() {
        Content::List => Some(value),
        _ => wrong_type(report, key, value, "a list"),
    }
}

/// `did you mean ...?`, when one of `known` is near.
pub(crate) fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let word = core_of(word).to_lowercase();
    let scored = known.into_iter().map(|known| (strsim::jaro_winkler(&word, &core_of(known).to_lowercase()), known));
    let (score, nearest) = scored.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))?;
    (score > 0.8).then(|| format!("did you mean `{nearest}`?"))
}

/// The part of an extension's name that tells it from others: a prefix that all share would make all near.
fn core_of(word: &str) -> &str {
    ["x-wso2-", "x-microgw-", "x-"].iter().find_map(|prefix| word.strip_prefix(prefix)).unwrap_or(word)
}

/// Reports `message`, with the nearest of `known` to `word` as help.
pub(crate) fn suggest<'k>(
    report: &mut Report,
    code: Code,
    at: Value<'_>,
    message: String,
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
) {
    match did_you_mean(word, known) {
        Some(help) => report.advise(code, at, message, help),
        None => report.say(code, at, message),
    }
}

fn wrong_type<T>(report: &mut Report, key: &str, value: Value<'_>, expected: &str) -> Option<T> {
    report.say(Code::WrongType, value, format!("`{key}` must be {expected}, not {}", value.type_name()));
    None
}
