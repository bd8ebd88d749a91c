use microgw_proto::contracts::v1 as contracts;
use microgw_proto::rules::v1 as proto;

use super::*;
use crate::exchange::body::{ResponseHead, ResponseStep};
use crate::rules::LoadError;
use crate::validation::Flow;

type Map = std::collections::HashMap<String, String>;

/// `GET /v2/{id}`: an integer in the path, a JSON object with a `name` in both bodies, if they are declared.
fn book(request: contracts::Mode, response: contracts::Mode, bodies: bool) -> proto::RuleBook {
    let schemas =
        [r#"{"type":"integer","minimum":1}"#, r#"{"type":"object","required":["name"]}"#].map(str::to_owned).to_vec();
    let content = contracts::Content { range: "application/json".into(), schema: 2, ..Default::default() };
    let body = contracts::Body { required: true, contents: vec![content] };
    let mut contract = contracts::Contract {
        parameters: vec![contracts::Parameter { name: "id".into(), required: true, schema: 1, ..Default::default() }],
        request: bodies.then(|| body.clone()),
        responses: vec![contracts::Response { from: 200, to: 299, body: Some(body), headers: Vec::new() }],
        ..Default::default()
    };
    if !bodies {
        contract.responses.clear();
    }
    contract.set_request_mode(request);
    contract.set_response_mode(response);
    let phases = proto::Phases {
        request_body: true,
        response_head: true,
        response_body: true,
        max_request_body: 1000,
        max_response_body: 1000,
        matched_again: false,
        request_optional: false,
        response_optional: false,
        response_copied: false,
        retried: false,
    };
    proto::RuleBook {
        apis: vec![proto::Api {
            name: "pets".into(),
            version: "1".into(),
            base_path: "/v2".into(),
            schemas: Some(contracts::Schemas { schemas }),
            ..Default::default()
        }],
        policies: vec![proto::Policy { public: true, credential_header: "authorization".into(), ..Default::default() }],
        rules: vec![proto::Rule {
            id: vec![0; 16],
            method: "POST".into(),
            path: "/v2/{id}".into(),
            phases: bodies.then_some(phases),
            contract: Some(contract),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn rule(request: contracts::Mode, response: contracts::Mode, bodies: bool) -> Rule {
    let (_, rule) = Rule::load(&book(request, response, bodies)).unwrap().remove(0);
    std::sync::Arc::into_inner(rule).unwrap()
}

fn head<'a>(path: &'a str, headers: &'a Map) -> RequestHead<'a> {
    RequestHead {
        method: "POST",
        scheme: "https",
        authority: "a",
        path,
        headers,
        certificate: None,
        peer: "",
        has_body: None,
    }
}

fn json() -> Map {
    Map::from([("content-type".to_owned(), "application/json".to_owned())])
}

fn refused(step: &Step<'_>) -> Option<(Reason, String)> {
    match step {
        Step::Done(Decision::Deny(deny)) => Some((deny.reason, deny.violations.to_string())),
        _ => None,
    }
}

const OFF: contracts::Mode = contracts::Mode::Off;
const REPORT: contracts::Mode = contracts::Mode::Report;
const ENFORCE: contracts::Mode = contracts::Mode::Enforce;

#[test]
fn a_head_that_is_wrong_is_refused_or_reported() {
    let memory = Memory::default();
    let none = Map::new();
    for mode in [OFF, REPORT, ENFORCE] {
        let rule = rule(mode, OFF, false);
        let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
        let step = exchange.on_request_head(head("/v2/0?x=y", &none));
        let expected = (Reason::InvalidRequest, "path id: must be at least 1".to_owned());
        assert_eq!(refused(&step), (mode == ENFORCE).then_some(expected));
        let reported: Vec<_> = exchange.reported().collect();
        assert_eq!(reported.len(), usize::from(mode == REPORT), "{reported:?}");
        assert_eq!(exchange.reported().count(), 0);
        let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
        assert!(matches!(exchange.on_request_head(head("/v2/1", &none)), Step::Done(Decision::Allow(_))));
        assert_eq!(exchange.reported().count(), 0);
    }
}

#[test]
fn bodies_are_looked_at_after_heads() {
    let memory = Memory::default();
    let rule = rule(ENFORCE, ENFORCE, true);
    let (json, xml) = (json(), Map::from([("content-type".to_owned(), "text/xml".to_owned())]));
    let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
    // Nobody waits for the body of what is wrong already.
    assert_eq!(refused(&exchange.on_request_head(head("/v2/x", &json))).unwrap().0, Reason::InvalidRequest);
    let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
    assert_eq!(refused(&exchange.on_request_head(head("/v2/1", &xml))).unwrap().0, Reason::UnsupportedMediaType);
    for (body, expected) in [
        (&b"{}"[..], Some("body: must have the property `name`")),
        (b"", Some("body: is required")),
        (br#"{"name": 1}"#, None),
    ] {
        let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
        assert!(matches!(exchange.on_request_head(head("/v2/1", &json)), Step::NeedBody));
        let found = refused(&exchange.on_request_body(body, UnixTime(1)));
        assert_eq!(found.map(|(_, violations)| violations).as_deref(), expected);
    }
}

#[test]
fn responses_are_refused_or_reported() {
    let memory = Memory::default();
    let headers = json();
    for mode in [OFF, REPORT, ENFORCE] {
        let rule = rule(OFF, mode, true);
        let answer = |status, body: &'static [u8]| {
            let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
            exchange.on_request_head(head("/v2/1", &headers));
            exchange.on_request_body(b"anything", UnixTime(1));
            let step = exchange.on_response_head(ResponseHead { status, headers: &headers, ended: body.is_empty() });
            let step = if let ResponseStep::NeedBody = step { exchange.on_response_body(body) } else { step };
            let refused = match step {
                ResponseStep::Refuse(deny) => Some((deny.reason, deny.violations.to_string())),
                _ => None,
            };
            (refused, exchange.reported().map(|(flow, found)| (flow, found.to_string())).collect::<Vec<_>>())
        };
        let expected = "body: must have the property `name`".to_owned();
        let (refused, reported) = answer(200, b"{}");
        assert_eq!(refused, (mode == ENFORCE).then(|| (Reason::InvalidResponse, expected.clone())));
        assert_eq!(reported, if mode == REPORT { vec![(Flow::Response, expected)] } else { Vec::new() });
        assert_eq!(answer(200, br#"{"name": 1}"#), (None, Vec::new()));
        assert_eq!(answer(500, b"oops"), (None, Vec::new()));
        assert_eq!(answer(200, b"").0.is_some(), mode == ENFORCE);
    }
}

/// What nobody could look at passes where it would be reported, and is refused where it would be enforced.
#[test]
fn unread_bodies_are_reported_or_refused() {
    let memory = Memory::default();
    let (plain, mut encoded) = (json(), json());
    encoded.insert("content-encoding".to_owned(), "br".to_owned());
    for mode in [REPORT, ENFORCE] {
        let mut book = book(mode, mode, true);
        if let Some(phases) = &mut book.rules[0].phases {
            (phases.request_optional, phases.response_optional) = (mode == REPORT, mode == REPORT);
        }
        let rule = Rule::load(&book).unwrap().remove(0).1;
        let expected = |reason| (mode == ENFORCE).then_some(reason);
        let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
        let step = exchange.on_request_head(head("/v2/1", &encoded));
        assert_eq!(refused(&step).map(|(reason, _)| reason), expected(Reason::EncodedBody));
        let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
        assert!(matches!(exchange.on_request_head(head("/v2/1", &plain)), Step::NeedBody));
        let step = exchange.on_long_request_body(UnixTime(1));
        assert_eq!(refused(&step).map(|(reason, _)| reason), expected(Reason::BodyTooLarge));
        if mode == ENFORCE {
            continue;
        }
        assert_eq!(exchange.reported().count(), 1);
        let response = |headers| ResponseHead { status: 200, headers, ended: false };
        assert!(matches!(exchange.on_response_head(response(&encoded)), ResponseStep::Pass(None)));
        let (_, found) = exchange.reported().next().unwrap();
        assert_eq!(found.to_string(), "body: is encoded, or too long: it was not looked at");
    }
}

/// What an answer to a client says of it: of a response nothing.
#[test]
fn clients_are_told_what_is_wrong_with_requests() {
    let memory = Memory::default();
    let rule = rule(ENFORCE, OFF, false);
    let none = Map::new();
    let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
    let Step::Done(Decision::Deny(deny)) = exchange.on_request_head(head("/v2/0", &none)) else { panic!() };
    let body = |form| rule.answers().refusal(&deny, form).body.into_owned();
    assert_eq!(
        body(microgw_faults::Form::Fault),
        r#"{"fault":{"code":400,"message":"Bad Request","description":"path id: must be at least 1","errors":[{"in":"path","name":"id","reason":"must be at least 1"}]}}"#
    );
    let problem: serde_json::Value = serde_json::from_str(&body(microgw_faults::Form::Problem)).unwrap();
    assert_eq!(problem["errors"][0]["reason"], "must be at least 1");
    let response = Deny { reason: Reason::InvalidResponse, ..deny };
    let told = rule.answers().refusal(&response, microgw_faults::Form::Fault).body.into_owned();
    assert!(!told.contains("must be"), "{told}");
}

/// In the words of a project, with what its client sent escaped as these have it; and as usual if they come to nothing.
#[test]
fn a_project_lists_what_is_wrong_in_its_own_words() {
    use proto::fault_body::Escape;
    let memory = Memory::default();
    let told = |template: &str, escape: Escape, fault: &str| {
        let mut book = book(ENFORCE, OFF, false);
        let contract = book.rules[0].contract.as_mut().unwrap();
        contract.parameters[0] = contracts::Parameter {
            name: "<'id\">".into(),
            location: contracts::parameter::Location::Query.into(),
            required: true,
            schema: 1,
            ..Default::default()
        };
        book.fault_bodies.push(proto::FaultBody {
            fault: fault.into(),
            form: proto::fault_body::Form::Fault.into(),
            content_type: "x/y".into(),
            body: "none".into(),
            escape: escape.into(),
            template: template.into(),
            ..Default::default()
        });
        let (_, rule) = Rule::load(&book).unwrap().remove(0);
        let none = Map::new();
        let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
        let Step::Done(Decision::Deny(deny)) = exchange.on_request_head(head("/v2/1", &none)) else { panic!() };
        let said = rule.answers().refusal(&deny, microgw_faults::Form::Fault);
        (said.content_type.to_owned(), said.body.into_owned())
    };
    let list = "{% for e in errors %}{{ e.in }} {{ e.name }} {{ e.reason }}{% endfor %}";
    for (template, escape, body) in [
        (list, Escape::Plain, "query <'id\"> is required"),
        (list, Escape::Markup, "query &lt;&#x27;id&quot;&gt; is required"),
        ("[{{ errors[0].name }}]", Escape::Json, r#"["<'id\">"]"#),
        ("", Escape::Plain, "none"),
    ] {
        assert_eq!(told(template, escape, "invalid-request"), ("x/y".to_owned(), body.to_owned()), "{template}");
    }
    for (template, fault) in
        [("{{ errors }", "invalid-request"), ("{{ nobody }}", "invalid-request"), (list, "not-found")]
    {
        let (content_type, body) = told(template, Escape::Json, fault);
        assert!(content_type == "application/json" && body.starts_with(r#"{"fault":{"#), "{template}: {body}");
    }
}

#[test]
fn what_cannot_be_checked_is_not_loaded() {
    let refused = |change: fn(&mut proto::RuleBook)| {
        let mut book = book(ENFORCE, ENFORCE, true);
        change(&mut book);
        assert!(matches!(Rule::load(&book), Err(LoadError::Contract(_))));
    };
    refused(|book| book.apis[0].schemas = None);
    refused(|book| book.apis[0].schemas.as_mut().unwrap().schemas[0] = "{".to_owned());
    refused(|book| book.rules[0].contract.as_mut().unwrap().request_flaw = "x".to_owned());
    refused(|book| book.rules[0].contract.as_mut().unwrap().parameters[0].schema = 9);
    refused(|book| book.rules[0].path = "/v2/{other}".to_owned());
    // Nobody would see the bodies.
    refused(|book| book.rules[0].phases = None);
    refused(|book| book.rules[0].phases.as_mut().unwrap().request_body = false);
    refused(|book| book.rules[0].phases.as_mut().unwrap().response_body = false);
}
