//! A response while it is copied, and once it is kept.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::{AGE, CACHE_CONTROL, EXPIRES, HeaderMap, HeaderValue};
use http_cache_semantics::{CacheOptions, CachePolicy};
use microgw_engine::{Edits, ResponseHead};
use microgw_transforms::Message;

use super::request::{Asked, header_map, joined};
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
    }

    /// What the client is answered, once the rule has changed it like this.
    pub(crate) fn message(&self, edits: Option<Box<Edits>>, asked: &Asked) -> Message {
        let edits = edits.map(|edits| *edits).unwrap_or_default();
        let mut headers = self.head.fields().to_vec();
        headers.push((AGE.to_string(), self.policy.age(SystemTime::now()).as_secs().to_string().into_bytes()));
        for (name, values) in edits.headers {
            headers.retain(|(other, _)| *other != *name);
            headers.extend(values.into_iter().map(|value| (name.to_string(), value)));
        }
        let status = edits.status.unwrap_or(self.head.status());
        let is_known = status == 200
            && headers
                .iter()
                .any(|(name, tag)| name == "etag" && asked.known.as_deref().is_some_and(|known| has(known, tag)));
        if is_known {
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
        let is_endless = says("content-type").is_some_and(|kind| kind.starts_with(b"text/event-stream"));
        let varies =
            says("vary").is_some_and(|names| names.split(|byte| *byte == b',').any(|name| name.trim_ascii() == b"*"));
        let length = says("content-length").and_then(|length| std::str::from_utf8(&length).ok()?.parse().ok());
        let most = cache.most_of_one();
        if fields.contains_key("set-cookie")
            || is_endless
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
        let policy = policy(asked, head.status, header_map(fields)?)?;
        let lives = policy.time_to_live(SystemTime::now()).min(Duration::from_secs(asked.seconds.into()));
        if lives.is_zero() {
            return None;
        }
        let beside =
            asked.request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
                + asked.request.uri().path_and_query().map_or(0, |path| path.as_str().len());
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

/// `None`: it may not be kept. What says nothing of how long it is good is as good as the definition says, if it is an answer.
fn policy(asked: &Asked, status: u16, mut headers: HeaderMap) -> Option<CachePolicy> {
    let directives = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_said = directives.contains("max-age") || directives.contains("s-maxage") || headers.contains_key(EXPIRES);
    if !is_said && status == 200 {
        let separator = if directives.is_empty() { "" } else { ", " };
        // `Pragma` counts where there is no `Cache-Control`.
        if directives.is_empty() && headers.contains_key("pragma") {
            return None;
        }
        let directives = format!("{directives}{separator}max-age={}", asked.seconds);
        headers.insert(CACHE_CONTROL, HeaderValue::from_str(&directives).ok()?);
    }
    let mut response = http::Response::builder().status(status).body(()).ok()?;
    *response.headers_mut() = headers;
    // Nothing is guessed from when it was last changed.
    let options = CacheOptions { cache_heuristic: 0.0, ..CacheOptions::default() };
    let policy = CachePolicy::new_options(&asked.request, &response, SystemTime::now(), options);
    policy.is_storable().then_some(policy)
}

/// Whether a client that says `known` has the response of this tag: RFC 9110, section 13.1.2.
fn has(known: &str, tag: &[u8]) -> bool {
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Ok(tag) = std::str::from_utf8(tag) else { return false };
    known.trim() == "*" || known.split(',').any(|one| weak(one) == weak(tag))
}

fn size(headers: &[(String, Vec<u8>)]) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}
