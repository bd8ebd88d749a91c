//! Tokens as they arrive. What nobody signed must never pass.

use std::collections::HashMap;
use std::sync::LazyLock;

use microgw_proto::rules::v1::api_key::Location;
use serde_json::json;

use crate::credentials::{IDP, NEVER, US, access_token, api_key, book, decide, key_in, oauth2, rule};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "token",
    run,
    reaches: &["no text", "refused", "accepted"],
    dictionary: &[".", "..", "=", "-", "_", "eyJ", "AA", "Bearer ", " ", ",", "%2e", "eyJhbGciOiJub25lIn0"],
    mutations: 3000,
};

/// An access token that passes. Signing is deterministic: the corpus has it and its relatives.
static ACCESS: LazyLock<String> =
    LazyLock::new(|| access_token(&json!({ "iss": IDP, "sub": "alice", "exp": NEVER, "scope": "read" })));
/// An API key that passes. Another one each time: here for what is mutated in place.
static KEY: LazyLock<String> = LazyLock::new(|| api_key(&json!({ "iss": US, "sub": "alice", "exp": NEVER })));

/// The token, or `+` and what is done to one that passes: offset, byte, again and again.
pub fn run(data: &[u8]) -> Reached {
    match data.split_first() {
        Some((b'+', edits)) => {
            let access = judge(edited(&ACCESS, edits));
            let key = judge(edited(&KEY, edits));
            if access == "accepted" { access } else { key }
        }
        _ => judge(data.to_vec()),
    }
}

fn edited(token: &str, edits: &[u8]) -> Vec<u8> {
    let mut token = token.as_bytes().to_vec();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % token.len();
        token[at] = edit[2];
    }
    token
}

fn judge(token: Vec<u8>) -> Reached {
    let Ok(token) = String::from_utf8(token) else { return "no text" };
    let bearer = HashMap::from([("authorization".to_owned(), format!("Bearer {token}"))]);
    let key = HashMap::from([("x-key".to_owned(), token.clone())]);
    let of_tokens = rule(&book(vec![vec![oauth2(&[], false)]]));
    let of_keys = rule(&book(vec![vec![key_in(Location::Header, "x-key")]]));
    // As it is, under each kind of rule: neither passes for the other.
    let as_token = decide(&of_tokens, "/v2/pet/1", &bearer).is_some();
    let as_key = decide(&of_keys, "/v2/pet/1", &key).is_some();
    // A space before the token is the scheme's own.
    assert!(!as_token || is_signed(token.trim_start_matches(' '), &ACCESS), "a forged token passed: {token}");
    assert!(!as_key || is_signed(&token, &KEY), "a forged key passed: {token}");
    if as_token || as_key { "accepted" } else { "refused" }
}

/// Says what was signed. ECDSA knows several signatures of one text: all of them prove it.
fn is_signed(token: &str, signed: &str) -> bool {
    let said = |token: &str| token.rsplit_once('.').map(|(said, _)| said.to_owned());
    said(token) == said(signed)
}
