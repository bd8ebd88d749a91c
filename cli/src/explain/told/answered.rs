//! What clients get in the end.

use microgw_engine::Edits;
use microgw_transforms::Message;
use serde_json::{Value, json};

use super::{Decided, Secrets};
use crate::explain::Response;

/// What a client gets of its backend's response.
pub enum Answered {
    Passed { status: u16, headers: Vec<(String, String)>, body: String },
    Refused(Decided),
}

// === impl Answered ===

impl Answered {
    pub(in crate::explain) fn passed(response: &Response, edits: Option<Box<Edits>>) -> Answered {
        let edits = edits.map(|edits| *edits).unwrap_or_default();
        let mut headers = response.headers.0.clone();
        for (name, values) in &edits.headers {
            headers.retain(|(other, _)| *other != **name);
            headers.extend(values.iter().map(|value| (name.to_string(), String::from_utf8_lossy(value).into_owned())));
        }
        let body = edits.body.as_deref().unwrap_or(&response.body);
        let body = String::from_utf8_lossy(body).into_owned();
        Answered::Passed { status: edits.status.unwrap_or(response.status), headers, body }
    }

    /// What a program answers.
    pub(in crate::explain) fn of(message: &Message) -> Answered {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Answered::Passed {
            status: message.status(),
            headers: message.headers.iter().map(|(name, value)| (name.to_owned(), text(value))).collect(),
            body: text(message.body().unwrap_or_default()),
        }
    }

    pub(super) fn as_text(&self, line: &mut impl FnMut(&str, &str), secrets: &Secrets<'_>) {
        match self {
            Answered::Passed { status, headers, body } => {
                line("answer", &status.to_string());
                for (name, value) in headers {
                    line("", &format!("{name}: {value}"));
                }
                line("", body);
            }
            Answered::Refused(decision) => {
                line("answer", "the backend's response is not passed on");
                decision.as_text(line, secrets, "");
            }
        }
    }

    pub(super) fn as_json(&self, secrets: &Secrets<'_>) -> Value {
        match self {
            Answered::Passed { status, headers, body } => {
                json!({ "passed": true, "status": status, "headers": headers, "body": body })
            }
            Answered::Refused(decision) => json!({ "passed": false, "instead": decision.as_json(secrets) }),
        }
    }
}
