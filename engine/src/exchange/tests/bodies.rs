use microgw_proto::rules::v1 as proto;

use super::*;
use crate::exchange::body::{ResponseHead, ResponseStep};

type Map = std::collections::HashMap<String, String>;

fn rule(phases: proto::Phases) -> Rule {
    let book = proto::RuleBook {
        apis: vec![proto::Api {
            name: "pets".into(),
            version: "1".into(),
            base_path: "/v2".into(),
            ..Default::default()
        }],
        policies: vec![proto::Policy { public: true, credential_header: "authorization".into(), ..Default::default() }],
        rules: vec![proto::Rule { id: vec![0; 16], phases: Some(phases), ..Default::default() }],
        ..Default::default()
    };
    let (_, rule) = Rule::load(&book).unwrap().remove(0);
    std::sync::Arc::into_inner(rule).unwrap()
}

fn head(headers: &Map) -> RequestHead<'_> {
    let (method, scheme, authority, path) = ("POST", "https", "a", "/v2/pet");
    RequestHead { method, scheme, authority, path, headers, certificate: None, peer: "", has_body: None }
}

fn headers(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn reason(step: &Step<'_>) -> Option<Reason> {
    match step {
        Step::Done(Decision::Deny(deny)) => Some(deny.reason),
        _ => None,
    }
}

#[test]
fn a_body_is_asked_for_once_and_never_decoded() {
    let memory = Memory::default();
    let rule = rule(proto::Phases { request_body: true, ..Default::default() });
    let plain = headers(&[("content-encoding", "Identity, ")]);
    let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
    // Nothing is taken before it is asked for.
    assert_eq!(reason(&exchange.on_request_body(b"x", UnixTime(1))), Some(Reason::Internal));
    assert!(matches!(exchange.on_request_head(head(&plain)), Step::NeedBody));
    assert!(matches!(exchange.on_request_body(b"{}", UnixTime(2)), Step::Done(Decision::Allow(_))));
    assert_eq!(exchange.request_body(), Some(&b"{}"[..]));
    assert_eq!(reason(&exchange.on_request_body(b"again", UnixTime(2))), Some(Reason::Internal));
    for coding in ["gzip", "identity, br", "x"] {
        let encoded = headers(&[("content-encoding", coding)]);
        let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
        assert_eq!(reason(&exchange.on_request_head(head(&encoded))), Some(Reason::EncodedBody), "{coding}");
    }
}

#[test]
fn what_is_counted_is_not_asked_for_and_refused_where_it_says_that_it_is_too_long() {
    let memory = Memory::default();
    let rule =
        rule(proto::Phases { response_head: true, max_request_body: 10, max_response_body: 20, ..Default::default() });
    for (length, admitted) in [("10", true), ("11", false), ("99999999999999999999", true), ("", true)] {
        // Encoded or not: it is not read.
        let headers = headers(&[("content-length", length), ("content-encoding", "gzip")]);
        let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
        let step = exchange.on_request_head(head(&headers));
        assert_eq!(reason(&step), (!admitted).then_some(Reason::BodyTooLarge), "{length}");
    }
    for (length, ended, passes) in [("20", false, true), ("21", false, false), ("21", true, true)] {
        let (none, headers) = (headers(&[]), headers(&[("content-length", length)]));
        let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
        assert!(matches!(exchange.on_request_head(head(&none)), Step::Done(Decision::Allow(_))));
        let step = exchange.on_response_head(ResponseHead { status: 200, headers: &headers, ended });
        assert_eq!(matches!(step, ResponseStep::Pass(None)), passes, "{length} {ended}");
    }
}

#[test]
fn a_response_is_looked_at_after_its_request_was_let_through() {
    let memory = Memory::default();
    let rule = rule(proto::Phases { response_head: true, response_body: true, ..Default::default() });
    let (asked, plain, encoded) =
        (headers(&[("range", "bytes=0-1")]), headers(&[]), headers(&[("content-encoding", "br")]));
    let response = |headers, ended| ResponseHead { status: 200, headers, ended };
    let mut exchange = Exchange::new(&rule, &memory, UnixTime(1));
    let refused = |step: &ResponseStep<'_>| match step {
        ResponseStep::Refuse(deny) => Some(deny.reason),
        _ => None,
    };
    assert_eq!(refused(&exchange.on_response_head(response(&plain, false))), Some(Reason::Internal));
    assert_eq!(refused(&exchange.on_response_body(b"")), Some(Reason::Internal));
    let Step::Done(Decision::Allow(allow)) = exchange.on_request_head(head(&asked)) else { panic!("refused") };
    let edits = allow.edits.unwrap();
    let edited: Vec<_> = edits.headers.iter().map(|(name, values)| (name.as_ref(), values.len())).collect();
    assert_eq!(edited, [("accept-encoding", 1), ("range", 0)]);
    assert_eq!(refused(&exchange.on_response_head(response(&encoded, false))), Some(Reason::UnreadableResponse));
    assert!(matches!(exchange.on_response_head(response(&plain, false)), ResponseStep::NeedBody));
    assert!(matches!(exchange.on_response_body(b"x"), ResponseStep::Pass(None)));
    assert_eq!(refused(&exchange.on_response_body(b"again")), Some(Reason::Internal));
    assert!(matches!(exchange.on_response_head(response(&encoded, true)), ResponseStep::Pass(None)), "no body follows");
}
