use microgw_proto::rules::v1 as proto;
use microgw_proto::transforms::v1 as steps;
use steps::edit::Operation;
use steps::step::Action;

use super::*;
use crate::exchange::body::{Edits, ResponseHead, ResponseStep};

type Map = std::collections::HashMap<String, String>;

fn headers(operation: Operation, name: &str, value: &str) -> Action {
    let edit = steps::Edit { operation: operation.into(), name: name.into(), value: value.into() };
    Action::Headers(steps::Edits { edits: vec![edit] })
}

fn transform(actions: Vec<Action>) -> steps::Transform {
    let step = |action| steps::Step { action: Some(action), source: "shop.yaml:1:1".into(), ..Default::default() };
    steps::Transform { steps: actions.into_iter().map(step).collect(), parameters: Vec::new() }
}

/// A public operation `POST /v2/pet/{id}` whose backends are told of callers in `x-told`.
fn book(request: Vec<Action>, response: Vec<Action>, phases: proto::Phases) -> proto::RuleBook {
    proto::RuleBook {
        apis: vec![proto::Api {
            name: "pets".into(),
            version: "1".into(),
            base_path: "/v2".into(),
            ..Default::default()
        }],
        policies: vec![proto::Policy {
            public: true,
            credential_header: "authorization".into(),
            production: true,
            ..Default::default()
        }],
        identity_headers: vec![proto::IdentityHeader {
            name: "x-told".into(),
            fact: proto::identity_header::Fact::User.into(),
        }],
        rules: vec![proto::Rule {
            id: vec![0; 16],
            method: "POST".into(),
            path: "/v2/pet/{id}".into(),
            phases: Some(phases),
            request_transform: u32::from(!request.is_empty()),
            response_transform: if response.is_empty() { 0 } else { 2 },
            ..Default::default()
        }],
        transforms: vec![transform(request), transform(response)],
        ..Default::default()
    }
}

fn rule(request: Vec<Action>, response: Vec<Action>, phases: proto::Phases) -> Rule {
    let (_, rule) = Rule::load(&book(request, response, phases)).unwrap().remove(0);
    std::sync::Arc::into_inner(rule).unwrap()
}

fn map(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn head(headers: &Map) -> RequestHead<'_> {
    let (method, scheme, authority, path) = ("POST", "https", "a", "/v2/pet/a%20b?q=1");
    RequestHead { method, scheme, authority, path, headers, certificate: None, peer: "", has_body: None }
}

fn said(edits: &Edits) -> Vec<(String, String)> {
    let text = |values: &Vec<Vec<u8>>| {
        values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>().join("|")
    };
    edits.headers.iter().map(|(name, values)| (name.to_string(), text(values))).collect()
}

