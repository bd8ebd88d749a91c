//! API keys in the query: which one counts, and what is left of the path.

use std::collections::HashMap;
use std::sync::LazyLock;

use microgw_proto::rules::v1::api_key::Location;
use serde_json::json;

use crate::credentials::{NEVER, US, api_key, book, decide, key_in, rule};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "query",
    run,
    reaches: &["no text", "refused", "cut"],
    dictionary: &[
        "$KEY",
        "?",
        "&",
        "=",
        "api_key",
        "api_key=$KEY",
        "&api_key=$KEY",
        "api%5Fkey=$KEY",
        "api%5fkey",
        "+",
        "%",
        "%2",
        "%00",
        "%ff",
        "%zz",
        "%26",
        "%3D",
        "#",
        ";",
        "é",
        "/",
        "API_KEY=",
        "k+y=$KEY",
        "k%20y=1",
    ],
    mutations: 3000,
};

static KEY: LazyLock<String> = LazyLock::new(|| api_key(&json!({ "iss": US, "sub": "alice", "exp": NEVER })));

/// Parameters that a key is looked for in.
const NAMES: [&str; 2] = ["api_key", "k y"];

/// The path with its query; `$KEY` stands for a key that passes.
pub fn run(data: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(data) else { return "no text" };
    // What the engine costs grows with the path, which Envoy bounds.
    let path = text.chars().take(2000).collect::<String>().replace("$KEY", &KEY);
    let rule = rule(&book(NAMES.map(|name| vec![key_in(Location::Query, name)]).into()));
    let decision = decide(&rule, &path, &HashMap::new());

    let (before, query) = path.split_once('?').map_or((&*path, None), |(before, query)| (before, Some(query)));
    let pairs: Vec<&str> = query.map(|query| query.split('&').collect()).unwrap_or_default();
    let name_of = |pair: &&str| decoded(pair.split('=').next().unwrap_or_default());
    let carries = |wanted: &str| {
        let own: Vec<&&str> = pairs.iter().filter(|pair| name_of(pair).as_deref() == Some(wanted.as_bytes())).collect();
        matches!(own[..], [pair] if pair.split_once('=').and_then(|(_, value)| decoded(value)).as_deref() == Some(KEY.as_bytes()))
    };
    let passes = NAMES.iter().any(|name| carries(name));
    assert_eq!(decision.is_some(), passes, "{path}");
    let Some(cut) = decision else { return "refused" };

    let is_key = |pair: &&&str| NAMES.iter().any(|name| name_of(pair).as_deref() == Some(name.as_bytes()));
    let kept: Vec<&str> = pairs.iter().filter(|pair| !is_key(pair)).copied().collect();
    let expected = if kept.is_empty() { before.to_owned() } else { format!("{before}?{}", kept.join("&")) };
    assert_eq!(cut, Some(expected));
    "cut"
}

/// By the letter of the form encoding, byte by byte.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        match (bytes[at], hex) {
            (b'%', Some(hex)) => {
                out.push(u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap());
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    std::str::from_utf8(&out).is_ok().then_some(out)
}
