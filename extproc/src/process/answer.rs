//! Decisions in the words of ext_proc, which reads headers from `raw_value`: one set by `value` arrives empty.

use std::collections::HashMap;
use std::iter;

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::ext_proc::v3::body_mutation::Mutation;
use envoy_types::pb::envoy::service::ext_proc::v3::common_response::ResponseStatus;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, ImmediateResponse,
    StreamedBodyResponse, TrailersResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{BoolValue, Struct, Value};
use microgw_engine::{Allow, Edits};

use microgw_transforms::Message;

use super::Head;
use crate::answer::{Refusal, removed, set};
use crate::description::NAMESPACE;
use crate::response_cache::CONDITIONS;

/// What access logs and the wording of Envoy's own replies know our refusals by.
const DETAILS: &str = "microgw_refused";
/// And those answers that a backend gave before.
const KEPT: &str = "microgw_kept";
/// Bytes of a body in one message, as Envoy would have them.
const CHUNK: usize = 64 * 1024;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Response,
}

// === impl Direction ===

impl Direction {
    pub(super) fn headers(self, common: CommonResponse) -> Response {
        let headers = HeadersResponse { response: Some(common) };
        match self {
            Direction::Request => Response::RequestHeaders(headers),
            Direction::Response => Response::ResponseHeaders(headers),
        }
    }

    /// A body in pieces. `last`: nothing follows it.
    pub(super) fn body(self, body: Vec<u8>, last: bool) -> impl Iterator<Item = Response> {
        let mut left = body;
        let mut over = false;
        iter::from_fn(move || {
            if over {
                return None;
            }
            let rest = if left.len() > CHUNK { left.split_off(CHUNK) } else { Vec::new() };
            over = rest.is_empty();
            let body = std::mem::replace(&mut left, rest);
            Some(self.piece(body, over && last))
        })
    }

    pub(super) fn piece(self, body: Vec<u8>, end_of_stream: bool) -> Response {
        let piece = StreamedBodyResponse { body, end_of_stream, ..StreamedBodyResponse::default() };
        let body_mutation = Some(BodyMutation { mutation: Some(Mutation::StreamedResponse(piece)) });
        let body = BodyResponse { response: Some(CommonResponse { body_mutation, ..CommonResponse::default() }) };
        match self {
            Direction::Request => Response::RequestBody(body),
            Direction::Response => Response::ResponseBody(body),
        }
    }

    pub(super) fn trailers(self) -> Response {
        let trailers = TrailersResponse { header_mutation: None };
        match self {
            Direction::Request => Response::RequestTrailers(trailers),
            Direction::Response => Response::ResponseTrailers(trailers),
        }
    }
}

/// What is known of the body that follows a head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Follows {
    /// Its bytes, where they are known.
    pub length: Option<u64>,
    /// Trailers come after it: another body than came has no length, or they would be lost on the way.
    pub trailers: bool,
}

/// What becomes of a request's head that may pass.
pub(super) fn admitted(mut allow: Allow<'_>, follows: Follows) -> (CommonResponse, Option<Vec<u8>>) {
    let mut mutation = HeaderMutation::default();
    let edits = allow.edits.take().map(|edits| *edits).unwrap_or_default();
    // A path that edits make has no credential in it: they have seen the request without.
    mutation.set_headers.extend(set(&mut allow).map(|(name, value)| header(name, value.into_bytes())));
    mutation.remove_headers.extend(removed(&allow));
    let body = edit(&mut mutation, edits, follows);
    // The environment leads to another route.
    let clear_route_cache = allow.environment.is_some();
    (CommonResponse { header_mutation: Some(mutation), clear_route_cache, ..CommonResponse::default() }, body)
}

