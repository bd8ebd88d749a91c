//! Request targets: what is left of them when they are normalised, and which templates that matches.

use std::sync::LazyLock;

use microgw_compiler::path::PathTemplate;
use microgw_compiler::path::normal::{ADMITTED, Version, normalise};
use regex::Regex;

use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "paths",
    run,
    reaches: &["refused", "nothing", "one spelling", "another spelling"],
    dictionary: &[
        "/", "//", "/../", "/..;/", "%2e", "%2E%2e", "\\", "%2f", "%5C", "%3b", ";", "%", "%%32", "%25", "%00",
        "%c3%a9", "%C3%A9", "é", "%E9", "%c0%af", "?", "#", "http://", "@me", "%40me", ":run", "%3Arun", "/a/",
        "/files/", " ",
    ],
    mutations: 3000,
};

static ADMITS: LazyLock<Regex> = LazyLock::new(|| full(ADMITTED));

/// Templates with their expressions, and those of their other spellings.
static TEMPLATES: LazyLock<Vec<(PathTemplate, Regex)>> = LazyLock::new(|| {
    let templates = ["/a/@me", "/a/{id}", "/a/{id}:run", "/a/é/{x}", "/a/v{x}.json", "/files/*", "/{x}@{y}/b", "/a|b"];
    let templates = templates.map(|text| PathTemplate::parse(text).expect("it is a template"));
    let all = templates.into_iter().flat_map(|template| [template.respelled(0), Some(template)]);
    all.flatten().map(|template| (template.clone(), full(&template.regex()))).collect()
});

fn full(regex: &str) -> Regex {
    Regex::new(&format!("^(?:{regex})$")).expect("it is an expression")
}

/// The target of a request line.
pub fn run(data: &[u8]) -> Reached {
    let data = data.get(..2000).unwrap_or(data);
    let over_http2 = normalise(data, Version::Http2);
    let Ok(normal) = normalise(data, Version::Http1).or(over_http2) else { return "refused" };
    let path = normal.path.as_str();
    assert!(ADMITS.is_match(&normal.to_string()), "{normal}");
    assert_eq!(normalise(normal.to_string().as_bytes(), Version::Http1).as_ref(), Ok(&normal));
    assert!(!path.contains("//"), "{path}");
    // However often it is decoded, at first it names the same segments.
    let decoded = decoded(path);
    assert_eq!(decoded.matches(['/', '\\']).count(), path.matches('/').count(), "{path}");
    assert!(decoded.split('/').all(|segment| segment != "." && segment != ".."), "{path}");
    assert_eq!(decoded.contains(';'), path.contains(';'), "{path}");
    if let Some(query) = &normal.query {
        let at = data.iter().position(|byte| *byte == b'?').expect("the query comes from somewhere");
        assert_eq!(query.as_bytes(), &data[at + 1..]);
    }
    for (template, regex) in TEMPLATES.iter() {
        assert_eq!(template.matches(path), regex.is_match(path), "{path} and {template}: {regex}");
    }
    let matching = |template: &&PathTemplate| template.matches(path);
    let mut found: Vec<&PathTemplate> = TEMPLATES.iter().map(|(template, _)| template).filter(matching).collect();
    found.sort_by(|a, b| a.precedence(b));
    match found.first() {
        None => "nothing",
        Some(first) if *first == &PathTemplate::parse(first.as_str()).expect("as before") => "one spelling",
        Some(_) => "another spelling",
    }
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut parts = path.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).expect("an escape is whole"));
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).expect("what is encoded is UTF-8")
}
