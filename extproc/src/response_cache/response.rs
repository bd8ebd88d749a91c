//! A response while it is copied, and once it is kept.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderMap, HeaderName, HeaderValue, VARY};
use http_cache_semantics::{CacheOptions, CachePolicy};
use microgw_engine::{Edits, Headers as _, ResponseHead};
use microgw_transforms::Message;

use super::request::{Asked, CONDITIONS, header_map, joined};
use super::{Key, ResponseCache, Room};
use crate::process::Head;

/// Of one connection, or said anew.
const NOT_KEPT: [&str; 11] = [
    "age",
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];
/// Bytes that a header takes beside its texts.
const PER_HEADER: usize = 256;
/// Whatever says that something is good still says of these nothing that counts: the body is the one that was kept.
const OF_BODY: [&str; 5] = ["content-encoding", "content-language", "content-length", "content-range", "content-type"];
/// What a client that has the rest is not told again.
const OF_CONTENT: [&str; 3] = ["content-type", "content-encoding", "content-language"];

/// As its backend gave it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(super) policy: CachePolicy,
    pub(super) until: Instant,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    /// Of what is remembered beside the response.
    beside: usize,
}

/// A response on its way to whoever asked first.
#[derive(Debug)]
pub(crate) struct Copying {
    key: Key,
    kept: Kept,
    most: usize,
    room: Room,
}

// === impl Kept ===

impl Kept {
    pub(super) fn weight(&self) -> usize {
        size(self.head.fields()) * 2 + self.body.len() + self.beside
            // And in the maps that they are in, here and in the policy.
            + self.head.fields().len() * PER_HEADER
    }

    /// By which header the backend is asked whether it has changed, and what that says.
    pub(crate) fn validator(&self) -> Option<(&'static str, &[u8])> {
        let of = |name| {
            let mut values = self.head.fields().iter().filter(|(other, _)| other == name);
            // Of several nobody knows which one is meant.
            values.next().filter(|_| values.next().is_none()).map(|(_, value)| value.as_slice())
        };
        let is_date =
            |date: &&[u8]| std::str::from_utf8(date).is_ok_and(|date| httpdate::parse_http_date(date).is_ok());
        let condition = match of("etag") {
            Some(tag) => (CONDITIONS[0], Some(tag).filter(|tag| is_tag(tag))?),
            None => (CONDITIONS[1], of("last-modified").filter(is_date)?),
        };
        (self.head.status() == 200).then_some(condition)
    }

    /// Whether whoever says that something is good still speaks of this.
    pub(super) fn is_meant(&self, head: &Head) -> bool {
        match (self.head.get("etag"), head.get("etag")) {
            (Some(kept), Some(said)) => is_same(kept, said),
            (_, None) => true,
            (None, Some(_)) => false,
        }
    }

    /// As the backend would give it now: with what it says when it says that nothing has changed.
    pub(super) fn renewed(&self, head: &Head) -> Kept {
        let is_said = |name: &str| {
            !OF_BODY.contains(&name) && !name.starts_with("x-envoy-") && (name == "age" || !NOT_KEPT.contains(&name))
        };
        let said: Vec<_> = head.fields().iter().filter(|(name, _)| is_said(name)).cloned().collect();
        let mut fields = self.head.fields().to_vec();
        // When it was made would be how old it is.
        fields.retain(|(name, _)| name != "date" && said.iter().all(|(other, _)| other != name));
        fields.extend(said);
        Kept {
            policy: self.policy.clone(),
            until: self.until,
            head: Head::of_response(self.head.status(), fields),
            body: self.body.clone(),
            beside: self.beside,
        }
    }

