//! Time and memory of `micro-gw build`.

use std::io;

use serde_json::{Map, Value, json};

use super::{megabytes, milliseconds};
use crate::Bench;
use crate::project::{Built, Operation, Project, definition};
use crate::report::{Goal, Report, median};

const DEFINITIONS: usize = 100;
const OPERATIONS: usize = 100;
/// Bytes of the large definition.
const LARGE: usize = 46_000_000;

pub fn measure(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let directory = bench.directory.path().join("build");
    let artifact = directory.join("out.mgw");
    let many = Project::create(directory.join("many"))?;
    for index in 0..DEFINITIONS {
        many.define(&format!("api{index}"), &documented(bench, index))?;
    }
    let large = Project::create(directory.join("large"))?;
    large.define("large", &described(bench))?;

    let build = |project: &Project, rounds: usize| -> io::Result<(f64, f64)> {
        let built: Vec<Built> =
            (0..rounds).map(|_| project.build(&bench.gateway, &artifact)).collect::<io::Result<_>>()?;
        let time = median(built.iter().map(|built| milliseconds(built.elapsed)));
        Ok((time, median(built.iter().map(|built| megabytes(built.peak)))))
    };
    let (time, memory) = build(&many, bench.rounds)?;
    report.add("build: 10,000 operations in 100 definitions", time, "ms", Goal::AtMost(1000.0));
    report.add("build: its peak memory", memory, "MB", Goal::AtMost(200.0));
    let (time, memory) = build(&large, bench.rounds.min(3))?;
    report.add("build: a definition of 46 MB", time, "ms", Goal::None);
    report.add("build: its peak memory", memory, "MB", Goal::None);
    Ok(())
}

/// A definition as they are: parameters, bodies and schemas, half of it guarded.
fn documented(bench: &Bench, index: usize) -> Value {
    let operation = |number: usize| Operation {
        template: format!("/resource{number}/{{id}}"),
        path: String::new(),
        guarded: number.is_multiple_of(2),
    };
    let operations: Vec<Operation> = (0..OPERATIONS).map(operation).collect();
    let mut definition = definition(&format!("api{index}"), &format!("/api{index}"), bench.backend, &operations);
    for get in gets(&mut definition) {
        get.insert("summary".to_owned(), "Find one by its id".into());
        let id = json!({ "in": "path", "name": "id", "required": true, "schema": { "type": "integer" } });
        get.insert("parameters".to_owned(), json!([id]));
    }
    definition
}

/// A definition that is large because it says much.
fn described(bench: &Bench) -> Value {
    let operation = |number: usize| Operation { template: format!("/r{number}"), path: String::new(), guarded: true };
    let operations: Vec<Operation> = (0..DEFINITIONS * OPERATIONS).map(operation).collect();
    let mut definition = definition("large", "/large", bench.backend, &operations);
    let schema = |number: usize| {
        let field = json!({ "type": "string", "description": "what the field means", "maxLength": number });
        let fields = (0..45).map(|index| (format!("field{index}"), field.clone())).collect::<Map<_, _>>();
        json!({ "type": "object", "properties": fields })
    };
    let per_operation = LARGE / operations.len();
    for (number, get) in gets(&mut definition).enumerate() {
        let mut schema = schema(number);
        // Bytes of JSON are what was asked for.
        let missing = per_operation.saturating_sub(schema.to_string().len() + 250);
        if let Some(fields) = schema.as_object_mut() {
            fields.insert("description".to_owned(), "x".repeat(missing).into());
        }
        let content =
            json!({ "200": { "description": "done", "content": { "application/json": { "schema": schema } } } });
        get.insert("responses".to_owned(), content);
    }
    definition
}

fn gets(definition: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let paths = definition.get_mut("paths").and_then(Value::as_object_mut);
    paths.into_iter().flat_map(|paths| paths.values_mut()).filter_map(|path| path.get_mut("get")?.as_object_mut())
}
