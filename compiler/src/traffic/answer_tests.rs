use super::*;

#[test]
fn locations() {
    for good in ["/", "/a?b=c#d", "https://a.example", "HTTP://a:8080/x/%20?q", "http://[::1]/", "https://a.example?x"]
    {
        assert_eq!(check_location(good), Ok(()), "{good}");
    }
    let long = format!("/{}", "a".repeat(MAX_VALUE));
    for (bad, why) in [
        ("", LocationError::Kind),
        ("a/b", LocationError::Kind),
        ("//evil.example/", LocationError::Kind),
        ("javascript://x", LocationError::Kind),
        ("ftp://a.example/", LocationError::Kind),
        ("https:///a", LocationError::Host),
        ("https://u:p@a.example/", LocationError::Host),
        ("https://a.example:99999/", LocationError::Host),
        ("/a b", LocationError::Character),
        ("/a\r\nset-cookie:x", LocationError::Character),
        ("/\\evil.example", LocationError::Character),
        ("/{id}", LocationError::Character),
        ("/ä", LocationError::Character),
        (&long, LocationError::Length),
    ] {
        assert_eq!(check_location(bad), Err(why), "{bad:?}");
    }
}

#[test]
fn media_types() {
    for good in ["application/json", "application/problem+json; charset=utf-8", "text/plain", "Application/XML"] {
        assert!(is_media_type(good), "{good}");
    }
    for bad in ["", "json", "*/*", "text/*", "a/b/c", "text/plain\r\nx: y", "text/ä", "text/plain; x=\u{7f}"] {
        assert!(!is_media_type(bad), "{bad:?}");
    }
}

#[test]
fn examples_that_no_compiler_would_make() {
    let example = Example {
        name: "a".to_owned(),
        status: 200,
        content_type: "text/plain".to_owned(),
        body: b"x".to_vec(),
        headers: vec![Header { name: "etag".to_owned(), value: "\"1\"".to_owned() }],
    };
    let answer = |examples: Vec<Example>| Answer { kind: Some(Kind::Examples(Examples { examples })) };
    assert!(is_sound(&answer(vec![example.clone()])));
    let header = |name: &str, value: &str| Example {
        headers: vec![Header { name: name.to_owned(), value: value.to_owned() }],
        ..example.clone()
    };
    let bad = [
        Example { status: 199, ..example.clone() },
        Example { status: 600, ..example.clone() },
        Example { status: 204, ..example.clone() },
        Example { name: "a\nb".to_owned(), ..example.clone() },
        Example { name: "a".repeat(MAX_NAME + 1), ..example.clone() },
        Example { content_type: "*/*".to_owned(), ..example.clone() },
        Example { body: vec![b'x'; MAX_BODY + 1], ..example.clone() },
        header("content-length", "1"),
        header("ETag", "1"),
        header("etag", "a\r\nb: c"),
        header("x-microgw-rule", "1"),
    ];
    for bad in bad {
        assert!(!is_sound(&answer(vec![bad.clone()])), "{bad:?}");
    }
    assert!(!is_sound(&answer(Vec::new())) && !is_sound(&answer(vec![example; MAX_EXAMPLES + 1])));
    assert!(!is_sound(&Answer { kind: None }));
    let redirect = |status, location: &str| {
        is_sound(&Answer { kind: Some(Kind::Redirect(Redirect { status, location: location.to_owned() })) })
    };
    assert!(redirect(308, "/x") && !redirect(300, "/x") && !redirect(304, "/x") && !redirect(302, "x"));
}
