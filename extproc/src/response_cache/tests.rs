use std::collections::HashMap;

use microgw_engine::{Allow, Balances, Edits, Identity, Keep, RequestHead, ResponseHead};

use super::*;

type Fields = HashMap<String, String>;

fn fields(headers: &[(&str, &str)]) -> Fields {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn allow(edits: Option<Edits>) -> Allow<'static> {
    Allow {
        remove_headers: &[],
        path: None,
        cookie: None,
        environment: None,
        assertion: None,
        identity_headers: &[],
        identity: Arc::new(Identity::user("anybody", [])),
        subscription: None,
        limits: Balances::new(),
        edits: edits.map(Box::new),
    }
}

fn asked_as(rule: &str, method: &str, path: &str, headers: &[(&str, &str)], edits: Option<Edits>) -> Option<Asked> {
    let headers = fields(headers);
    let head = RequestHead {
        method,
        scheme: "https",
        authority: "Shop.example.com",
        path,
        headers: &headers,
        certificate: None,
        peer: "192.0.2.1:9",
        has_body: None,
    };
    let keep = Keep { seconds: 60, headers: vec!["x-request-id".into()] };
    Asked::of(rule, 1, &keep, head, &allow(edits))
}

fn asked(headers: &[(&str, &str)]) -> Asked {
    asked_as("1", "GET", "/items?a=1", headers, None).unwrap()
}

/// Keeps a response, as far as it may be.
fn answer(
    cache: &ResponseCache,
    request: &[(&str, &str)],
    status: u16,
    response: &[(&str, &str)],
    body: &[u8],
) -> bool {
    let mut headers = fields(response);
    headers.entry("content-type".to_owned()).or_insert_with(|| "text/plain".to_owned());
    let head = ResponseHead { status, headers: &headers, ended: body.is_empty() };
    let Some(copying) = Copying::of(cache, &asked(request), head) else { return false };
    match copying.with(body) {
        Some(copying) => {
            cache.put(copying);
            true
        }
        None => false,
    }
}

fn is_known(cache: &ResponseCache, request: &[(&str, &str)]) -> bool {
    let known = cache.get(&asked(request)).is_some();
    cache.count(known);
    known
}

#[test]
fn what_is_asked_is_all_of_it_but_for_what_says_little() {
    let same = |one: &[(&str, &str)], other: &[(&str, &str)]| asked(one).key == asked(other).key;
    assert!(same(
        &[],
        &[("user-agent", "a"), ("sec-fetch-mode", "cors"), ("if-none-match", "*"), ("x-b3-traceid", "1")]
    ));
    assert!(!same(&[], &[("x-api-key", "mine")]), "whatever nobody thought of counts");
    assert!(!same(&[("accept", "a")], &[("accept", "b")]));
    assert!(!same(&[("origin", "a")], &[]));
    assert!(!same(&[("x-request-id", "1")], &[("x-request-id", "2")]), "the definition has it");
    assert!(!same(&[("a", "bc")], &[("ab", "c")]), "no two requests are written the same way");

    let key = |rule, path, edits| asked_as(rule, "GET", path, &[], edits).unwrap().key;
    assert_ne!(key("1", "/items", None), key("2", "/items", None), "another generation of the rule");
    assert_ne!(key("1", "/items", None), key("1", "/items?", None));
    let moved = Edits { path: Some("/items".into()), ..Edits::default() };
    assert_eq!(key("1", "/items", None), key("1", "/other", Some(moved)), "it is about what the backend sees");
    let told = |agent: &str| Edits {
        headers: vec![("user-agent".into(), vec![agent.as_bytes().to_vec()])],
        ..Edits::default()
    };
    assert_ne!(key("1", "/items", Some(told("a"))), key("1", "/items", Some(told("b"))), "it was set on purpose");
}

#[test]
fn what_is_about_one_caller_or_does_something_is_for_the_backend() {
    for name in
        ["authorization", "cookie", "range", "if-match", "if-unmodified-since", "if-range", "proxy-authorization"]
    {
        assert!(asked_as("1", "GET", "/", &[(name, "x")], None).is_none(), "{name}");
    }
    for method in ["HEAD", "POST", "get"] {
        assert!(asked_as("1", method, "/", &[], None).is_none(), "{method}");
    }
    let posted = Edits { method: Some("POST".into()), ..Edits::default() };
    let filled = Edits { body: Some(Vec::new()), ..Edits::default() };
    assert!([posted, filled].into_iter().all(|edits| asked_as("1", "GET", "/", &[], Some(edits)).is_none()));
    let stripped = Edits { headers: vec![("cookie".into(), Vec::new())], ..Edits::default() };
    assert!(asked_as("1", "GET", "/", &[("cookie", "x")], Some(stripped)).is_some(), "the backend does not see it");
}

