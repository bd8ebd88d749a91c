//! Credentials in the query: found by their decoded name, cut out without touching another byte.

use std::borrow::Cow;

use microgw_transforms::query::decode_bytes;

/// What a query says about one parameter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Nothing,
    /// Decoded. Empty when the parameter has no value.
    Once(Cow<'a, str>),
    /// More than once, or a value that is no UTF-8: which one counts is anyone's guess.
    Unclear,
}

/// Looks for the parameter whose percent-decoded name is `name`.
pub(crate) fn find<'a>(path: &'a str, name: &str) -> Found<'a> {
    let mut found = Found::Nothing;
    for (key, value) in pairs(path) {
        if decode(key).is_some_and(|key| key == name) {
            if found != Found::Nothing {
                return Found::Unclear;
            }
            found = decode(value).map_or(Found::Unclear, Found::Once);
        }
    }
    found
}

/// The path without the pairs that carry one of `names`; everything else stays byte for byte. `None`: it has none.
pub(crate) fn cut(path: &str, names: &[Box<str>]) -> Option<String> {
    let (before, query) = path.split_once('?')?;
    let secret = |pair: &str| is_one_of(pair, names);
    if !query.split('&').any(secret) {
        return None;
    }
    let mut kept = String::with_capacity(path.len());
    kept.push_str(before);
    let mut separator = '?';
    for pair in query.split('&').filter(|pair| !secret(pair)) {
        kept.push(separator);
        kept.push_str(pair);
        separator = '&';
    }
    Some(kept)
}

/// Gives a path the pairs that [`cut`] takes out of another.
pub(crate) fn restore(path: &mut String, from: &str, names: &[Box<str>]) {
    let query = from.split_once('?').map(|(_, query)| query);
    for pair in query.into_iter().flat_map(|query| query.split('&')).filter(|pair| is_one_of(pair, names)) {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(pair);
    }
}

fn is_one_of(pair: &str, names: &[Box<str>]) -> bool {
    let key = pair.split_once('=').map_or(pair, |(key, _)| key);
    decode(key).is_some_and(|key| names.iter().any(|name| **name == *key))
}

/// All values of the parameters whose percent-decoded name is `name`; what is no UTF-8 in them is replaced.
pub(crate) fn values<'a>(path: &'a str, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    pairs(path).filter(move |(key, _)| readable(key) == name).map(|(_, value)| readable(value))
}

fn readable(text: &str) -> Cow<'_, str> {
    match decode_bytes(text) {
        None => Cow::Borrowed(text),
        Some(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn pairs(path: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = path.split_once('?').map(|(_, query)| query);
    query.into_iter().flat_map(|query| query.split('&')).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// `None`: the result is no UTF-8.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    match decode_bytes(text) {
        None => Some(Cow::Borrowed(text)),
        Some(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests;
