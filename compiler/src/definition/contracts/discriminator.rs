//! `discriminator`: a property whose value says which schema counts.
//!
//! It becomes conditions: whoever says what he is has to be that, and is told what is wrong with it. A value that names no schema is refused.

use serde_json::{Map, Value as Json, json};

use super::dialect::last_name;
use super::shelf::Shelf;
use crate::definition::references::Resolver;
use crate::source::{Content, Value};

/// Schemas that derive from one, at most.
const MAX_CHOICES: usize = 500;

/// A schema, and the values that name it.
struct Choice {
    names: Vec<String>,
    schema: Json,
}

/// Takes what `schema` says of its discriminator into `map`, which has the rest of it.
pub(super) fn apply<'d>(
    schema: Value<'d>,
    map: &mut Map<String, Json>,
    shelf: &mut Shelf<'d>,
    resolver: &mut Resolver<'d>,
) {
    let Some(declared) = schema.get("discriminator") else { return };
    let property = match declared.content() {
        Content::Text(name) => name,
        _ => declared.get("propertyName").map(Value::text).unwrap_or_default(),
    };
    if property.is_empty() {
        return;
    }
    let alternatives = ["oneOf", "anyOf"].into_iter().find_map(|key| Some((key, schema.get(key)?)));
    let choices = match alternatives {
        Some((key, list)) => {
            let Some(choices) = of_alternatives(declared, list, map.get(key)) else { return };
            map.remove(key);
            choices
        }
        None => of_descendants(schema, declared, shelf, resolver),
    };
    if choices.is_empty() {
        return;
    }
    let all: Vec<&String> = choices.iter().flat_map(|choice| &choice.names).collect();
    let mut conditions = vec![json!({ "properties": { property: { "enum": all } }, "required": [property] })];
    for Choice { names, schema } in &choices {
        if *schema != Json::Bool(true) {
            let names = if let [name] = names.as_slice() { json!({ "const": name }) } else { json!({ "enum": names }) };
            conditions
                .push(json!({ "if": { "properties": { property: names }, "required": [property] }, "then": schema }));
        }
    }
    match map.get_mut("allOf") {
        Some(Json::Array(all)) => all.append(&mut conditions),
        _ => {
            map.insert("allOf".to_owned(), Json::Array(conditions));
        }
    }
}

/// `None`: an alternative has no name, so nothing can choose it.
fn of_alternatives(declared: Value<'_>, list: Value<'_>, converted: Option<&Json>) -> Option<Vec<Choice>> {
    let mut choices = Vec::new();
    let converted = converted?.as_array()?;
    for (alternative, schema) in list.items().zip(converted) {
        let reference = alternative.get("$ref")?.text();
        let own = last_name(reference);
        let mapped =
            mapping(declared).filter(|(_, to)| *to == reference || *to == own).map(|(value, _)| value.to_owned());
        let mut names = vec![own.clone()];
        names.extend(mapped.filter(|value| *value != own));
        choices.push(Choice { names, schema: schema.clone() });
    }
    Some(choices)
}

/// The schemas that are an `allOf` of this one, and itself.
fn of_descendants<'d>(
    schema: Value<'d>,
    declared: Value<'d>,
    shelf: &mut Shelf<'d>,
    resolver: &mut Resolver<'d>,
) -> Vec<Choice> {
    let mut found: Vec<(String, Value<'d>)> = Vec::new();
    let mut waiting = vec![schema];
    while let Some(base) = waiting.pop() {
        for (name, child) in shelf.children(base, resolver) {
            if found.len() < MAX_CHOICES && !found.iter().any(|(_, known)| known.is(child)) {
                found.push((name, child));
                waiting.push(child);
            }
        }
    }
    if found.is_empty() {
        return Vec::new();
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let mapped = |name: &str| -> Vec<String> {
        mapping(declared).filter(|(_, to)| last_name(to) == name).map(|(value, _)| value.to_owned()).collect()
    };
    let mut choices = Vec::new();
    if let Some(own) = shelf.name_of(schema) {
        let names = [vec![own.clone()], mapped(&own)].concat();
        choices.push(Choice { names, schema: Json::Bool(true) });
    }
    for (name, child) in found {
        let mut names = mapped(&name);
        if !names.contains(&name) {
            names.push(name);
        }
        let schema = microgw_schemas::dialect::reference(shelf.put_target(child, resolver) as usize);
        choices.push(Choice { names, schema });
    }
    choices
}

fn mapping(declared: Value<'_>) -> impl Iterator<Item = (&str, &str)> {
    declared.get("mapping").into_iter().flat_map(Value::entries).map(|(value, to)| (value.text(), to.text()))
}
