use std::sync::LazyLock;

use proptest::prelude::*;
use regex::Regex;

use super::*;

static ADMITS: LazyLock<Regex> = LazyLock::new(|| Regex::new(&format!("^(?:{ADMITTED})$")).unwrap());

fn plain(target: &str) -> Result<String, Refusal> {
    normalise(target.as_bytes(), Version::Http1).map(|normal| normal.to_string())
}

/// Each of these was seen of Envoy.
#[test]
fn paths_are_normalised_as_envoy_does() {
    for (target, expected) in [
        ("/s/o/1", "/s/o/1"),
        ("//s///o//1", "/s/o/1"),
        ("/s/o/../%2e%2E/../x", "/x"),
        ("/s\\o\\1", "/s/o/1"),
        ("/s/o/%252e%252e", "/s/o/%252e%252e"),
        ("/s/o/%%32%65", "/s/o/%252e"),
        ("/s/o/%%32f1", "/s/o/%252f1"),
        ("/s/o/%%35c1", "/s/o/%255c1"),
        ("/s/o/%%30%30", "/s/o/%2500"),
        ("/s/o/%3%30", "/s/o/%2530"),
        ("/s/o/%4%31", "/s/o/%2541"),
        ("/s/o/%41b", "/s/o/Ab"),
        ("/s/o/%2d%5f%2e%7e", "/s/o/-_.~"),
        ("/s/o/a%2bb%c3%a9", "/s/o/a%2bb%c3%a9"),
        ("/s/o/a\"<>^`{|}b", "/s/o/a%22%3C%3E%5E%60%7B%7C%7Db"),
        ("/s/o/!$&'()*,=:@~[]+;", "/s/o/!$&'()*,=:@~[]+;"),
        ("/s/w/a//..//b", "/s/w/a/b"),
        ("/s/w/a/.", "/s/w/a/"),
        ("/s/w/a/..", "/s/w/"),
        ("/s/w/a/.//", "/s/w/a/"),
        ("/s/w/%2e%2e%2e/x", "/s/w/.../x"),
        ("/s/w/a\\/..//b", "/s/w/a/b"),
        ("/s/w/a\\..\\b", "/s/w/b"),
        ("/s/w/a/b/..;q=1/x", "/s/w/a/x"),
        ("/s/w/a/b/..;x", "/s/w/a/"),
        ("/s/w/a/b/..;\\x", "/s/w/a/"),
        ("/s\\..;/x", "/s/..;/x"),
        ("/s/w/a/b/%2e%2e;x/y", "/s/w/a/b/..;x/y"),
        ("/s/w/a/b/..;%00/x", "/s/w/a/x"),
        ("/s/w/a;b/../x", "/s/w/x"),
        ("/s?a=%2F..//\\%zz%00#", ""),
        ("/s?a=%2F..//\\%zz%00\"<>?", "/s?a=%2F..//\\%zz%00\"<>?"),
        ("/..?", "/?"),
        ("http://h", "/"),
        ("HTTP://u:p@h:80//a", "/a"),
    ] {
        assert_eq!(plain(target).unwrap_or_default(), expected, "{target}");
    }
}