#[test]
fn backends_say_what_is_kept_and_the_definition_where_they_do_not() {
    let kept = |status, response: &[(&str, &str)]| {
        let cache = ResponseCache::new(1 << 20, Duration::ZERO);
        let kept = answer(&cache, &[], status, response, b"{}");
        assert_eq!(kept, is_known(&cache, &[]));
        kept
    };
    assert!(kept(200, &[]));
    assert!(kept(200, &[("cache-control", "public")]));
    assert!(kept(200, &[("cache-control", "max-age=10")]));
    assert!(kept(404, &[("cache-control", "s-maxage=10")]));
    assert!(!kept(404, &[]), "a failure is good for as long as it says");
    assert!(!kept(500, &[("cache-control", "max-age=10")]));
    assert!(!kept(206, &[]));
    for directives in [
        "no-store",
        "Private",
        "NO-CACHE",
        "max-age=0",
        "max-age=10, Private",
        "max-age=soon",
        "no-cache=\"a\"",
        "private; no-store",
        "no-store;",
        "\"no-store\"",
        "max-age=10, no-store;",
        "max-age=10, private=\"a, b\"",
    ] {
        assert!(!kept(200, &[("cache-control", directives)]), "{directives}");
    }
    assert!(!kept(200, &[("cache-control", "pr\u{ef}vate")]), "who knows what that means");
    assert!(!kept(200, &[("pragma", "no-cache")]));
    assert!(!kept(200, &[("expires", "0")]));
    assert!(!kept(200, &[("set-cookie", "a=b"), ("cache-control", "public, max-age=10")]));
    assert!(!kept(200, &[("vary", "accept, *")]));
    assert!(!kept(200, &[("content-type", "Text/Event-Stream")]));
    assert!(!kept(200, &[("age", "60")]), "it is as old as it may get");
    for twice in ["max-age=600, max-age=0", "stale-while-revalidate=60; private", "x=1; no-store", "public=; private"] {
        assert!(!kept(200, &[("cache-control", twice)]), "{twice}");
    }
    assert!(!kept(200, &[("age", "1, 1")]) && !kept(200, &[("vary", "accept\u{a0}")]));
    assert!(!kept(200, &[("date", "Fri, 01 Jan 2021 00:00:00 GMT"), ("expires", "Fri, 01 Jan 2021 00:10:00 GMT")]));
    assert!(kept(200, &[("cache-control", "max-age=10, stale-if-error=5, Public")]));
}

#[test]
fn a_response_is_for_those_who_ask_the_same() {
    let cache = ResponseCache::new(1 << 20, Duration::ZERO);
    assert!(answer(&cache, &[("user-agent", "a")], 200, &[("vary", "User-Agent")], b"for a"));
    assert!(is_known(&cache, &[("user-agent", "a")]));
    assert!(!is_known(&cache, &[("user-agent", "b")]), "the backend says that it varies");
    assert!(!is_known(&cache, &[]));
    assert!(!is_known(&cache, &[("user-agent", "a"), ("accept", "text/html")]));
    assert!(!is_known(&cache, &[("user-agent", "a"), ("cache-control", "No-Cache")]), "whoever wants it anew gets it");
    assert_eq!((cache.hits.get(), cache.misses.get(), cache.stored.get()), (1, 4, 1));
}

#[test]
fn a_kept_response_says_how_old_it_is_and_nothing_of_its_connection() {
    let cache = ResponseCache::new(1 << 20, Duration::ZERO);
    let response = [
        ("content-type", "text/plain"),
        ("content-length", "2"),
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("x-envoy-upstream-service-time", "3"),
        ("etag", "W/\"1\""),
    ];
    assert!(answer(&cache, &[], 200, &response, b"ok"));
    let asked_again = asked(&[("if-none-match", "\"0\"")]);
    let kept = cache.get(&asked_again).unwrap();
    let message = kept.message(None, &asked_again, true);
    let mut names: Vec<_> = message.headers.iter().map(|(name, _)| name.to_owned()).collect();
    names.sort_unstable();
    assert_eq!(names, ["age", "content-type", "etag"]);
    assert_eq!((message.status(), message.body()), (200, Some(&b"ok"[..])));

    let known = asked(&[("if-none-match", "\"0\", \"1\"")]);
    let told = kept.message(None, &known, true);
    assert_eq!((told.status(), told.body(), told.headers.has("content-type")), (304, None, false));

    let edits = Edits {
        status: Some(203),
        headers: vec![("x-new".into(), vec![b"1".to_vec(), b"2".to_vec()]), ("content-type".into(), Vec::new())],
        body: Some(b"other".to_vec()),
        ..Edits::default()
    };
    let edited = kept.message(Some(Box::new(edits)), &known, true);
    assert_eq!((edited.status(), edited.body()), (203, Some(&b"other"[..])));
    assert_eq!(edited.headers.get("x-new").count(), 2);
    assert!(!edited.headers.has("content-type"));
}

