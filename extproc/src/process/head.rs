//! The heads of messages, as ext_proc brings them: several headers of one name one by one, and pseudo-headers among them.

use envoy_types::pb::envoy::config::core::v3::HeaderMap;
use microgw_engine::{Headers, RequestHead, joint};
use microgw_faults::Form;

use crate::certificate;

#[derive(Debug, Default)]
pub(crate) struct Head {
    method: String,
    scheme: String,
    authority: String,
    path: String,
    status: u16,
    /// By lower-case name, without pseudo-headers.
    fields: Vec<(String, Vec<u8>)>,
    /// What cannot be lent from `fields`: several of one name, joined, and what is not UTF-8.
    made: Vec<(String, String)>,
}

// === impl Head ===

impl Head {
    pub(super) fn read(headers: Option<HeaderMap>) -> Head {
        let mut head = Head::default();
        for header in headers.unwrap_or_default().headers {
            let value = if header.raw_value.is_empty() { header.value.into_bytes() } else { header.raw_value };
            let text = |value| String::from_utf8_lossy(value).into_owned();
            match header.key.as_str() {
                ":method" => head.method = text(&value),
                ":scheme" => head.scheme = text(&value),
                ":authority" => head.authority = text(&value),
                ":path" => head.path = text(&value),
                // Not a number: no status that anything is done for.
                ":status" => head.status = text(&value).parse().unwrap_or_default(),
                name if name.starts_with(':') => {}
                _ => head.fields.push((header.key, value)),
            }
        }
        head.make();
        head
    }

    /// Of a response that is known already.
    pub(crate) fn of_response(status: u16, fields: Vec<(String, Vec<u8>)>) -> Head {
        let mut head = Head { status, fields, ..Head::default() };
        head.make();
        head
    }

    /// One by one, in their order.
    pub(crate) fn fields(&self) -> &[(String, Vec<u8>)] {
        &self.fields
    }

    fn make(&mut self) {
        for (index, (name, value)) in self.fields.iter().enumerate() {
            let before = self.fields.get(..index).unwrap_or_default();
            let text = String::from_utf8_lossy(value);
            if let Some((_, made)) = self.made.iter_mut().find(|(other, _)| other == name) {
                made.push_str(joint(name));
                made.push_str(&text);
            } else if let Some((_, first)) = before.iter().find(|(other, _)| other == name) {
                let first = String::from_utf8_lossy(first);
                self.made.push((name.clone(), format!("{first}{}{text}", joint(name))));
            } else if std::str::from_utf8(value).is_err() {
                self.made.push((name.clone(), text.into_owned()));
            }
        }
    }

    /// `ended`: nothing follows.
    pub(super) fn request<'a>(&'a self, peer: &'a str, ended: bool) -> RequestHead<'a> {
        RequestHead {
            method: &self.method,
            scheme: &self.scheme,
            authority: &self.authority,
            path: &self.path,
            headers: self,
            certificate: certificate::shown(self),
            peer,
            has_body: Some(!ended && !self.is_upgrade()),
        }
    }

    /// What follows is no body, as Envoy goes by it.
    fn is_upgrade(&self) -> bool {
        let tokens = || self.get("connection").into_iter().flat_map(|tokens| tokens.split(','));
        self.get("upgrade").is_some() && tokens().any(|token| token.trim_ascii().eq_ignore_ascii_case("upgrade"))
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The form in which the client wants to be told of a fault.
    pub(super) fn form(&self) -> Form {
        Form::asked(self.get("accept"), self.get("content-type"))
    }

    /// Bytes of the body, where that is said beforehand.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.get("content-length")?.parse().ok()
    }
}

impl Headers for Head {
    fn get(&self, name: &str) -> Option<&str> {
        let made = self.made.iter().find(|(other, _)| other == name).map(|(_, text)| text.as_str());
        made.or_else(|| {
            let (_, value) = self.fields.iter().find(|(other, _)| other == name)?;
            std::str::from_utf8(value).ok()
        })
    }

    fn visit(&self, visitor: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in &self.fields {
            visitor(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::HeaderValue;

    use super::*;

    fn head(fields: &[(&str, &[u8])]) -> Head {
        let header = |(key, value): &(&str, &[u8])| HeaderValue {
            key: (*key).to_owned(),
            raw_value: value.to_vec(),
            ..HeaderValue::default()
        };
        Head::read(Some(HeaderMap { headers: fields.iter().map(header).collect() }))
    }

    #[test]
    fn names_that_occur_more_than_once_are_one_value_and_are_visited_one_by_one() {
        let head = head(&[
            (":method", b"PUT"),
            (":path", b"/a?b"),
            (":status", b"204"),
            ("a", b"1"),
            ("b", b"\xff"),
            ("a", b"2"),
            ("c", b"3"),
            ("a", b"\xfe"),
            ("content-length", b"12"),
        ]);
        assert_eq!((head.method.as_str(), head.path.as_str(), head.status), ("PUT", "/a?b", 204));
        assert_eq!(head.get("a"), Some("1,2,\u{fffd}"));
        assert_eq!(head.get("b"), Some("\u{fffd}"));
        assert_eq!((head.get("c"), head.get("d"), head.get(":path")), (Some("3"), None, None));
        assert_eq!(head.content_length(), Some(12));
        let mut seen = Vec::new();
        head.visit(&mut |name, value| seen.push((name.to_owned(), value.to_vec())));
        assert_eq!(seen.len(), 6);
        assert_eq!(seen[3], ("c".to_owned(), b"3".to_vec()));
    }

    #[test]
    fn cookies_of_several_lines_are_one_list() {
        let head = head(&[("cookie", b"a=1"), ("accept", b"b"), ("cookie", b"c=2, d"), ("cookie", b"e=3; f=4")]);
        assert_eq!(head.get("cookie"), Some("a=1; c=2, d; e=3; f=4"));
    }

    #[test]
    fn a_handshake_has_no_body() {
        let has_body = |fields: &[(&str, &[u8])]| head(fields).request("", false).has_body;
        assert_eq!(has_body(&[("upgrade", b"websocket"), ("connection", b"keep-alive, Upgrade")]), Some(false));
        assert_eq!(has_body(&[("upgrade", b"websocket"), ("connection", b"keep-alive")]), Some(true));
        assert_eq!(has_body(&[("connection", b"upgrade")]), Some(true));
        assert_eq!(head(&[]).request("", true).has_body, Some(false));
    }
}
