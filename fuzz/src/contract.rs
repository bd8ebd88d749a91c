//! Contracts and schemas of anybody, against messages of anybody: both end, and neither panics.

use microgw_proto::contracts::v1 as proto;
use microgw_schemas::{Contract, Direction, Presence, RequestHead, Schemas, Violations};
use prost::Message as _;

use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "contract",
    run,
    reaches: &["no text", "no schema", "no contract", "valid", "invalid"],
    dictionary: &[
        "\n",
        "type",
        "\"type\":\"object\"",
        "\"type\":\"array\"",
        "{\"$ref\":\"#/$defs/0\"}",
        "{\"$ref\":\"#/$defs/1\"}",
        "\"properties\":{\"a\":{}}",
        "\"items\":",
        "\"anyOf\":[",
        "\"oneOf\":[",
        "\"allOf\":[",
        "\"not\":",
        "\"pattern\":\"(a+)+$\"",
        "\"readOnly\":true",
        "\"format\":\"int32\"",
        "\"unevaluatedProperties\":false",
        "application/json",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n",
        "\r\n--b--",
        "text/plain",
        "<a><b/></a>",
        "a=1&b[c]=2&b[c][]=3",
        "[[[[[[[[",
        "{\"a\":{\"a\":{\"a\":",
    ],
    mutations: 3000,
};

/// Lines: two schemas, how parameters are written, a path, a media type; then the body.
pub fn run(data: &[u8]) -> Reached {
    let mut lines = data.splitn(6, |byte| *byte == b'\n');
    let mut line = || lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let (Some(first), Some(second), Some(style), Some(path), Some(kind)) = (line(), line(), line(), line(), line())
    else {
        return "no text";
    };
    let body = lines.next().unwrap_or_default();
    // A contract from bytes is what an artifact may have in it.
    let _ = proto::Contract::decode(body);
    let mut schemas = proto::Schemas { schemas: vec![first.to_owned(), second.to_owned()] };
    let Ok(requests) = Schemas::compile(&schemas, Direction::Request) else {
        let all: Vec<usize> = (0..schemas.schemas.len()).collect();
        let (mistakes, _) = Schemas::check(&mut schemas, &all);
        assert!(!mistakes.is_empty() || Schemas::compile(&schemas, Direction::Request).is_err());
        return "no schema";
    };
    let Ok(responses) = Schemas::compile(&schemas, Direction::Response) else { return "no schema" };
    let number = i32::try_from(style.len() % 8).unwrap_or_default();
    let parameter = |location: i32| proto::Parameter {
        location,
        name: "a".to_owned(),
        style: number,
        explode: style.contains('x'),
        json: style.contains('j'),
        schema: 2,
        ..proto::Parameter::default()
    };
    let ranges =
        ["application/json", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data", "text/*"];
    let contents =
        ranges.map(|range| proto::Content { range: range.to_owned(), schema: 1, ..proto::Content::default() });
    let agreed = proto::Body { required: true, contents: contents.to_vec() };
    let answer = proto::Response { from: 0, to: 999, body: Some(agreed.clone()), headers: vec![parameter(2)] };
    let contract = proto::Contract {
        parameters: (0..4).map(parameter).collect(),
        request: Some(agreed),
        responses: vec![answer],
        ..proto::Contract::default()
    };
    // Where parameters are lists or objects a path has them in a segment.
    let template = if style.contains('n') { "/{b}" } else { "/{a}" };
    let Ok(contract) = Contract::compile(&contract, template, &requests, &responses) else { return "no contract" };
    let header = |name: &str| match name {
        "content-type" => Some(kind),
        "a" | "cookie" => Some(path),
        _ => None,
    };
    let mut found = contract.request_head(&RequestHead { path, headers: &header }, Presence::Unknown);
    let of_body = contract.request_body(Some(kind), body);
    let is_valid = of_body.is_empty();
    found.append(of_body);
    let back = contract.response_body(200, Some(kind), body);
    bounded(&found);
    bounded(&back);
    bounded(&contract.response_head(200, &header));
    if is_valid { "valid" } else { "invalid" }
}

fn bounded(found: &Violations) {
    assert!(found.len() <= microgw_schemas::MAX_VIOLATIONS);
    for violation in found.iter() {
        assert!(violation.name.len() < 1_000 && violation.reason.len() < 1_000, "{violation:?}");
    }
}
