//! Names of headers and query parameters, and which of them belong to HTTP, Envoy or the gateway.

use crate::overrides;

/// Headers that Envoy or HTTP itself sets, removes or acts on; none can carry a credential.
const TAKEN: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-request-id",
];
/// Header families with the same fate; the last one is the gateway's own.
const TAKEN_PREFIXES: &[&str] = &["x-envoy-", "x-forwarded-", "x-microgw-"];
/// Longer names are nobody's intention.
pub const MAX_NAME: usize = 256;

/// Why a name cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("it is empty or longer than {MAX_NAME} characters")]
    Length,
    #[error("it has a character that is not allowed there")]
    Character,
    #[error("HTTP or Envoy sets or removes this header itself")]
    Taken,
    #[error("some backends take the host, the path or the method from it, so it is taken out of requests")]
    Override,
}

/// A header of any request, lower-case. RFC 9110 section 5.6.2: a token.
pub fn header(name: &str) -> Result<String, NameError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(NameError::Length);
    }
    if name.bytes().all(is_token) { Ok(name.to_ascii_lowercase()) } else { Err(NameError::Character) }
}

pub fn is_header(name: &str) -> bool {
    header(name).is_ok_and(|lower| lower == name)
}

/// A header that can carry a credential, lower-case.
pub fn credential_header(name: &str) -> Result<String, NameError> {
    let name = free_header(name)?;
    if overrides::is_override(&name) { Err(NameError::Override) } else { Ok(name) }
}

/// A header that is nobody's but whose it is, lower-case.
pub fn free_header(name: &str) -> Result<String, NameError> {
    let name = header(name)?;
    if TAKEN.contains(&name.as_str()) || TAKEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(NameError::Taken);
    }
    Ok(name)
}

pub fn is_credential_header(name: &str) -> bool {
    credential_header(name).is_ok_and(|lower| lower == name)
}

/// A query parameter's name as clients write it: RFC 3986 section 3.4 without what separates or encodes parameters.
pub fn query_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(NameError::Length);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$'()*,;:@/?[]".contains(&byte);
    if name.bytes().all(allowed) { Ok(()) } else { Err(NameError::Character) }
}

pub fn is_query_name(name: &str) -> bool {
    query_name(name).is_ok()
}

/// RFC 9110 section 5.6.2.
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