#[test]
fn memory_is_bounded() {
    let cache = ResponseCache::new(1 << 20, Duration::ZERO);
    assert!(!answer(&cache, &[], 200, &[], &vec![0; 1 << 16]), "a sixteenth of all room");
    assert!(!answer(&cache, &[], 200, &[("content-length", "70000")], b""));
    for number in 0..200 {
        answer(&cache, &[("x-number", &number.to_string())], 200, &[], &vec![0; 32 << 10]);
    }
    assert!(cache.weight() <= 1 << 20, "{}", cache.weight());
    assert!(!cache.is_empty());

    // Those that are on their way are bounded together.
    let headers = fields(&[("content-type", "text/plain")]);
    let begin = || Copying::of(&cache, &asked(&[]), ResponseHead { status: 200, headers: &headers, ended: false });
    let mut copies = Vec::new();
    while let Some(copying) = begin().and_then(|copying| copying.with(&vec![0; 50 << 10])) {
        copies.push(copying);
        assert!(copies.len() < 100);
    }
    assert!(copies.len() > 10);
    copies.clear();
    assert!(begin().is_some(), "their room is given back");
}

#[test]
fn without_room_nothing_is_kept() {
    assert!(!answer(&ResponseCache::new(0, Duration::ZERO), &[], 200, &[], b"{}"));
}

#[test]
fn whatever_may_be_good_still_is_asked_for_by_what_names_it() {
    let date = "Fri, 01 Jan 2021 00:00:00 GMT";
    let asked_by = |response: &[(&str, &str)], request: &[(&str, &str)]| {
        let cache = ResponseCache::new(1 << 20, Duration::ZERO);
        assert!(answer(&cache, &[], 200, response, b"{}"));
        let stale = cache.stale(&asked(request))?;
        let (name, value) = stale.validator()?;
        Some((name, String::from_utf8(value.to_vec()).unwrap()))
    };
    let tag = |tag: &str| Some(("if-none-match", tag.to_owned()));
    assert_eq!(asked_by(&[("etag", "\"1\""), ("last-modified", date)], &[]), tag("\"1\""));
    assert_eq!(asked_by(&[("etag", "W/\"1\"")], &[("if-none-match", "\"2\"")]), tag("W/\"1\""));
    assert_eq!(asked_by(&[("last-modified", date)], &[]), Some(("if-modified-since", date.to_owned())));
    for not_one in ["1", "\"1", "\"1\", \"2\"", "\"a\"b\"", "\"\u{e9}\"", "W/1"] {
        assert_eq!(asked_by(&[("etag", not_one), ("last-modified", date)], &[]), None, "{not_one}");
    }
    assert_eq!(asked_by(&[("last-modified", "yesterday")], &[]), None);
    assert_eq!(asked_by(&[], &[]), None);
    assert_eq!(asked_by(&[("etag", "\"1\"")], &[("cache-control", "max-age=0")]), tag("\"1\""));
    for afresh in [("cache-control", "No-Cache"), ("pragma", "no-cache")] {
        assert_eq!(asked_by(&[("etag", "\"1\"")], &[afresh]), None);
    }
    assert_eq!(asked_by(&[("etag", "\"1\""), ("vary", "user-agent")], &[("user-agent", "b")]), None);
}

#[test]
fn what_is_good_still_is_as_the_backend_says_now() {
    let old = [
        ("etag", "\"1\""),
        ("date", "Fri, 01 Jan 2021 00:00:00 GMT"),
        ("cache-control", "max-age=9999999999"),
        ("x-old", "1"),
        ("x-both", "1"),
        ("content-type", "text/plain"),
    ];
    let renew = |said: &[(&str, &str)]| {
        let cache = ResponseCache::new(1 << 20, Duration::ZERO);
        assert!(answer(&cache, &[], 200, &old, b"body"));
        let stale = cache.stale(&asked(&[])).unwrap();
        let said = said.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let (renewed, is_kept) = cache.renew(&asked(&[]), &stale, &Head::of_response(304, said));
        assert_eq!(renewed.body, b"body");
        assert_eq!(cache.kept.get(&asked(&[]).key).is_some(), is_kept);
        let mut fields = renewed.head.fields().to_vec();
        fields.sort();
        let text = |(name, value): (String, Vec<u8>)| format!("{name}: {}", String::from_utf8(value).unwrap());
        (fields.into_iter().map(text).collect::<Vec<_>>(), is_kept, is_known(&cache, &[]))
    };
    let said =
        [("etag", "W/\"1\""), ("x-both", "2"), ("x-both", "3"), ("content-type", "x/y"), ("content-length", "9")];
    let (fields, is_kept, known) = renew(&said);
    let cache_control = "cache-control: max-age=9999999999";
    let expected = [cache_control, "content-type: text/plain", "etag: W/\"1\"", "x-both: 2", "x-both: 3", "x-old: 1"];
    assert_eq!((fields, is_kept, known), (expected.map(str::to_owned).to_vec(), true, true));
    // For this client it is answered, and forgotten then.
    for (name, value) in
        [("etag", "\"2\""), ("set-cookie", "a=b"), ("cache-control", "no-store"), ("vary", "*"), ("expires", "0, 0")]
    {
        let (fields, is_kept, known) = renew(&[(name, value)]);
        let is_dated = name == "expires";
        assert_eq!((is_kept, known), (is_dated, is_dated), "{name}");
        assert!(fields.contains(&format!("{name}: {value}")), "{fields:?}");
    }
}
