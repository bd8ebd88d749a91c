//! JSON (RFC 8259) with positions. The YAML parser reads most JSON too, but not all of it (tabs as indentation, keys
//! of more than 1,024 characters), and building a project of JSON through it takes three times as long, which counts
//! for generated definitions of many megabytes; serde_json has no positions.

use super::{Kind, MAX_DEPTH, Malformed, Node, Tape};
use crate::diagnostic::Code;

/// Reads one value with nothing but white space around it.
pub(super) fn parse(text: String) -> Result<Tape, (String, Malformed)> {
    let mut reader =
        Reader { bytes: text.as_bytes(), at: 0, nodes: Vec::with_capacity(text.len() / 24), decoded: Vec::new() };
    match reader.document() {
        Ok(()) => {
            let Reader { mut nodes, decoded, .. } = reader;
            nodes.shrink_to_fit();
            Ok(Tape { text, nodes, decoded })
        }
        Err(malformed) => Err((text, malformed)),
    }
}

struct Reader<'t> {
    bytes: &'t [u8],
    at: usize,
    nodes: Vec<Node>,
    decoded: Vec<Box<str>>,
}

// === impl Reader ===

impl Reader<'_> {
    fn document(&mut self) -> Result<(), Malformed> {
        self.value(0)?;
        self.skip_space();
        if self.at < self.bytes.len() { Err(self.error("text after the end of the document")) } else { Ok(()) }
    }

    fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.container(depth, Kind::Map, b'}'),
            Some(b'[') => self.container(depth, Kind::List, b']'),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => self.literal(),
            Some(_) => Err(self.error("expected a value")),
            None => Err(self.error("the text ends where a value was expected")),
        }
    }

    fn container(&mut self, depth: usize, kind: Kind, close: u8) -> Result<(), Malformed> {
        if depth >= MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            return Err(Malformed { code: Code::InputBudget, start: self.at, message });
        }
        let index = self.nodes.len();
        let start = self.at;
        self.push(kind, start, start, 0);
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(close) {
            self.at += 1;
        } else {
            loop {
                if kind == Kind::Map {
                    self.skip_space();
                    if self.peek() != Some(b'"') {
                        return Err(self.error("expected a key in double quotes"));
                    }
                    self.string()?;
                    self.skip_space();
                    if self.peek() != Some(b':') {
                        return Err(self.error("expected `:` after the key"));
                    }
                    self.at += 1;
                }
                self.value(depth + 1)?;
                self.skip_space();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(byte) if byte == close => {
                        self.at += 1;
                        break;
                    }
                    _ => return Err(self.error(&format!("expected `,` or `{}`", char::from(close)))),
                }
            }
        }
        let (size, end) = (offset(self.nodes.len() - index), offset(self.at));
        if let Some(node) = self.nodes.get_mut(index) {
            (node.detail, node.end) = (size, end);
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(0..=0x1F) => return Err(self.error("a control character in a string must be escaped")),
                Some(_) => self.at += 1,
                None => return Err(Malformed::syntax(start, "the string has no closing quote")),
            }
        }
        self.at += 1;
        if escaped {
            let text = self.unescape(start + 1, self.at - 1)?;
            let index = self.decoded.len();
            self.decoded.push(text.into_boxed_str());
            self.push(Kind::Decoded, start, self.at, index);
        } else {
            self.push(Kind::Quoted, start, self.at, 0);
        }
        Ok(())
    }

    fn unescape(&self, mut at: usize, end: usize) -> Result<String, Malformed> {
        let mut text: Vec<u8> = Vec::with_capacity(end - at);
        while let Some(byte) = self.bytes.get(at).filter(|_| at < end) {
            if *byte != b'\\' {
                text.push(*byte);
                at += 1;
                continue;
            }
            let plain = match self.bytes.get(at + 1) {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'r') => b'\r',
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
                Some(b'u') => {
                    let (character, length) =
                        self.unicode(at).ok_or_else(|| Malformed::syntax(at, "not a valid `\\u` escape"))?;
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    at += length;
                    continue;
                }
                _ => return Err(Malformed::syntax(at, "not a valid escape")),
            };
            text.push(plain);
            at += 2;
        }
        // The input is UTF-8 and only ASCII was replaced, so this cannot fail; if it did, the text would be wrong.
        String::from_utf8(text).map_err(|_| Malformed::syntax(at, "not a valid string"))
    }

    /// The character of `\uXXXX` or a surrogate pair at `at`, and how many bytes it is written with.
    fn unicode(&self, at: usize) -> Option<(char, usize)> {
        let unit = |at: usize| {
            let digits = self.bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let high = unit(at)?;
        if !(0xD800..0xDC00).contains(&high) {
            return Some((char::from_u32(high)?, 6));
        }
        let low = unit(at + 6).filter(|low| (0xDC00..0xE000).contains(low))?;
        Some((char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00))?, 12))
    }

    /// `true`, `false`, `null` or a number.
    fn literal(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')) {
            self.at += 1;
        }
        let text = self.bytes.get(start..self.at).unwrap_or_default();
        if !matches!(text, b"true" | b"false" | b"null") && !is_number(text) {
            return Err(Malformed::syntax(start, "neither a number nor `true`, `false` or `null`"));
        }
        self.push(Kind::Plain, start, self.at, 0);
        Ok(())
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize, detail: usize) {
        self.nodes.push(Node { kind, start: offset(start), end: offset(end), detail: offset(detail) });
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn error(&self, message: &str) -> Malformed {
        Malformed::syntax(self.at.min(self.bytes.len()), message)
    }
}

/// RFC 8259 section 6.
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let integer = digits(text);
    if integer == 0 || (integer > 1 && text.first() == Some(&b'0')) {
        return false;
    }
    let mut rest = text.get(integer..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = fraction.get(count..).unwrap_or_default();
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        _ => false,
    }
}

/// Files are limited to far less than `u32::MAX` bytes, and a text has fewer nodes than bytes.
pub(super) fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

// === impl Malformed ===

impl Malformed {
    pub(super) fn syntax(start: usize, message: impl Into<String>) -> Malformed {
        Malformed { code: Code::Syntax, start, message: message.into() }
    }
}
