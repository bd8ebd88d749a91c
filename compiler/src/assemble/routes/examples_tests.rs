use regex::Regex;

use super::*;

fn example(name: &str, status: u32, content_type: &str) -> Example {
    let body = format!("{name} {status} {content_type}").into_bytes();
    Example { name: name.to_owned(), status, content_type: content_type.to_owned(), body, headers: Vec::new() }
}

/// As Envoy: an expression must match the whole value; a header that is not there matches nothing.
fn holds(matcher: &HeaderMatcher, value: Option<&str>) -> bool {
    let Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
        match_pattern: Some(MatchPattern::SafeRegex(pattern)),
        ..
    })) = &matcher.header_match_specifier
    else {
        panic!("{matcher:?}")
    };
    let Some(value) = value else { return false };
    Regex::new(&format!("^(?:{})$", pattern.regex)).unwrap().is_match(value) != matcher.invert_match
}

/// The body that a request gets.
fn answer(examples: &[Example], prefer: Option<&str>, accept: Option<&str>) -> String {
    let routes = example_routes(examples, &RouteMatch::default());
    let fits = |route: &&Route| {
        route
            .r#match
            .as_ref()
            .unwrap()
            .headers
            .iter()
            .all(|matcher| holds(matcher, if matcher.name == "prefer" { prefer } else { accept }))
    };
    let Some(Action::DirectResponse(response)) = &routes.iter().find(fits).unwrap().action else { panic!("no answer") };
    let Some(Specifier::InlineBytes(body)) = response.body.clone().unwrap().specifier else { panic!("no body") };
    String::from_utf8(body).unwrap()
}

#[test]
fn a_preference_is_read_as_rfc_7240_has_it() {
    let examples = [example("a", 200, "x/y"), example("b", 200, "x/y"), example("b \"2\"", 200, "x/y")];
    for (prefer, expected) in [
        ("example=b", "b"),
        ("EXAMPLE=b", "b"),
        ("example=\"b\"", "b"),
        ("example=\"\\b\"", "b"),
        ("example = b", "b"),
        ("  example=b ; x=y", "b"),
        ("respond-async, example=b", "b"),
        ("respond-async,,wait=10; example=a, example=b, x", "b"),
        ("examples=a, exampl=a, example=b", "b"),
        ("foo=\"x, example=a\", example=b", "b"),
        ("example=\"b \\\"2\\\"\"", "b \"2\""),
        // The first of one name counts.
        ("example=b, example=a", "b"),
        ("example=a, example=b", "a"),
        ("example=nobody, example=b", "a"),
        // None of these asks for it.
        ("example=B", "a"),
        ("example=bb", "a"),
        ("example=b b", "a"),
        ("example", "a"),
        ("x-example=b", "a"),
        ("wait=10; example=b", "a"),
        ("foo=\"example=b", "a"),
        ("foo=\"x, example=b\"", "a"),
        ("", "a"),
    ] {
        assert_eq!(answer(&examples, Some(prefer), None), format!("{expected} 200 x/y"), "{prefer}");
    }
    assert_eq!(answer(&examples, None, None), "a 200 x/y");
}

#[test]
fn a_status_can_be_preferred() {
    let examples =
        [example("one", 200, "x/y"), example("", 404, "x/y"), example("one", 409, "x/y"), example("two", 409, "x/y")];
    for (prefer, expected) in [
        ("code=404", " 404"),
        ("code=409", "one 409"),
        ("code=\"409\", example=two", "two 409"),
        ("example=one, code=409", "one 409"),
        ("example=one", "one 200"),
        ("example=two", "two 409"),
        // A name says more than a status.
        ("example=two, code=200", "two 409"),
        ("code=500", "one 200"),
        ("code=4040", "one 200"),
    ] {
        assert_eq!(answer(&examples, Some(prefer), None), format!("{expected} x/y"), "{prefer}");
    }
}

#[test]
fn the_first_media_type_is_for_who_names_no_other() {
    let examples = [
        example("a", 200, "application/json"),
        example("b", 200, "application/json"),
        example("", 200, "application/xml"),
        example("b", 200, "text/plain; charset=utf-8"),
    ];
    for (prefer, accept, expected) in [
        (None, None, "a 200 application/json"),
        (None, Some("*/*"), "a 200 application/json"),
        (None, Some("application/xml"), " 200 application/xml"),
        (None, Some("text/html, Application/XML;q=0.9, */*"), " 200 application/xml"),
        (None, Some("application/xml, application/json"), "a 200 application/json"),
        (None, Some("application/xml+x"), "a 200 application/json"),
        (None, Some("text/plain"), "b 200 text/plain; charset=utf-8"),
        (Some("example=b"), Some("application/xml"), "b 200 application/json"),
        (Some("example=b"), Some("text/plain"), "b 200 text/plain; charset=utf-8"),
    ] {
        assert_eq!(answer(&examples, prefer, accept), expected, "{prefer:?} {accept:?}");
    }
}

#[test]
fn what_was_preferred_is_told() {
    let headers = |examples: &[Example]| -> Vec<String> {
        let routes = example_routes(examples, &RouteMatch::default());
        let headers = routes.into_iter().flat_map(|route| route.response_headers_to_add);
        let headers = headers.filter_map(|option| option.header).filter(|header| header.key != "content-type");
        headers.map(|header| format!("{}: {}", header.key, header.value)).collect()
    };
    assert_eq!(headers(&[example("", 200, "x/y")]), [""; 0]);
    assert_eq!(
        headers(&[example("a b%", 200, "x/y"), example("c", 404, "x/z")]),
        [
            "vary: prefer",
            "preference-applied: example=\"a b%%\"",
            "vary: prefer",
            "preference-applied: example=c",
            "vary: prefer",
            "preference-applied: code=200",
            "vary: prefer",
            "preference-applied: code=404",
            "vary: prefer",
        ]
    );
}
