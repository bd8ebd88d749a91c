//! What of messages is compared with contracts, collected, counted or looked at.

use std::fmt::Write as _;

use microgw_compiler::assemble;
use microgw_compiler::model::Model;
use microgw_compiler::settings::Settings;
use microgw_proto::contracts::v1::Mode;
use microgw_proto::rules::v1::Phases;
use serde_json::{Value, json};

/// By API and operation, as the model has them.
#[derive(Default)]
pub struct Bodies {
    phases: Vec<Vec<Option<Phases>>>,
    /// Requests first.
    compared: Vec<Vec<[Mode; 2]>>,
}

// === impl Bodies ===

impl Bodies {
    pub fn new(model: &Model, settings: &Settings) -> Bodies {
        Bodies { phases: assemble::looked_at(model, settings), compared: assemble::compared(model, settings) }
    }

    fn of(&self, api: usize, operation: usize) -> Option<&Phases> {
        self.phases.get(api)?.get(operation)?.as_ref()
    }

    fn compared(&self, api: usize, operation: usize) -> [Option<&'static str>; 2] {
        let modes = self.compared.get(api).and_then(|api| api.get(operation)).copied().unwrap_or([Mode::Off; 2]);
        modes.map(|mode| match mode {
            Mode::Unsaid | Mode::Off => None,
            Mode::Report => Some("report"),
            Mode::Enforce => Some("enforce"),
        })
    }

    pub fn compared_as_json(&self, api: usize, operation: usize) -> Value {
        let [request, response] = self.compared(api, operation);
        json!({ "request": request, "response": response })
    }

    pub fn of_operation(&self, text: &mut String, api: usize, operation: usize) {
        for (what, mode) in ["requests", "responses"].into_iter().zip(self.compared(api, operation)) {
            if let Some(mode) = mode {
                // Writing to a string does not fail.
                let _ = writeln!(text, "          {what} compared with the definition: {mode}");
            }
        }
        let Some(phases) = self.of(api, operation) else { return };
        let modes = [
            ("requests", mode(phases.request_body, true, phases.max_request_body)),
            ("responses", mode(phases.response_body, phases.response_head, phases.max_response_body)),
        ];
        for (what, mode) in modes.into_iter().filter_map(|(what, mode)| Some((what, mode?))) {
            let (how, most) = mode;
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
