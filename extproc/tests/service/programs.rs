//! Programs that messages go through have their time together, whether or not a body was waited for.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Asked;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Said;
use envoy_types::pb::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse};
use futures_util::stream;
use microgw_engine::interceptors::{Interception, Verdict};
use microgw_extproc::decider::Decider;
use microgw_extproc::fact_cache::FactCache;
use microgw_extproc::keys::{KeyStore, KeyTiming};
use microgw_extproc::lookups::Lookups;
use microgw_extproc::metrics::Metrics;
use microgw_extproc::process::converse;
use microgw_extproc::programs::Programs;
use microgw_extproc::rule_store::RuleStore;
use microgw_extproc::transport::Transport;
use microgw_proto::interceptors::v1 as programs;
use microgw_proto::rules::v1 as proto;
use tokio::sync::mpsc;

use crate::fixtures::book;

/// Takes as long for each.
struct Slow(Duration);

#[tonic::async_trait]
impl Programs for Slow {
    async fn call(&self, call: Interception) -> Verdict {
        tokio::time::sleep(self.0).await;
        Verdict::Continue { message: call.message, attributes: call.attributes }
    }
}

/// `body`: is collected first. `timeout`: of each of three programs.
fn intercepted(body: bool, timeout: u32) -> proto::RuleBook {
    let mut book = book("one");
    book.policies[0] = proto::Policy {
        public: true,
        production: true,
        credential_header: "authorization".into(),
        ..Default::default()
    };
    book.interceptors = vec![programs::Interceptor {
        name: "slow".into(),
        timeout_milliseconds: timeout,
        host: Some(programs::interceptor::Host::Service(programs::Service { url: "http://127.0.0.1:1/".into() })),
        ..Default::default()
    }];
    let uses = vec![programs::Use::default(); 3];
    book.rules[0].phases = Some(proto::Phases { request_body: body, max_request_body: 100, ..Default::default() });
    book.rules[0].interceptors = Some(programs::OperationInterceptors { request: uses, ..Default::default() });
    book
}

/// What is said to a request of which each program takes `each`.
async fn said(body: bool, timeout: u32, each: Duration) -> Vec<ProcessingResponse> {
    let (metrics, rules) = (Metrics::new(), Arc::new(RuleStore::default()));
    rules.load(&intercepted(body, timeout)).unwrap();
    let keys = KeyStore::start([], KeyTiming::default(), &Transport::default(), &metrics).unwrap();
    let facts = FactCache::new(1, Duration::from_secs(1));
    let mut decider = Decider::new(rules, facts, Lookups::new(keys), metrics, Decider::DEADLINE);
    decider.programs = Arc::new(Slow(each));
    let header =
        |(key, value): (&str, &str)| HeaderValue { key: key.to_owned(), raw_value: value.into(), ..Default::default() };
    let headers = [(":method", "GET"), (":path", "/v2/pet/1")].map(header).to_vec();
    let head = HttpHeaders { headers: Some(HeaderMap { headers }), end_of_stream: !body, ..Default::default() };
    let mut asked = vec![Asked::RequestHeaders(head)];
    if body {
        asked.push(Asked::RequestBody(HttpBody { body: b"{}".to_vec(), end_of_stream: true, ..Default::default() }));
    }
    let asked = asked.into_iter().map(|asked| Ok(ProcessingRequest { request: Some(asked), ..Default::default() }));
    let (saying, mut saying_to) = mpsc::channel(8);
    converse(Arc::new(decider), format!("{:032x}", 1), stream::iter(asked), saying).await;
    let mut all = Vec::new();
    while let Some(message) = saying_to.recv().await {
        all.push(message.unwrap());
    }
    all
}

fn status(said: &ProcessingResponse) -> Option<i32> {
    match &said.response {
        Some(Said::ImmediateResponse(refused)) => refused.status.map(|status| status.code),
        Some(Said::RequestHeaders(_)) => None,
        other => panic!("{other:?}"),
    }
}

/// Whoever runs them does not look at the time here.
#[tokio::test(start_paused = true)]
async fn programs_have_their_time_and_no_more() {
    for body in [false, true] {
        let all = said(body, 20, Duration::from_millis(200)).await;
        assert_eq!((all.len(), status(&all[0])), (1, Some(504)), "{body}");
        let all = said(body, 50, Duration::from_millis(40)).await;
        assert_eq!(status(&all[0]), None, "{body}: Envoy hears nothing else");
    }
}

#[tokio::test(start_paused = true)]
async fn envoy_is_told_to_wait_where_it_would_not() {
    for (each, timeout, at_least) in [(900, 1_000, 4), (9_000, 10_000, 31), (30, 10_000, 0)] {
        let all = said(false, timeout, Duration::from_millis(each)).await;
        let waits = all.iter().filter_map(|said| said.override_message_timeout.as_ref());
        let waits: Vec<_> = waits.map(|wait| wait.seconds).collect();
        // Once: Envoy would not listen again.
        assert_eq!(waits.len(), usize::from(at_least > 0), "{each}: {all:?}");
        assert!(waits.iter().all(|wait| (at_least..33).contains(wait)), "{each}: {waits:?}");
        assert_eq!(all[0].response.is_none(), at_least > 0, "it comes first");
        assert_eq!(status(&all[all.len() - 1]), None);
    }
}
