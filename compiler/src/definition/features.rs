//! What a definition may declare and the gateway does not do yet. It is checked whole all the same, so that what is
//! wrong in it shows before it has an effect.

use super::fields::{boolean, object};
use super::shape::Shape;
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::model::{Access, Operation};
use crate::source::Value;

const CACHE: Shape =
    Shape::Object(&[("enabled", Shape::Boolean), ("cacheTimeoutInSeconds", Shape::Integer(0, i32::MAX as i64))]);

/// The response cache of an API, with these operations.
pub(super) fn response_cache(report: &mut Report, root: Value<'_>, operations: &[Operation]) {
    if let Some(cache) = root.get("x-wso2-response-cache")
        && CACHE.check(report, "x-wso2-response-cache", cache)
        && let Some(enabled) = cache.get("enabled")
        && boolean(report, "enabled", enabled) == Some(true)
    {
        let (public, secured): (Vec<_>, Vec<_>) = operations.iter().partition(|of| of.access == Access::Public);
        if let Some(first) = named(&secured) {
            let message = format!("responses are never cached where a credential is asked for: {first}");
            report.say(Code::SecuredCache, cache, message);
        }
        if let Some(first) = named(&public) {
            report.say(Code::ResponseCache, cache, format!("responses of public operations are not cached: {first}"));
        }
    }
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
