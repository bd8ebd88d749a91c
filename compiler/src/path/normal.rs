//! What becomes of a request's path before a route is looked for, as a function: what Envoy's normalisation does, byte for byte,
//! and what the table then refuses. `docs/paths.md` has the rules; tests compare this with a real Envoy.

use std::fmt;

/// The path of a request as it is matched, and as backends get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normal {
    /// Starts with `/`; ASCII.
    pub path: String,
    /// What follows the first `?`, as it was sent.
    pub query: Option<String>,
}

/// In HTTP/1 letters outside ASCII are no part of a request line; in HTTP/2 Envoy encodes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

/// Why a request's target gets nowhere: 400 in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it is no path: it does not start with `/`")]
    NoPath,
    #[error("it has a space, a control character or, over HTTP/1.1, one outside ASCII")]
    Raw,
    #[error("its query has a character outside ASCII")]
    RawQuery,
    #[error("it is slashes alone, and more than one")]
    Slashes,
    #[error("it has a fragment (`#`)")]
    Fragment,
    #[error("it has an encoded slash, backslash or semicolon")]
    Separator,
    #[error("it has an encoded control character")]
    Control,
    #[error("a `%` in it is not followed by two hexadecimal digits")]
    BadEscape,
    #[error("what is encoded in it is not UTF-8")]
    NotUtf8,
}

/// Matches a whole `:path` that is let through, query included, once Envoy has normalised it. Letters, digits and `-._~` are never
/// encoded then. Whatever else is encoded: neither slashes, `;` nor control characters, and UTF-8, in the shortest form.
pub const ADMITTED: &str = concat!(
    "/(?:(?:[!$&-.0-;=@-Z\\[\\]_a-z~]",
    "|%(?:2[0-9A-Ca-c]|3[AC-Fac-f]|40|5[BDEbde]|60|7[B-Db-d]",
    "|(?:[Cc][2-9A-Fa-f]|[Dd][0-9A-Fa-f]|[Ee]0%[ABab][0-9A-Fa-f]|[Ee][1-9A-CEFa-cef]%[89ABab][0-9A-Fa-f]",
    "|[Ee][Dd]%[89][0-9A-Fa-f]|(?:[Ff]0%[9ABab]|[Ff][1-3]%[89ABab]|[Ff]4%8)[0-9A-Fa-f]%[89ABab][0-9A-Fa-f])",
    "%[89ABab][0-9A-Fa-f]))+/?)*(?:\\?[!-~]*)?",
);

/// What the table says to a request line's target, and what is left of it.
pub fn normalise(target: &[u8], version: Version) -> Result<Normal, Refusal> {
    let target = if version == Version::Http1 { origin_form(target)? } else { target };
    if target.first() != Some(&b'/') {
        return Err(Refusal::NoPath);
    }
    let is_raw = |byte: &u8| *byte <= b' ' || *byte == 0x7f || (*byte >= 0x80 && version == Version::Http1);
    if target.iter().any(is_raw) {
        return Err(Refusal::Raw);
    }
    if target.contains(&b'#') {
        return Err(Refusal::Fragment);
    }
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(at) => (target.get(..at).unwrap_or_default(), target.get(at + 1..)),
        None => (target, None),
    };
    if has_escape(path, |byte| matches!(byte, b'/' | b'\\')) {
        return Err(Refusal::Separator);
    }
    let path = without_parameters_of_dots(path);
    let mut resolver = Resolver::new(&path);
    resolver.run()?;
    // Envoy leaves two.
    if resolver.output.len() > 1 && resolver.output.iter().all(|byte| *byte == b'/') {
        return Err(Refusal::Slashes);
    }
    let path = without_empty_segments(&resolver.output);
    admit(&path)?;
    let query = match query {
        Some(query) if !query.is_ascii() => return Err(Refusal::RawQuery),
        query => query.map(|query| String::from_utf8_lossy(query).into_owned()),
    };
    Ok(Normal { path: String::from_utf8_lossy(&path).into_owned(), query })
}

