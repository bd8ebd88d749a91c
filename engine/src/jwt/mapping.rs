//! Claims by other names and with other values, as their issuer is configured: what decisions read is what comes out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use microgw_proto::rules::v1 as proto;

use super::TokenError;
use crate::json::{Json, Object};

/// One claim that becomes another.
#[derive(Clone, Debug)]
pub(crate) struct ClaimMapping {
    from: Source,
    to: Box<str>,
    split: Box<str>,
    strip_prefix: Box<str>,
    /// What becomes of texts. Empty: all stay.
    values: BTreeMap<Box<str>, Box<str>>,
    keep_others: bool,
    join: Box<str>,
}

#[derive(Clone, Debug)]
enum Source {
    Claim(Box<str>),
    /// A JSON pointer, RFC 6901: what is deeper inside. It stays where it is.
    Inside(Box<[Box<str>]>),
}

/// Does all of `mappings` at once: none sees what another has done. A claim that is not there changes nothing.
pub(super) fn apply(mappings: &[ClaimMapping], claims: &mut Object) -> Result<(), TokenError> {
    let mapped = mappings.iter().filter_map(|mapping| {
        let value = mapping.from.find(claims)?;
        Some(mapping.value(value).map(|value| (mapping, value)))
    });
    let mapped = mapped.collect::<Result<Vec<_>, _>>()?;
    for (mapping, _) in &mapped {
        if let Source::Claim(name) = &mapping.from {
            claims.remove(&**name);
        }
    }
    for (mapping, value) in mapped {
        claims.insert(mapping.to.to_string(), value);
    }
    Ok(())
}

// === impl ClaimMapping ===

impl ClaimMapping {
    pub(crate) fn load(mapping: &proto::ClaimMapping) -> ClaimMapping {
        let replacement =
            |values: &proto::Replacement| (Box::from(values.from.as_str()), Box::from(values.to.as_str()));
        ClaimMapping {
            from: Source::read(&mapping.from),
            to: mapping.to.as_str().into(),
            split: mapping.split.as_str().into(),
            strip_prefix: mapping.strip_prefix.as_str().into(),
            values: mapping.values.iter().map(replacement).collect(),
            keep_others: mapping.keep_others,
            join: mapping.join.as_str().into(),
        }
    }

    fn only_renames(&self) -> bool {
        self.split.is_empty() && self.strip_prefix.is_empty() && self.values.is_empty() && self.join.is_empty()
    }

    /// Split, without its prefix, replaced, joined: in this order. What is neither text nor a list of texts cannot be mapped.
    fn value(&self, value: &Json) -> Result<Json, TokenError> {
        if self.only_renames() {
            return Ok(value.clone());
        }
        let text = |item: &Json| item.as_str().map(str::to_owned).ok_or(TokenError::Mapping);
        let (texts, one) = match value {
            Json::String(text) if !self.split.is_empty() => {
                (text.split(&*self.split).map(str::to_owned).collect(), false)
            }
            Json::String(text) => (vec![text.clone()], true),
            Json::Array(items) => (items.iter().map(text).collect::<Result<Vec<_>, _>>()?, false),
            _ => return Err(TokenError::Mapping),
        };
        let mut texts: Vec<String> = texts
            .iter()
            .filter_map(|text| self.replaced(text))
            .map(Cow::into_owned)
            .filter(|text| !text.is_empty())
            .collect();
        Ok(match one {
            _ if !self.join.is_empty() => Json::String(texts.join(&self.join)),
            true => Json::String(texts.pop().unwrap_or_default()),
            false => Json::Array(texts.into_iter().map(Json::String).collect()),
        })
    }

    fn replaced<'a>(&'a self, text: &'a str) -> Option<Cow<'a, str>> {
        let text = text.strip_prefix(&*self.strip_prefix).unwrap_or(text);
        match self.values.get(text) {
            Some(value) => Some(Cow::Borrowed(value)),
            None if self.values.is_empty() || self.keep_others => Some(Cow::Borrowed(text)),
            None => None,
        }
    }
}

// === impl Source ===

impl Source {
    fn read(text: &str) -> Source {
        match text.strip_prefix('/') {
            None => Source::Claim(text.into()),
            Some(path) => {
                Source::Inside(path.split('/').map(|name| name.replace("~1", "/").replace("~0", "~").into()).collect())
            }
        }
    }

