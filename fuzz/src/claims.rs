//! Headers and claims that their issuer did sign: what passes must say everything that is asked for, as a naive reader
//! sees it.

use std::collections::HashMap;

use serde_json::Value;

use crate::credentials::{IDP, NOW, book, decide, oauth2, rule, sign};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "claims",
    run,
    reaches: &["refused", "accepted"],
    dictionary: &[
        "\"alg\":\"EdDSA\"",
        "\"alg\":\"none\"",
        "\"kid\":\"ed\"",
        "\"typ\":\"at+jwt\"",
        "\"typ\":\"JWT\"",
        "\"typ\":\"apikey+jwt\"",
        "\"crit\":[\"exp\"]",
        "\"b64\":false",
        "\"iss\":\"https://idp.example/\"",
        "\"exp\":4102444800",
        "\"exp\":1e999",
        "\"exp\":-1",
        "\"exp\":1.7e9",
        "\"exp\":\"4102444800\"",
        "\"nbf\":",
        "\"iat\":",
        "\"aud\":[]",
        "\"aud\":\"x\"",
        "\"scope\":\"read\"",
        "\"scope\":[\"read\"]",
        "\"scope\":\"a read\"",
        "\"keytype\":\"SANDBOX\"",
        "\"sub\":",
        "\\u0069ss",
        ",",
        "{",
        "}",
        "[[[[[[[[[[[[[[[[[",
        "null",
        "1700000000",
        "1e400",
        "18446744073709551616",
        "9007199254740993",
        "\n",
    ],
    mutations: 3000,
};

/// The header in the first line, the claims in the rest.
pub fn run(data: &[u8]) -> Reached {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, claims) = data.split_at(end);
    let claims = claims.get(1..).unwrap_or_default();
    let token = sign(header, claims);
    let rule = rule(&book(vec![vec![oauth2(&["read"], false)]]));
    let headers = HashMap::from([("authorization".to_owned(), format!("Bearer {token}"))]);
    if decide(&rule, "/v2/pet/1", &headers).is_none() {
        return "refused";
    }
    let header: Value = serde_json::from_slice(header).expect("a header that is no JSON passed");
    let claims: Value = serde_json::from_slice(claims).expect("claims that are no JSON passed");
    assert_eq!(header["alg"], "EdDSA");
    assert!(header.get("crit").is_none() && header.get("b64").is_none(), "an extension passed");
    assert!(header.get("kid").is_none_or(|kid| kid == "ed"), "another key's token passed");
    assert_eq!(claims["iss"], IDP);
    let date = |name: &str| claims.get(name).map(|date| date.as_f64().expect("a date that is no number passed"));
    #[allow(clippy::cast_precision_loss)] // dates of this century are exact
    let now = NOW as f64;
    assert!(date("exp").expect("a token without end passed") > now, "an expired token passed");
    assert!(date("nbf").is_none_or(|begins| begins <= now), "a token passed before its time");
    let scopes = match &claims["scope"] {
        Value::String(scopes) => scopes.split(' ').map(str::to_owned).collect(),
        Value::Array(scopes) => scopes.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => vec![],
    };
    assert!(scopes.iter().any(|scope| scope == "read"), "a token without the scope passed");
    "accepted"
}
