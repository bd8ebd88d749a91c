//! A schema that stands by itself, as in a policy, for whoever builds: every keyword in it is understood, or refused.

use std::collections::BTreeMap;

use microgw_proto::contracts::v1 as proto;
use serde_json::{Map, Value};

use crate::dialect::{self, Arrangement};
use crate::schemas::Schemas;
use crate::violation::{Place, Violations};
use crate::{MAX_DEPTH, formats, json};

/// JSON Schema 2020-12, in one document.
pub struct Standalone {
    schemas: Schemas,
}

/// Something that is wrong: with a schema, or with a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    /// JSON pointer to it.
    pub pointer: String,
    pub reason: String,
}

/// Those whose value is no schema.
const ASSERTIONS: [&str; 20] = [
    "const",
    "dependentRequired",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "uniqueItems",
];
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
/// What says something to people, or has a meaning of its own here.
const WORDS: [&str; 8] =
    ["$comment", "$schema", "default", "deprecated", "description", "example", "examples", "title"];
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Schemas that references lead to, or that have a default.
const MAX_PARTS: usize = 500;

/// A document on its way to be compiled: each part that is referred to, or has a default, is a schema of its own.
struct Survey<'d> {
    document: &'d Value,
    flaws: Vec<Flaw>,
    /// By pointer; what it is and which schema it becomes.
    parts: BTreeMap<String, (usize, &'d Value)>,
    defaults: Vec<String>,
}

// === impl Standalone ===

impl Standalone {
    /// What is wrong is told all at once, as far as one does not hide another.
    pub fn compile(document: &Value) -> Result<Standalone, Vec<Flaw>> {
        let mut survey = Survey { document, flaws: Vec::new(), parts: BTreeMap::new(), defaults: Vec::new() };
        survey.part("", document);
        if !survey.flaws.is_empty() {
            return Err(survey.told());
        }
        let mut texts = vec![String::new(); survey.parts.len()];
        for (index, part) in survey.parts.values() {
            let mut part = (*part).clone();
            rewrite(&mut part, &|pointer| survey.parts.get(pointer).map(|(index, _)| *index));
            if let Some(text) = texts.get_mut(*index) {
                *text = part.to_string();
            }
        }
        let all: Vec<usize> = (0..texts.len()).collect();
        let (mistakes, compiled) = Schemas::check(&mut proto::Schemas { schemas: texts }, &all);
        for mistake in mistakes {
            let base = survey.parts.iter().find(|(_, (index, _))| *index == mistake.schema);
            let base = base.map(|(pointer, _)| pointer.as_str()).unwrap_or_default();
            survey.flaws.push(Flaw { pointer: format!("{base}{}", mistake.pointer), reason: mistake.reason });
        }
        let (Some(schemas), true) = (compiled, survey.flaws.is_empty()) else { return Err(survey.told()) };
        let standalone = Standalone { schemas };
        for pointer in std::mem::take(&mut survey.defaults) {
            let Some((index, Value::Object(part))) = survey.parts.get(&pointer) else { continue };
            let Some(default) = part.get("default") else { continue };
            for flaw in standalone.compare(*index, &default.to_string()) {
                survey.flaws.push(Flaw { pointer: format!("{pointer}/default{}", flaw.pointer), reason: flaw.reason });
            }
        }
        if survey.flaws.is_empty() { Ok(standalone) } else { Err(survey.told()) }
    }

