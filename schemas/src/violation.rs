//! What is wrong with a message, as far as it is told.

use std::borrow::Cow;
use std::fmt;

use crate::MAX_VIOLATIONS;

/// Bytes of a pointer or a name that are told.
const MAX_NAME: usize = 200;

/// Where something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    Path,
    Query,
    Header,
    Cookie,
    Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub place: Place,
    /// Of a parameter; in a body a JSON pointer. Empty: all of it.
    pub name: String,
    /// Without anything of the value that is wrong.
    pub reason: Cow<'static, str>,
}

/// At most [`MAX_VIOLATIONS`]. None: the message is as its contract says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    list: Vec<Violation>,
    /// There are others.
    more: bool,
    media_type: bool,
}

// === impl Place ===

impl Place {
    pub const ALL: [Place; 5] = [Place::Path, Place::Query, Place::Header, Place::Cookie, Place::Body];

    /// As a parameter's `in` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
            Place::Cookie => "cookie",
            Place::Body => "body",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Violation ===

/// `query limit: must be at most 100`.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            write!(f, "{}: {}", self.place, self.reason)
        } else {
            write!(f, "{} {}: {}", self.place, self.name, self.reason)
        }
    }
}

// === impl Violations ===

impl Violations {
    /// Of a body that nobody could look at.
    pub fn unread() -> Violations {
        let mut violations = Violations::default();
        violations.add(Place::Body, "", "is encoded, or too long: it was not looked at");
        violations
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Violation> {
        self.list.iter()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// There are others beside these.
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// The body has a media type that the operation does not take.
    pub fn is_media_type(&self) -> bool {
        self.media_type
    }

    pub fn append(&mut self, other: Violations) {
        self.media_type |= other.media_type;
        self.more |= other.more;
        for violation in other.list {
            self.push(violation);
        }
    }

    pub(crate) fn add(&mut self, place: Place, name: &str, reason: impl Into<Cow<'static, str>>) {
        self.push(Violation { place, name: shortened(name).into_owned(), reason: reason.into() });
    }

    pub(crate) fn add_media_type(&mut self, reason: impl Into<Cow<'static, str>>) {
        self.media_type = true;
        self.add(Place::Body, "", reason);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= MAX_VIOLATIONS
    }

    /// Several schemas may ask for the same.
    fn push(&mut self, violation: Violation) {
        if self.list.contains(&violation) {
            return;
        }
        if self.is_full() {
            self.more = true;
        } else {
            self.list.push(violation);
        }
    }
}

/// One line: `query limit: must be at most 100; body /name: must be text`.
impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.list.iter().enumerate() {
            write!(f, "{}{violation}", if index == 0 { "" } else { "; " })?;
        }
        if self.more { f.write_str("; and more") } else { Ok(()) }
    }
}

/// A name that a message may have chosen.
pub(crate) fn shortened(name: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !c.is_control();
    if name.len() <= MAX_NAME && name.chars().all(is_plain) {
        return Cow::Borrowed(name);
    }
    let mut short: String = name.chars().filter(|c| is_plain(*c)).take(MAX_NAME / 4).collect();
    short.push_str("...");
    Cow::Owned(short)
}