/// What becomes of a response's head; and its body, where it is another one.
pub(super) fn passed(
    edits: Option<Box<Edits>>,
    told: impl Iterator<Item = (&'static str, String)>,
    follows: Follows,
) -> (CommonResponse, Option<Vec<u8>>) {
    let mut mutation = HeaderMutation::default();
    let body = edit(&mut mutation, edits.map(|edits| *edits).unwrap_or_default(), follows);
    mutation.set_headers.extend(told.map(|(name, value)| header(name, value.into_bytes())));
    (CommonResponse { header_mutation: Some(mutation), ..CommonResponse::default() }, body)
}

/// Has the backend say whether that has changed, and nothing else.
pub(super) fn validating(mut common: CommonResponse, (name, value): (&'static str, &[u8])) -> CommonResponse {
    let mutation = common.header_mutation.get_or_insert_default();
    mutation.remove_headers.extend(CONDITIONS.iter().filter(|other| **other != name).map(|other| (*other).to_owned()));
    mutation.set_headers.push(header(name, value.to_vec()));
    common
}

/// Another response in the place of one that has come, of which nothing has gone on yet.
pub(super) fn instead(
    come: &Head,
    mut answer: Message,
    told: Vec<(&'static str, String)>,
) -> (CommonResponse, Option<Vec<u8>>) {
    for (name, _) in &told {
        answer.headers.remove(name);
    }
    let mut mutation = HeaderMutation::default();
    mutation.set_headers.push(header(":status", answer.status().to_string().into_bytes()));
    mutation.set_headers.extend(told.into_iter().map(|(name, value)| header(name, value.into_bytes())));
    add(&mut mutation.set_headers, &answer);
    let body = answer.body().map(<[u8]>::to_vec);
    if let Some(body) = &body {
        mutation.set_headers.push(header("content-length", body.len().to_string().into_bytes()));
    }
    let names = come.fields().iter().map(|(name, _)| name);
    let left = names.filter(|name| !is_set(&mutation.set_headers, name) && !name.starts_with("x-envoy-"));
    mutation.remove_headers = left.cloned().collect();
    (CommonResponse { header_mutation: Some(mutation), ..CommonResponse::default() }, body)
}

/// A body for a message that has none.
pub(super) fn replaced(mut common: CommonResponse, body: Vec<u8>) -> CommonResponse {
    common.status = ResponseStatus::ContinueAndReplace.into();
    common.body_mutation = Some(BodyMutation { mutation: Some(Mutation::Body(body)) });
    common
}

fn edit(mutation: &mut HeaderMutation, edits: Edits, follows: Follows) -> Option<Vec<u8>> {
    let Edits { method, path, status, headers, body } = edits;
    let status = status.map(|status| status.to_string());
    let pseudo = [(":method", method), (":path", path), (":status", status)];
    let pseudo = pseudo.into_iter().filter_map(|(name, value)| Some(header(name, value?.into_bytes())));
    mutation.set_headers.extend(pseudo);
    for (name, values) in headers {
        if values.is_empty() {
            mutation.remove_headers.push(name.into_owned());
            continue;
        }
        for (index, value) in values.into_iter().enumerate() {
            let mut option = header(&name, value);
            if index > 0 {
                appended(&mut option);
            }
            mutation.set_headers.push(option);
        }
    }
    // Said in any case: what it was said to be may be another length.
    let made = body.as_ref().map(|body| body.len() as u64);
    if made.is_some() && follows.trailers {
        mutation.remove_headers.push("content-length".to_owned());
    } else if let Some(length) = made.or(follows.length) {
        mutation.set_headers.push(header("content-length", length.to_string().into_bytes()));
    }
    body
}

pub(super) fn refused(refusal: Refusal) -> Response {
    let mut headers: Vec<(&str, String)> = Vec::with_capacity(refusal.headers.len());
    // Of several of one name Envoy would keep the last: as one they say the same, RFC 9110, section 5.3.
    for (name, value) in refusal.headers {
        match headers.iter_mut().find(|(other, _)| *other == name) {
            Some((_, joined)) => {
                joined.push_str(", ");
                joined.push_str(&value);
            }
            None => headers.push((name, value)),
        }
    }
    let set_headers = headers.into_iter().map(|(name, value)| header(name, value.into_bytes())).collect();
    Response::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: i32::from(refusal.status) }),
        headers: Some(HeaderMutation { set_headers, remove_headers: Vec::new() }),
        body: refusal.body.into_bytes(),
        grpc_status: None,
        details: DETAILS.to_owned(),
    })
}

/// What a program answers, and what clients are told of limits.
pub(super) fn responded(answer: &Message, told: impl Iterator<Item = (&'static str, String)>) -> Response {
    Response::ImmediateResponse(immediate(answer, told, DETAILS))
}

/// The same of what is known from before: what a backend told of limits was told to this gateway.
pub(super) fn given(mut answer: Message, told: Vec<(&'static str, String)>) -> Response {
    for (name, _) in &told {
        answer.headers.remove(name);
    }
    Response::ImmediateResponse(immediate(&answer, told.into_iter(), KEPT))
}

fn immediate(answer: &Message, told: impl Iterator<Item = (&'static str, String)>, details: &str) -> ImmediateResponse {
    let mut set_headers: Vec<_> = told.map(|(name, value)| header(name, value.into_bytes())).collect();
    add(&mut set_headers, answer);
    ImmediateResponse {
        status: Some(HttpStatus { code: i32::from(answer.status()) }),
        headers: Some(HeaderMutation { set_headers, remove_headers: Vec::new() }),
        body: answer.body().unwrap_or_default().to_vec(),
        grpc_status: None,
        details: details.to_owned(),
    }
}

/// All headers of an answer, beside those that are set.
fn add(set_headers: &mut Vec<HeaderValueOption>, answer: &Message) {
    for (name, value) in answer.headers.iter() {
        let mut option = header(name, value.to_vec());
        if is_set(set_headers, name) {
            appended(&mut option);
        }
        set_headers.push(option);
    }
}

fn is_set(set_headers: &[HeaderValueOption], name: &str) -> bool {
    set_headers.iter().any(|option| option.header.as_ref().is_some_and(|header| header.key == name))
}

/// Where Envoy looks for it.
pub(super) fn metadata(description: Option<Struct>) -> Option<Struct> {
    let description = Value { kind: Some(Kind::StructValue(description?)) };
    Some(Struct { fields: HashMap::from([(NAMESPACE.to_owned(), description)]) })
}

/// Beside the values that are there. ext_proc sets whatever `append_action` says.
#[allow(deprecated)] // Envoy reads this alone.
fn appended(option: &mut HeaderValueOption) {
    option.append = Some(BoolValue { value: true });
}

fn header(name: &str, value: Vec<u8>) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), raw_value: value, ..HeaderValue::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}
