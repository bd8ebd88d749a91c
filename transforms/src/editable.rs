//! Which headers may be edited, and what they may be given. One list for everything that edits headers.

use crate::names;
use crate::overrides::is_override;

/// Characters of a value that a definition writes.
pub const MAX_VALUE: usize = 1024;
/// Characters of a value that a template makes.
pub const MAX_MADE_VALUE: usize = 8 * 1024;

/// Which messages are edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Request,
    Response,
}

/// Why a header, or a value, cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error(transparent)]
    Name(#[from] names::NameError),
    #[error("it is a credential")]
    Credential,
    #[error("some backends take the host, the path or the method from it: they would run another operation")]
    Override,
    #[error("the gateway sets it itself")]
    Own,
    #[error("it is empty, has spaces around it, or is longer than {MAX_VALUE} characters")]
    Length,
    #[error("it has a character that is not printable ASCII")]
    Character,
}

/// Credentials are judged and taken out by the engine, before edits are made.
const CREDENTIALS: [&str; 5] = ["authorization", "cookie", "dpop", "proxy-authorization", "x-jwt-assertion"];
/// What the gateway says of itself, or of how a response may be kept and read.
const OWN: [&str; 6] = ["date", "proxy-authenticate", "server", "vary", "www-authenticate", "authentication-info"];
const OWN_PREFIXES: [&str; 3] = ["access-control-", "ratelimit", "x-ratelimit-"];

/// The name, lower-case, of a header that may be edited.
pub fn editable(direction: Direction, name: &str) -> Result<String, EditError> {
    let lower = names::header(name)?;
    // To CGI and its kin the two are one header.
    let alike = lower.replace('_', "-");
    let alike = alike.as_str();
    names::free_header(alike)?;
    match direction {
        Direction::Request if CREDENTIALS.contains(&alike) => Err(EditError::Credential),
        Direction::Request if is_override(alike) => Err(EditError::Override),
        Direction::Response if OWN.contains(&alike) || OWN_PREFIXES.iter().any(|own| alike.starts_with(own)) => {
            Err(EditError::Own)
        }
        _ => Ok(lower),
    }
}

/// Whether two names are one header to CGI and its kin: for those `_` is `-`.
pub fn alike(name: &str, other: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte };
    name.bytes().map(plain).eq(other.bytes().map(plain))
}

/// Nobody is shown it: else it could be copied to where it is not taken out.
pub fn is_credential(name: &str) -> bool {
    CREDENTIALS.contains(&name.replace('_', "-").as_str())
}

/// One that a definition writes.
pub fn value(text: &str) -> Result<(), EditError> {
    if text.is_empty() || text.len() > MAX_VALUE || text.trim() != text {
        return Err(EditError::Length);
    }
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) { Ok(()) } else { Err(EditError::Character) }
}

/// One that a template makes: what clients wrote may be in it, also letters outside ASCII.
pub fn is_value(text: &str) -> bool {
    text.len() <= MAX_MADE_VALUE && text.trim() == text && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_edited() {
        for name in [
            "host",
            ":path",
            "Content-Length",
            "transfer-encoding",
            "connection",
            "te",
            "upgrade",
            "keep-alive",
            "x-microgw-environment",
            "X-Forwarded-For",
            "x-envoy-upstream-rq-timeout-ms",
            "authorization",
            "cookie",
            "x_forwarded_for",
            "X_Original_URL",
            "X-Original-Host",
            "X_HTTP_Host_Override",
            "Cookie",
            "DPOP",
            "X_JWT_Assertion",
            "Proxy_Authorization",
            "X_MicroGW_Rule",
            "HTTP2_Settings",
            "x-http-method-override",
            "",
            "a b",
            "a:b",
            "a\r\nb",
            "content_length",
        ] {
            assert!(editable(Direction::Request, name).is_err(), "{name:?}");
        }
        for name in ["Access-Control-Allow-Origin", "vary", "www-authenticate", "RateLimit-Policy", "x-ratelimit-limit"]
        {
            assert_eq!(editable(Direction::Response, name), Err(EditError::Own), "{name}");
        }
        assert_eq!(editable(Direction::Request, "X-Tenant").as_deref(), Ok("x-tenant"));
        assert_eq!(
            editable(Direction::Response, "Strict-Transport-Security").as_deref(),
            Ok("strict-transport-security")
        );
        for bad in ["", " a", "a ", "a\r\nb: c", "a\nb", "a\0b", "\u{fc}", "a\tb"] {
            assert!(value(bad).is_err(), "{bad:?}");
        }
        assert_eq!(value("100% %REQ(host)%"), Ok(()));
        for bad in [" a", "a\r\nb: c", "a\nb", "a\0b", "a\u{85}b", "a\tb", "\u{7f}"] {
            assert!(!is_value(bad), "{bad:?}");
        }
        assert!(is_value("\u{fc}ber") && is_value("") && !is_value(&"a".repeat(MAX_MADE_VALUE + 1)));
    }
}
