//! The one dialect that is checked: JSON Schema 2020-12. What older definitions say in another way is brought to it here.

use serde_json::{Map, Value, json};

/// Where in a schema a part of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// It says something of the same value.
    Same,
    /// It says something of what is in the value.
    Below,
}

/// Keywords whose value is a schema.
const ONE: &[(&str, Site)] = &[
    ("additionalProperties", Site::Below),
    ("contains", Site::Below),
    ("contentSchema", Site::Below),
    ("else", Site::Same),
    ("if", Site::Same),
    ("items", Site::Below),
    ("not", Site::Same),
    ("propertyNames", Site::Below),
    ("then", Site::Same),
    ("unevaluatedItems", Site::Below),
    ("unevaluatedProperties", Site::Below),
];
/// Keywords whose value is a list of schemas.
const SEVERAL: &[(&str, Site)] =
    &[("allOf", Site::Same), ("anyOf", Site::Same), ("oneOf", Site::Same), ("prefixItems", Site::Below)];
/// Keywords whose value is schemas by name.
const NAMED: &[(&str, Site)] =
    &[("dependentSchemas", Site::Same), ("patternProperties", Site::Below), ("properties", Site::Below)];

/// Keywords that say something of values, and whose value is no schema. `type` apart.
pub const ASSERTIONS: [&str; 20] = [
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

/// Keywords whose values are schemas, or have some in them.
pub fn arranged() -> impl Iterator<Item = &'static str> {
    [ONE, SEVERAL, NAMED].into_iter().flatten().map(|(keyword, _)| *keyword)
}

/// Whether the value of a keyword is one schema, several, or several by name.
pub fn arrangement(keyword: &str) -> Option<Arrangement> {
    let is = |list: &[(&str, Site)]| list.iter().any(|(name, _)| *name == keyword);
    match () {
        () if is(ONE) => Some(Arrangement::One),
        () if is(SEVERAL) => Some(Arrangement::Several),
        () if is(NAMED) => Some(Arrangement::Named),
        () => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    One,
    Several,
    Named,
}

/// Every schema that stands directly in another.
pub(crate) fn each_part(schema: &mut Map<String, Value>, visit: &mut impl FnMut(Site, &mut Value)) {
    for (key, site) in ONE {
        if let Some(part) = schema.get_mut(*key) {
            visit(*site, part);
        }
    }
    for (key, site) in SEVERAL {
        for part in schema.get_mut(*key).and_then(Value::as_array_mut).into_iter().flatten() {
            visit(*site, part);
        }
    }
    for (key, site) in NAMED {
        for part in schema.get_mut(*key).and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
            visit(*site, part);
        }
    }
}

/// The same, to read them.
pub(crate) fn parts(schema: &Map<String, Value>) -> impl Iterator<Item = (Site, &Value)> {
    let one = ONE.iter().filter_map(|(key, site)| Some((*site, schema.get(*key)?)));
    let several = SEVERAL.iter().flat_map(|(key, site)| {
        schema.get(*key).and_then(Value::as_array).into_iter().flatten().map(move |part| (*site, part))
    });
    let named = NAMED.iter().flat_map(|(key, site)| {
        schema.get(*key).and_then(Value::as_object).into_iter().flat_map(Map::values).map(move |part| (*site, part))
    });
    one.chain(several).chain(named)
}

/// The schema that is a reference to the one of that index.
pub fn reference(index: usize) -> Value {
    json!({ "$ref": pointer(index) })
}

/// The reference itself.
pub fn pointer(index: usize) -> String {
    format!("#/$defs/{index}")
}

/// Has a schema say what these references lead to, besides what it says.
pub fn refer(schema: &mut Map<String, Value>, references: impl IntoIterator<Item = Value>) {
    for reference in references {
        match reference {
            Value::Object(reference) if !schema.contains_key("$ref") => schema.extend(reference),
            reference => match schema.get_mut("allOf") {
                Some(Value::Array(all)) => all.push(reference),
                _ => {
                    schema.insert("allOf".to_owned(), json!([reference]));
                }
            },
        }
    }
}

/// The index that a `$ref` leads to.
pub(crate) fn target(schema: &Value) -> Option<usize> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?.parse().ok()
}

/// A schema of OpenAPI 3.0, Swagger 2.0 or JSON Schema draft 4, and all that is in it, as 2020-12. What is of 2020-12 already stays.
pub fn modernise(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    modernise_object(map);
    each_part(map, &mut |_, part| modernise(part));
    for definition in map.get_mut("definitions").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        modernise(definition);
    }
}

/// That object alone, without what is in it.
pub fn modernise_object(map: &mut Map<String, Value>) {
    // What stood beside a reference had no meaning.
    if map.get("$ref").is_some_and(Value::is_string) {
        map.retain(|key, _| matches!(key.as_str(), "$ref" | "definitions"));
        return;
    }
    bound(map, "minimum", "exclusiveMinimum");
    bound(map, "maximum", "exclusiveMaximum");
    if let Some(nullable) = map.remove("nullable")
        && nullable == Value::Bool(true)
    {
        null_too(map);
    }
    // A file, in Swagger 2.0: bytes that are not looked into.
    if map.get("type").is_some_and(|kind| kind == "file") {
        map.remove("type");
    }
    if let Some(Value::Array(_)) = map.get("items") {
        let first = map.remove("items").unwrap_or_default();
        map.insert("prefixItems".to_owned(), first);
        if let Some(rest) = map.remove("additionalItems") {
            map.insert("items".to_owned(), rest);
        }
    } else if !map.contains_key("prefixItems") {
        map.remove("additionalItems");
    }
    divide_dependencies(map);
}

/// `dependencies` was called so what is two keywords now.
pub fn divide_dependencies(map: &mut Map<String, Value>) {
    let Some(Value::Object(dependencies)) = map.remove("dependencies") else { return };
    let (required, schemas): (Map<_, _>, Map<_, _>) =
        dependencies.into_iter().partition(|(_, dependency)| dependency.is_array());
    let divided = json!({ "dependentRequired": required, "dependentSchemas": schemas });
    let has_new = map.contains_key("dependentRequired") || map.contains_key("dependentSchemas");
    match (divided, map.get_mut("allOf")) {
        (Value::Object(divided), _) if !has_new => map.extend(divided),
        (divided, Some(Value::Array(all))) => all.push(divided),
        (divided, _) => {
            map.insert("allOf".to_owned(), json!([divided]));
        }
    }
}

/// `exclusiveMinimum: true` beside `minimum`.
fn bound(map: &mut Map<String, Value>, bound: &str, exclusive: &str) {
    if let Some(Value::Bool(is_exclusive)) = map.get(exclusive).cloned() {
        map.remove(exclusive);
        if is_exclusive && let Some(value) = map.remove(bound) {
            map.insert(exclusive.to_owned(), value);
        }
    }
}

/// `nullable` adds null to `type`, and to nothing else: OpenAPI 3.0.3 says so. An `enum` without it has it all the same here, as most
/// definitions that say `nullable` mean it.
fn null_too(map: &mut Map<String, Value>) {
    let Some(Value::String(kind)) = map.get("type").cloned() else { return };
    map.insert("type".to_owned(), json!([kind, "null"]));
    if let Some(Value::Array(values)) = map.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
}
