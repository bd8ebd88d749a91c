//! Edits of a raw query. Pairs that are not meant stay as they are, byte for byte.

use std::borrow::Cow;

/// How many pairs one step looks at.
pub const MAX_PAIRS: usize = 1000;

/// Of a raw path: what precedes the first `?`, and what follows it.
pub fn split(path: &str) -> (&str, Option<&str>) {
    path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)))
}

/// The pairs of a query, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<String>,
}

// === impl Query ===

impl Query {
    pub fn read(query: Option<&str>) -> Query {
        let query = query.filter(|query| !query.is_empty());
        Query { pairs: query.into_iter().flat_map(|query| query.split('&')).map(str::to_owned).collect() }
    }

    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// All values of a parameter, decoded.
    pub fn values<'q>(&'q self, name: &'q str) -> impl Iterator<Item = Cow<'q, str>> {
        self.decoded().filter(move |(key, _)| key == name).map(|(_, value)| value)
    }

    pub fn decoded(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.pairs.iter().map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
    }

    pub fn remove(&mut self, name: &str) {
        self.pairs.retain(|pair| !is_called(pair, name));
    }

    /// In the place of the first one that there was.
    pub fn set(&mut self, name: &str, value: &str) {
        let at = self.pairs.iter().position(|pair| is_called(pair, name));
        self.remove(name);
        let at = at.unwrap_or(self.pairs.len()).min(self.pairs.len());
        self.pairs.insert(at, written(name, value));
    }

    pub fn add(&mut self, name: &str, value: &str) {
        self.pairs.push(written(name, value));
    }

    pub fn append(&mut self, name: &str, value: &str) {
        match self.pairs.iter_mut().rfind(|pair| is_called(pair, name)) {
            None => self.add(name, value),
            Some(pair) => {
                if !pair.contains('=') {
                    pair.push('=');
                }
                if !pair.ends_with('=') {
                    pair.push(',');
                }
                encode(value, pair);
            }
        }
    }

    /// Values stay as they are written; what has the new name already goes.
    pub fn rename(&mut self, name: &str, to: &str) {
        if name == to || !self.pairs.iter().any(|pair| is_called(pair, name)) {
            return;
        }
        self.remove(to);
        for pair in self.pairs.iter_mut().filter(|pair| is_called(pair, name)) {
            let value = pair.split_once('=').map(|(_, value)| value);
            let mut renamed = String::new();
            encode(to, &mut renamed);
            if let Some(value) = value {
                renamed.push('=');
                renamed.push_str(value);
            }
            *pair = renamed;
        }
    }

    /// With its `?`, unless it is empty.
    pub fn write_to(&self, path: &mut String) {
        for (index, pair) in self.pairs.iter().enumerate() {
            path.push(if index == 0 { '?' } else { '&' });
            path.push_str(pair);
        }
    }
}

fn is_called(pair: &str, name: &str) -> bool {
    decode(pair.split_once('=').map_or(pair, |(key, _)| key)) == name
}

fn written(name: &str, value: &str) -> String {
    let mut pair = String::new();
    encode(name, &mut pair);
    pair.push('=');
    encode(value, &mut pair);
    pair
}

/// What is no UTF-8 is replaced.
fn decode(text: &str) -> Cow<'_, str> {
    match decode_bytes(text) {
        None => Cow::Borrowed(text),
        Some(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Form decoding of a name or a value (`+` is a space). A `%` without two digits stands for itself. `None`: there is nothing to
/// decode.
pub fn decode_bytes(text: &str) -> Option<Vec<u8>> {
    if !text.contains(['%', '+']) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, tail) = match (first, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (first, tail),
            },
            _ => (first, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// All but what RFC 3986 calls unreserved.
pub fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if crate::path::is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            crate::path::push_escape(out, byte);
        }
    }
}

#[cfg(test)]
mod tests;
