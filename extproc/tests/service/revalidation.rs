//! Backends that say that nothing has changed, and something else follows: HTTP/2 may end a response after its head.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::ext_proc::v3::body_mutation::Mutation;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Asked;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Said;
use envoy_types::pb::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use futures_util::stream;
use microgw_extproc::decider::Decider;
use microgw_extproc::fact_cache::FactCache;
use microgw_extproc::keys::{KeyStore, KeyTiming};
use microgw_extproc::lookups::Lookups;
use microgw_extproc::metrics::Metrics;
use microgw_extproc::process::converse;
use microgw_extproc::response_cache::ResponseCache;
use microgw_extproc::rule_store::RuleStore;
use microgw_extproc::transport::Transport;
use microgw_proto::rules::v1 as proto;
use tokio::sync::mpsc;
use tonic::Status;

use crate::fixtures::book;

fn decider() -> Arc<Decider> {
    let mut book = book("one");
    book.policies[0] = proto::Policy {
        public: true,
        production: true,
        credential_header: "authorization".into(),
        ..Default::default()
    };
    book.rules[0].phases = Some(proto::Phases { response_head: true, response_copied: true, ..Default::default() });
    book.rules[0].keep = Some(proto::Keep { seconds: 60, headers: Vec::new() });
    let (metrics, rules) = (Metrics::new(), Arc::new(RuleStore::default()));
    rules.load(&book).unwrap();
    let keys = KeyStore::start([], KeyTiming::default(), &Transport::default(), &metrics).unwrap();
    let facts = FactCache::new(1, Duration::from_secs(1));
    let decider = Decider::new(rules, facts, Lookups::new(keys), metrics, Decider::DEADLINE);
    Arc::new(decider.keeping(ResponseCache::new(1 << 20, Duration::from_secs(1))))
}

fn head(fields: &[(&str, &str)], end_of_stream: bool) -> HttpHeaders {
    let header = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..HeaderValue::default()
    };
    let headers = Some(HeaderMap { headers: fields.iter().map(header).collect() });
    HttpHeaders { headers, end_of_stream, ..HttpHeaders::default() }
}

/// What is said of a response to a request with that header, and what follows its head.
async fn said(
    decider: &Arc<Decider>,
    wish: (&str, &str),
    response: HttpHeaders,
    follows: Vec<Asked>,
) -> Vec<Result<Said, Status>> {
    let request = head(&[(":method", "GET"), (":path", "/v2/pet/1"), wish], true);
    let mut asked = vec![Asked::RequestHeaders(request), Asked::ResponseHeaders(response)];
    asked.extend(follows);
    let details = Value { kind: Some(Kind::StringValue("via_upstream".to_owned())) };
    let of_backend = Struct { fields: [("response.code_details".to_owned(), details)].into() };
    let asked = asked.into_iter().map(|asked| {
        let attributes = [("envoy.filters.http.ext_proc".to_owned(), of_backend.clone())].into();
        Ok(ProcessingRequest { request: Some(asked), attributes, ..Default::default() })
    });
    let (saying, mut saying_to) = mpsc::channel(16);
    converse(Arc::clone(decider), format!("{:032x}", 1), stream::iter(asked.collect::<Vec<_>>()), saying).await;
    let mut all = Vec::new();
    while let Some(one) = saying_to.recv().await {
        all.push(one.map(|said| said.response.unwrap()));
    }
    all
}

fn body(bytes: &[u8], end_of_stream: bool) -> Asked {
    Asked::ResponseBody(HttpBody { body: bytes.to_vec(), end_of_stream, ..Default::default() })
}

#[tokio::test]
async fn a_response_that_ends_after_its_head_is_one_all_the_same() {
    let decider = decider();
    let fields = [(":status", "200"), ("etag", "\"1\""), ("content-type", "text/plain")];
    // These two are the same question.
    let (any, anew) = (("user-agent", "a"), ("cache-control", "max-age=0"));
    assert_eq!(said(&decider, any, head(&fields, false), vec![body(b"kept", true)]).await.len(), 3);
    let unchanged = |ended| head(&[(":status", "304"), ("etag", "\"1\"")], ended);
    let trailers = Asked::ResponseTrailers(HttpTrailers::default());
    for follows in [Vec::new(), vec![body(b"", true)], vec![trailers.clone()], vec![body(b"", false), trailers]] {
        let mut all = said(&decider, anew, unchanged(follows.is_empty()), follows.clone()).await.into_iter().skip(1);
        let Some(Ok(Said::ResponseHeaders(headers))) = all.next() else { panic!("{follows:?}") };
        let common = headers.response.unwrap();
        let status = common.header_mutation.unwrap().set_headers[0].header.clone().unwrap();
        assert_eq!((status.key.as_str(), status.raw_value.as_slice()), (":status", &b"200"[..]));
        let mut whole = match common.body_mutation.and_then(|body| body.mutation) {
            Some(Mutation::Body(body)) => body,
            _ => Vec::new(),
        };
        for one in all {
            let Ok(Said::ResponseBody(piece)) = one else { panic!("{one:?}") };
            match piece.response.unwrap().body_mutation.unwrap().mutation {
                Some(Mutation::StreamedResponse(piece)) => whole.extend(piece.body),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(whole, b"kept", "{follows:?}");
    }
    // It has not changed, and here it is: nobody knows what is meant.
    let all = said(&decider, anew, unchanged(false), vec![body(b"other", true)]).await;
    assert!(all.len() == 2 && all[1].is_err(), "{all:?}");
}
