use microgw_proto::interceptors::v1 as programs;
use microgw_proto::rules::v1 as proto;
use microgw_proto::transforms::v1 as steps;
use microgw_transforms::{Direction, Editor, EditorError, Headers, Message};

use super::*;
use crate::LoadError;
use crate::exchange::body::{ResponseHead, ResponseStep};
use crate::interceptors::{Attributes, Interception, InterceptorFailure, Program, Verdict};

type Map = std::collections::HashMap<String, String>;

fn program(name: &str, bodies: bool) -> programs::Interceptor {
    programs::Interceptor {
        name: name.into(),
        host: Some(programs::interceptor::Host::Service(programs::Service { url: format!("http://{name}.example/") })),
        timeout_milliseconds: 100,
        claims: Vec::new(),
        request_body: bodies,
        response_body: bodies,
    }
}

/// `POST /v2/pet/{id}`, public, whose messages go through `first` and `second`, and whose responses are transformed last.
fn book() -> proto::RuleBook {
    let one = |interceptor| programs::Use { interceptor, parameters: "{}".into(), source: "shop.yaml:1:1".into() };
    let edit = steps::Edit {
        operation: steps::edit::Operation::Set.into(),
        name: "x-last".into(),
        value: "{{ response.headers['x-seen'] }}".into(),
    };
    let step = steps::Step {
        action: Some(steps::step::Action::Headers(steps::Edits { edits: vec![edit] })),
        ..Default::default()
    };
    proto::RuleBook {
        apis: vec![proto::Api { name: "pets".into(), base_path: "/v2".into(), ..Default::default() }],
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
            phases: Some(proto::Phases { response_head: true, matched_again: true, ..Default::default() }),
            response_transform: 1,
            interceptors: Some(programs::OperationInterceptors {
                request: vec![one(0), one(1)],
                response: vec![one(1), one(0)],
            }),
            ..Default::default()
        }],
        transforms: vec![steps::Transform { steps: vec![step], parameters: Vec::new() }],
        interceptors: vec![program("first", false), program("second", false)],
        ..Default::default()
    }
}

fn rule() -> Rule {
    let (_, rule) = Rule::load(&book()).unwrap().remove(0);
    std::sync::Arc::into_inner(rule).unwrap()
}

fn map(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn head(headers: &Map) -> RequestHead<'_> {
    RequestHead {
        method: "POST",
        scheme: "https",
        authority: "shop.example",
        path: "/v2/pet/a%20b?x=1",
        headers,
        certificate: None,
        peer: "127.0.0.1",
        has_body: None,
    }
}

/// Adds its name to `x-seen`.
fn pass(call: Interception) -> Verdict {
    let name = call.interceptor.name.clone();
    let mut message = call.message.clone();
    message.headers.append("x-seen", name.as_bytes());
    let mut attributes = call.attributes;
    attributes.insert(name.to_string(), format!("{:?}", call.direction));
    Verdict::Continue { message, attributes }
}

