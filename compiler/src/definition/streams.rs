//! How long requests may take, and what goes on without an end.

use microgw_proto::traffic::v1::OperationTraffic;

use super::fields::boolean;
use super::shape::integer;
use crate::compile::Report;
use crate::diagnostic::Code;
use crate::model::Method;
use crate::source::{Content, Value};

pub(super) const TIMEOUT: &str = "x-microgw-timeout";
pub(super) const IDLE_TIMEOUT: &str = "x-microgw-idle-timeout";
pub(super) const STREAM: &str = "x-microgw-stream";
pub(super) const WEBSOCKET: &str = "x-microgw-websocket";
const BIDIRECTIONAL: &str = "bidirectional";
/// A stream that is silent for an hour is one that nobody holds any more.
const SILENCE: u32 = 3_600_000;

/// What one level says.
#[derive(Clone, Copy, Default)]
pub(super) struct Streams {
    timeout: Option<u32>,
    idle_timeout: Option<u32>,
    stream: Option<Stream>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    No,
    /// Responses go on.
    Responses,
    /// Requests, too.
    Both,
}

/// Messages of an operation that go on without an end that could be waited for.
#[derive(Clone, Copy, Default)]
pub(super) struct Endless {
    pub requests: bool,
    /// Their bodies are the stream.
    pub brings_bodies: bool,
    pub responses: bool,
}

// === impl Streams ===

impl Streams {
    pub(super) fn of(report: &mut Report, owner: Value<'_>) -> Streams {
        let mut milliseconds = |key: &str| {
            let number = owner.get(key).and_then(|at| integer(report, key, at, 0, i64::from(i32::MAX)))?;
            u32::try_from(number).ok()
        };
        let (timeout, idle_timeout) = (milliseconds(TIMEOUT), milliseconds(IDLE_TIMEOUT));
        let stream = owner.get(STREAM).and_then(|at| stream(report, at));
        if let (Some(1..), Some(Stream::Responses | Stream::Both), Some((key, _))) =
            (timeout, stream, owner.entry(TIMEOUT))
        {
            let message = format!("`{TIMEOUT}` is for whole responses, and `{STREAM}` for those that go on");
            report.advise(Code::BadStream, key, message, format!("bound its silence: `{IDLE_TIMEOUT}`"));
        }
        Streams { timeout, idle_timeout, stream }
    }

    /// What holds for an operation that says `self`, of an API that says `above`.
    pub(super) fn apply(
        self,
        report: &mut Report,
        above: Streams,
        method: Method,
        operation: Value<'_>,
        traffic: &mut OperationTraffic,
    ) -> Endless {
        let websocket = operation.entry(WEBSOCKET).filter(|(_, at)| boolean(report, WEBSOCKET, *at) == Some(true));
        if let Some((key, _)) = websocket
            && method != Method::Get
        {
            let message = format!("WebSocket connections begin with GET, not with {method}");
            report.say(Code::BadStream, key, message);
        }
        let streams = |stream: Option<Stream>| stream.is_some_and(|stream| stream != Stream::No);
        let own = streams(self.stream);
        // The nearer word counts: a response that is waited for to its end is no stream of the API's.
        let above_streams = self.stream.is_none() && self.timeout.is_none() && streams(above.stream);
        let endless = own || above_streams || websocket.is_some();
        let of_stream = |value: u32| endless.then_some(value);
        // Of a WebSocket connection Envoy bounds the handshake by it, and not what follows.
        let none = || of_stream(0).filter(|_| websocket.is_none());
        traffic.timeout = self.timeout.or_else(none).or(above.timeout);
        traffic.idle_timeout = self.idle_timeout.or(above.idle_timeout).or_else(|| of_stream(SILENCE));
        traffic.websocket = websocket.is_some();
        let stream = if above_streams { above.stream } else { self.stream };
        let bidirectional = websocket.is_none() && stream == Some(Stream::Both);
        traffic.unbuffered = websocket.is_some() || bidirectional;
        let brings_bodies = bidirectional && matches!(method, Method::Patch | Method::Post | Method::Put);
        Endless { requests: traffic.unbuffered, brings_bodies, responses: endless }
    }
}

fn stream(report: &mut Report, at: Value<'_>) -> Option<Stream> {
    match at.content() {
        Content::Bool(true) => Some(Stream::Responses),
        Content::Bool(false) => Some(Stream::No),
        Content::Text(_) if at.text() == BIDIRECTIONAL => Some(Stream::Both),
        Content::Text(_) => {
            let word = at.text().escape_debug();
            let message = format!("`{STREAM}` must be `true`, `false` or `{BIDIRECTIONAL}`, not `{word}`");
            report.say(Code::BadValue, at, message);
            None
        }
        _ => {
            let message = format!("`{STREAM}` must be `true`, `false` or `{BIDIRECTIONAL}`, not {}", at.type_name());
            report.say(Code::WrongType, at, message);
            None
        }
    }
}
