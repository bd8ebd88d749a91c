//! What the gateway answers by itself: which values Envoy can send as they are.

use microgw_proto::traffic::v1::{Answer, Example, Examples, Header, Redirect, answer::Kind};

use crate::names;
use crate::url;

/// Bytes of one body. All of them are part of the route table, which every Envoy has whole.
pub const MAX_BODY: usize = 64 * 1024;
/// Bytes of all bodies of an API.
pub const MAX_BODIES: usize = 8 << 20;
/// Each is a route or two.
pub const MAX_EXAMPLES: usize = 32;
/// Characters of what stands in a header.
pub const MAX_VALUE: usize = 2048;
/// Characters of an example's name, which is an expression that each request meets.
pub const MAX_NAME: usize = 64;
pub const REDIRECTS: [u32; 5] = [301, 302, 303, 307, 308];

/// Why a redirect leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    #[error("it is neither an `http` or `https` URL nor a path that begins with one `/`")]
    Kind,
    #[error("it has a character that must be percent-encoded in a URL")]
    Character,
    #[error("its host or port is not valid, or it has a user name")]
    Host,
    #[error("it is longer than {MAX_VALUE} characters")]
    Length,
}

pub fn is_sound(answer: &Answer) -> bool {
    match &answer.kind {
        None => false,
        Some(Kind::Redirect(Redirect { status, location })) => {
            REDIRECTS.contains(status) && check_location(location).is_ok()
        }
        Some(Kind::Examples(Examples { examples })) => {
            (1..=MAX_EXAMPLES).contains(&examples.len()) && examples.iter().all(example_is_sound)
        }
    }
}

/// Bytes of its bodies.
pub fn size(answer: &Answer) -> usize {
    bodies(answer).map(<[u8]>::len).sum()
}

pub fn longest_body(answer: &Answer) -> usize {
    bodies(answer).map(<[u8]>::len).max().unwrap_or_default()
}

fn bodies(answer: &Answer) -> impl Iterator<Item = &[u8]> {
    let examples = match &answer.kind {
        Some(Kind::Examples(Examples { examples })) => examples.as_slice(),
        _ => &[],
    };
    examples.iter().map(|example| example.body.as_slice())
}

fn example_is_sound(example: &Example) -> bool {
    let Example { name, status, content_type, body, headers } = example;
    is_name(name)
        && is_status(*status)
        && body.len() <= MAX_BODY
        && (body.is_empty() || !is_empty_by_status(*status))
        && (content_type.is_empty() || is_media_type(content_type))
        && headers.iter().all(|Header { name, value }| is_response_header(name) && is_value(value))
}

/// An `http` or `https` URL, or a path on the same host. Nothing in it is replaced.
pub fn check_location(location: &str) -> Result<(), LocationError> {
    if location.len() > MAX_VALUE {
        return Err(LocationError::Length);
    }
    // RFC 3986 section 2; browsers take a backslash for a slash.
    let allowed = |byte: u8| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte);
    if !location.bytes().all(allowed) {
        return Err(LocationError::Character);
    }
    if location.starts_with('/') {
        // Two are a host.
        return if location.starts_with("//") { Err(LocationError::Kind) } else { Ok(()) };
    }
    let (scheme, rest) = location.split_once("://").ok_or(LocationError::Kind)?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(LocationError::Kind);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    url::parse(&format!("{scheme}://{authority}")).map(|_| ()).map_err(|_| LocationError::Host)
}

/// One that clients can ask for: a token, or text between quotes (RFC 9110 section 5.6.4).
pub fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME && name.bytes().all(|byte| matches!(byte, b' '..=b'~')) && name.trim() == name
}

pub fn is_status(status: u32) -> bool {
    (200..=599).contains(&status)
}

/// RFC 9110 section 15.
pub fn is_empty_by_status(status: u32) -> bool {
    matches!(status, 204 | 205 | 304)
}

/// A type that is one, not a range of them, with or without parameters.
pub fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    [kind, subtype].iter().all(|part| names::is_header(&part.to_ascii_lowercase()) && !part.contains('*'))
        && is_value(text)
}

/// Text that stands in a header as it is.
pub fn is_value(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_VALUE
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim() == text
}

/// Lower-case, and none that says how the response itself is sent.
pub fn is_response_header(name: &str) -> bool {
    const OWN: [&str; 5] = ["date", "server", "vary", "preference-applied", "content-range"];
    names::is_credential_header(name) && !OWN.contains(&name)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