fn intercepted(step: Step<'_>) -> Interception {
    match step {
        Step::Intercept(call) => *call,
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_go_through_programs_in_order() {
    let (memory, rule, answer) = (Memory::default(), rule(), map(&[]));
    let asked = map(&[("authorization", "Bearer secret"), ("x-a", "1"), ("x-microgw-rule", "own")]);
    let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
    let call = intercepted(exchange.on_request_head(head(&asked)));
    assert_eq!((&*call.interceptor.name, call.direction), ("first", Direction::Request));
    assert!(matches!(&call.interceptor.program, Program::Service { url } if **url == *"http://first.example/"));
    let shown: Vec<_> = call.message.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(shown, ["x-a"], "neither credentials nor what the gateway says to itself");
    assert_eq!(call.about.path_parameters, [("id".into(), "a b".to_owned())]);
    assert_eq!((&*call.about.operation, &*call.about.host), ("POST /v2/pet/{id}", "shop.example"));
    assert_eq!(call.attributes, Attributes::new());

    let call = intercepted(exchange.on_verdict_of_request(pass(call), UnixTime(1)));
    assert_eq!(&*call.interceptor.name, "second");
    assert_eq!(call.attributes.get("first").map(String::as_str), Some("Request"));
    let mut verdict = pass(call);
    if let Verdict::Continue { message, .. } = &mut verdict {
        message.headers.set("x-told", b"forged".to_vec());
    }
    let Step::Done(Decision::Allow(allow)) = exchange.on_verdict_of_request(verdict, UnixTime(1)) else { panic!() };
    let edits = allow.edits.unwrap();
    assert_eq!(edits.headers, [("x-seen".into(), vec![b"first, second".to_vec()])], "not what the gateway tells");

    let step = exchange.on_response_head(ResponseHead { status: 200, headers: &answer, ended: true });
    let ResponseStep::Intercept(call) = step else { panic!("{step:?}") };
    assert_eq!((&*call.interceptor.name, call.direction), ("second", Direction::Response));
    assert_eq!(call.asked.as_ref().map(|asked| asked.path()), Some("/v2/pet/a%20b?x=1"));
    assert_eq!(call.attributes.len(), 2, "those of the request");
    let step = exchange.on_verdict_of_response(pass(*call));
    let ResponseStep::Intercept(call) = step else { panic!("{step:?}") };
    let ResponseStep::Pass(Some(edits)) = exchange.on_verdict_of_response(pass(*call)) else { panic!() };
    let seen = vec![b"second, first".to_vec()];
    assert_eq!(edits.headers, [("x-last".into(), seen.clone()), ("x-seen".into(), seen)], "transformed last");
}

#[test]
fn a_program_answers_in_the_backends_place() {
    let (memory, rule, asked) = (Memory::default(), rule(), map(&[]));
    let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
    let call = intercepted(exchange.on_request_head(head(&asked)));
    let _ = intercepted(exchange.on_verdict_of_request(pass(call), UnixTime(1)));
    let answer = Message::response(418, Headers::default(), None);
    let step = exchange.on_verdict_of_request(Verdict::Respond(answer), UnixTime(1));
    let Step::Done(Decision::Respond(respond)) = step else { panic!("{step:?}") };
    assert_eq!(respond.message.status(), 418);
    // Nothing was let through, so there is no response to speak of.
    let step = exchange.on_verdict_of_response(Verdict::Failed(InterceptorFailure::Trap));
    assert!(matches!(step, ResponseStep::Refuse(_)), "{step:?}");
}

#[test]
fn whatever_goes_wrong_nothing_passes() {
    let (memory, rule, asked, answer) = (Memory::default(), rule(), map(&[]), map(&[]));
    let refused = |step: Step<'_>| match step {
        Step::Done(Decision::Deny(deny)) => (deny.reason, deny.reason.fault().status()),
        other => panic!("{other:?}"),
    };
    for (failure, expected) in [
        (InterceptorFailure::Trap, (Reason::InterceptorFailed, 500)),
        (InterceptorFailure::Memory, (Reason::InterceptorFailed, 500)),
        (InterceptorFailure::NotHosted, (Reason::InterceptorFailed, 500)),
        (InterceptorFailure::Timeout, (Reason::InterceptorTimeout, 504)),
        (InterceptorFailure::Late, (Reason::InterceptorTimeout, 504)),
        (InterceptorFailure::Unreachable, (Reason::InterceptorUnavailable, 503)),
        (InterceptorFailure::Crowded, (Reason::InterceptorUnavailable, 503)),
    ] {
        let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
        let _ = intercepted(exchange.on_request_head(head(&asked)));
        let step = exchange.on_verdict_of_request(Verdict::Failed(failure), UnixTime(1));
        assert_eq!(refused(step), expected);
    }
    // A verdict that nobody asked for.
    let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
    let message = Message::request("POST", "/v2/pet/1", Headers::default(), None);
    let verdict = Verdict::Continue { message, attributes: Attributes::new() };
    assert_eq!(refused(exchange.on_verdict_of_request(verdict, UnixTime(1))), (Reason::Internal, 500));

    let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
    let mut step = exchange.on_request_head(head(&asked));
    while let Step::Intercept(call) = step {
        step = exchange.on_verdict_of_request(pass(*call), UnixTime(1));
    }
    let _ = exchange.on_response_head(ResponseHead { status: 200, headers: &answer, ended: true });
    let step = exchange.on_verdict_of_response(Verdict::Failed(InterceptorFailure::Unreachable));
    assert!(matches!(&step, ResponseStep::Refuse(deny) if deny.reason == Reason::InterceptorUnavailable), "{step:?}");
}

#[test]
fn edits_of_programs_have_terms() {
    let (memory, rule, asked) = (Memory::default(), rule(), map(&[]));
    let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
    let call = intercepted(exchange.on_request_head(head(&asked)));
    let mut call = call;
    call.message.read_body(b"collected for another rule".to_vec());
    assert_eq!(call.body(), None, "this one is brought none");
    let mut message = call.message.clone();
    let mut editor = Editor { message: &mut message, terms: call.terms() };
    assert_eq!(editor.set_path("/other"), Err(EditorError::MatchedAgain));
    assert_eq!(editor.set_body(Vec::new(), None), Err(EditorError::NoBody));
}

#[test]
fn books_that_contradict_themselves_are_refused() {
    let with = |change: &dyn Fn(&mut proto::RuleBook)| {
        let mut book = book();
        change(&mut book);
        Rule::load(&book).unwrap_err()
    };
    assert_eq!(with(&|book| book.interceptors[0].host = None), LoadError::Interceptor);
    assert_eq!(with(&|book| drop(book.interceptors.pop())), LoadError::Interceptor);
    assert_eq!(with(&|book| book.rules[0].phases = None), LoadError::Interceptor);
}
