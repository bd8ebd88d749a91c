//! What is read of a request's head.

/// What the contract needs to know of it.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// With its query, as received.
    pub path: &'a str,
    /// By lower-case name. Several of one name are one value joined by `,`.
    pub headers: &'a (dyn Fn(&str) -> Option<&'a str> + 'a),
}

/// Whether a message has a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Absent,
    Present,
    /// As its headers say.
    Unknown,
}

// === impl RequestHead ===

impl<'a> RequestHead<'a> {
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        (self.headers)(name)
    }

    /// Without its query, and that.
    pub(crate) fn target(&self) -> (&'a str, &'a str) {
        self.path.split_once('?').unwrap_or((self.path, ""))
    }
}

// === impl Presence ===

impl Presence {
    /// By the headers of a message, where nothing else is known. A body of HTTP/2 needs none of them.
    pub(crate) fn or_of(self, headers: &dyn Fn(&str) -> Option<bool>) -> Presence {
        if self != Presence::Unknown {
            return self;
        }
        match (headers("transfer-encoding"), headers("content-length")) {
            (Some(_), _) | (_, Some(true)) => Presence::Present,
            (None, Some(false)) => Presence::Absent,
            (None, None) => Presence::Unknown,
        }
    }
}
