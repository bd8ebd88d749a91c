//! What is meant in a registry: `host[:port]/repository:tag`, or `@sha256:...`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use microgw_compiler::packages::is_digest;

/// As the OCI distribution specification has it; the host is always said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// With its port, if one is said.
    pub host: String,
    pub repository: String,
    /// `None`: to be said by whoever pushes.
    pub revision: Option<Revision>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revision {
    Tag(String),
    Digest(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error(
        "`{0}` names no registry: write `host/repository:tag`, as in `registry.example.com/policies/mask-fields:1.0.0`"
    )]
    NoHost(String),
    #[error("`{0}` is no host of a registry")]
    Host(String),
    #[error(
        "`{0}` is no repository: its parts are lower-case letters and digits, with `.`, `_`, `__` or `-` between them"
    )]
    Repository(String),
    #[error("`{0}` is no tag")]
    Tag(String),
    #[error("`{0}` is no digest: `sha256:` and 64 digits are one")]
    Digest(String),
}

const SCHEME: &str = "oci://";
const MAX_REPOSITORY: usize = 255;

// === impl Reference ===

impl Reference {
    /// Whether it says what it is.
    pub fn is_marked(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// Nobody else can be on the way to it.
    pub fn is_loopback(&self) -> bool {
        let (name, _) = host_and_port(&self.host);
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    }

    #[must_use]
    pub fn at(&self, revision: Revision) -> Reference {
        Reference { revision: Some(revision), ..self.clone() }
    }
}

fn host_and_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = host_and_port(host);
    let port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name = if let Some(address) = literal {
        address.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        let label = |label: &str| {
            let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
            label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && edge(label.bytes().next())
                && edge(label.bytes().next_back())
        };
        name.len() <= 253 && name.split('.').all(label)
    };
    name && port
}

/// `[a-z0-9]+` with one separator between them.
fn is_part(part: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain);
    let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends && separators
        .filter(|separator| !separator.is_empty())
        .all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let rest = tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    (1..=128).contains(&tag.len()) && tag.bytes().next().is_some_and(word) && rest
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        let (host, rest) = rest.split_once('/').ok_or_else(|| ReferenceError::NoHost(text.to_owned()))?;
        // A path of two parts is no host with a repository.
        let is_said = host.contains(['.', ':']) || host.eq_ignore_ascii_case("localhost");
        if !is_said {
            return Err(ReferenceError::NoHost(text.to_owned()));
        }
        if !is_host(host) {
            return Err(ReferenceError::Host(host.to_owned()));
        }
        let (repository, revision) = match (rest.split_once('@'), rest.split_once(':')) {
            (Some((_, digest)), _) if !is_digest(digest) => return Err(ReferenceError::Digest(digest.to_owned())),
            // A tag beside a digest says nothing more.
            (Some((name, digest)), _) => {
                let name = name.split_once(':').map_or(name, |(name, _)| name);
                (name, Some(Revision::Digest(digest.to_owned())))
            }
            (None, Some((_, tag))) if !is_tag(tag) => return Err(ReferenceError::Tag(tag.to_owned())),
            (None, Some((name, tag))) => (name, Some(Revision::Tag(tag.to_owned()))),
            (None, None) => (rest, None),
        };
        if repository.len() > MAX_REPOSITORY || !repository.split('/').all(is_part) {
            return Err(ReferenceError::Repository(repository.to_owned()));
        }
        Ok(Reference { host: host.to_ascii_lowercase(), repository: repository.to_owned(), revision })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reference { host, repository, revision } = self;
        write!(f, "{SCHEME}{host}/{repository}")?;
        match revision {
            Some(Revision::Tag(tag)) => write!(f, ":{tag}"),
            Some(Revision::Digest(digest)) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl Revision {
    /// A tag of that text.
    pub fn tag(text: &str) -> Result<Revision, ReferenceError> {
        if is_tag(text) { Ok(Revision::Tag(text.to_owned())) } else { Err(ReferenceError::Tag(text.to_owned())) }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Revision::Tag(text) | Revision::Digest(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, written) in [
            (
                "registry.example.com/policies/mask-fields:1.0.0",
                "oci://registry.example.com/policies/mask-fields:1.0.0",
            ),
            ("oci://localhost/a__b/c.d:latest", "oci://localhost/a__b/c.d:latest"),
            ("127.0.0.1:5000/x", "oci://127.0.0.1:5000/x"),
            ("[::1]:5000/x:1", "oci://[::1]:5000/x:1"),
            ("Registry.Example.com/x:V1", "oci://registry.example.com/x:V1"),
            (&format!("r.example/x:1@{digest}"), &format!("oci://r.example/x@{digest}")),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), written, "{text}");
        }
        for bad in [
            "",
            "x",
            "policies/mask-fields",
            "mask-fields:1",
            "r.example/",
            "r.example/X",
            "r.example/a//b",
            "r.example/a..b",
            "r.example/-a",
            "r.example/a:",
            "r.example/a:b:c",
            "r.example/a:.b",
            "r.example/a@sha256:12",
            "r.example/a@md5:12",
            "r.example:0/a",
            "r.example:99999/a",
            "r_x.example/a",
            "user@r.example/a",
            "[::1/a",
            "r.example/../a:1",
            "r.example/a b",
            "https://r.example/a",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_is_this_host() {
        let is = |text: &str| text.parse::<Reference>().unwrap().is_loopback();
        assert!(is("localhost/a") && is("localhost:5000/a") && is("127.1.2.3:1/a") && is("[::1]/a"));
        assert!(!is("localhost.example/a") && !is("10.0.0.1/a") && !is("127.0.0.1.example/a"));
    }
}
