//! What an API says in a word or two: whether its responses are kept, or compressed.

use super::fields::{boolean, object};
use super::shape::Shape;
use crate::bodies::{can_be_kept, edits_what_caches_go_by};
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::model::{Access, Operation};
use crate::source::{Content, Value};

const CACHE: Shape =
    Shape::Object(&[("enabled", Shape::Boolean), ("cacheTimeoutInSeconds", Shape::Integer(1, MAX_SECONDS as i64))]);
/// A year.
const MAX_SECONDS: u32 = 31_536_000;
/// Where an API does not say.
const USUAL_SECONDS: u32 = 300;

/// The response cache of an API, for those of its operations whose responses are the same for everybody.
pub(super) fn response_cache(report: &mut Report, root: Value<'_>, operations: &mut [Operation]) {
    let Some(cache) = root.get("x-wso2-response-cache") else { return };
    let is_enabled = CACHE.check(report, "x-wso2-response-cache", cache)
        && cache.get("enabled").and_then(|enabled| boolean(report, "enabled", enabled)) == Some(true);
    if !is_enabled {
        return;
    }
    let secured: Vec<_> = operations.iter().filter(|of| of.access != Access::Public).collect();
    if let Some(first) = named(&secured) {
        let message = format!("responses are never cached where a credential is asked for: {first}");
        report.say(Code::SecuredCache, cache, message);
    }
    let seconds = match cache.get("cacheTimeoutInSeconds").map(Value::content) {
        Some(Content::Number(seconds)) => seconds.parse().unwrap_or(USUAL_SECONDS),
        _ => USUAL_SECONDS,
    };
    let kept = |of: &Operation| can_be_kept(of.method, &of.access) && has_backend(of);
    let edited: Vec<_> = operations.iter().filter(|of| kept(of) && edits_what_caches_go_by(&of.traffic)).collect();
    if let Some(first) = named(&edited) {
        let message = format!("what backends say of keeping responses is edited: {first}");
        report.say(Code::ResponseCache, cache, message);
        return;
    }
    let mut none = secured.is_empty();
    for operation in operations.iter_mut().filter(|of| kept(of)) {
        operation.bodies.kept_seconds = seconds;
        none = false;
    }
    if none {
        report.say(
            Code::ResponseCache,
            cache,
            "no operation is a `GET` that a backend answers with an end: nothing is kept",
        );
    }
}

/// Whose answer has an end.
fn has_backend(operation: &Operation) -> bool {
    let traffic = &operation.traffic;
    operation.production.is_some() && traffic.answer.is_none() && !traffic.websocket && !traffic.unbuffered
}

/// The first of them, and how many there are.
fn named(operations: &[&Operation]) -> Option<String> {
    let (first, others) = operations.split_first()?;
    let first = format!("`{} {}`", first.method, first.path);
    Some(if others.is_empty() { first } else { format!("{first} and {} more", others.len()) })
}

/// Whether responses may be compressed, where that is said.
pub(super) fn compression(report: &mut Report, owner: Value<'_>) -> Option<bool> {
    let key = "x-microgw-compression";
    owner.get(key).and_then(|value| boolean(report, key, value))
}

/// An object, or nothing when `key` is absent or has another type, which is reported.
pub(super) fn part<'d>(report: &mut Report, owner: Value<'d>, key: &str) -> Option<Value<'d>> {
    owner.get(key).and_then(|value| object(report, key, value))
}
