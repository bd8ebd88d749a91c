//! Contracts for tests.

use microgw_proto::contracts::v1 as proto;
use serde_json::Value;

use crate::{Contract, Direction, Presence, RequestHead, Schemas, Violations};

pub(crate) fn schemas(schemas: &[Value]) -> proto::Schemas {
    proto::Schemas { schemas: schemas.iter().map(Value::to_string).collect() }
}

pub(crate) fn compile(path: &str, values: &[Value], contract: &proto::Contract) -> Contract {
    let values = schemas(values);
    let requests = Schemas::compile(&values, Direction::Request).unwrap();
    let responses = Schemas::compile(&values, Direction::Response).unwrap();
    Contract::compile(contract, path, &requests, &responses).unwrap()
}

/// A parameter of the schema at `schema`, counted from 1.
pub(crate) fn parameter(location: proto::parameter::Location, name: &str, schema: u32) -> proto::Parameter {
    use proto::parameter::Location;
    let (style, explode) = match location {
        Location::Path | Location::Header => (proto::Style::Simple, false),
        Location::Query | Location::Cookie => (proto::Style::Form, true),
    };
    proto::Parameter {
        location: location.into(),
        name: name.to_owned(),
        style: style.into(),
        explode,
        schema,
        ..proto::Parameter::default()
    }
}

pub(crate) fn content(range: &str, schema: u32) -> proto::Content {
    proto::Content { range: range.to_owned(), schema, ..proto::Content::default() }
}

/// A contract whose requests have a body of the first schema.
pub(crate) fn with_body(contents: &[proto::Content], values: &[Value]) -> Contract {
    let body = proto::Body { required: true, contents: contents.to_vec() };
    compile("/", values, &proto::Contract { request: Some(body), ..proto::Contract::default() })
}

pub(crate) fn json_body(values: &[Value]) -> Contract {
    with_body(&[content("application/json", 1)], values)
}

/// A request without a body.
pub(crate) fn head(contract: &Contract, path: &str, headers: &[(&str, &str)]) -> Violations {
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    contract.request_head(&RequestHead { path, headers: &header }, Presence::Unknown)
}

pub(crate) fn told(violations: &Violations) -> Vec<String> {
    violations.iter().map(ToString::to_string).collect()
}