#[test]
fn what_is_refused_says_why() {
    for (target, why) in [
        ("", Refusal::NoPath),
        ("*", Refusal::NoPath),
        ("s/o", Refusal::NoPath),
        ("ftp://h/x", Refusal::NoPath),
        ("http:///x", Refusal::NoPath),
        ("http://h?x", Refusal::NoPath),
        ("/\\", Refusal::Slashes),
        ("///..//?a", Refusal::Slashes),
        ("/a b", Refusal::Raw),
        ("/é", Refusal::Raw),
        ("/a?é", Refusal::Raw),
        ("/a\u{7f}", Refusal::Raw),
        ("/a#b", Refusal::Fragment),
        ("/a?b#c", Refusal::Fragment),
        ("/a%2fb", Refusal::Separator),
        ("/a%5C", Refusal::Separator),
        ("/a%3bb", Refusal::Separator),
        ("/a%00", Refusal::Control),
        ("/a%0d%0a", Refusal::Control),
        ("/a%7F", Refusal::Control),
        ("/a%", Refusal::BadEscape),
        ("/a%2", Refusal::BadEscape),
        ("/a%zz", Refusal::BadEscape),
        ("/a%u002f", Refusal::BadEscape),
        ("/a%%41", Refusal::BadEscape),
        ("/a%c0%af", Refusal::NotUtf8),
        ("/a%E9", Refusal::NotUtf8),
        ("/a%ed%a0%80", Refusal::NotUtf8),
        ("/a%f4%90%80%80", Refusal::NotUtf8),
    ] {
        assert_eq!(plain(target), Err(why), "{target}");
    }
    assert_eq!(normalise("/é".as_bytes(), Version::Http2).map(|normal| normal.path), Ok("/%C3%A9".to_owned()));
    assert_eq!(normalise(b"/\xe9", Version::Http2), Err(Refusal::NotUtf8));
    assert_eq!(normalise("/a?é".as_bytes(), Version::Http2), Err(Refusal::RawQuery));
    assert_eq!(normalise(b"http://h/", Version::Http2), Err(Refusal::NoPath));
}

#[test]
fn templates_are_written_as_requests_are_normalised() {
    for (text, expected) in [
        ("%41%7e", "A~"),
        ("%c3%a9", "%C3%A9"),
        ("é", "%C3%A9"),
        ("a|b", "a%7Cb"),
        ("@me", "@me"),
        ("%2b%40", "+@"),
        ("%22", "%22"),
    ] {
        assert_eq!(literal(text).as_deref(), Ok(expected));
    }
    assert_eq!(literal("%2f"), Err(Refusal::Separator));
    assert_eq!(literal("100%"), Err(Refusal::BadEscape));
    assert_eq!(literal_path("/a/é"), Ok("/a/%C3%A9".to_owned()));
}

fn nasty() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("/".to_owned()),
        Just("%".to_owned()),
        Just("..".to_owned()),
        Just(";".to_owned()),
        Just("\\".to_owned()),
        "[0-9a-fA-F]",
        "%[0-9a-fA-F]{2}",
        "%[c-fC-F][0-9a-fA-F](%[89abAB][0-9a-fA-F]){1,3}",
        "[!-~]",
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| format!("/{}", parts.concat()))
}

proptest! {
    /// The function and the expression that Envoy is given agree; what was normalised stays as it is.
    #[test]
    fn what_is_admitted_is_normal(target in nasty()) {
        match plain(&target) {
            Ok(path) => {
                prop_assert!(ADMITS.is_match(&path), "{path}");
                let bare = path.split('?').next().unwrap();
                // Behind a `\`, Envoy leaves `..;` as it is: no template has a `;`, so nothing is found there.
                if !bare.contains(';') {
                    prop_assert_eq!(plain(&path), Ok(path.clone()), "{}", target);
                }
                prop_assert!(!bare.contains("//") && !bare.contains('\\'));
                prop_assert!(bare.split('/').all(|segment| segment != "." && segment != ".."), "{bare}");
            }
            // What Envoy leaves of it, the expression refuses.
            Err(Refusal::BadEscape | Refusal::NotUtf8) => prop_assert!(!ADMITS.is_match(&target), "{target}"),
            Err(_) => {}
        }
    }
}

proptest! {
    /// What transformations may send is what a request could have been sent to.
    #[test]
    fn rewritten_paths_are_normal(path in "/[a-c./;?#%0-9A-F2\\\\\u{e9} ]{0,10}") {
        if microgw_transforms::path::check(&path).is_ok() {
            prop_assert_eq!(plain(&path), Ok(path));
        }
    }
}
