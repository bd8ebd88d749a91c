//! What an artifact says that Envoy does for an operation by itself.

use microgw_compiler::model::Operation;
use microgw_proto::traffic::v1::{Answer, Example, Redirect, answer::Kind};
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

fn kind(operation: &Operation) -> Option<&Kind> {
    let Answer { kind } = operation.traffic.answer.as_ref()?;
    kind.as_ref()
}

fn example(Example { name, status, content_type, .. }: &Example) -> String {
    let parts = [content_type, name].into_iter().filter(|part| !part.is_empty());
    parts.fold(status.to_string(), |text, part| format!("{text} {part}"))
}
