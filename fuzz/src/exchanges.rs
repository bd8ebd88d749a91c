//! Messages of ext_proc in any order and in any pieces: the service ends, lets nothing through that it was not to, and passes bodies
//! on as they came or not at all.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::ext_proc::v3::body_mutation::Mutation;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Asked;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Said;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    BodyResponse, HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest, ProcessingResponse,
};
use envoy_types::pb::google::protobuf::value::Kind as Text;
use envoy_types::pb::google::protobuf::{Struct, Value};
use futures_util::stream;
use microgw_engine::KeySource;
use microgw_extproc::decider::Decider;
use microgw_extproc::fact_cache::FactCache;
use microgw_extproc::keys::{IssuerKeys, KeyStore, KeyTiming};
use microgw_extproc::lookups::Lookups;
use microgw_extproc::metrics::{Exposition, Metrics};
use microgw_extproc::process::converse;
use microgw_extproc::rule_store::RuleStore;
use microgw_extproc::transport::Transport;
use microgw_proto::rules::v1 as proto;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;

use crate::credentials::{API_KEYS, NEVER, US, api_key, book, key_in};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "exchanges",
    run,
    reaches: &["out of turn", "cut off", "refused", "too long", "admitted", "answered", "answered by Envoy"],
    dictionary: &[],
    mutations: 3000,
};

/// Bytes of a body that is collected.
const MOST: u64 = 40;
const MESSAGES: usize = 64;

/// What is asked about a route, as bits of the first byte.
#[allow(clippy::struct_excessive_bools)] // Each is a bit of the input.
struct Route {
    guarded: bool,
    request_body: bool,
    response_head: bool,
    response_body: bool,
    /// The request has a good key.
    good: bool,
    /// Nothing follows its head.
    ended: bool,
    /// What is not collected is counted.
    counted: [bool; 2],
    /// What is collected passes all the same if it is too long.
    optional: [bool; 2],
}

// === impl Route ===

impl Route {
    fn read(bits: u8) -> Route {
        let bit = |index: u8| bits >> index & 1 == 1;
        let response_body = bit(3);
        Route {
            guarded: bit(0),
            request_body: bit(1),
            response_head: bit(2) || response_body || bit(7),
            response_body,
            good: bit(4),
            ended: bit(5),
            counted: [bit(6) && !bit(1), bit(7) && !response_body],
            optional: [bit(6) && bit(1), bit(7) && response_body],
        }
    }

    /// A book for each set of phases, so that each is loaded once.
    fn rule(&self) -> u128 {
        let [request, response] = [0, 1].map(|side| self.counted[side] || self.optional[side]);
        let bits = [self.guarded, self.request_body, self.response_head, self.response_body, request, response];
        bits.into_iter().fold(1, |rule, bit| rule << 1 | u128::from(bit))
    }

    fn book(&self) -> proto::RuleBook {
        let mut book = book(vec![vec![key_in(proto::api_key::Location::Header, "x-key")]]);
        for policy in &mut book.policies {
            policy.public = !self.guarded;
            policy.production = true;
            if policy.public {
                policy.alternatives.clear();
            }
        }
        for rule in &mut book.rules {
            rule.id = self.rule().to_be_bytes().to_vec();
            rule.phases = Some(proto::Phases {
                request_body: self.request_body,
                response_head: self.response_head,
                response_body: self.response_body,
                max_request_body: if self.request_body || self.counted[0] { MOST } else { 0 },
                max_response_body: if self.response_body || self.counted[1] { MOST } else { 0 },
                matched_again: false,
                request_optional: self.optional[0],
                response_optional: self.optional[1],
                retried: false,
                // Of a response that is counted a copy changes nothing.
                response_copied: self.counted[1],
            });
        }
        book.generation = format!("{}", self.rule());
        book
    }

    fn may_pass(&self) -> bool {
        !self.guarded || self.good
    }

    fn head(&self) -> Asked {
        let mut headers = vec![(":method", "POST".to_owned()), (":path", "/v2/pet/1".to_owned())];
        if self.good {
            headers.push(("x-key", KEY.clone()));
        }
        Asked::RequestHeaders(heads(&headers, self.ended))
    }
}

