use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;

fn check(schemas: &mut proto::Schemas) -> (Vec<Mistake>, Option<Schemas>) {
    let all: Vec<usize> = (0..schemas.schemas.len()).collect();
    Schemas::check(schemas, &all)
}
use crate::dialect::reference;
use crate::fixtures::{json_body, schemas, told};

fn violations(values: &[Value], body: &str) -> Vec<String> {
    told(&json_body(values).request_body(Some("application/json"), body.as_bytes()))
}

#[test]
fn violations_name_places_and_say_nothing_of_values() {
    let pet = json!({
        "type": "object", "required": ["name", "kind"], "additionalProperties": false,
        "properties": {
            "name": {"type": "string", "maxLength": 5},
            "kind": {"enum": ["cat", "dog"]},
            "tags": {"type": "array", "items": reference(1)},
        },
    });
    let values = [pet, json!({"type": "integer", "minimum": 1})];
    let none: Vec<String> = Vec::new();
    assert_eq!(violations(&values, r#"{"name": "Tom", "kind": "cat", "tags": [1, 2]}"#), none);
    let mut told = violations(&values, r#"{"name": "S3cret!", "tags": [1, 0, "S3cret!"], "x": "S3cret!"}"#);
    told.sort();
    assert_eq!(
        told,
        [
            "body /name: must have at most 5 characters",
            "body /tags/1: must be at least 1",
            "body /tags/2: must be a whole number",
            "body: has the property `x`, which is not declared",
            "body: must have the property `kind`",
        ]
    );
    assert_eq!(
        violations(&values, r#"{"name": "Tom", "kind": "S3cret!"}"#),
        [r#"body /kind: must be one of ["cat","dog"]"#]
    );
    assert_eq!(violations(&values, "[1]"), ["body: must be an object"]);
    assert_eq!(
        violations(&values, "{"),
        ["body: is no JSON that can be taken: EOF while parsing an object at line 1 column 1"]
    );
}

#[test]
fn few_violations_are_told_and_names_are_short() {
    let value = [json!({"items": {"type": "integer"}})];
    let body = format!("[{}]", vec!["\"x\""; 100_000].join(","));
    let contract = json_body(&value);
    let found = contract.request_body(Some("application/json"), body.as_bytes());
    assert_eq!((found.len(), found.has_more()), (crate::MAX_VIOLATIONS, true));
    let name = "n".repeat(100_000);
    let found = violations(&[json!({"additionalProperties": false})], &format!("{{\"{name}\": 1}}"));
    assert!(found[0].len() < 300, "{}", found[0].len());
    let deep = violations(&[json!({"additionalProperties": {"type": "integer"}})], &format!("{{\"{name}\": \"\"}}"));
    assert!(deep[0].len() < 300, "{}", deep[0].len());
}

#[test]
fn what_is_read_only_is_not_in_requests() {
    let user = json!({
        "type": "object", "required": ["id", "name", "password"],
        "properties": {
            "id": {"type": "integer", "readOnly": true}, "name": {"type": "string"},
            "password": {"type": "string", "writeOnly": true}, "made": reference(1),
        },
    });
    let values = [user, json!({"type": "string", "format": "date", "readOnly": true})];
    let proto = schemas(&values);
    let check = |direction, body: &str| {
        let schemas = Schemas::compile(&proto, direction).unwrap();
        let (value, count) = crate::json::parse(body.as_bytes(), 64).unwrap();
        let mut violations = Violations::default();
        schemas.compiled.check("0", &value, Place::Body, "", count, &mut violations);
        told(&violations)
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(check(Direction::Request, r#"{"name": "x", "password": "y"}"#), none);
    assert_eq!(
        check(Direction::Request, r#"{"id": 1, "name": "x", "password": "y", "made": "2026-01-01"}"#),
        ["body /id: is read-only", "body /made: is read-only"]
    );
    assert_eq!(check(Direction::Response, r#"{"id": 1, "name": "x", "made": "2026-01-01"}"#), none);
    assert_eq!(
        check(Direction::Response, r#"{"id": 1, "name": "x", "password": "y"}"#),
        ["body /password: is write-only"]
    );
}

#[test]
fn what_parts_of_a_schema_exclude_no_part_asks_for() {
    let base = json!({"properties": {"id": {"readOnly": true}}});
    let values = [json!({"allOf": [reference(1), {"required": ["id", "name"]}]}), base];
    assert_eq!(violations(&values, r#"{"name": "x"}"#), Vec::<String>::new());
    assert_eq!(violations(&values, "{}"), ["body: must have the property `name`"]);
}

#[test]
fn formats_are_asserted() {
    let is_valid = |format: &str, kind: &str, value: &str| {
        violations(&[json!({"type": kind, "format": format})], value).is_empty()
    };
    for (format, good, bad) in [
        ("int32", "2147483647", "2147483648"),
        ("int32", "-2147483648", "-2147483649"),
        ("int64", "9223372036854775807", "9223372036854775808"),
        ("int64", "-9223372036854775808", "1e30"),
    ] {
        assert!(is_valid(format, "integer", good), "{format} {good}");
        assert!(!is_valid(format, "integer", bad), "{format} {bad}");
    }
    assert!(is_valid("float", "number", "3.5") && !is_valid("float", "number", "1e300"));
    assert!(is_valid("double", "number", "1e300"));
    for (format, good, bad) in [
        ("date", "2026-02-28", "2026-02-30"),
        ("date-time", "2026-02-28T10:00:00Z", "2026-02-28 10:00"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
        ("email", "a@example.com", "a@"),
        ("ipv4", "192.0.2.1", "192.0.2.256"),
        ("ipv6", "2001:db8::1", "2001:db8::g"),
        ("byte", "aGk=", "a*"),
        ("uri", "https://example.com/x", "x y"),
        ("hostname", "a.example", "-a-.example"),
    ] {
        assert!(is_valid(format, "string", &format!("\"{good}\"")), "{format} {good}");
        assert!(!is_valid(format, "string", &format!("\"{bad}\"")), "{format} {bad}");
    }
    assert!(is_valid("what-nobody-knows", "string", "\"\""));
    let both = json!({"type": "integer", "format": "int32", "minimum": 0, "maximum": 1_000_000_000_000_u64});
    assert!(!violations(std::slice::from_ref(&both), "-1").is_empty());
    assert!(!violations(std::slice::from_ref(&both), "3000000000").is_empty());
}

#[test]
fn schemas_of_31_are_what_they_say() {
    let tuple = json!({"prefixItems": [{"type": "string"}, {"type": ["integer", "null"]}], "items": false});
    assert!(violations(std::slice::from_ref(&tuple), r#"["a", null]"#).is_empty());
    assert!(!violations(std::slice::from_ref(&tuple), r#"["a", 1, 2]"#).is_empty());
    let siblings = [json!({"$ref": "#/$defs/1", "maxLength": 2}), json!({"type": "string"})];
    assert_eq!(violations(&siblings, r#""abc""#), ["body: must have at most 2 characters"]);
    assert_eq!(violations(&[json!({"const": {"a": [1]}})], r#"{"a": [1.0]}"#), Vec::<String>::new());
    let dependent =
        json!({"dependentRequired": {"a": ["b"]}, "unevaluatedProperties": false, "properties": {"a": {}, "b": {}}});
    assert!(!violations(std::slice::from_ref(&dependent), r#"{"a": 1}"#).is_empty());
    assert!(!violations(std::slice::from_ref(&dependent), r#"{"c": 1}"#).is_empty());
    assert!(violations(&[json!({"uniqueItems": true})], "[1, \"1\", [1], {\"a\": 1}, null, true]").is_empty());
    assert!(!violations(&[json!({"uniqueItems": true})], "[[1, {\"a\": 1}], [1.0, {\"a\": 1.0}]]").is_empty());
    assert!(!violations(&[json!({"uniqueItems": true})], "[0, -0.0]").is_empty());
}

#[test]
fn patterns_take_linear_time_and_what_cannot_is_refused() {
    let evil = [json!({"type": "string", "pattern": "^(a+)+$"})];
    let start = Instant::now();
    assert!(!violations(&evil, &format!("\"{}!\"", "a".repeat(50_000))).is_empty());
    assert!(start.elapsed() < Duration::from_secs(5));
    for pattern in ["(?=a)b", "(a)\\1", "(", "(?<!x)y", "a{1000}{1000}{1000}"] {
        let found = check(&mut schemas(&[json!({}), json!({"properties": {"a/b": {"pattern": pattern}}})])).0;
        let [mistake] = found.as_slice() else { panic!("{pattern}: {found:?}") };
        assert_eq!((mistake.schema, mistake.pointer.as_str()), (1, "/properties/a~1b/pattern"));
    }
}

#[test]
fn every_schema_that_is_none_is_found() {
    let found = check(&mut schemas(&[
        json!({"type": "strin"}),
        json!({"properties": {"a": {"minLength": -1}}}),
        json!({"type": "string"}),
        json!({"items": {"required": "a"}}),
    ]))
    .0;
    let places: Vec<_> = found.iter().map(|mistake| (mistake.schema, mistake.pointer.as_str())).collect();
    assert_eq!(places, [(0, "/type"), (1, "/properties/a/minLength"), (3, "/items/required")]);
    assert!(check(&mut schemas(&[json!({"$ref": "https://example.com/x.json"})])).0.len() == 1);
}

#[test]
fn cycles_are_followed_as_far_as_values_go() {
    let tree = [json!({
        "type": "object", "required": ["v"], "additionalProperties": false,
        "properties": {"v": {"type": "integer"}, "l": reference(0), "r": reference(0)},
    })];
    assert!(violations(&tree, r#"{"v": 1, "l": {"v": 2, "r": {"v": 3}}}"#).is_empty());
    assert_eq!(
        violations(&tree, r#"{"v": 1, "l": {"v": 2, "r": {"v": "x"}}}"#),
        ["body /l/r/v: must be a whole number"]
    );
    assert!(violations(&[json!({"$ref": "#/$defs/0"})], "1").is_empty());
}

/// Alternatives in alternatives: each level doubles what a validator without bounds would do.
#[test]
fn what_explodes_ends() {
    let branch = |last: Value| {
        json!({"anyOf": [
            {"properties": {"x": reference(0)}, "required": ["x"]},
            {"properties": {"x": reference(0)}, "required": ["x"]},
            last,
        ]})
    };
    let depth = 60;
    let body = format!("{}0{}", "{\"x\":".repeat(depth), "}".repeat(depth));
    for value in [
        branch(json!({"type": "string"})),
        json!({"oneOf": [
            {"properties": {"x": reference(0)}, "type": "object"},
            {"properties": {"x": reference(0)}, "type": "object", "minProperties": 1},
            {"type": "string"},
        ]}),
        json!({"not": {"anyOf": [{"properties": {"x": reference(0)}}, {"properties": {"x": reference(0)}}]}}),
    ] {
        let start = Instant::now();
        let contract = json_body(&[value]);
        contract.request_body(Some("application/json"), body.as_bytes());
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}

/// On a stack as small as those of tests and of a service's threads.
#[test]
fn the_deepest_message_of_the_deepest_schema_fits_the_stack() {
    let run = || {
        let mut deep = reference(0);
        for _ in 0..60 {
            deep = json!({"allOf": [deep]});
        }
        let values = [
            json!({"properties": {"x": deep}, "additionalProperties": {"$ref": "#/$defs/0"}}),
            json!({"properties": {"x": reference(1)}}),
        ];
        let chained: Vec<Value> = (1..=30)
            .map(|next| {
                if next == 30 {
                    json!({"properties": {"x": reference(0)}})
                } else {
                    json!({"oneOf": [reference(next)]})
                }
            })
            .collect();
        for values in [&values[..], &chained] {
            let contract = json_body(values);
            for depth in [10, 60, 64, 100_000] {
                let body = format!("{}\"\"{}", "{\"x\":".repeat(depth), "}".repeat(depth));
                contract.request_body(Some("application/json"), body.as_bytes());
            }
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}
