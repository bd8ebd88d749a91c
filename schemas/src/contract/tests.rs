use proto::parameter::Location;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{compile, content, head, parameter, told};

const NONE: [String; 0] = [];

fn pets() -> Contract {
    let values = [
        json!({"type": "integer", "minimum": 1, "maximum": 100}),
        json!({"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2}),
        json!({"type": "string", "format": "uuid"}),
        json!({"type": "boolean"}),
    ];
    let contract = proto::Contract {
        parameters: vec![
            parameter(Location::Path, "id", 1),
            proto::Parameter { required: true, ..parameter(Location::Query, "limit", 1) },
            parameter(Location::Query, "tags", 2),
            parameter(Location::Header, "x-request-id", 3),
            parameter(Location::Cookie, "debug", 4),
            // No parameters, whatever a definition says.
            proto::Parameter { required: true, ..parameter(Location::Header, "authorization", 1) },
        ],
        ..proto::Contract::default()
    };
    compile("/v1/pets/{id}", &values, &contract)
}

#[test]
fn parameters_are_checked_wherever_they_are() {
    let pets = pets();
    let check = |path: &str, headers: &[(&str, &str)]| told(&head(&pets, path, headers));
    assert_eq!(check("/v1/pets/7?limit=5&tags=a&tags=b&other=x", &[("cookie", "a=b; debug=true")]), NONE);
    assert_eq!(check("/v1/pets/7", &[]), ["query limit: is required"]);
    assert_eq!(check("/v1/pets/0?limit=500", &[]), ["path id: must be at least 1", "query limit: must be at most 100"]);
    assert_eq!(
        check("/v1/pets/x?limit=", &[]),
        ["path id: must be a whole number", "query limit: must be a whole number"]
    );
    assert_eq!(check("/v1/pets/1?limit=1&limit=2", &[]), ["query limit: is given more than once"]);
    assert_eq!(check("/v1/pets/1?limit=1&l%69mit=2", &[]), ["query limit: is given more than once"]);
    assert_eq!(check("/v1/pets/1?limit=%zz", &[]), ["query limit: is not encoded as it must be"]);
    assert_eq!(check("/v1/pets/1?limit=%31", &[]), NONE);
    assert_eq!(check("/v1/pets/1?limit=1&tags=c&tags=a&tags=b", &[]).len(), 2);
    assert_eq!(check("/v1/pets/1?limit=1&tags=c", &[]), [r#"query tags/0: must be one of ["a","b"]"#]);
    assert_eq!(
        check("/v1/pets/1?limit=1", &[("x-request-id", "7"), ("cookie", "debug=2")]),
        ["header x-request-id: must have the format `uuid`", "cookie debug: must be true or false"]
    );
}

#[test]
fn a_query_is_bounded() {
    let pets = pets();
    let path = format!("/v1/pets/1?limit=1{}", "&a=b".repeat(2_000));
    assert!(told(&head(&pets, &path, &[]))[0].starts_with("query: has too many"));
}

#[test]
fn a_body_is_there_where_it_is_declared_and_nowhere_else() {
    let values = [json!({"type": "object"})];
    let of = |request: Option<proto::Body>| {
        compile("/", &values, &proto::Contract { request, ..proto::Contract::default() })
    };
    let none = of(None);
    assert!(!none.needs_request_body());
    assert_eq!(told(&head(&none, "/", &[])), NONE);
    assert_eq!(told(&head(&none, "/", &[("content-length", "0")])), NONE);
    assert_eq!(told(&head(&none, "/", &[("content-length", "5")])), [format!("body: {NO_BODY}")]);
    assert_eq!(told(&head(&none, "/", &[("transfer-encoding", "chunked")])), [format!("body: {NO_BODY}")]);
    assert_eq!(told(&none.request_body(None, b"x")), [format!("body: {NO_BODY}")]);

    let contents = vec![content("application/json", 1), content("text/*", 0)];
    let required = of(Some(proto::Body { required: true, contents: contents.clone() }));
    assert!(required.needs_request_body());
    assert_eq!(told(&head(&required, "/", &[("content-length", "0")])), ["body: is required"]);
    assert_eq!(told(&required.request_body(Some("application/json"), b"")), ["body: is required"]);
    let optional = of(Some(proto::Body { required: false, contents }));
    assert_eq!(told(&optional.request_body(Some("application/json"), b"")), NONE);
    let sent = |kind| head(&optional, "/", &[("content-length", "5"), ("content-type", kind)]);
    for kind in ["application/json", "Application/JSON; charset=utf-8", "text/plain", "text/csv"] {
        assert_eq!(told(&sent(kind)), NONE, "{kind}");
    }
    for kind in ["application/xml", "application/problem+json", "application/json; charset=utf-16", "json"] {
        assert!(sent(kind).is_media_type(), "{kind}");
    }
    assert!(head(&optional, "/", &[("content-length", "5")]).is_media_type());
}

#[test]
fn responses_are_those_of_their_status() {
    let values = [json!({"type": "object", "required": ["id"]}), json!({"type": "integer"}), json!({"type": "string"})];
    let response = |from, to, schema| proto::Response {
        from,
        to,
        body: Some(proto::Body { required: false, contents: vec![content("application/json", schema)] }),
        headers: Vec::new(),
    };
    let created = proto::Response {
        headers: vec![proto::Parameter { required: true, ..parameter(Location::Header, "x-count", 2) }],
        ..response(201, 201, 3)
    };
    let contract = proto::Contract {
        responses: vec![response(400, 599, 2), response(200, 299, 1), created],
        ..proto::Contract::default()
    };
    let contract = compile("/", &values, &contract);
    assert!(contract.needs_response_head() && contract.needs_response_body() && !contract.needs_request_body());
    let body = |status, body: &str| told(&contract.response_body(status, Some("application/json"), body.as_bytes()));
    assert_eq!(body(200, r#"{"id": 1}"#), NONE);
    assert_eq!(body(200, "{}"), ["body: must have the property `id`"]);
    assert_eq!(body(201, "\"x\""), NONE);
    assert_eq!(body(503, "1"), NONE);
    assert_eq!(body(503, "{}"), ["body: must be a whole number"]);
    assert_eq!(body(302, "x"), NONE);
    assert_eq!(body(204, ""), NONE);
    assert_eq!(body(200, ""), ["body: is missing"]);
    assert!(!told(&contract.response_body(200, None, b"{}")).is_empty());
    assert!(!told(&contract.response_body(200, Some("text/html"), b"{}")).is_empty());
    let of = |headers: &'static [(&'static str, &'static str)]| {
        let header = move |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        told(&contract.response_head(201, &header))
    };
    assert_eq!(of(&[]), ["header x-count: is required"]);
    assert_eq!(of(&[("x-count", "5"), ("content-type", "application/json")]), NONE);
    assert_eq!(of(&[("x-count", "5"), ("content-type", "text/html")]), ["body: has a media type that is not declared"]);
}

#[test]
fn what_cannot_be_checked_is_refused() {
    let compile = |contract: &proto::Contract| {
        let values =
            crate::fixtures::schemas(&[json!({"type": "object"}), json!({"type": "string", "format": "binary"})]);
        let schemas = Schemas::compile(&values, crate::Direction::Request).unwrap();
        Contract::compile(contract, "/a/{b}", &schemas, &schemas).map(|_| ())
    };
    let with = |range: &str, schema| proto::Contract {
        request: Some(proto::Body { required: false, contents: vec![content(range, schema)] }),
        ..proto::Contract::default()
    };
    assert_eq!(compile(&with("application/yaml", 1)), Err(ContractError::Uncheckable("application/yaml".to_owned())));
    assert_eq!(compile(&with("application/octet-stream", 2)), Ok(()));
    assert_eq!(compile(&with("application/yaml", 0)), Ok(()));
    assert_eq!(compile(&with("application/json", 7)), Err(ContractError::TooMuch));
    let parameters = vec![parameter(Location::Path, "c", 1)];
    let lost = proto::Contract { parameters, ..proto::Contract::default() };
    assert_eq!(compile(&lost), Err(ContractError::NoSegment("c".to_owned())));
    let many = proto::Contract {
        parameters: vec![parameter(Location::Query, "c", 0); MAX_PARAMETERS + 1],
        ..proto::Contract::default()
    };
    assert_eq!(compile(&many), Err(ContractError::TooManyParameters));
}

/// What is not a contract of this compiler is refused, or is harmless.
#[test]
fn indexes_that_lead_nowhere_are_refused() {
    let values: [Value; 0] = [];
    let schemas = Schemas::compile(&crate::fixtures::schemas(&values), crate::Direction::Request).unwrap();
    let contract =
        proto::Contract { parameters: vec![parameter(Location::Query, "a", 3)], ..proto::Contract::default() };
    assert!(Contract::compile(&contract, "/", &schemas, &schemas).is_err());
}
