//! What comparing a message with its contract takes, in the engine alone.

use std::hint::black_box;
use std::io;
use std::time::Instant;

use microgw_proto::contracts::v1 as proto;
use microgw_schemas::{Contract, Direction, Presence, RequestHead, Schemas};

use crate::Bench;
use crate::report::{Goal, Report, median};

/// Messages of a round.
const MESSAGES: u32 = 2_000;

const ITEM: &str = r##"{"type":"object","required":["id","name","price"],"additionalProperties":false,"properties":{
    "id":{"type":"string","format":"uuid"},"name":{"type":"string","minLength":1,"maxLength":80},
    "price":{"type":"number","minimum":0},"tags":{"type":"array","maxItems":10,"items":{"enum":["new","sale","used"]}},
    "parts":{"type":"array","items":{"$ref":"#/$defs/0"}}}}"##;
const ORDER: &str =
    r##"{"type":"object","required":["items"],"properties":{"items":{"type":"array","items":{"$ref":"#/$defs/0"}}}}"##;
const NUMBER: &str = r#"{"type":"integer","minimum":1,"maximum":100}"#;
const ID: &str = "123e4567-e89b-12d3-a456-426614174000";

pub fn measure(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let schemas = [ITEM, ORDER, NUMBER, r#"{"type":"string","format":"uuid"}"#].map(str::to_owned).to_vec();
    let compiled = Schemas::compile(&proto::Schemas { schemas }, Direction::Request).map_err(io::Error::other)?;
    let parameter = |location: proto::parameter::Location, name: &str, style: proto::Style, schema| proto::Parameter {
        location: location.into(),
        name: name.to_owned(),
        style: style.into(),
        required: true,
        schema,
        ..proto::Parameter::default()
    };
    let contents =
        vec![proto::Content { range: "application/json".to_owned(), schema: 2, ..proto::Content::default() }];
    let contract = proto::Contract {
        parameters: vec![
            parameter(proto::parameter::Location::Path, "id", proto::Style::Simple, 4),
            parameter(proto::parameter::Location::Query, "limit", proto::Style::Form, 3),
            parameter(proto::parameter::Location::Header, "x-trace", proto::Style::Simple, 4),
        ],
        request: Some(proto::Body { required: true, contents }),
        ..proto::Contract::default()
    };
    let contract = Contract::compile(&contract, "/items/{id}", &compiled, &compiled).map_err(io::Error::other)?;
    let item = format!(r#"{{"id":"{ID}","name":"a thing of some length","price":12.5,"tags":["new","sale"]}}"#);
    let body = format!(r#"{{"items":[{}]}}"#, vec![item; 8].join(","));
    let path = format!("/items/{ID}?limit=5&other=x");
    let header = |name: &str| match name {
        "x-trace" => Some(ID),
        "content-type" => Some("application/json"),
        "content-length" => Some("1000"),
        _ => None,
    };
    let head = RequestHead { path: &path, headers: &header };
    let is_valid = contract.request_head(&head, Presence::Unknown).is_empty()
        && contract.request_body(Some("application/json"), body.as_bytes()).is_empty();
    if !is_valid {
        return Err(io::Error::other("what is measured is not valid"));
    }
    let each = |check: &dyn Fn()| {
        median((0..bench.rounds.max(3)).map(|_| {
            let started = Instant::now();
            (0..MESSAGES).for_each(|_| check());
            started.elapsed().as_secs_f64() * 1e6 / f64::from(MESSAGES)
        }))
    };
    let of_head = each(&|| drop(black_box(contract.request_head(black_box(&head), Presence::Unknown))));
    report.add("three parameters, validated".to_owned(), of_head, "us", Goal::None);
    let of_body =
        each(&|| drop(black_box(contract.request_body(Some("application/json"), black_box(body.as_bytes())))));
    report.add(format!("a JSON body of {} bytes, validated", body.len()), of_body, "us", Goal::AtMost(10.0));
    Ok(())
}