    /// What the client is answered, once the rule has changed it like this. `old`: nobody was asked whether it is good still.
    pub(crate) fn message(&self, edits: Option<Box<Edits>>, asked: &Asked, old: bool) -> Message {
        let edits = edits.map(|edits| *edits).unwrap_or_default();
        let mut headers = self.head.fields().to_vec();
        if old {
            headers.push((AGE.to_string(), self.policy.age(SystemTime::now()).as_secs().to_string().into_bytes()));
        }
        for (name, values) in edits.headers {
            headers.retain(|(other, _)| *other != *name);
            headers.extend(values.into_iter().map(|value| (name.to_string(), value)));
        }
        let status = edits.status.unwrap_or(self.head.status());
        let says =
            |name: &str, is: &dyn Fn(&[u8]) -> bool| headers.iter().any(|(other, value)| other == name && is(value));
        let is_known = match (&asked.known, &asked.since) {
            (Some(known), _) => says("etag", &|tag| has(known, tag)),
            // As it was told to this client, to the letter.
            (None, Some(since)) => says("last-modified", &|date| date == since.as_slice()),
            (None, None) => false,
        };
        if status == 200 && is_known {
            headers.retain(|(name, _)| !OF_CONTENT.contains(&name.as_str()));
            return Message::response(304, microgw_transforms::Headers::new(headers), None);
        }
        let body = edits.body.unwrap_or_else(|| self.body.clone());
        Message::response(status, microgw_transforms::Headers::new(headers), Some(body))
    }
}

// === impl Copying ===

impl Copying {
    /// `None`: the response is for nobody else.
    pub(crate) fn of(cache: &ResponseCache, asked: &Asked, head: ResponseHead<'_>) -> Option<Copying> {
        let fields = joined(head.headers);
        let says = |name: &str| fields.get(name).map(|value| value.to_ascii_lowercase());
        // Envoy makes a reply of gRPC of what is said to be one.
        let of_stream: [&[u8]; 2] = [b"text/event-stream", b"application/grpc"];
        let is_endless =
            says("content-type").is_some_and(|kind| of_stream.iter().any(|stream| kind.starts_with(stream)));
        let varies =
            says("vary").is_some_and(|names| names.split(|byte| *byte == b',').any(|name| name.trim_ascii() == b"*"));
        let length = says("content-length").and_then(|length| std::str::from_utf8(&length).ok()?.parse().ok());
        let most = cache.most_of_one();
        // Envoy would make up a type.
        let is_untyped = !head.ended && !fields.contains_key("content-type");
        if fields.contains_key("set-cookie")
            || head.status >= 500
            || is_endless
            || is_untyped
            || varies
            || length.is_some_and(|length: usize| length > most)
        {
            return None;
        }
        let mut headers = Vec::new();
        let named = says("connection").unwrap_or_default();
        head.headers.visit(&mut |name, value| {
            let of_connection = named.split(|byte| *byte == b',').any(|other| other.trim_ascii() == name.as_bytes());
            if !NOT_KEPT.contains(&name) && !name.starts_with("x-envoy-") && !of_connection {
                headers.push((name.to_owned(), value.to_vec()));
            }
        });
        let fields = plain(header_map(fields)?, SystemTime::now())?;
        let request = remembered(asked, &fields)?;
        let beside = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + PER_HEADER);
        let beside = beside.sum::<usize>() + request.uri().path_and_query().map_or(0, |path| path.as_str().len());
        let policy = policy(&request, asked.seconds, head.status, fields)?;
        let lives = policy.time_to_live(SystemTime::now()).min(Duration::from_secs(asked.seconds.into()));
        if lives.is_zero() {
            return None;
        }
        let until = Instant::now() + lives;
        let mut copying = Copying {
            key: asked.key,
            kept: Kept { policy, until, head: Head::of_response(head.status, headers), body: Vec::new(), beside },
            most,
            room: Room { copied: Arc::clone(&cache.copied), most: cache.most, taken: 0 },
        };
        let weight = copying.kept.weight();
        copying.room.take(weight).then_some(copying)
    }

    /// `None`: it is too long, by itself or with all that are copied now.
    pub(crate) fn with(mut self, piece: &[u8]) -> Option<Copying> {
        if self.kept.weight().saturating_add(piece.len()) > self.most || !self.room.take(piece.len()) {
            return None;
        }
        self.kept.body.extend_from_slice(piece);
        Some(self)
    }

    pub(super) fn finish(mut self) -> (Key, Kept) {
        self.kept.body.shrink_to_fit();
        (self.key, self.kept)
    }
}

