//! Parameters in the path of an operation, read off a request's path.

use std::borrow::Cow;

use regex::Regex;

use crate::path::push_escape;

/// Which segments of a path have parameters.
#[derive(Debug)]
pub struct PathParameters {
    segments: Box<[Segment]>,
}

#[derive(Debug)]
struct Segment {
    /// Counted from the base path.
    at: usize,
    /// Groups are parameters, in the order of `names`. `None`: the whole is one.
    pattern: Option<Regex>,
    names: Box<[Box<str>]>,
}

// === impl PathParameters ===

impl PathParameters {
    /// Of a template as definitions have it: `/pets/{petId}/v{major}.json`. What is none has none.
    pub fn of(template: &str) -> PathParameters {
        let segments = template.split('/').skip(1).enumerate().filter_map(|(at, text)| Segment::read(at, text));
        PathParameters { segments: segments.collect() }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flat_map(|segment| &segment.names).map(|name| &**name)
    }

    /// Decoded. `path` follows the base path, and its query does not count. `None`: it is no UTF-8, or there is none.
    pub fn get<'p>(&self, path: &'p str, name: &str) -> Option<Cow<'p, str>> {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let segment = self.segments.iter().find(|segment| segment.names.iter().any(|known| **known == *name))?;
        let text = path.split('/').nth(segment.at + 1)?;
        let Some(pattern) = &segment.pattern else { return decoded(text) };
        let group = segment.names.iter().position(|known| **known == *name)? + 1;
        decoded(pattern.captures(text)?.get(group)?.as_str())
    }
}

fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let sound = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| sound)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

// === impl Segment ===

impl Segment {
    fn read(at: usize, text: &str) -> Option<Segment> {
        let mut names = Vec::new();
        let mut pattern = "(?s)^".to_owned();
        let mut rest = text;
        while let Some((before, (name, after))) =
            rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        {
            // What divides two parameters is not what is encoded in one of them.
            if names.is_empty() {
                any_form(&decoded(before)?, &mut pattern);
            } else {
                pattern.push_str(&regex::escape(before));
            }
            pattern.push_str("(.+?)");
            names.push(name.into());
            rest = after;
        }
        any_form(&decoded(rest)?, &mut pattern);
        pattern.push('$');
        let whole = names.len() == 1 && text.starts_with('{') && text.ends_with('}');
        match names.is_empty() {
            true => None,
            false if whole => Some(Segment { at, pattern: None, names: names.into() }),
            false => Some(Segment { at, pattern: Some(Regex::new(&pattern).ok()?), names: names.into() }),
        }
    }
}

/// A text, each character of it as it is or encoded.
fn any_form(text: &str, pattern: &mut String) {
    for c in text.chars() {
        let mut encoded = String::new();
        c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| push_escape(&mut encoded, byte));
        pattern.push_str("(?:");
        pattern.push_str(&regex::escape(&c.to_string()));
        pattern.push_str("|(?i:");
        pattern.push_str(&encoded);
        pattern.push_str("))");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_paths() {
        let of =
            |template: &str, path: &str, name: &str| PathParameters::of(template).get(path, name).map(Cow::into_owned);
        assert_eq!(of("/pets/{id}", "/pets/7?x=/8", "id").as_deref(), Some("7"));
        assert_eq!(of("/pets/{id}/toys/{toy}", "/pets/a%20b/toys/%C3%A9", "toy").as_deref(), Some("\u{e9}"));
        assert_eq!(of("/pets/{id}/toys/{toy}", "/pets/a%20b/toys/x", "id").as_deref(), Some("a b"));
        assert_eq!(of("/v{major}.{minor}.json", "/v1.2.json", "minor").as_deref(), Some("2"));
        assert_eq!(of("/v{major}.{minor}.json", "/v1.2.json", "major").as_deref(), Some("1"));
        assert_eq!(of("/a@{x}", "/a%40y", "x").as_deref(), Some("y"));
        // As contracts divide them.
        assert_eq!(of("/{a}-{b}", "/x-y-z", "a").as_deref(), Some("x"));
        assert_eq!(of("/{a}-{b}", "/x-y-z", "b").as_deref(), Some("y-z"));
        assert_eq!(of("/{a},{b}", "/x%2Cy,z", "a").as_deref(), Some("x,y"));
        assert_eq!(of("/{a},{b}", "/x%2cy", "a"), None);
        assert_eq!(of("/{a}.json", "/x.json.json", "a").as_deref(), Some("x.json"));
        assert_eq!(of("/\u{e9}{a}@", "/%c3%A9x%40", "a").as_deref(), Some("x"));
        assert_eq!(of("/files/*", "/files/a/b", "x"), None);
        assert_eq!(of("/pets/{id}", "/pets", "id"), None);
        assert_eq!(of("/pets/{id}", "/pets/%FF", "id"), None);
        assert_eq!(PathParameters::of("/{a}/x/{b}-{c}").names().collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
