//! Media types, and what is declared of them.

use std::borrow::Cow;

/// A `Content-Type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// `type/subtype`, lower-case.
    pub essence: Cow<'a, str>,
    parameters: &'a str,
}

/// How a body of a media type is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Json,
    Form,
    Multipart,
    Xml,
    Text,
    /// Bytes.
    Opaque,
}

// === impl MediaType ===

impl<'a> MediaType<'a> {
    /// `None`: it is none.
    pub fn parse(text: &'a str) -> Option<MediaType<'a>> {
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        let essence = essence.trim();
        let (main, sub) = essence.split_once('/')?;
        if !is_token(main) || !is_token(sub) {
            return None;
        }
        let essence = if essence.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(essence.to_ascii_lowercase())
        } else {
            Cow::Borrowed(essence)
        };
        Some(MediaType { essence, parameters })
    }

    /// The value of a parameter, without its quotes. Of several the first; whoever cares about the others asks for [`Self::repeats`].
    pub fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        self.parameters().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| unquoted(value))
    }

    pub fn repeats(&self, name: &str) -> bool {
        self.parameters().filter(|(key, _)| key.eq_ignore_ascii_case(name)).count() > 1
    }

    /// Its text is UTF-8, or says nothing of it.
    pub fn is_utf8(&self) -> bool {
        let known =
            |charset: &str| ["utf-8", "utf8", "us-ascii"].iter().any(|known| known.eq_ignore_ascii_case(charset));
        !self.repeats("charset") && self.parameter("charset").is_none_or(|charset| known(&charset))
    }

    pub fn kind(&self) -> Kind {
        Kind::of(&self.essence)
    }

    /// Names and values as they are written, with their quotes.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut rest = self.parameters;
        std::iter::from_fn(move || {
            loop {
                if rest.is_empty() {
                    return None;
                }
                let (parameter, tail) = split_parameter(rest);
                rest = tail;
                if let Some((name, value)) = parameter.split_once('=') {
                    return Some((name.trim(), value.trim()));
                }
            }
        })
    }
}

/// Up to the next `;` that is not quoted.
pub(crate) fn split_parameter(text: &str) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => return (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
            _ => {}
        }
    }
    (text, "")
}

pub(crate) fn unquoted(value: &str) -> Cow<'_, str> {
    match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
        Some(inner) if inner.contains('\\') => {
            let mut escaped = false;
            let kept = inner.chars().filter(|c| {
                escaped = *c == '\\' && !escaped;
                !escaped
            });
            Cow::Owned(kept.collect())
        }
        Some(inner) => Cow::Borrowed(inner),
        None => Cow::Borrowed(value),
    }
}

pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// How well a range (`text/*`) suits a media type: more is better.
pub(crate) fn rank(range: &str, essence: &str) -> Option<u8> {
    match range {
        "*/*" | "*" => Some(0),
        _ if range == essence => Some(2),
        _ => {
            let main = range.strip_suffix("/*")?;
            let (of, _) = essence.split_once('/')?;
            (of == main).then_some(1)
        }
    }
}

// === impl Kind ===

impl Kind {
    pub fn of(essence: &str) -> Kind {
        let sub = essence.split_once('/').map_or("", |(_, sub)| sub);
        match essence {
            "application/x-www-form-urlencoded" => Kind::Form,
            "multipart/form-data" => Kind::Multipart,
            _ if sub == "json" || sub.ends_with("+json") => Kind::Json,
            _ if sub == "xml" || sub.ends_with("+xml") => Kind::Xml,
            _ if essence.starts_with("text/") => Kind::Text,
            _ => Kind::Opaque,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_read() {
        let of = |text| MediaType::parse(text).unwrap();
        let json = of("Application/JSON ; charset=\"UTF-8\"; x=1");
        assert_eq!((json.essence.as_ref(), json.kind(), json.is_utf8()), ("application/json", Kind::Json, true));
        assert!(!of("application/json;charset=utf-16").is_utf8());
        assert!(!of("application/json;charset=utf-8;charset=utf-16").is_utf8());
        assert_eq!(of("application/problem+json").kind(), Kind::Json);
        assert_eq!(
            of("multipart/form-data; a=\";boundary=x\"; boundary=\"y z\"").parameter("boundary").unwrap(),
            "y z"
        );
        assert_eq!(MediaType::parse("json"), None);
        assert_eq!(MediaType::parse("application/json x"), None);
    }

    #[test]
    fn the_most_particular_range_is_the_best() {
        assert_eq!(rank("text/*", "text/plain"), Some(1));
        assert_eq!(rank("*/*", "text/plain"), Some(0));
        assert_eq!(rank("text/plain", "text/plain"), Some(2));
        assert_eq!(rank("text/*", "textual/plain"), None);
    }
}