/// `None`: what caches go by is written in a way that not all of them read alike. A `Date` that is past is an age.
fn plain(mut headers: HeaderMap, now: SystemTime) -> Option<HeaderMap> {
    let text = |name: &HeaderName| match headers.get(name) {
        None => Some(""),
        Some(value) => std::str::from_utf8(value.as_bytes()).ok().filter(|text| text.is_ascii()),
    };
    let are_tokens = |list: &str| list.split(',').map(str::trim).all(|name| name.is_empty() || is_token(name));
    let mut directives = Vec::new();
    for directive in text(&CACHE_CONTROL)?.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, "none"));
        let is_quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
        let inner = if is_quoted { value.trim_matches('"') } else { value };
        // Said twice, it means what whoever reads it takes.
        if !is_token(name) || !(is_token(inner) || is_quoted && inner.is_empty()) || directives.contains(&name) {
            return None;
        }
        directives.push(name);
    }
    if !are_tokens(text(&VARY)?) {
        return None;
    }
    let said = match text(&AGE)? {
        "" => 0,
        age => age.parse::<u64>().ok()?,
    };
    let past = match text(&DATE)? {
        "" => Duration::ZERO,
        date => now.duration_since(httpdate::parse_http_date(date).ok()?).unwrap_or_default(),
    };
    headers.insert(AGE, HeaderValue::from(said.max(past.as_secs())));
    Some(headers)
}

/// As much of the request as the response depends on: all of it counted when it was looked up.
fn remembered(asked: &Asked, response: &HeaderMap) -> Option<http::Request<()>> {
    let mut request = http::Request::builder().uri(asked.request.uri().clone()).body(()).ok()?;
    let vary = response.get(VARY).and_then(|names| names.to_str().ok()).unwrap_or_default();
    for name in vary.split(',').map(str::trim).chain(["host"]) {
        if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name.as_bytes()), asked.request.headers().get(name)) {
            request.headers_mut().insert(name, value.clone());
        }
    }
    Some(request)
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    HeaderName::from_bytes(text.as_bytes()).is_ok()
}

/// `None`: it may not be kept. What says nothing of how long it is good is as good as the definition says, if it is an answer.
fn policy(request: &http::Request<()>, seconds: u32, status: u16, mut headers: HeaderMap) -> Option<CachePolicy> {
    let directives = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_said = directives.contains("max-age") || directives.contains("s-maxage") || headers.contains_key(EXPIRES);
    if !is_said && status == 200 {
        let separator = if directives.is_empty() { "" } else { ", " };
        // `Pragma` counts where there is no `Cache-Control`.
        if directives.is_empty() && headers.contains_key("pragma") {
            return None;
        }
        let directives = format!("{directives}{separator}max-age={seconds}");
        headers.insert(CACHE_CONTROL, HeaderValue::from_str(&directives).ok()?);
    }
    let mut response = http::Response::builder().status(status).body(()).ok()?;
    *response.headers_mut() = headers;
    // Nothing is guessed from when it was last changed.
    let options = CacheOptions { cache_heuristic: 0.0, ..CacheOptions::default() };
    let policy = CachePolicy::new_options(request, &response, SystemTime::now(), options);
    policy.is_storable().then_some(policy)
}

/// Whether a client that says `known` has the response of this tag: RFC 9110, section 13.1.2.
fn has(known: &str, tag: &[u8]) -> bool {
    let Ok(tag) = std::str::from_utf8(tag) else { return false };
    known.trim() == "*" || known.split(',').any(|one| is_same(one, tag))
}

/// RFC 9110, section 8.8.3.2: weakly.
fn is_same(one: &str, other: &str) -> bool {
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    weak(one) == weak(other)
}

/// RFC 9110, section 8.8.3.
fn is_tag(tag: &[u8]) -> bool {
    let opaque = tag.strip_prefix(b"W/").unwrap_or(tag);
    let inner = opaque.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner.is_some_and(|inner| inner.iter().all(|byte| *byte > b' ' && *byte < 0x7f && *byte != b'"'))
}

fn size(headers: &[(String, Vec<u8>)]) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}
