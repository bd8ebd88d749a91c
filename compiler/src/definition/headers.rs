//! `x-microgw-headers`: what becomes of headers, whoever calls.

use microgw_proto::traffic::v1::{Header, HeaderEdits};

use super::fields::{list, object, scalar, text};
use super::shape::{Words, unknown_key};
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::source::{Content, Value};
use crate::traffic::headers::{Direction, MAX_EDITS, after, editable, value};

const EXTENSION: &str = "x-microgw-headers";
const DIRECTIONS: [(&str, Direction); 2] = [("request", Direction::Request), ("response", Direction::Response)];
const EDITS: [&str; 3] = ["set", "add", "remove"];

/// Of requests and of responses.
#[derive(Clone, Default)]
pub(super) struct Edits {
    pub request: HeaderEdits,
    pub response: HeaderEdits,
}

pub(super) fn read(report: &mut Report, owner: Value<'_>) -> Edits {
    let written = owner.get(EXTENSION).and_then(|written| object(report, EXTENSION, written));
    let Some(written) = written else { return Edits::default() };
    for (key, _) in written.entries().filter(|(key, _)| DIRECTIONS.iter().all(|(known, _)| *known != key.text())) {
        unknown_key(report, Words::Own, EXTENSION, key, DIRECTIONS.map(|(known, _)| known));
    }
    let [request, response] = DIRECTIONS.map(|(key, direction)| {
        let edits = written.get(key).and_then(|edits| object(report, key, edits));
        edits.map(|edits| of_direction(report, key, direction, edits)).unwrap_or_default()
    });
    Edits { request, response }
}

fn of_direction(report: &mut Report, owner: &str, direction: Direction, edits: Value<'_>) -> HeaderEdits {
    for (key, _) in edits.entries().filter(|(key, _)| !EDITS.contains(&key.text())) {
        unknown_key(report, Words::Own, owner, key, EDITS);
    }
    let remove = edits.get("remove").and_then(|names| list(report, "remove", names));
    let mut removed: Vec<String> = remove
        .into_iter()
        .flat_map(Value::items)
        .filter_map(|item| text(report, "remove", item).and_then(|_| name(report, direction, item)))
        .collect();
    removed.sort_unstable();
    removed.dedup();
    let set = headers(report, "set", direction, edits);
    if let Some((at, _)) = twice(&set) {
        report.say(Code::BadHeaderEdit, *at, "the header is set twice");
    }
    let plain = |headers: Vec<(Value<'_>, Header)>| headers.into_iter().map(|(_, header)| header).collect::<Vec<_>>();
    let mut set = plain(set);
    set.sort_by(|a, b| a.name.cmp(&b.name));
    let add = plain(headers(report, "add", direction, edits));
    if [removed.len(), set.len(), add.len()].into_iter().any(|count| count > MAX_EDITS) {
        report.say(Code::BadHeaderEdit, edits, format!("more than {MAX_EDITS} edits of one kind"));
    }
    HeaderEdits { remove: removed, set, add }
}

fn twice<'v, 'd>(headers: &'v [(Value<'d>, Header)]) -> Option<&'v (Value<'d>, Header)> {
    let mut names = std::collections::BTreeSet::new();
    headers.iter().find(|(_, header)| !names.insert(header.name.as_str()))
}

/// Names to values; a name to several values where they are added.
fn headers<'d>(report: &mut Report, key: &str, direction: Direction, edits: Value<'d>) -> Vec<(Value<'d>, Header)> {
    let Some(written) = edits.get(key).and_then(|written| object(report, key, written)) else { return Vec::new() };
    let mut headers = Vec::new();
    for (at, values) in written.entries() {
        let Some(name) = name(report, direction, at) else { continue };
        let several = matches!(values.content(), Content::List) && key == "add";
        let values: Vec<Value<'d>> = if several { values.items().collect() } else { vec![values] };
        for item in values {
            let Some(written) = scalar(report, at.text(), item) else { continue };
            match value(written) {
                Ok(()) => headers.push((at, Header { name: name.clone(), value: written.to_owned() })),
                Err(error) => report.say(
                    Code::BadHeaderEdit,
                    item,
                    format!("the value of `{}` cannot be sent: {error}", at.text()),
                ),
            }
        }
    }
    headers
}

fn name(report: &mut Report, direction: Direction, at: Value<'_>) -> Option<String> {
    editable(direction, at.text())
        .map_err(|error| report.say(Code::BadHeaderEdit, at, format!("`{}` cannot be edited: {error}", at.text())))
        .ok()
}

// === impl Edits ===

impl Edits {
    /// What an operation says comes after what its API says.
    pub(super) fn then(&self, own: Edits) -> Edits {
        Edits {
            request: after(self.request.clone(), own.request),
            response: after(self.response.clone(), own.response),
        }
    }
}
