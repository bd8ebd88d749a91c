use serde_json::{Map, Value, json};

use super::survey::DRAFT;
use super::*;

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
        (json!({ "tree": { "id": node["id"], "next": { "id": "x" } } }), "/tree/next/id must have the format `uuid`"),
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
        (json!({ "$id": "a b" }), "/$id it is no reference to a URI"),
        (
            json!({ "$defs": { "a": { "$id": "x" }, "b": { "$id": "./x" } } }),
            "/$defs/b/$id another schema has it already",
        ),
        (json!({ "$defs": { "a": { "$anchor": "1" } } }), "/$defs/a/$anchor an anchor begins with a letter"),
        (json!({ "$anchor": 1 }), "/$anchor `$anchor` must be text"),
        (json!({ "$ref": "#nobody" }), "/$ref it leads nowhere"),
        (json!({ "$id": "https://x/y", "$ref": "z" }), "/$ref a reference leads to a part of the same schema"),
        (json!({ "$schema": "http://json-schema.org/draft-07/schema#" }), "/$schema schemas are those of"),
        (json!({ "definitions": {} }), "/definitions `definitions` is called `$defs`"),
        (json!({ "contentSchema": {} }), "/contentSchema `contentSchema` is no keyword"),
        (json!({ "format": "card-number" }), "/format nothing is known of the format `card-number`"),
        (json!({ "pattern": "(?=x)" }), "/pattern the pattern `(?=x)` is no regular expression"),
        (json!({ "properties": { "a": { "type": "string", "default": 1 } } }), "/properties/a/default must be text"),
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

/// A list whose items are what another schema says, as generic types are written.
#[test]
fn dynamic_references_lead_to_whoever_has_the_name_first() {
    let schema = json!({
        "$id": "https://example.com/texts",
        "properties": {
            "texts": { "$ref": "list" },
            "numbers": { "$id": "numbers", "$defs": { "item": { "$dynamicAnchor": "item", "type": "number" } }, "$ref": "list" },
            "any": { "$ref": "#anything" },
        },
        "$defs": {
            "list": {
                "$id": "list", "type": "array", "items": { "$dynamicRef": "#item" },
                "$defs": { "item": { "$dynamicAnchor": "item" } },
            },
            "text": { "$dynamicAnchor": "item", "type": "string" },
            "none": { "$anchor": "anything", "not": {} },
        },
    });
    assert_eq!(told(&schema, &json!({ "texts": ["a", 1] })), ["/texts/1 must be text"]);
    // Whoever comes from `texts` has met its name before that of `numbers`.
    assert_eq!(told(&schema, &json!({ "numbers": ["a", 1] })), ["/numbers/1 must be text"]);
    assert_eq!(told(&schema, &json!({ "any": 1 })).len(), 1);
}
