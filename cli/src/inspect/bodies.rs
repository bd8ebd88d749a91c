//! What of messages is collected, counted or looked at.

use std::fmt::Write as _;

use microgw_proto::rules::v1::Phases;
use serde_json::{Value, json};

/// By API and operation, as the model has them.
pub struct Bodies(pub Vec<Vec<Option<Phases>>>);

// === impl Bodies ===

impl Bodies {
    fn of(&self, api: usize, operation: usize) -> Option<&Phases> {
        self.0.get(api)?.get(operation)?.as_ref()
    }

    pub fn of_operation(&self, text: &mut String, api: usize, operation: usize) {
        let Some(phases) = self.of(api, operation) else { return };
        let modes = [
            ("requests", mode(phases.request_body, true, phases.max_request_body)),
            ("responses", mode(phases.response_body, phases.response_head, phases.max_response_body)),
        ];
        for (what, mode) in modes.into_iter().filter_map(|(what, mode)| Some((what, mode?))) {
            let (how, most) = mode;
            // Writing to a string does not fail.
            let _ = writeln!(text, "          {what} {how}, at most {most} bytes");
        }
        if phases.response_copied {
            text.push_str("          responses kept for others who ask the same\n");
        }
    }

    pub fn as_json(&self, api: usize, operation: usize) -> Value {
        let Some(phases) = self.of(api, operation) else { return Value::Null };
        let told = |mode: Option<(&str, u64)>| mode.map(|(mode, most)| json!({ "mode": mode, "maxBytes": most }));
        json!({
            "request": told(mode(phases.request_body, true, phases.max_request_body)),
            "response": told(mode(phases.response_body, phases.response_head, phases.max_response_body)),
            "responseHead": phases.response_head,
            "responseKept": phases.response_copied,
        })
    }
}

/// `None`: the body passes by.
fn mode(collected: bool, comes: bool, most: u64) -> Option<(&'static str, u64)> {
    match (collected, most) {
        (true, _) => Some(("collected", most)),
        (false, 1..) if comes => Some(("counted", most)),
        (false, _) => None,
    }
}
