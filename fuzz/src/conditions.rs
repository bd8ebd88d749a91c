//! Expressions and conditions: none takes the engine down, and no way of writing a header or a query gets past a refusal.

use std::collections::HashMap;
use std::sync::Arc;

use microgw_engine::Rule;
use microgw_proto::limits::v1 as limits;
use microgw_proto::limits::v1::condition::Kind;
use microgw_proto::rules::v1 as proto;

use crate::credentials::decide;
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "conditions",
    run,
    reaches: &["no text", "no expression", "denied", "allowed"],
    dictionary: &[
        "request.headers['x-kind']",
        "request.query.kind",
        "request.path",
        "caller.claims.a",
        "caller.scopes",
        "client.ip",
        "api.version",
        "operation",
        ".all(x, x != 'a')",
        ".exists(x, x == 'bad')",
        ".map(x, x)",
        ".matches('^a+$')",
        "has(request.query.kind)",
        " in ",
        " == ",
        " && ",
        " || ",
        " ? ",
        " : ",
        " + ",
        "size(",
        "int(",
        "'\\u0000'",
        "1e300",
        "[0]",
        "bad",
        "good",
        ",",
        ", ",
        "\n",
        "kind=bad&",
        "kin%64=",
        "%FF",
    ],
    mutations: 3000,
};

/// An expression, a header and a query, on a line each.
pub fn run(data: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(data) else { return "no text" };
    let mut lines = text.splitn(3, '\n');
    let [expression, header, query] = [(); 3].map(|()| lines.next().unwrap_or_default());
    let path = format!("/v2?{}", query.chars().take(1000).collect::<String>());
    let headers = HashMap::from([("x-kind".to_owned(), header.chars().take(1000).collect::<String>())]);
    let denied = &|condition: Kind| load(condition).map(|rule| decide(&rule, &path, &headers).is_none());

    // By the letter: whoever says it anywhere is refused; whoever says anything else is refused by the opposite.
    let members: Vec<&str> = headers.values().flat_map(|header| header.split(',')).map(str::trim).collect();
    judge("x-kind", Kind::Header, &members, denied);
    let values: Vec<String> = form(path.split_once('?').map_or("", |(_, query)| query));
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    judge("kind", Kind::Query, &values, denied);

    match denied(Kind::Expression(expression.to_owned())) {
        None => "no expression",
        Some(true) => "denied",
        Some(false) => "allowed",
    }
}

fn judge(name: &str, kind: fn(limits::Text) -> Kind, values: &[&str], denied: impl Fn(Kind) -> Option<bool>) {
    let text = || limits::Text { name: name.into(), value: Some(limits::text::Value::Equals("bad".into())) };
    assert_eq!(denied(kind(text())), Some(values.contains(&"bad")), "{values:?}");
    let opposite = denied(Kind::Not(Box::new(limits::Condition { kind: Some(kind(text())) })));
    let says_nothing_else = !values.is_empty() && values.iter().all(|value| *value == "bad");
    assert!(opposite == Some(true) || says_nothing_else, "{values:?}");
}

/// Values of `kind`, byte by byte.
fn form(query: &str) -> Vec<String> {
    let decoded = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, after @ ..] = rest {
            let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
            let hex = hex.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%');
            bytes.push(byte.unwrap_or(if *first == b'+' { b' ' } else { *first }));
            rest = if byte.is_some() { &after[2..] } else { after };
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(key, _)| decoded(key) == "kind").map(|(_, value)| decoded(value)).collect()
}

/// A public operation that refuses what the condition holds of.
fn load(kind: Kind) -> Option<Arc<Rule>> {
    let when = Some(limits::Condition { kind: Some(kind) });
    let deny = limits::DenyPolicy { name: "Deny".into(), when, ..Default::default() };
    let book = proto::RuleBook {
        apis: vec![proto::Api {
            name: "shop".into(),
            version: "1.0".into(),
            base_path: "/v2".into(),
            ..Default::default()
        }],
        policies: vec![proto::Policy {
            public: true,
            credential_header: "authorization".into(),
            production: true,
            ..Default::default()
        }],
        rules: vec![proto::Rule { id: vec![1; 16], method: "GET".into(), path: "/v2".into(), ..Default::default() }],
        tiers: Some(limits::Tiers { deny: vec![deny], ..Default::default() }),
        ..Default::default()
    };
    Some(Arc::clone(&Rule::load(&book).ok()?.first()?.1))
}
