//! A request's head, as a host knows it.

use std::collections::HashMap;
use std::hash::BuildHasher;

/// The headers of a request, by lower-case name. Several of one name are one value, joined by what [`joint`] says.
pub trait Headers: Sync {
    fn get(&self, name: &str) -> Option<&str>;

    /// Each header as it came, in its order; several of one name one by one, where the host knows them so.
    fn visit(&self, visitor: &mut dyn FnMut(&str, &[u8]));
}

/// What the engine reads of a request's head.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// `Host`, or `:authority`.
    pub authority: &'a str,
    /// With its query, as received.
    pub path: &'a str,
    pub headers: &'a dyn Headers,
    /// `None`: the connection has no TLS, or its client showed none.
    pub certificate: Option<ClientCertificate<'a>>,
    /// The address that the connection comes from, whatever its headers say.
    pub peer: &'a str,
    /// Whether a body follows. `None`: nobody knows but by its headers.
    pub has_body: Option<bool>,
}

/// What a client has shown when its connection was made, and has proved to own the key of. Nothing else is known of it.
#[derive(Clone, Copy)]
pub struct ClientCertificate<'a> {
    /// SHA-256 of its DER.
    pub thumbprint: [u8; 32],
    /// PEM, URL-encoded: the client's own first, then those that it sent along.
    pub chain: &'a str,
}

/// What stands between several headers of one name that are read as one: RFC 9110, section 5.3, and RFC 9113, section 8.2.3.
pub fn joint(name: &str) -> &'static str {
    if name == "cookie" { "; " } else { "," }
}

impl<S: BuildHasher + Sync> Headers for HashMap<String, String, S> {
    fn get(&self, name: &str) -> Option<&str> {
        HashMap::get(self, name).map(String::as_str)
    }

    fn visit(&self, visitor: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in self {
            visitor(name, value.as_bytes());
        }
    }
}
