//! `x-microgw-body-limit`: how long bodies may be.

use microgw_proto::bodies::v1::OperationBodies;

use super::fields::object;
use super::shape::{Shape, unknown_key};
use crate::bodies::MAX_LIMIT;
use crate::compile::Report;
use crate::source::{Content, Value};

const EXTENSION: &str = "x-microgw-body-limit";
const KEYS: [&str; 2] = ["request", "response"];

/// What an operation says comes before what its API says.
pub(super) fn read(report: &mut Report, owner: Value<'_>, of_api: &OperationBodies) -> OperationBodies {
    let Some(limits) = owner.get(EXTENSION).and_then(|limits| object(report, EXTENSION, limits)) else {
        return *of_api;
    };
    for (key, _) in limits.entries().filter(|(key, _)| !KEYS.contains(&key.text())) {
        unknown_key(report, EXTENSION, key, KEYS);
    }
    let [request, response] =
        KEYS.map(|key| limits.get(key).map(|bytes| limit(report, key, bytes).unwrap_or_default()));
    OperationBodies {
        max_request: request.unwrap_or(of_api.max_request),
        max_response: response.unwrap_or(of_api.max_response),
    }
}

/// Bytes.
fn limit(report: &mut Report, key: &str, value: Value<'_>) -> Option<u64> {
    const BYTES: Shape = Shape::Integer(1, MAX_LIMIT.cast_signed());
    if !BYTES.check(report, key, value) {
        return None;
    }
    match value.content() {
        Content::Number(number) => number.parse().ok(),
        _ => None,
    }
}
