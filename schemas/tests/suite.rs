//! The JSON Schema Test Suite, as far as npm has it (draft 4), brought to the dialect that is checked as definitions of OpenAPI 3.0 are.
//! `make suites` installs it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use microgw_proto::contracts::v1 as proto;
use microgw_schemas::{Contract, Direction, Schemas, dialect};
use serde_json::{Value, json};

const SUITE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/suites/node_modules/json-schema-test-suite/tests/draft4");

/// Groups and tests that the validator answers otherwise, each for a reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    // Nothing is fetched: a definition whose reference leaves the project is refused when it is built.
    ("refRemote.json", ""),
    ("definitions.json", ""),
    ("ref.json", "remote ref, containing refs itself"),
    // 2020-12 counts 1.0 among the whole numbers.
    (
        "optional/zeroTerminatedFloats.json",
        "some languages do not distinguish between different types of numeric value",
    ),
    // Draft 4 called references URIs, too.
    ("optional/format.json", "validation of URIs"),
    // A list of schemas is called `prefixItems` now, and so is what leads into it.
    ("ref.json", "relative pointer ref to array"),
];

fn is_exception(file: &str, group: &str) -> bool {
    EXCEPTIONS.iter().any(|(of, name)| *of == file && (name.is_empty() || *name == group))
}

/// `None`: it is no schema.
fn compile(schema: &Value) -> Option<Contract> {
    let mut schema = schema.clone();
    dialect::modernise(&mut schema);
    if let Some(map) = schema.as_object_mut() {
        map.remove("$schema");
        map.remove("id");
        // By itself, so that its references are to itself.
        map.insert("$id".to_owned(), json!("urn:example:suite"));
    }
    let schemas = proto::Schemas { schemas: vec![schema.to_string()] };
    let requests = Schemas::compile(&schemas, Direction::Request).ok()?;
    let contents =
        vec![proto::Content { range: "application/json".to_owned(), schema: 1, ..proto::Content::default() }];
    let body = Some(proto::Body { required: true, contents });
    Contract::compile(&proto::Contract { request: body, ..proto::Contract::default() }, "/", &requests, &requests).ok()
}

#[test]
fn json_schema_test_suite() {
    let suite = Path::new(SUITE);
    if !suite.exists() {
        assert!(std::env::var_os("CI").is_none(), "the JSON Schema Test Suite is not installed: make suites");
        eprintln!("skipped: the JSON Schema Test Suite is not installed (make suites)");
        return;
    }
    let mut files: Vec<String> = Vec::new();
    for directory in ["", "optional/"] {
        let entries = fs::read_dir(suite.join(directory)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        files.extend(
            names
                .filter(|name| name.rsplit_once('.').is_some_and(|(_, extension)| extension == "json"))
                .map(|name| format!("{directory}{name}")),
        );
    }
    files.sort();
    let (mut wrong, mut count, mut excepted) = (Vec::new(), 0, BTreeSet::new());
    for file in &files {
        let groups: Value = serde_json::from_str(&fs::read_to_string(suite.join(file)).unwrap()).unwrap();
        for group in groups.as_array().unwrap() {
            let name = group["description"].as_str().unwrap();
            let contract = compile(&group["schema"]);
            for test in group["tests"].as_array().unwrap() {
                let data = test["data"].to_string();
                let found = contract
                    .as_ref()
                    .map(|contract| contract.request_body(Some("application/json"), data.as_bytes()).is_empty());
                count += 1;
                if found == test["valid"].as_bool() {
                    continue;
                }
                if is_exception(file, name) {
                    excepted.insert((file.as_str(), name.to_owned()));
                } else {
                    wrong.push(format!("{file}: {name}: {}: {found:?}", test["description"]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 250, "the suite has {count} tests only");
    // An exception that is none any more is to be struck off.
    for (file, name) in EXCEPTIONS {
        let is_used = excepted.iter().any(|(of, group)| of == file && (name.is_empty() || name == group));
        assert!(is_used, "{file} {name} is no exception");
    }
}