/// Of `http://host/path` what follows the host.
fn origin_form(target: &[u8]) -> Result<&[u8], Refusal> {
    if target.first() == Some(&b'/') {
        return Ok(target);
    }
    let after = |scheme: &str| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    };
    let rest = after("http://").or_else(|| after("https://")).ok_or(Refusal::NoPath)?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    match rest.split_at_checked(end) {
        Some(([], _)) | None => Err(Refusal::NoPath),
        Some((_, [])) => Ok(b"/"),
        Some((_, path)) => Ok(path),
    }
}

/// What [`ADMITTED`] says of a path without its query.
fn admit(path: &[u8]) -> Result<(), Refusal> {
    let decoded = decoded(path).ok_or(Refusal::BadEscape)?;
    if has_escape(path, |byte| byte == b';') {
        return Err(Refusal::Separator);
    }
    if decoded.iter().any(u8::is_ascii_control) {
        return Err(Refusal::Control);
    }
    if std::str::from_utf8(&decoded).is_err() {
        return Err(Refusal::NotUtf8);
    }
    Ok(())
}

/// Envoy takes `;` and what follows off segments that are dots, before it looks for dots. Not if they are encoded.
fn without_parameters_of_dots(path: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(path.len());
    for (index, segment) in path.split(|byte| *byte == b'/').enumerate() {
        if index > 0 {
            kept.push(b'/');
        }
        kept.extend_from_slice(match segment {
            [b'.', b';', ..] => b".",
            [b'.', b'.', b';', ..] => b"..",
            segment => segment,
        });
    }
    kept
}

fn without_empty_segments(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path {
        if !(*byte == b'/' && kept.last() == Some(&b'/')) {
            kept.push(*byte);
        }
    }
    kept
}

/// One pass over a path: dot segments are resolved, `\` becomes `/`, what need not be encoded is decoded, and what cannot stand in a
/// path is encoded. Other escapes stay as they are written.
struct Resolver<'p> {
    input: &'p [u8],
    output: Vec<u8>,
    /// Where the output has a `%` that begins no escape.
    stray: Option<usize>,
}

/// What a dot at the start of a segment is.
enum Dots {
    /// Part of a name.
    Name,
    /// `.`, with so many bytes after the dot.
    Here(usize),
    /// `..`, likewise.
    Up(usize),
}

// === impl Resolver ===

