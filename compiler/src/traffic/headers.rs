//! Header edits that need no identity: what may be edited, and how much.

use microgw_proto::traffic::v1::{Header, HeaderEdits};

use crate::names;

/// Of each kind, of one direction, at one place.
pub(crate) const MAX_EDITS: usize = 32;
/// An API says it, and an operation.
const PLACES: usize = 2;
const MAX_VALUE: usize = 1024;

/// Which messages are edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

/// Why a header, or a value, cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
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
const OVERRIDES: [&str; 9] = [
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];
/// What the gateway says of itself, or of how a response may be kept and read.
const OWN: [&str; 6] = ["date", "proxy-authenticate", "server", "vary", "www-authenticate", "authentication-info"];
const OWN_PREFIXES: [&str; 3] = ["access-control-", "ratelimit", "x-ratelimit-"];

/// The name, lower-case, of a header that may be edited.
pub(crate) fn editable(direction: Direction, name: &str) -> Result<String, EditError> {
    let lower = names::header(name)?;
    // To CGI and its kin the two are one header.
    let alike = lower.replace('_', "-");
    let alike = alike.as_str();
    names::credential_header(alike)?;
    match direction {
        Direction::Request if CREDENTIALS.contains(&alike) => Err(EditError::Credential),
        Direction::Request if OVERRIDES.contains(&alike) => Err(EditError::Override),
        Direction::Response if OWN.contains(&alike) || OWN_PREFIXES.iter().any(|own| alike.starts_with(own)) => {
            Err(EditError::Own)
        }
        _ => Ok(lower),
    }
}

pub(crate) fn value(text: &str) -> Result<(), EditError> {
    if text.is_empty() || text.len() > MAX_VALUE || text.trim() != text {
        return Err(EditError::Length);
    }
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) { Ok(()) } else { Err(EditError::Character) }
}

pub(super) fn is_sound(direction: Direction, edits: &HeaderEdits) -> bool {
    let HeaderEdits { remove, set, add } = edits;
    let named = |name: &String| editable(direction, name).is_ok_and(|lower| lower == *name);
    let valued = |header: &Header| named(&header.name) && value(&header.value).is_ok();
    [remove.len(), set.len(), add.len()].into_iter().all(|count| count <= PLACES * MAX_EDITS)
        && remove.iter().all(named)
        && set.iter().chain(add).all(valued)
}

/// What `first` does and `then` does after it, as one.
pub(crate) fn after(mut first: HeaderEdits, then: HeaderEdits) -> HeaderEdits {
    let replaced =
        |name: &str| then.remove.iter().any(|other| other == name) || then.set.iter().any(|other| other.name == name);
    first.set.retain(|header| !replaced(&header.name));
    first.add.retain(|header| !replaced(&header.name));
    first.remove.extend(then.remove);
    first.remove.sort_unstable();
    first.remove.dedup();
    first.set.extend(then.set);
    first.set.sort_by(|a, b| a.name.cmp(&b.name));
    first.add.extend(then.add);
    first
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
    }

    #[test]
    fn what_an_operation_says_comes_after_its_api() {
        let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
        let api = HeaderEdits {
            remove: vec!["a".to_owned(), "b".to_owned()],
            set: vec![header("c", "1"), header("d", "1")],
            add: vec![header("e", "1"), header("f", "1")],
        };
        let own = HeaderEdits {
            remove: vec!["c".to_owned(), "e".to_owned()],
            set: vec![header("a", "2"), header("f", "2")],
            add: vec![header("d", "2"), header("b", "2")],
        };
        let both = after(api.clone(), own);
        assert_eq!(both.remove, ["a", "b", "c", "e"]);
        assert_eq!(both.set, [header("a", "2"), header("d", "1"), header("f", "2")]);
        assert_eq!(both.add, [header("d", "2"), header("b", "2")]);
        assert_eq!(after(HeaderEdits::default(), api.clone()), api);
        assert!(is_sound(Direction::Request, &both));
        // As many as may be said at both places.
        let many = |prefix: &str| HeaderEdits {
            set: (0..MAX_EDITS).map(|at| header(&format!("{prefix}-{at}"), "1")).collect(),
            ..HeaderEdits::default()
        };
        let mut all = after(many("a"), many("b"));
        assert!(is_sound(Direction::Request, &all));
        all.set.push(header("c", "1"));
        assert!(!is_sound(Direction::Request, &all));
    }
}
