//! Credentials in cookies, RFC 6265 section 4.2.1: found by name, cut out without touching another byte.

use std::borrow::Cow;

/// What a `Cookie` header says about one cookie.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Nothing,
    Once(&'a str),
    /// More than once: which one counts is anyone's guess.
    Repeated,
}

/// Looks for the cookie of that very name.
pub(crate) fn find<'a>(header: &'a str, name: &str) -> Found<'a> {
    let mut found = Found::Nothing;
    for (_, value) in header.split(';').map(pair).filter(|(own, _)| *own == name) {
        if found != Found::Nothing {
            return Found::Repeated;
        }
        found = Found::Once(value);
    }
    found
}

/// The header without the cookies of these names; the others stay byte for byte. Empty: there are no others. `None`: it has
/// none of these.
pub(crate) fn cut(header: &str, names: &[Box<str>]) -> Option<String> {
    let secret = |cookie: &str| names.iter().any(|name| **name == *pair(cookie).0);
    if !header.split(';').any(secret) {
        return None;
    }
    let mut kept = String::with_capacity(header.len());
    for cookie in header.split(';').filter(|cookie| !secret(cookie)) {
        if kept.is_empty() {
            // The blank behind a semicolon that is gone.
            kept.push_str(cookie.trim_start_matches(BLANKS));
        } else {
            kept.push(';');
            kept.push_str(cookie);
        }
    }
    Some(kept)
}

const BLANKS: [char; 2] = [' ', '\t'];

/// Name and value. What has no `=` is a name alone. Quotes around a value belong to the way it is written.
fn pair(cookie: &str) -> (&str, &str) {
    let (name, value) = cookie.split_once('=').unwrap_or((cookie, ""));
    let value = value.trim_matches(BLANKS);
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    (name.trim_matches(BLANKS), bare.unwrap_or(value))
}

/// As it is given to what asks about one value.
impl<'a> From<Found<'a>> for crate::query::Found<'a> {
    fn from(found: Found<'a>) -> Self {
        match found {
            Found::Nothing => crate::query::Found::Nothing,
            Found::Once(value) => crate::query::Found::Once(Cow::Borrowed(value)),
            Found::Repeated => crate::query::Found::Unclear,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_very_name() {
        for (header, found) in [
            ("", Found::Nothing),
            ("key", Found::Once("")),
            ("key=", Found::Once("")),
            ("key=a", Found::Once("a")),
            ("a=1; key=b; c=2", Found::Once("b")),
            ("a=1;key=b;c=2", Found::Once("b")),
            ("a=1;\tkey = b ;c", Found::Once("b")),
            ("key=\"b\"", Found::Once("b")),
            ("key=\"b", Found::Once("\"b")),
            ("key=\"", Found::Once("\"")),
            ("key=a=b", Found::Once("a=b")),
            ("Key=a; keys=b; mkey=c; a=key; key%3d=d", Found::Nothing),
            ("key=a; b=c; key=a", Found::Repeated),
            ("key=a; key", Found::Repeated),
            // Two headers that were joined are one value that is no key.
            ("a=1,key=b", Found::Nothing),
            ("key=b,a=1", Found::Once("b,a=1")),
        ] {
            assert_eq!(find(header, "key"), found, "{header}");
        }
    }

    #[test]
    fn the_others_stay_as_they_are() {
        let names = ["key".into(), "other".into()];
        for (header, kept) in [
            ("a=1; b=2", None),
            ("key=k", Some("")),
            ("key=k; other=o", Some("")),
            ("key=k; a=1", Some("a=1")),
            ("a=1; key=k", Some("a=1")),
            ("a=1; key=k; b = \"x y\";c=2;", Some("a=1; b = \"x y\";c=2;")),
            ("a=1;key=k;other", Some("a=1")),
        ] {
            assert_eq!(cut(header, &names).as_deref(), kept, "{header}");
        }
    }

    proptest! {
        #[test]
        fn what_is_cut_is_gone_and_nothing_else(header in "[a-c=; \"\t]{0,24}") {
            let names = ["a".into()];
            if let Some(kept) = cut(&header, &names) {
                prop_assert_eq!(find(&kept, "a"), Found::Nothing);
                for name in ["b", "c", "bb"] {
                    prop_assert_eq!(find(&kept, name), find(&header, name));
                }
            } else {
                prop_assert_eq!(find(&header, "a"), Found::Nothing);
            }
        }
    }
}
