//! What an artifact says that Envoy does for an operation by itself.

use std::fmt::Write as _;

use microgw_compiler::model::{BackendUrl, Endpoint, EndpointId, Model, Operation, TransformId, Transforms};
use microgw_compiler::url::bracketed;
use microgw_proto::interceptors::v1::{OperationInterceptors, Use};
use microgw_proto::traffic::v1::{Answer, Example, Mirror, OperationTraffic, Redirect, answer::Kind};
use serde_json::{Value, json};

/// In place of endpoints.
pub fn answer(operation: &Operation) -> Option<String> {
    Some(match kind(operation)? {
        Kind::Redirect(Redirect { status, location }) => format!("answers {status} to {location}"),
        Kind::Examples(examples) => {
            let examples: Vec<String> = examples.examples.iter().map(example).collect();
            format!("answers {}", examples.join(", or "))
        }
    })
}

pub fn answer_as_json(operation: &Operation) -> Value {
    match kind(operation) {
        None => Value::Null,
        Some(Kind::Redirect(Redirect { status, location })) => json!({ "redirect": location, "status": status }),
        Some(Kind::Examples(examples)) => {
            let example = |Example { name, status, content_type, body, .. }: &Example| json!({ "name": name, "status": status, "contentType": content_type, "bytes": body.len() });
            json!({ "examples": examples.examples.iter().map(example).collect::<Vec<_>>() })
        }
    }
}

/// What is said of the operation beside where it goes, each on a line below it.
pub fn of_operation(text: &mut String, model: &Model, operation: &Operation) {
    for line in lines(model, operation) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "          {line}");
    }
}

pub fn of_operation_as_json(model: &Model, operation: &Operation) -> Value {
    json!(lines(model, operation))
}

fn lines(model: &Model, operation: &Operation) -> Vec<String> {
    let OperationTraffic { timeout, idle_timeout, websocket, unbuffered, mirrors, .. } = &operation.traffic;
    let time = |milliseconds: &u32| match milliseconds {
        0 => "none".to_owned(),
        milliseconds => format!("{milliseconds} ms"),
    };
    let mut lines = Vec::new();
    lines.extend(websocket.then(|| "WebSocket".to_owned()));
    lines.extend((*unbuffered && !websocket).then(|| "streams in both directions".to_owned()));
    lines.extend(timeout.as_ref().map(|timeout| format!("timeout {}", time(timeout))));
    lines.extend(idle_timeout.as_ref().map(|timeout| format!("idle timeout {}", time(timeout))));
    for Mirror { endpoint, share } in mirrors {
        let endpoint = endpoint.checked_sub(1).and_then(|id| model.endpoint(EndpointId(id)));
        let urls: Vec<String> = endpoint.into_iter().flat_map(Endpoint::urls).map(url).collect();
        let percent = f64::from(*share) / 100.0;
        lines.push(format!("mirrored to {} ({percent} %)", urls.join(", ")));
    }
    let Transforms { request, response } = operation.transforms;
    for (what, id) in [("requests", request), ("responses", response)] {
        let steps = steps(model, id).len();
        lines.extend(
            (steps > 0).then(|| format!("{what} transformed in {steps} step{}", if steps == 1 { "" } else { "s" })),
        );
    }
    let OperationInterceptors { request, response } = &operation.interceptors;
    for (what, uses) in [("requests", request), ("responses", response)] {
        let names: Vec<&str> = programs(model, uses).collect();
        lines.extend((!names.is_empty()).then(|| format!("{what} go through {}", names.join(", "))));
    }
    lines
}

/// The names of interceptors, in the order in which they run.
pub fn programs<'m>(model: &'m Model, uses: &'m [Use]) -> impl Iterator<Item = &'m str> {
    uses.iter().filter_map(|one| Some(model.interceptors.get(one.interceptor as usize)?.name.as_str()))
}

fn url(url: &BackendUrl) -> String {
    let scheme = if url.tls { "https" } else { "http" };
    format!("{scheme}://{}:{}{}", bracketed(&url.host), url.port, url.path)
}

/// Where the steps are written, in the order in which they are taken.
pub fn transforms_as_json(model: &Model, operation: &Operation) -> Value {
    let Transforms { request, response } = operation.transforms;
    json!({ "request": steps(model, request), "response": steps(model, response) })
}

/// Where each step is written.
pub fn steps(model: &Model, id: Option<TransformId>) -> Vec<&str> {
    let transform = id.and_then(|id| model.transform(id));
    transform.iter().flat_map(|transform| &transform.steps).map(|step| step.source.as_str()).collect()
}

fn kind(operation: &Operation) -> Option<&Kind> {
    let Answer { kind } = operation.traffic.answer.as_ref()?;
    kind.as_ref()
}

fn example(Example { name, status, content_type, .. }: &Example) -> String {
    let parts = [content_type, name].into_iter().filter(|part| !part.is_empty());
    parts.fold(status.to_string(), |text, part| format!("{text} {part}"))
}
