//! JSON as it was written: members keep their order, numbers their digits. Members that are repeated are refused, for two readers
//! would pick different ones.

use indexmap::IndexMap;
use indexmap::map::Entry;

use crate::{MAX_BODY, MAX_DEPTH, MAX_VALUES};

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Json {
    #[default]
    Null,
    Bool(bool),
    /// Of RFC 8259's form, whatever its size.
    Number(Box<str>),
    Text(String),
    Array(Vec<Json>),
    Object(Object),
}

pub type Object = IndexMap<String, Json>;

/// The text is no JSON, repeats a member, nests deeper than [`MAX_DEPTH`] or has more than [`MAX_VALUES`] values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not well-formed JSON, repeats a member, or nests too deeply")]
pub struct NoJson;

/// More than may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

struct Reader<'t> {
    text: &'t str,
    at: usize,
    values: usize,
}

// === impl Json ===

impl Json {
    pub fn read(text: &[u8]) -> Result<Json, NoJson> {
        let text = std::str::from_utf8(text).map_err(|_| NoJson)?;
        let mut reader = Reader { text, at: 0, values: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at == text.len() { Ok(value) } else { Err(NoJson) }
    }

    /// At most [`MAX_BODY`] bytes.
    pub fn write(&self) -> Result<String, TooLong> {
        let mut out = String::new();
        self.write_to(&mut out)?;
        if out.len() > MAX_BODY { Err(TooLong) } else { Ok(out) }
    }

    fn write_to(&self, out: &mut String) -> Result<(), TooLong> {
        if out.len() > MAX_BODY {
            return Err(TooLong);
        }
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(digits) => out.push_str(digits),
            Json::Text(text) => quote(text, out),
            Json::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_to(out)?;
                }
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    quote(name, out);
                    out.push(':');
                    value.write_to(out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }

    /// About as many bytes as it takes to write it.
    pub fn size(&self) -> usize {
        match self {
            Json::Null | Json::Bool(_) => 5,
            Json::Number(text) => text.len() + 1,
            Json::Text(text) => text.len() + 3,
            Json::Array(items) => items.iter().map(Json::size).sum::<usize>() + 3,
            Json::Object(members) => {
                members.iter().map(|(name, value)| name.len() + 3 + value.size()).sum::<usize>() + 3
            }
        }
    }

    /// Values within values; 0 for what has none.
    pub fn depth(&self) -> usize {
        match self {
            Json::Array(items) => items.iter().map(Json::depth).max().map_or(1, |depth| depth + 1),
            Json::Object(members) => members.values().map(Json::depth).max().map_or(1, |depth| depth + 1),
            _ => 0,
        }
    }
}

/// In quotes.
pub fn quote(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if u32::from(control) < 0x20 => {
                let digit = |nibble: u32| char::from_digit(nibble, 16).unwrap_or('0');
                out.push_str("\\u00");
                out.extend([digit(u32::from(control) >> 4), digit(u32::from(control) & 15)]);
            }
            character => out.push(character),
        }
    }
    out.push('"');
}

/// Of RFC 8259: `-1`, `0.50`, `1e9`.
pub fn is_number(text: &str) -> bool {
    number_length(text.as_bytes()) == Some(text.len())
}

/// Of the number at the start.
fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| text.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let byte = |at: usize| text.get(at).copied();
    let mut at = usize::from(byte(0) == Some(b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && byte(at) == Some(b'0')) {
        return None;
    }
    at += whole;
    if byte(at) == Some(b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if matches!(byte(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(byte(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        if exponent == 0 {
            return None;
        }
        at += 1 + sign + exponent;
    }
    Some(at)
}

// === impl Reader ===

impl Reader<'_> {
    fn rest(&self) -> &[u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at += self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    /// Whether the sign comes next; it is taken then.
    fn takes(&mut self, sign: u8) -> bool {
        self.space();
        let found = self.rest().first() == Some(&sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: u8) -> Result<(), NoJson> {
        if self.takes(sign) { Ok(()) } else { Err(NoJson) }
    }

    fn value(&mut self, depth: usize) -> Result<Json, NoJson> {
        self.values += 1;
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            return Err(NoJson);
        }
        self.space();
        let word = |value: Json, length: usize| (value, length);
        let (value, length) = match self.rest() {
            [b'{', ..] => return self.object(depth),
            [b'[', ..] => return self.array(depth),
            [b'"', ..] => return self.string().map(Json::Text),
            [b't', b'r', b'u', b'e', ..] => word(Json::Bool(true), 4),
            [b'f', b'a', b'l', b's', b'e', ..] => word(Json::Bool(false), 5),
            [b'n', b'u', b'l', b'l', ..] => word(Json::Null, 4),
            rest => {
                let length = number_length(rest).ok_or(NoJson)?;
                let digits = self.text.get(self.at..self.at + length).ok_or(NoJson)?;
                (Json::Number(digits.into()), length)
            }
        };
        self.at += length;
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Json, NoJson> {
        self.expect(b'[')?;
        let mut items = Vec::new();
        if self.takes(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.takes(b']') {
                return Ok(Json::Array(items));
            }
            self.expect(b',')?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, NoJson> {
        self.expect(b'{')?;
        let mut members = Object::new();
        if self.takes(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.expect(b':')?;
            let value = self.value(depth + 1)?;
            match members.entry(name) {
                Entry::Occupied(_) => return Err(NoJson),
                Entry::Vacant(place) => place.insert(value),
            };
            if self.takes(b'}') {
                return Ok(Json::Object(members));
            }
            self.expect(b',')?;
        }
    }

    fn string(&mut self) -> Result<String, NoJson> {
        if self.rest().first() != Some(&b'"') {
            return Err(NoJson);
        }
        self.at += 1;
        let mut text = String::new();
        loop {
            let plain = self.rest().iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
            text.push_str(self.text.get(self.at..self.at + plain).ok_or(NoJson)?);
            self.at += plain;
            match self.rest() {
                [b'"', ..] => {
                    self.at += 1;
                    return Ok(text);
                }
                [b'\\', b'u', ..] => text.push(self.unicode()?),
                [b'\\', escaped, ..] => {
                    text.push(match escaped {
                        b'"' => '"',
                        b'\\' => '\\',
                        b'/' => '/',
                        b'b' => '\u{8}',
                        b'f' => '\u{c}',
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        _ => return Err(NoJson),
                    });
                    self.at += 2;
                }
                _ => return Err(NoJson),
            }
        }
    }

    /// `\uXXXX`, or two of them that make one character.
    fn unicode(&mut self) -> Result<char, NoJson> {
        let first = self.code_unit()?;
        if !(0xD800..0xDC00).contains(&first) {
            return char::from_u32(first).ok_or(NoJson);
        }
        let second = self.code_unit()?;
        if !(0xDC00..0xE000).contains(&second) {
            return Err(NoJson);
        }
        char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or(NoJson)
    }

    fn code_unit(&mut self) -> Result<u32, NoJson> {
        let [b'\\', b'u', digits @ ..] = self.rest() else { return Err(NoJson) };
        let digits = digits.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)).ok_or(NoJson)?;
        let digits = std::str::from_utf8(digits).map_err(|_| NoJson)?;
        let unit = u32::from_str_radix(digits, 16).map_err(|_| NoJson)?;
        self.at += 6;
        Ok(unit)
    }
}

#[cfg(test)]
pub(crate) mod tests;