#[test]
fn a_request_is_transformed_with_what_the_exchange_knows() {
    let memory = Memory::default();
    let value = "{{ path.id }} {{ request.query.q[0] }} {{ api.basePath }} {{ operation }} {{ request.host }}";
    let request = vec![
        headers(Operation::Set, "x-new", value),
        headers(Operation::Set, "x-told", "somebody"),
        headers(Operation::Set, "x-all", "{{ request.headers }}"),
        Action::Path("/dog/{{ path.id }}".into()),
    ];
    let rule = rule(request, Vec::new(), proto::Phases::default());
    let asked =
        map(&[("authorization", "secret"), ("cookie", "secret"), ("x-microgw-listener", "http"), ("x-own", "1")]);
    let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
    let Step::Done(Decision::Allow(allow)) = exchange.on_request_head(head(&asked)) else { panic!("refused") };
    let edits = allow.edits.unwrap();
    assert_eq!(edits.path.as_deref(), Some("/v2/dog/a%20b?q=1"));
    // What backends are told of callers is for nobody else to say, and nobody is shown a credential.
    let expected = [
        ("x-all", r#"{"x-new":"a b 1 /v2 POST /v2/pet/{id} a","x-own":"1","x-told":"somebody"}"#),
        ("x-new", "a b 1 /v2 POST /v2/pet/{id} a"),
    ];
    assert_eq!(said(&edits), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn a_body_that_cannot_be_edited_is_refused() {
    let memory = Memory::default();
    let remove = steps::JsonEdit {
        operation: steps::json_edit::Operation::Remove.into(),
        at: "/a".into(),
        ..Default::default()
    };
    let request = vec![Action::Json(steps::JsonEdits { edits: vec![remove] })];
    let rule = rule(request, Vec::new(), proto::Phases { request_body: true, ..Default::default() });
    let asked = map(&[]);
    for (body, reason) in [(&b"{\"a\":1,\"b\":2}"[..], None), (b"a=1", Some(Reason::UnreadableBody)), (b"", None)] {
        let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
        assert!(matches!(exchange.on_request_head(head(&asked)), Step::NeedBody));
        let step = exchange.on_request_body(body, UnixTime(1));
        match step {
            Step::Done(Decision::Deny(deny)) => assert_eq!(Some(deny.reason), reason),
            Step::Done(Decision::Allow(allow)) => {
                assert_eq!(reason, None);
                let body = allow.edits.and_then(|edits| edits.body);
                assert!(body.is_none_or(|body| body == b"{\"b\":2}"));
            }
            _ => panic!("nothing is asked"),
        }
    }
}

/// Envoy takes it in one piece, and has room for so much.
#[test]
fn a_message_without_a_body_gets_no_long_one() {
    let memory = Memory::default();
    let body = |length: usize| {
        vec![Action::Body(steps::NewBody { template: "x".repeat(length), content_type: "text/plain".into() })]
    };
    let phases = proto::Phases { response_head: true, ..proto::Phases::default() };
    let asked = map(&[]);
    for (length, has_body, passes) in
        [(MAX_MADE, Some(false), true), (MAX_MADE + 1, Some(false), false), (MAX_MADE + 1, Some(true), true)]
    {
        let rule = rule(body(length), Vec::new(), phases);
        let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
        let step = exchange.on_request_head(RequestHead { has_body, ..head(&asked) });
        match step {
            Step::Done(Decision::Allow(allow)) => {
                assert!(passes && allow.edits.unwrap().body.unwrap().len() == length, "{length}");
            }
            Step::Done(Decision::Deny(deny)) => assert!(!passes && deny.reason == Reason::NotTransformed, "{length}"),
            step => panic!("{step:?}"),
        }
    }
    for (length, passes) in [(MAX_MADE, true), (MAX_MADE + 1, false)] {
        let rule = rule(Vec::new(), body(length), phases);
        let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
        let Step::Done(Decision::Allow(_)) = exchange.on_request_head(head(&asked)) else { panic!("refused") };
        match exchange.on_response_head(ResponseHead { status: 200, headers: &asked, ended: true }) {
            ResponseStep::Pass(_) => assert!(passes, "{length}"),
            ResponseStep::Refuse(deny) => assert!(!passes && deny.reason == Reason::NotTransformed, "{length}"),
            step => panic!("{step:?}"),
        }
    }
}

#[test]
fn a_response_is_transformed_with_the_request_that_it_answers() {
    let memory = Memory::default();
    let status = Action::Status(202);
    let response =
        vec![headers(Operation::Set, "x-asked", "{{ request.headers['x-own'] }} {{ request.path }}"), status];
    let rule = rule(Vec::new(), response, proto::Phases { response_head: true, ..Default::default() });
    let (asked, answered) = (map(&[("x-own", "me")]), map(&[("x-asked", "old")]));
    let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
    assert!(matches!(exchange.on_request_head(head(&asked)), Step::Done(Decision::Allow(_))));
    let answer = |headers| ResponseHead { status: 200, headers, ended: false };
    let ResponseStep::Pass(Some(edits)) = exchange.on_response_head(answer(&answered)) else { panic!("refused") };
    assert_eq!((edits.status, said(&edits)), (Some(202), vec![("x-asked".to_owned(), "me /v2/pet/a%20b".to_owned())]));
    // Without the header there is nothing to say.
    let none = map(&[]);
    let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
    assert!(matches!(exchange.on_request_head(head(&none)), Step::Done(Decision::Allow(_))));
    let ResponseStep::Refuse(deny) = exchange.on_response_head(answer(&answered)) else { panic!("passed") };
    assert_eq!((deny.reason, deny.reason.fault().status()), (Reason::NotTransformed, 500));
}

#[test]
fn a_book_that_contradicts_itself_is_refused() {
    let set = || vec![headers(Operation::Set, "x", "1")];
    let mut missing = book(set(), Vec::new(), proto::Phases::default());
    missing.transforms.clear();
    assert_eq!(Rule::load(&missing).err(), Some(crate::LoadError::UnknownTransform));
    let host = book(vec![headers(Operation::Set, "host", "x")], Vec::new(), proto::Phases::default());
    assert!(matches!(Rule::load(&host), Err(crate::LoadError::Transform(_))));
}