    fn find<'a>(&self, claims: &'a Object) -> Option<&'a Json> {
        match self {
            Source::Claim(name) => claims.get(&**name),
            Source::Inside(path) => {
                let (first, rest) = path.split_first()?;
                rest.iter().try_fold(claims.get(&**first)?, |inside, name| inside.as_object()?.get(&**name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn mapping(from: &str, to: &str) -> proto::ClaimMapping {
        proto::ClaimMapping { from: from.into(), to: to.into(), ..Default::default() }
    }

    fn applied(mappings: &[proto::ClaimMapping], claims: &str) -> Result<Object, TokenError> {
        let mappings: Vec<_> = mappings.iter().map(ClaimMapping::load).collect();
        let mut claims = json::object(claims.as_bytes()).unwrap();
        apply(&mappings, &mut claims).map(|()| claims)
    }

    fn check(mappings: &[proto::ClaimMapping], claims: &str, expected: &str) {
        assert_eq!(applied(mappings, claims), Ok(json::object(expected.as_bytes()).unwrap()), "{claims}");
    }

    #[test]
    fn claims_are_renamed_all_at_once() {
        check(&[mapping("scp", "scope")], r#"{"scp": ["a", 1], "x": {}}"#, r#"{"scope": ["a", 1], "x": {}}"#);
        check(&[mapping("scp", "scope")], r#"{"scp": "a", "scope": "b"}"#, r#"{"scope": "a"}"#);
        check(&[mapping("scp", "scope")], r#"{"scope": "b"}"#, r#"{"scope": "b"}"#);
        check(&[mapping("a", "b"), mapping("b", "a")], r#"{"a": 1, "b": 2}"#, r#"{"a": 2, "b": 1}"#);
        check(&[mapping("a", "b"), mapping("b", "c")], r#"{"a": 1}"#, r#"{"b": 1}"#);
        check(&[mapping("a", "b"), mapping("a", "c")], r#"{"a": 1}"#, r#"{"b": 1, "c": 1}"#);
        check(&[mapping("http://x.y/z", "b")], r#"{"http://x.y/z": 1}"#, r#"{"b": 1}"#);
    }

    #[test]
    fn a_pointer_leads_inside() {
        let claims = r#"{"realm": {"a/b": {"roles": ["x"]}}}"#;
        let expected = r#"{"realm": {"a/b": {"roles": ["x"]}}, "scope": ["x"]}"#;
        check(&[mapping("/realm/a~1b/roles", "scope")], claims, expected);
        for elsewhere in ["/realm/b/roles", "/roles", "/realm/a~1b/roles/0", "/", "//"] {
            check(&[mapping(elsewhere, "scope")], claims, claims);
        }
    }

    #[test]
    fn values_are_split_stripped_replaced_and_joined() {
        let replacement = |from: &str, to: &str| proto::Replacement { from: from.into(), to: to.into() };
        let full = proto::ClaimMapping {
            split: ",".into(),
            strip_prefix: "Internal/".into(),
            values: vec![replacement("reader", "read"), replacement("nobody", "")],
            join: " ".into(),
            ..mapping("roles", "scope")
        };
        check(
            std::slice::from_ref(&full),
            r#"{"roles": "Internal/reader,writer,,Internal/nobody,reader"}"#,
            r#"{"scope": "read read"}"#,
        );
        let keeping = proto::ClaimMapping { keep_others: true, ..full.clone() };
        check(&[keeping], r#"{"roles": ["Internal/reader", "Internal/writer"]}"#, r#"{"scope": "read writer"}"#);
        let one = proto::ClaimMapping { split: String::new(), join: String::new(), ..full.clone() };
        check(std::slice::from_ref(&one), r#"{"roles": "Internal/reader"}"#, r#"{"scope": "read"}"#);
        check(&[one], r#"{"roles": "writer"}"#, r#"{"scope": ""}"#);
        let list = proto::ClaimMapping { join: String::new(), ..full.clone() };
        check(&[list], r#"{"roles": "reader,x"}"#, r#"{"scope": ["read"]}"#);
        for strange in [r#"{"roles": 1}"#, r#"{"roles": {}}"#, r#"{"roles": ["a", 1]}"#, r#"{"roles": null}"#] {
            assert_eq!(applied(std::slice::from_ref(&full), strange), Err(TokenError::Mapping), "{strange}");
        }
    }
}