impl<'p> Resolver<'p> {
    fn new(input: &'p [u8]) -> Resolver<'p> {
        Resolver { input, output: Vec::with_capacity(input.len() + 8), stray: None }
    }

    fn run(&mut self) -> Result<(), Refusal> {
        let mut at = 0;
        while let Some(byte) = self.input.get(at).copied() {
            at += match byte {
                _ if self.dot(at) > 0 => self.take_dot(at),
                b'\\' => self.push(b'/'),
                b'%' => self.take_escape(at)?,
                b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => self.push_encoded(byte),
                byte if byte >= 0x80 => self.push_encoded(byte),
                byte => self.push(byte),
            };
        }
        Ok(())
    }

    fn push(&mut self, byte: u8) -> usize {
        self.output.push(byte);
        1
    }

    fn push_encoded(&mut self, byte: u8) -> usize {
        push_escape(&mut self.output, byte);
        1
    }

    /// How long the dot there is: `.`, `%2e`, or none.
    fn dot(&self, at: usize) -> usize {
        match self.input.get(at..).unwrap_or_default() {
            [b'.', ..] => 1,
            [b'%', b'2', b'e' | b'E', ..] => 3,
            _ => 0,
        }
    }

    fn take_dot(&mut self, at: usize) -> usize {
        let dot = self.dot(at);
        let dots = if self.output.last() == Some(&b'/') { self.dots(at + dot) } else { Dots::Name };
        match dots {
            Dots::Name => {
                self.output.push(b'.');
                dot
            }
            Dots::Here(more) => dot + more,
            Dots::Up(more) => {
                let above = self.output.get(..self.output.len().saturating_sub(1)).unwrap_or_default();
                let slash = above.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                self.output.truncate(slash + 1);
                self.stray = self.stray.filter(|stray| *stray < self.output.len());
                dot + more
            }
        }
    }

    fn dots(&self, after: usize) -> Dots {
        let ends = |at: usize| match self.input.get(at) {
            None => Some(0),
            Some(b'/' | b'\\') => Some(1),
            Some(_) => None,
        };
        if let Some(slash) = ends(after) {
            return Dots::Here(slash);
        }
        let second = self.dot(after);
        match ends(after + second) {
            Some(slash) if second > 0 => Dots::Up(second + slash),
            _ => Dots::Name,
        }
    }

    fn take_escape(&mut self, at: usize) -> Result<usize, Refusal> {
        let Some(byte) = escape(self.input.get(at..).unwrap_or_default()) else {
            self.stray = Some(self.output.len());
            return Ok(self.push(b'%'));
        };
        if byte == 0 {
            return Err(Refusal::Control);
        }
        if !is_unreserved(byte) {
            self.output.extend_from_slice(self.input.get(at..at + 3).unwrap_or_default());
            return Ok(3);
        }
        self.output.push(byte);
        self.mend(at + 3);
        Ok(3)
    }

    /// A `%` that begins no escape must not begin one with what was decoded after it: it becomes `%25` then.
    fn mend(&mut self, next: usize) {
        let Some(stray) = self.stray else { return };
        let after: Vec<u8> = self.output.get(stray + 1..).unwrap_or_default().to_vec();
        let makes_one = match after[..] {
            [first] => self.input.get(next).is_some_and(|second| escape(&[b'%', first, *second]).is_some()),
            [first, second] => escape(&[b'%', first, second]).is_some(),
            _ => false,
        };
        if makes_one {
            self.output.truncate(stray + 1);
            self.output.extend_from_slice(b"25");
            self.output.extend_from_slice(&after);
        }
    }
}

/// The text of a template in the one spelling that requests match it by: characters as they are where they can stand in a path, others
/// encoded, with upper-case digits. `Err`: no request can have it.
pub fn literal(text: &str) -> Result<String, Refusal> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        if *byte != b'%' {
            if is_raw(*byte) {
                out.push(*byte);
            } else {
                push_escape(&mut out, *byte);
            }
            rest = tail;
            continue;
        }
        match escape(rest).ok_or(Refusal::BadEscape)? {
            b'/' | b'\\' | b';' => return Err(Refusal::Separator),
            byte if is_raw(byte) => out.push(byte),
            byte => push_escape(&mut out, byte),
        }
        rest = rest.get(3..).unwrap_or_default();
    }
    admit(&out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// The same of a whole path (`""`, or `/` and segments).
pub fn literal_path(path: &str) -> Result<String, Refusal> {
    path.split('/').map(literal).collect::<Result<Vec<_>, _>>().map(|segments| segments.join("/"))
}

// === bytes ===

/// Letters, digits and what RFC 3986 calls unreserved: encoded or not, they are the same.
pub fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// What stands in a normalised path as itself, the slash apart.
pub fn is_raw(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@[]".contains(&byte)
}

/// The byte that `%XX` at the start stands for.
pub fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

pub fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
    out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
}

/// `None` where a `%` begins no escape.
pub fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        if *byte == b'%' {
            out.push(escape(rest)?);
            rest = rest.get(3..).unwrap_or_default();
        } else {
            out.push(*byte);
            rest = tail;
        }
    }
    Some(out)
}

fn has_escape(text: &[u8], of: impl Fn(u8) -> bool) -> bool {
    text.windows(3).any(|window| escape(window).is_some_and(&of))
}

impl fmt::Display for Normal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        self.query.iter().try_for_each(|query| write!(f, "?{query}"))
    }
}

#[cfg(test)]
#[path = "normal_tests.rs"]
mod tests;
