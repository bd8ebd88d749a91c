//! What a schema says that a value is. Nothing is made up: where it gives no value for what it requires, there is none.

use super::json;
use crate::definition::references::Resolver;
use crate::source::{Content, Value};

/// Schemas that are looked at for one value: more than anybody writes, fewer than those that multiply.
const MAX_STEPS: usize = 10_000;
const MAX_DEPTH: usize = 64;

/// Finds values of schemas.
pub(super) struct Samples<'r, 'd> {
    resolver: &'r mut Resolver<'d>,
    steps: usize,
    /// Those whose value is being looked for: what contains itself has none.
    open: Vec<Value<'d>>,
}

/// The members of an object.
#[derive(Default)]
struct Members<'d> {
    properties: Vec<(&'d str, Value<'d>)>,
    required: Vec<&'d str>,
}

/// JSON of the value that `schema` gives.
pub(super) fn of<'d>(resolver: &mut Resolver<'d>, schema: Value<'d>) -> Option<String> {
    Samples { resolver, steps: 0, open: Vec::new() }.value(schema)
}

/// The value that `schema` names itself, where it is not put together from others.
pub(super) fn named(schema: Value<'_>) -> Option<Value<'_>> {
    let first = |key: &str| schema.get(key).and_then(|list| list.items().next());
    let only = || {
        let mut items = schema.get("enum")?.items();
        items.next().filter(|_| items.next().is_none())
    };
    schema
        .get("example")
        .or_else(|| first("examples"))
        .or_else(|| schema.get("const"))
        .or_else(|| schema.get("default"))
        .or_else(only)
}

// === impl Samples ===

impl<'d> Samples<'_, 'd> {
    fn value(&mut self, schema: Value<'d>) -> Option<String> {
        self.steps += 1;
        let seen = self.open.iter().any(|open| open.is(schema));
        if seen || self.steps > MAX_STEPS || self.open.len() > MAX_DEPTH {
            return None;
        }
        if let Some(value) = named(schema) {
            return json::of(value);
        }
        self.open.push(schema);
        let value = self.composed(schema);
        self.open.pop();
        value
    }

    fn composed(&mut self, schema: Value<'d>) -> Option<String> {
        if schema.get("$ref").is_some() {
            let target = self.resolver.step(schema)?;
            return self.value(target);
        }
        if let Some(items) = schema.get("items") {
            return Some(format!("[{}]", self.value(items)?));
        }
        // `allOf` around one schema says something of it, not another value.
        if let Some(all) = schema.get("allOf")
            && schema.get("properties").is_none()
        {
            let mut items = all.items();
            if let (Some(one), None) = (items.next(), items.next()) {
                return self.value(one);
            }
        }
        let mut members = Members::default();
        self.collect(schema, &mut members, 0)?;
        let mut text = "{".to_owned();
        for (name, property) in &members.properties {
            let Some(value) = self.value(*property) else {
                if members.required.contains(name) {
                    return None;
                }
                continue;
            };
            if text.len() > 1 {
                text.push(',');
            }
            json::push_text(&mut text, name)?;
            text.push(':');
            text.push_str(&value);
            json::fits(&text)?;
        }
        let undeclared = |name: &&str| members.properties.iter().all(|(known, _)| known != name);
        if text.len() == 1 || members.required.iter().any(undeclared) {
            return None;
        }
        text.push('}');
        Some(text)
    }

    /// The members that a schema and all that it is made of declare.
    fn collect(&mut self, schema: Value<'d>, members: &mut Members<'d>, depth: usize) -> Option<()> {
        self.steps += 1;
        if self.steps > MAX_STEPS || depth > MAX_DEPTH {
            return None;
        }
        if schema.get("$ref").is_some() {
            let target = self.resolver.step(schema)?;
            return self.collect(target, members, depth + 1);
        }
        // One of several is not all of them.
        if schema.get("oneOf").is_some() || schema.get("anyOf").is_some() {
            return None;
        }
        for part in schema.get("allOf").into_iter().flat_map(Value::items) {
            self.collect(part, members, depth + 1)?;
        }
        for (name, property) in schema.get("properties").into_iter().flat_map(Value::entries) {
            self.steps += 1;
            // No part of responses.
            if property.get("writeOnly").is_some_and(|switch| switch.text() == "true") {
                continue;
            }
            match members.properties.iter_mut().find(|(known, _)| *known == name.text()) {
                Some((_, known)) => *known = property,
                None => members.properties.push((name.text(), property)),
            }
        }
        let required = schema.get("required").into_iter().flat_map(Value::items);
        members.required.extend(required.filter(|name| matches!(name.content(), Content::Text(_))).map(Value::text));
        Some(())
    }
}
