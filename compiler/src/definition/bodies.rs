//! `x-microgw-body-limit`: how long bodies may be.

use microgw_proto::bodies::v1::OperationBodies;

use super::fields::object;
use super::shape::{Shape, Words, unknown_key};
use super::streams::Endless;
use crate::bodies::MAX_LIMIT;
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::source::{Content, Value};

const EXTENSION: &str = "x-microgw-body-limit";
const KEYS: [&str; 2] = ["request", "response"];

/// What an operation says comes before what its API says.
pub(super) fn read(report: &mut Report, owner: Value<'_>, of_api: &OperationBodies) -> OperationBodies {
    let Some(limits) = owner.get(EXTENSION).and_then(|limits| object(report, EXTENSION, limits)) else {
        return *of_api;
    };
    for (key, _) in limits.entries().filter(|(key, _)| !KEYS.contains(&key.text())) {
        unknown_key(report, Words::Own, EXTENSION, key, KEYS);
    }
    let [request, response] =
        KEYS.map(|key| limits.get(key).map(|bytes| limit(report, key, bytes).unwrap_or_default()));
    OperationBodies {
        max_request: request.unwrap_or(of_api.max_request),
        max_response: response.unwrap_or(of_api.max_response),
        ..*of_api
    }
}

/// What is bounded must have an end.
pub(super) fn check(report: &mut Report, label: &str, operation: Value<'_>, bodies: OperationBodies, endless: Endless) {
    let OperationBodies { max_request, max_response, .. } = bodies;
    let contradictory =
        [("request", endless.requests && max_request > 0), ("response", endless.responses && max_response > 0)];
    for (key, _) in contradictory.into_iter().filter(|(_, contradictory)| *contradictory) {
        let at = operation.get(EXTENSION).unwrap_or(operation);
        let message = format!("`{label}` streams: its {key} has no end that `{EXTENSION}` could bound");
        report.advise(Code::BadStream, at, message, format!("write `{EXTENSION}: {{{key}: 0}}` there: no limit"));
    }
}

/// Bytes; 0: no limit, whatever the API says.
fn limit(report: &mut Report, key: &str, value: Value<'_>) -> Option<u64> {
    const BYTES: Shape = Shape::Integer(0, MAX_LIMIT.cast_signed());
    if !BYTES.check(report, key, value) {
        return None;
    }
    match value.content() {
        Content::Number(number) => number.parse().ok(),
        _ => None,
    }
}