fn heads(headers: &[(&str, String)], end_of_stream: bool) -> HttpHeaders {
    let header = |(key, value): &(&str, String)| HeaderValue {
        key: (*key).to_owned(),
        raw_value: value.clone().into_bytes(),
        ..HeaderValue::default()
    };
    let headers = Some(HeaderMap { headers: headers.iter().map(header).collect() });
    HttpHeaders { headers, end_of_stream, ..HttpHeaders::default() }
}

static KEY: LazyLock<String> = LazyLock::new(|| api_key(&json!({ "iss": US, "sub": "alice", "exp": NEVER })));

/// One byte says what a message is, and how long.
fn message(byte: u8, filling: u8) -> ProcessingRequest {
    let length = usize::from(byte >> 3);
    let body = |end_of_stream| HttpBody { body: vec![filling; length], end_of_stream, ..HttpBody::default() };
    let mut message = ProcessingRequest::default();
    message.request = Some(match byte & 7 {
        0 => Asked::RequestBody(body(false)),
        1 => Asked::RequestBody(body(true)),
        2 => Asked::RequestTrailers(HttpTrailers::default()),
        3 => {
            if length & 1 == 1 {
                let details = Value { kind: Some(Text::StringValue("via_upstream".to_owned())) };
                let fields = [("response.code_details".to_owned(), details)].into();
                message.attributes.insert("envoy.filters.http.ext_proc".to_owned(), Struct { fields });
            }
            Asked::ResponseHeaders(heads(&[(":status", "200".to_owned())], length & 2 == 2))
        }
        4 => Asked::ResponseBody(body(false)),
        5 => Asked::ResponseBody(body(true)),
        6 => Asked::ResponseTrailers(HttpTrailers::default()),
        _ => Asked::RequestHeaders(heads(&[], false)),
    });
    message
}

pub fn run(data: &[u8]) -> Reached {
    let Some((first, rest)) = data.split_first() else { return "cut off" };
    let route = Route::read(*first);
    let mut asked = vec![ProcessingRequest { request: Some(route.head()), ..ProcessingRequest::default() }];
    let more = rest.iter().take(MESSAGES).enumerate();
    asked.extend(more.map(|(index, byte)| message(*byte, b'a' + u8::try_from(index % 26).unwrap_or(0))));
    let said = SERVICE.ask(&route, asked.clone());
    judge(&route, &asked, &said)
}

/// What a side of the exchange was sent, until its end.
#[derive(Default)]
struct Whole {
    body: Vec<u8>,
    ended: bool,
}

impl Whole {
    fn of(pieces: impl Iterator<Item = (Vec<u8>, bool)>) -> Whole {
        let mut whole = Whole::default();
        for (piece, last) in pieces {
            assert!(!whole.ended, "a body goes on after its end");
            whole.body.extend(piece);
            whole.ended = last;
        }
        whole
    }
}