    /// What is wrong with a value, which is JSON.
    pub fn check(&self, value: &str) -> Vec<Flaw> {
        self.compare(0, value)
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

// === impl Survey ===

impl<'d> Survey<'d> {
    fn told(mut self) -> Vec<Flaw> {
        self.flaws.sort();
        self.flaws.dedup();
        self.flaws
    }

    fn wrong(&mut self, pointer: String, reason: impl Into<String>) {
        self.flaws.push(Flaw { pointer, reason: reason.into() });
    }

    /// A schema that is one of its own.
    fn part(&mut self, pointer: &str, schema: &'d Value) {
        if self.parts.contains_key(pointer) {
            return;
        }
        if self.parts.len() >= MAX_PARTS {
            self.wrong(pointer.to_owned(), format!("more than {MAX_PARTS} parts are referred to, or have a default"));
            return;
        }
        self.parts.insert(pointer.to_owned(), (self.parts.len(), schema));
        self.schema(pointer, schema, 0);
    }

    fn schema(&mut self, pointer: &str, schema: &'d Value, depth: usize) {
        let map = match schema {
            Value::Bool(_) => return,
            Value::Object(map) => map,
            _ => return self.wrong(pointer.to_owned(), "it is no schema: neither an object nor true or false"),
        };
        if depth > MAX_DEPTH {
            return self.wrong(pointer.to_owned(), "it is nested too deep");
        }
        for (key, value) in map {
            let at = format!("{pointer}/{}", escaped(key));
            let named = dialect::arrangement(key).or((key == "$defs").then_some(Arrangement::Named));
            match (key.as_str(), named, value) {
                ("contentSchema", ..) => self.wrong(at, "`contentSchema` is no keyword that is looked at here"),
                (_, Some(Arrangement::One), value) => self.schema(&at, value, depth + 1),
                (_, Some(Arrangement::Several), Value::Array(items)) => {
                    for (index, item) in items.iter().enumerate() {
                        self.schema(&format!("{at}/{index}"), item, depth + 1);
                    }
                }
                (_, Some(Arrangement::Named), Value::Object(named)) => {
                    for (name, item) in named {
                        self.schema(&format!("{at}/{}", escaped(name)), item, depth + 1);
                    }
                }
                (key, Some(_), _) => self.wrong(at, format!("`{key}` must have schemas")),
                ("$ref", ..) => self.reference(at, value),
                ("$schema", _, Value::String(draft)) if draft.trim_end_matches('#') == DRAFT => {}
                ("$schema", ..) => self.wrong(at, format!("schemas are those of `{DRAFT}`")),
                ("format", _, Value::String(format)) if !formats::is_known(format) => {
                    self.wrong(at, format!("nothing is known of the format `{format}`"));
                }
                ("default", ..) => {
                    self.part(pointer, schema);
                    self.defaults.push(pointer.to_owned());
                }
                ("definitions", ..) => self.wrong(at, "`definitions` is called `$defs`"),
                ("type", _, kinds) if !is_type(kinds) => {
                    self.wrong(at, format!("a type is one of {}, or a list of them", TYPES.join(", ")));
                }
                (key, ..) if key == "type" || ASSERTIONS.contains(&key) || WORDS.contains(&key) => {}
                (key, ..) => self.wrong(at, format!("`{key}` is no keyword that is looked at here")),
            }
        }
    }

    fn reference(&mut self, at: String, reference: &'d Value) {
        let pointer = reference.as_str().and_then(local);
        let target = pointer.and_then(|pointer| self.document.pointer(pointer));
        match (pointer, target) {
            (Some(pointer), Some(target)) => self.part(pointer, target),
            (Some(_), None) => self.wrong(at, "it leads nowhere"),
            (None, _) => self.wrong(at, "a reference leads to a part of the same schema, as in `#/$defs/name`"),
        }
    }
}

fn is_type(kinds: &Value) -> bool {
    let known = |kind: &Value| kind.as_str().is_some_and(|kind| TYPES.contains(&kind));
    match kinds {
        Value::Array(kinds) => !kinds.is_empty() && kinds.iter().all(known),
        kind => known(kind),
    }
}

/// The pointer of a reference within the document.
fn local(reference: &str) -> Option<&str> {
    // Nobody needs another way to write a pointer.
    let pointer = reference.strip_prefix('#').filter(|pointer| !pointer.contains('%'))?;
    (pointer.is_empty() || pointer.starts_with('/')).then_some(pointer)
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// References become those of schemas by index; what says nothing of values goes.
fn rewrite(schema: &mut Value, index: &impl Fn(&str) -> Option<usize>) {
    let Value::Object(map) = schema else { return };
    let target = map.get("$ref").and_then(Value::as_str).and_then(local).and_then(index);
    if let Some(target) = target {
        map.insert("$ref".to_owned(), Value::String(dialect::pointer(target)));
    }
    map.remove("$schema");
    let mut rest = Map::new();
    if let Some(defs) = map.remove("$defs") {
        rest.insert("properties".to_owned(), defs);
        dialect::each_part(&mut rest, &mut |_, part| rewrite(part, index));
        // Compiled as well, so that all that is wrong is told.
        map.extend(rest.remove("properties").map(|defs| ("$defs".to_owned(), defs)));
    }
    dialect::each_part(map, &mut |_, part| rewrite(part, index));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flaws(schema: &Value) -> Vec<String> {
        let flaws = Standalone::compile(schema).map(drop).unwrap_err();
        flaws.iter().map(|flaw| format!("{} {}", flaw.pointer, flaw.reason)).collect()
    }

    fn told(schema: &Value, value: &Value) -> Vec<String> {
        let flaws = Standalone::compile(schema).unwrap().check(&value.to_string());
        flaws.iter().map(|flaw| format!("{} {}", flaw.pointer, flaw.reason)).collect()
    }

    #[test]
    fn values_are_compared_with_all_of_it() {
        let schema = json!({
            "$schema": DRAFT,
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "level": { "type": "integer", "minimum": 1, "maximum": 3, "default": 2 },
                "tree": { "$ref": "#/$defs/node" },
                "names": { "type": "array", "items": { "type": "string", "pattern": "^[a-z]+$" }, "uniqueItems": true },
                "mode": { "oneOf": [{ "const": "a" }, { "enum": ["b", "c"] }] },
            },
            "dependentRequired": { "mode": ["level"] },
            "$defs": { "node": {
                "type": "object",
                "required": ["id"],
                "properties": { "id": { "type": "string", "format": "uuid" }, "next": { "$ref": "#/$defs/node" } },
            } },
        });
        assert!(told(&schema, &json!({ "level": 3, "names": ["a", "b"], "mode": "b" })).is_empty());
        let node = json!({ "id": "2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d" });
        assert!(told(&schema, &json!({ "tree": { "id": node["id"], "next": node } })).is_empty());
        for (value, expected) in [
            (json!({ "level": 4 }), "/level must be at most 3"),
            (json!({ "level": 1.5 }), "/level must be a whole number"),
            (json!({ "other": 1 }), " has the property `other`, which is not declared"),
            (json!({ "names": ["a", "B"] }), "/names/1 must match the pattern `^[a-z]+$`"),
            (json!({ "names": ["a", "a"] }), "/names must have no item twice"),
            (json!({ "mode": "b" }), " must have the property `level`"),
            (json!({ "mode": "d", "level": 1 }), "/mode matches none of the alternatives"),
            (
                json!({ "tree": { "id": node["id"], "next": { "id": "x" } } }),
                "/tree/next/id must have the format `uuid`",
            ),
            (json!({ "tree": {} }), "/tree must have the property `id`"),
        ] {
            assert_eq!(told(&schema, &value), [expected], "{value}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (schema, expected) in [
            (
                json!({ "properties": { "a": { "minimun": 1 } } }),
                "/properties/a/minimun `minimun` is no keyword that is looked at here",
            ),
            (json!({ "type": "strng" }), "/type a type is one of array, boolean"),
            (json!({ "items": [] }), "/items it is no schema"),
            (json!({ "allOf": {} }), "/allOf `allOf` must have schemas"),
            (json!({ "$ref": "other.yaml" }), "/$ref a reference leads to a part of the same schema"),
            (json!({ "$ref": "#/$defs/none" }), "/$ref it leads nowhere"),
            (json!({ "$defs": { "a": { "readOnly": true } } }), "/$defs/a/readOnly `readOnly` is no keyword"),
            (json!({ "$defs": { "a": { "minimum": "1" } } }), "/$defs/a/minimum it must be a number"),
            (json!({ "$id": "https://x" }), "/$id `$id` is no keyword"),
            (json!({ "$schema": "http://json-schema.org/draft-07/schema#" }), "/$schema schemas are those of"),
            (json!({ "definitions": {} }), "/definitions `definitions` is called `$defs`"),
            (json!({ "contentSchema": {} }), "/contentSchema `contentSchema` is no keyword"),
            (json!({ "format": "card-number" }), "/format nothing is known of the format `card-number`"),
            (json!({ "pattern": "(?=x)" }), "/pattern the pattern `(?=x)` is no regular expression"),
            (
                json!({ "properties": { "a": { "type": "string", "default": 1 } } }),
                "/properties/a/default must be text",
            ),
            (json!({ "$ref": "#/enum/0", "enum": [{ "odd": 1 }] }), "/enum/0/odd `odd` is no keyword"),
            (json!({ "required": "a" }), "/required it must be a list"),
        ] {
            let found = flaws(&schema);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{schema} {expected}\n{found:#?}");
        }
    }

    #[test]
    fn schemas_that_would_take_for_ever_are_refused() {
        let mut defs = Map::new();
        for index in 0..30 {
            let next = json!({ "$ref": format!("#/$defs/{}", index + 1) });
            defs.insert(index.to_string(), json!({ "anyOf": [next, next] }));
        }
        defs.insert("30".to_owned(), json!({ "type": "string" }));
        let found = flaws(&json!({ "$ref": "#/$defs/0", "$defs": defs }));
        assert!(found[0].contains("too many schemas"), "{found:?}");
        let mut deep = json!(true);
        for _ in 0..100 {
            deep = json!({ "not": deep });
        }
        assert!(flaws(&deep)[0].contains("nested too deep"));
        // What leads to itself says nothing, and comes to an end.
        let turning = json!({ "properties": { "a": { "$ref": "#" } }, "$ref": "#" });
        let _ = Standalone::compile(&turning).map(|schema| schema.check("{\"a\":{\"a\":{}}}"));
    }
}
