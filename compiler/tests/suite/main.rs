//! The JSON Schema Test Suite, through all that reads schemas: definitions of OpenAPI in each version, and parameters of policies.
//! `make suites` unpacks it.

mod exceptions;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use exceptions::{Case, EXCEPTIONS, Exception};
use microgw_compiler::compile::{Options, compile};
use microgw_compiler::files::MemoryFiles;
use microgw_schemas::{Contract, Direction, Schemas, Standalone};
use serde_json::Value;

const SUITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/suites/json/tests");

/// Who reads a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// A definition that begins so.
    Definition(&'static str),
    Policy,
}

const SWAGGER_20: Reader = Reader::Definition("swagger: '2.0'\nhost: example.com\nschemes: [https]\n");
const OPENAPI_30: Reader = Reader::Definition("openapi: 3.0.3\nservers: [{url: 'https://example.com'}]\n");
const OPENAPI_31: Reader = Reader::Definition("openapi: 3.1.0\nservers: [{url: 'https://example.com'}]\n");

/// Documents that the suite has on a server, and that say what they are called.
static NAMED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let entries = fs::read_dir(Path::new(SUITE).join("../remotes/draft2020-12")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let mut texts: Vec<String> = paths.map(|path| fs::read_to_string(path).unwrap()).collect();
    texts.retain(|text| text.contains("\"$id\": \"http://localhost:1234/") && !text.contains("$vocabulary"));
    texts.sort();
    texts
});

/// A schema that was taken.
enum Taken {
    Contract(Box<Contract>),
    Standalone(Standalone),
}

// === impl Reader ===

impl Reader {
    /// `None`: it is refused, and nothing is compared with it.
    fn read(self, schema: &Value) -> Option<Taken> {
        match self {
            Reader::Definition(head) => of_definition(head, schema).map(Box::new).map(Taken::Contract),
            Reader::Policy => Standalone::compile(schema).ok().map(Taken::Standalone),
        }
    }
}

/// The schema is a file of its own, so that its references are to itself. Documents that it asks for by their URI are files as well, as far
/// as they say what they are called.
fn of_definition(head: &str, schema: &Value) -> Option<Contract> {
    let body = if head.starts_with("swagger") {
        "consumes: [application/json], parameters: [{name: body, in: body, required: true, schema: {$ref: ../schema.json}}]"
    } else {
        "requestBody: {required: true, content: {application/json: {schema: {$ref: ../schema.json}}}}"
    };
    let mut files = MemoryFiles::new().with("schema.json", schema.to_string());
    let mut others = String::new();
    if head.contains("3.1") && schema.to_string().contains("//localhost:1234/") {
        for (index, text) in NAMED.iter().enumerate() {
            files = files.with(format!("others/{index}.json"), text.as_str());
            write!(others, "s{index}: {{$ref: ../others/{index}.json}}, ").unwrap();
        }
        others = format!("components: {{schemas: {{{others}}}}}\n");
    }
    let definition = format!(
        "{head}info: {{title: Suite, version: '1'}}\npaths: {{/x: {{post: {{{body}, responses: {{}}}}}}}}\n{others}"
    );
    let files = files.with("api_definitions/suite.yaml", definition);
    let api = compile(&files, "project", &Options::default()).model?.apis.into_iter().next()?;
    let operation = api.operations.first()?;
    let contract = operation.contract.as_ref().filter(|contract| contract.request_flaw.is_empty())?;
    let requests = Schemas::compile(&api.schemas, Direction::Request).unwrap();
    Some(Contract::compile(contract, "/suite/1/x", &requests, &requests).unwrap())
}

// === impl Taken ===

impl Taken {
    fn is_valid(&self, value: &str) -> bool {
        match self {
            Taken::Contract(contract) => contract.request_body(Some("application/json"), value.as_bytes()).is_empty(),
            Taken::Standalone(standalone) => standalone.check(value).is_empty(),
        }
    }
}

/// The files of a draft, with what is optional.
fn files(draft: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for directory in ["", "optional/", "optional/format/"] {
        let Ok(entries) = fs::read_dir(draft.join(directory)) else { continue };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        found.extend(
            names
                .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "json"))
                .map(|name| format!("{directory}{name}")),
        );
    }
    found.sort();
    found
}

fn run(draft: &str, reader: Reader, way: &str, least: usize) {
    let suite = Path::new(SUITE);
    if !suite.join(".complete").exists() {
        assert!(std::env::var_os("CI").is_none(), "the JSON Schema Test Suite is not there: make suites");
        eprintln!("skipped: the JSON Schema Test Suite is not there (make suites)");
        return;
    }
    let excepted: Vec<&Exception> = EXCEPTIONS.iter().filter(|exception| exception.ways.contains(&way)).collect();
    let mut idle: BTreeSet<Case> = excepted.iter().flat_map(|exception| exception.cases()).collect();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for file in files(&suite.join(draft)) {
        let groups: Value = serde_json::from_str(&fs::read_to_string(suite.join(draft).join(&file)).unwrap()).unwrap();
        for group in groups.as_array().unwrap() {
            let described = group["description"].as_str().unwrap();
            let mut schema = group["schema"].clone();
            // What both drafts have in common is the same in both.
            if schema["$schema"] == "https://json-schema.org/draft/2019-09/schema" {
                schema["$schema"] = Value::from("https://json-schema.org/draft/2020-12/schema");
            }
            let taken = reader.read(&schema);
            for test in group["tests"].as_array().unwrap() {
                let found = taken.as_ref().map(|taken| taken.is_valid(&test["data"].to_string()));
                count += 1;
                let is_right = found == test["valid"].as_bool();
                let test = test["description"].as_str().unwrap();
                let exception = excepted.iter().find_map(|exception| exception.case(&file, described, test));
                match (is_right, exception) {
                    (true, None) => {}
                    (false, Some((case, _))) => {
                        idle.remove(&case);
                    }
                    (true, Some((_, reason))) => {
                        wrong.push(format!("{file} | {described} | {test} is right, though {reason}"));
                    }
                    (false, None) => wrong.push(format!("{file} | {described} | {test} | {found:?}")),
                }
            }
        }
    }
    // An exception that is none any more is to be struck off.
    wrong.extend(idle.into_iter().map(|case| format!("nothing is excepted by {case:?}")));
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= least, "the suite has {count} tests only");
}

#[test]
fn draft_4_in_swagger_20() {
    run("draft4", SWAGGER_20, "4 in 2.0", 800);
}

#[test]
fn draft_4_in_openapi_30() {
    run("draft4", OPENAPI_30, "4 in 3.0", 800);
}

#[test]
fn draft_6_in_openapi_30() {
    run("draft6", OPENAPI_30, "6 in 3.0", 1_000);
}

#[test]
fn draft_7_in_openapi_30() {
    run("draft7", OPENAPI_30, "7 in 3.0", 1_400);
}

#[test]
fn draft_2019_09_in_openapi_31() {
    run("draft2019-09", OPENAPI_31, "2019-09 in 3.1", 1_800);
}

#[test]
fn draft_2020_12_in_openapi_31() {
    run("draft2020-12", OPENAPI_31, "2020-12 in 3.1", 1_800);
}

#[test]
fn draft_2020_12_in_policies() {
    run("draft2020-12", Reader::Policy, "2020-12 in policies", 1_800);
}
