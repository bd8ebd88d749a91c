//! A request or a response, and what was changed of it.

use std::collections::BTreeSet;

use crate::editable::Direction;

/// Digests and ranges of a body that is another one now, and how it was encoded.
const OF_BODY: [&str; 5] = ["content-md5", "digest", "content-digest", "repr-digest", "content-encoding"];
const OF_RESPONSE_BODY: [&str; 2] = ["etag", "accept-ranges"];

/// Headers in their order; a name may be there several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Names are lower-case, without pseudo-headers.
    list: Vec<(String, Vec<u8>)>,
    touched: BTreeSet<String>,
}

/// One type for requests, which have no status, and responses, which have no method and path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    method: String,
    /// As it is sent, with its query.
    path: String,
    status: u16,
    pub headers: Headers,
    /// `None`: it has none, or nobody has read it.
    body: Option<Vec<u8>>,
    changed: Changed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // What was changed, and what was not.
struct Changed {
    method: bool,
    path: bool,
    status: bool,
    body: bool,
}

/// What to say to whoever holds the message, exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes<'m> {
    pub method: Option<&'m str>,
    pub path: Option<&'m str>,
    pub status: Option<u16>,
    /// Headers of which there are none any more, or never were any.
    pub removed: Vec<&'m str>,
    /// Headers with all the values that they have now.
    pub headers: Vec<(&'m str, Vec<&'m [u8]>)>,
    pub body: Option<&'m [u8]>,
}

// === impl Headers ===

impl Headers {
    /// As they arrived.
    pub fn new(headers: impl IntoIterator<Item = (String, Vec<u8>)>) -> Headers {
        Headers { list: headers.into_iter().collect(), touched: BTreeSet::new() }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.list.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// By the lower-case name.
    pub fn get<'h, 'n>(&'h self, name: &'n str) -> impl Iterator<Item = &'h [u8]> + use<'h, 'n> {
        self.list.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_slice())
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).next().is_some()
    }

    pub fn remove(&mut self, name: &str) {
        let before = self.list.len();
        self.list.retain(|(other, _)| other != name);
        if self.list.len() != before {
            self.touched.insert(name.to_owned());
        }
    }

    /// In the place of the first one that there was.
    pub fn set(&mut self, name: &str, value: Vec<u8>) {
        let at = self.list.iter().position(|(other, _)| other == name);
        self.list.retain(|(other, _)| other != name);
        let at = at.unwrap_or(self.list.len()).min(self.list.len());
        self.list.insert(at, (name.to_owned(), value));
        self.touched.insert(name.to_owned());
    }

    pub fn add(&mut self, name: &str, value: Vec<u8>) {
        self.list.push((name.to_owned(), value));
        self.touched.insert(name.to_owned());
    }

    /// To the last value that there is, after a comma.
    pub fn append(&mut self, name: &str, value: &[u8]) {
        match self.list.iter_mut().rfind(|(other, _)| other == name) {
            None => return self.add(name, value.to_vec()),
            Some((_, present)) => {
                if !present.is_empty() {
                    present.extend_from_slice(b", ");
                }
                present.extend_from_slice(value);
            }
        }
        self.touched.insert(name.to_owned());
    }

    /// What has the new name already goes, if there is anything to rename.
    pub fn rename(&mut self, name: &str, to: &str) {
        if name == to || !self.has(name) {
            return;
        }
        self.remove(to);
        for (other, _) in self.list.iter_mut().filter(|(other, _)| other == name) {
            to.clone_into(other);
        }
        self.touched.extend([name.to_owned(), to.to_owned()]);
    }

    pub(crate) fn size(&self) -> usize {
        self.list.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
    }
}

// === impl Message ===

impl Message {
    pub fn request(method: &str, path: &str, headers: Headers, body: Option<Vec<u8>>) -> Message {
        Message { method: method.to_owned(), path: path.to_owned(), headers, body, ..Message::default() }
    }

    pub fn response(status: u16, headers: Headers, body: Option<Vec<u8>>) -> Message {
        Message { status, headers, body, ..Message::default() }
    }

    pub fn method(&self) -> &str {
        &self.method
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    pub fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }

    pub fn into_body(self) -> Option<Vec<u8>> {
        self.body
    }

    /// What is read after the head; a change of a message is none.
    pub fn read_body(&mut self, body: Vec<u8>) {
        self.body = Some(body);
    }

    pub(crate) fn set_method(&mut self, method: &str) {
        self.changed.method |= method != self.method;
        method.clone_into(&mut self.method);
    }

    pub(crate) fn set_path(&mut self, path: String) {
        self.changed.path |= path != self.path;
        self.path = path;
    }

    pub(crate) fn set_status(&mut self, status: u16) {
        self.changed.status |= status != self.status;
        self.status = status;
    }

    /// What its head says of the old one goes with that.
    pub(crate) fn replace_body(&mut self, body: Vec<u8>, direction: Direction) {
        let of_response = OF_RESPONSE_BODY.iter().filter(|_| direction == Direction::Response);
        for name in OF_BODY.iter().chain(of_response) {
            self.headers.remove(name);
        }
        self.body = Some(body);
        self.changed.body = true;
    }

    pub fn changes(&self) -> Changes<'_> {
        let changed = self.changed;
        let touched = || self.headers.touched.iter().map(String::as_str);
        Changes {
            method: changed.method.then_some(self.method.as_str()),
            path: changed.path.then_some(self.path.as_str()),
            status: changed.status.then_some(self.status),
            removed: touched().filter(|name| !self.headers.has(name)).collect(),
            headers: touched()
                .filter(|name| self.headers.has(name))
                .map(|name| (name, self.headers.get(name).collect()))
                .collect(),
            body: self.body().filter(|_| changed.body),
        }
    }
}
