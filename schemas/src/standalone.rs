//! A schema that stands by itself, as in a policy, for whoever builds: every keyword in it is understood, or refused.

mod survey;

use std::collections::HashMap;

use microgw_proto::contracts::v1 as proto;
use serde_json::Value;

use crate::schemas::Schemas;
use crate::violation::{Place, Violations};
use crate::{MAX_DEPTH, json};
use survey::Survey;

/// JSON Schema 2020-12, in one document.
pub struct Standalone {
    schemas: Schemas,
    /// Where the `$ref` of a schema leads to, by pointers.
    targets: HashMap<String, String>,
}

/// Something that is wrong: with a schema, or with a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    /// JSON pointer to it.
    pub pointer: String,
    pub reason: String,
}

// === impl Standalone ===

impl Standalone {
    /// What is wrong is told all at once, as far as one does not hide another.
    pub fn compile(document: &Value) -> Result<Standalone, Vec<Flaw>> {
        let mut survey = Survey::of(document);
        let mut index = 0;
        // References add to them.
        while let Some(site) = survey.parts.get(index).map(|part| part.site.clone()) {
            let text = survey.schema(&site, 0).to_string();
            if let Some(part) = survey.parts.get_mut(index) {
                part.text = text;
            }
            index += 1;
        }
        if !survey.flaws.is_empty() {
            return Err(survey.told());
        }
        let texts: Vec<String> = survey.parts.iter_mut().map(|part| std::mem::take(&mut part.text)).collect();
        let all: Vec<usize> = (0..texts.len()).collect();
        let (mistakes, compiled) = Schemas::check(&mut proto::Schemas { schemas: texts }, &all);
        for mistake in mistakes {
            let base = survey.parts.get(mistake.schema).map(|part| part.site.pointer.as_str()).unwrap_or_default();
            survey.flaws.push(Flaw { pointer: format!("{base}{}", mistake.pointer), reason: mistake.reason });
        }
        let (Some(schemas), true) = (compiled, survey.flaws.is_empty()) else { return Err(survey.told()) };
        let standalone = Standalone { schemas, targets: std::mem::take(&mut survey.targets) };
        for (index, part) in survey.parts.iter().enumerate().filter(|(_, part)| part.has_default) {
            let (pointer, Some(default)) = (&part.site.pointer, part.site.schema.get("default")) else { continue };
            for flaw in standalone.compare(index, &default.to_string()) {
                survey.flaws.push(Flaw { pointer: format!("{pointer}/default{}", flaw.pointer), reason: flaw.reason });
            }
        }
        if survey.flaws.is_empty() { Ok(standalone) } else { Err(survey.told()) }
    }

    /// What is wrong with a value, which is JSON.
    pub fn check(&self, value: &str) -> Vec<Flaw> {
        self.compare(0, value)
    }

    /// The pointer of the schema that the `$ref` of the one at `pointer` leads to.
    pub fn target(&self, pointer: &str) -> Option<&str> {
        self.targets.get(pointer).map(String::as_str)
    }

    fn compare(&self, schema: usize, value: &str) -> Vec<Flaw> {
        let compiled = &self.schemas.compiled;
        let (instance, count) = match json::parse(value.as_bytes(), compiled.max_depth.min(MAX_DEPTH)) {
            Ok(parsed) => parsed,
            Err(error) => {
                return vec![Flaw { pointer: String::new(), reason: format!("cannot be read: {}", error.0) }];
            }
        };
        let mut violations = Violations::default();
        compiled.check(&schema.to_string(), &instance, Place::Body, "", count, &mut violations);
        let flaw =
            |found: &crate::Violation| Flaw { pointer: found.name.clone(), reason: found.reason.clone().into_owned() };
        violations.iter().map(flaw).collect()
    }
}

impl std::fmt::Debug for Standalone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standalone").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