fn judge(route: &Route, asked: &[ProcessingRequest], said: &[Result<ProcessingResponse, Status>]) -> Reached {
    let failed = said.iter().position(Result::is_err);
    assert!(failed.is_none_or(|at| at + 1 == said.len()), "something is said after a failure");
    let said: Vec<&Said> =
        said.iter().filter_map(|said| said.as_ref().ok()).map(|said| said.response.as_ref().unwrap()).collect();
    let immediate = said.iter().position(|said| matches!(said, Said::ImmediateResponse(_)));
    assert!(immediate.is_none_or(|at| at + 1 == said.len()), "something is said after a refusal");
    let heads = said.iter().filter(|said| matches!(said, Said::RequestHeaders(_))).count();
    assert!(heads <= 1, "a request is let through twice");
    if heads == 1 {
        assert!(route.may_pass(), "a request is let through that was not to");
        assert!(matches!(said[0], Said::RequestHeaders(_)), "something is said before the head");
    }
    // What went on of the request is all of what came, and it had come to its end.
    let passed = Whole::of(said.iter().filter_map(|said| match said {
        Said::RequestBody(piece) => Some(streamed(piece)),
        Said::RequestTrailers(_) => Some((Vec::new(), true)),
        _ => None,
    }));
    if heads == 1 && route.request_body && !route.ended {
        let mut came = Whole::default();
        for message in asked.iter().skip(1) {
            match message.request.as_ref().unwrap() {
                Asked::RequestBody(piece) => {
                    came.body.extend_from_slice(&piece.body);
                    came.ended = piece.end_of_stream;
                }
                Asked::RequestTrailers(_) => came.ended = true,
                // What passes unread does so while the response comes.
                _ if route.optional[0] => {}
                _ => break,
            }
            if came.ended {
                break;
            }
        }
        if route.optional[0] && came.body.len() as u64 > MOST {
            assert!(came.body.starts_with(&passed.body), "another body goes on than came");
        } else {
            assert!(came.ended, "a request goes on before its body has come");
            assert!(came.body.len() as u64 <= MOST, "a body goes on that is too long");
            assert!(passed.ended && passed.body == came.body, "another body goes on than came");
        }
    } else if heads == 1 && route.counted[0] && !route.ended {
        let came: Vec<u8> = asked
            .iter()
            .skip(1)
            .flat_map(|message| match message.request.as_ref() {
                Some(Asked::RequestBody(piece)) => piece.body.clone(),
                _ => Vec::new(),
            })
            .collect();
        assert!(passed.body.len() as u64 <= MOST, "more of a body goes on than may");
        assert!(came.starts_with(&passed.body), "another body goes on than came");
    } else {
        assert!(passed.body.is_empty(), "a body goes on that nobody collected");
    }
    let answered = said.iter().any(|said| matches!(said, Said::ResponseHeaders(_)));
    match () {
        () if failed.is_some() => "out of turn",
        () if immediate.is_some() && heads == 1 => "too long",
        () if immediate.is_some() => {
            let Some(Said::ImmediateResponse(refused)) = said.last() else { unreachable!() };
            let status = refused.status.as_ref().map_or(0, |status| status.code);
            if status == 413 {
                return "too long";
            }
            assert!(!route.may_pass() && status == 401, "{status} for a request that was to pass");
            "refused"
        }
        () if answered && heads == 1 => "answered",
        () if answered => "answered by Envoy",
        () if heads == 1 => "admitted",
        () => "cut off",
    }
}

fn streamed(piece: &BodyResponse) -> (Vec<u8>, bool) {
    let mutation = piece.response.as_ref().and_then(|common| common.body_mutation.as_ref());
    match mutation.and_then(|mutation| mutation.mutation.as_ref()) {
        Some(Mutation::StreamedResponse(piece)) => (piece.body.clone(), piece.end_of_stream),
        other => panic!("a body that is no piece: {other:?}"),
    }
}

struct Service {
    runtime: Runtime,
    decider: Arc<Decider>,
    metrics: Arc<Metrics>,
}

static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (metrics, rules) = (Metrics::new(), Arc::new(RuleStore::default()));
    let keys = IssuerKeys { source: KeySource::ApiKeys, location: None, pinned: API_KEYS.as_ref().clone() };
    let keys = runtime
        .block_on(async { KeyStore::start([keys], KeyTiming::default(), &Transport::default(), &metrics).unwrap() });
    for bits in 0..=255 {
        rules.load(&Route::read(bits).book()).unwrap();
    }
    let facts = FactCache::new(16, Duration::from_secs(600));
    let decider = Decider::new(rules, facts, Lookups::new(keys), Arc::clone(&metrics), Decider::DEADLINE);
    Service { runtime, decider: Arc::new(decider), metrics }
});

// === impl Service ===

impl Service {
    fn ask(&self, route: &Route, asked: Vec<ProcessingRequest>) -> Vec<Result<ProcessingResponse, Status>> {
        let rule = format!("{:032x}", route.rule());
        let said = self.runtime.block_on(async {
            let (saying, mut said) = mpsc::channel(1);
            let asked = stream::iter(asked.into_iter().map(Ok));
            let talk = Box::pin(converse(Arc::clone(&self.decider), rule, asked, saying));
            let hear = async {
                let mut all = Vec::new();
                while let Some(said) = said.recv().await {
                    all.push(said);
                }
                all
            };
            let both = async { tokio::join!(talk, hear).1 };
            timeout(Duration::from_secs(20), both).await.expect("the service does not end")
        });
        let panics = "microgw_panics_total 0";
        assert!(self.metrics.render(vec![], Exposition::Plain).contains(panics), "the service panicked");
        said
    }
}
