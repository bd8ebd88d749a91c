//! What a request asks for, as its backend would see it.

use std::collections::BTreeMap;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, PRAGMA};
use microgw_engine::{Allow, Edits, Headers, Keep, RequestHead};
use sha2::{Digest as _, Sha256};

use super::Key;

/// With one of these a request is about its caller alone, about a part, or about what the backend has just now.
const OWN: [&str; 7] =
    ["authorization", "cookie", "if-match", "if-range", "if-unmodified-since", "proxy-authorization", "range"];
/// Whether something has changed.
pub(crate) const CONDITIONS: [&str; 2] = ["if-none-match", "if-modified-since"];
/// What is wanted of caches.
const DIRECTIVES: [&str; 2] = ["cache-control", "pragma"];
/// What [`says_little`], beside whole families.
const LITTLE: [&str; 21] = [
    "b3",
    "baggage",
    "cache-control",
    "connection",
    "content-length",
    "dnt",
    "if-modified-since",
    "if-none-match",
    "keep-alive",
    "pragma",
    "priority",
    "referer",
    "sentry-trace",
    "te",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade-insecure-requests",
    "user-agent",
    "x-forwarded-for",
    "x-request-id",
];
const FAMILIES: [&str; 4] = ["sec-ch-", "sec-fetch-", "x-b3-", "x-envoy-"];

/// A request that a kept response may answer.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(super) key: Key,
    pub(super) request: http::Request<()>,
    /// For how long responses are good, at most, and where they do not say.
    pub(super) seconds: u32,
    /// What the client has already: `If-None-Match`.
    pub(super) known: Option<String>,
    /// Since when: `If-Modified-Since`.
    pub(super) since: Option<Vec<u8>>,
    /// It is to be as new as the client says.
    pub(super) anew: bool,
    /// The backend may answer that nothing has changed.
    pub(crate) conditional: bool,
    /// The backend may be asked whether what is kept has changed.
    pub(super) validates: bool,
}

// === impl Asked ===

impl Asked {
    /// `None`: it is for the backend alone. `term`: for as long as the rule was not away.
    pub(crate) fn of(rule: &str, term: u64, keep: &Keep, head: RequestHead<'_>, allow: &Allow<'_>) -> Option<Asked> {
        let unchanged = Edits::default();
        let edits = allow.edits.as_deref().unwrap_or(&unchanged);
        if head.method != "GET" || edits.method.is_some() || edits.body.is_some() {
            return None;
        }
        let mut fields = joined(head.headers);
        for name in allow.remove_headers {
            fields.remove(&**name);
        }
        for (name, values) in &edits.headers {
            fields.remove(&**name);
            for value in values {
                join(&mut fields, name, value);
            }
        }
        if OWN.iter().any(|name| fields.contains_key(*name)) {
            return None;
        }
        let directives = fields.get("cache-control").map(|said| said.to_ascii_lowercase()).unwrap_or_default();
        // Envoy makes a reply of gRPC of what answers such a request.
        if fields.get("content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with(b"application/grpc")) {
            return None;
        }
        if directives.split(|byte| *byte == b',').any(|directive| directive.trim_ascii() == b"no-store") {
            return None;
        }
        let path = edits.path.as_deref().or(allow.path.as_deref()).unwrap_or(head.path);
        let counts = |name: &str| {
            !says_little(name)
                || keep.headers.iter().any(|own| **own == *name)
                || edits.headers.iter().any(|(edited, _)| *edited == *name)
        };
        let mut hash = Sha256::new();
        let mut add = |text: &[u8]| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        let authority = head.authority.to_ascii_lowercase();
        let environment = allow.environment.unwrap_or_default();
        add(&term.to_be_bytes());
        for text in [rule, environment, head.scheme, &authority, path] {
            add(text.as_bytes());
        }
        for (name, value) in fields.iter().filter(|(name, _)| counts(name)) {
            add(name.as_bytes());
            add(value);
        }
        let key = hash.finalize().into();
        let known = fields.get("if-none-match").and_then(|known| String::from_utf8(known.clone()).ok());
        let since = fields.get("if-modified-since").cloned();
        let says = |names: [&str; 2]| names.iter().any(|name| fields.contains_key(*name));
        let (anew, conditional) = (says(DIRECTIVES), says(CONDITIONS));
        // Whoever wants nothing of a cache gets nothing of it.
        let is_afresh = DIRECTIVES.iter().any(|name| {
            let said = fields.get(*name).map(|said| said.to_ascii_lowercase()).unwrap_or_default();
            said.split(|byte| *byte == b',').any(|directive| directive.trim_ascii() == b"no-cache")
        });
        let validates = !is_afresh && !edits.headers.iter().any(|(name, _)| CONDITIONS.contains(&&**name));
        let mut request = http::Request::builder().uri(path).body(()).ok()?;
        *request.headers_mut() = header_map(fields)?;
        Some(Asked { key, request, seconds: keep.seconds, known, since, anew, conditional, validates })
    }
}

/// A header that answers seldom depend on; those that do say so (`Vary`), or their definition does.
fn says_little(name: &str) -> bool {
    LITTLE.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Each name once: what is compared must be all of it.
pub(super) fn joined(headers: &dyn Headers) -> BTreeMap<String, Vec<u8>> {
    let mut fields = BTreeMap::new();
    headers.visit(&mut |name, value| join(&mut fields, name, value));
    fields
}

fn join(fields: &mut BTreeMap<String, Vec<u8>>, name: &str, value: &[u8]) {
    match fields.get_mut(name) {
        None => drop(fields.insert(name.to_owned(), value.to_vec())),
        Some(before) => {
            before.extend_from_slice(b", ");
            before.extend_from_slice(value);
        }
    }
}

/// `None`: something in it is no header, or directives of a cache that are not plain text. Those are in lower case then: their
/// names are the same in any (RFC 9111, section 5.2).
pub(super) fn header_map(fields: BTreeMap<String, Vec<u8>>) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = if name == CACHE_CONTROL || name == PRAGMA {
            let directives = std::str::from_utf8(&value).ok().filter(|text| text.is_ascii())?;
            HeaderValue::from_str(&directives.to_ascii_lowercase()).ok()?
        } else {
            HeaderValue::from_bytes(&value).ok()?
        };
        map.insert(name, value);
    }
    Some(map)
}
