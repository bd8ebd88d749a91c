//! What authorization servers say of tokens. Whoever is not said to be active, in so many words and once, stands for nobody.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use microgw_engine::{Exchange, Introspection, Lookup, RequestHead, Rule, Step, UnixTime};
use microgw_proto::rules::v1 as proto;
use serde_json::Value;

use crate::credentials::{Forgetful, NOW, book, oauth2};
use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "introspection",
    run,
    reaches: &["no answer", "inactive", "active", "another audience"],
    dictionary: &[
        "\"active\":true",
        "\"active\":false",
        "\"aud\":[\"pets\"]",
        "\"aud\":\"pets\"",
        "\"exp\":",
        "\"nbf\":1e300",
        "\"cnf\":{\"jkt\":",
        "\"scope\":",
        "\"token_type\":\"refresh_token\"",
        "\"sub\":",
        "\"jti\":",
        "null",
        "[[[[",
    ],
    mutations: 3000,
};

/// Reads as the gateway does, for the audience `pets`.
static READER: LazyLock<Arc<Introspection>> = LazyLock::new(|| {
    let mut book = book(vec![vec![oauth2(&[], false)]]);
    book.introspection = Some(proto::Introspection {
        audiences: vec!["pets".to_owned()],
        remember_milliseconds: 60_000,
        ..proto::Introspection::default()
    });
    let rule = Rule::load(&book).unwrap().remove(0).1;
    let headers = HashMap::from([("authorization".to_owned(), "Bearer opaque".to_owned())]);
    let step = Exchange::new(&rule, &Forgetful, UnixTime(NOW)).on_request_head(RequestHead {
        method: "GET",
        scheme: "https",
        authority: "api.example",
        path: "/v2/pet/1",
        headers: &headers,
        certificate: None,
        peer: "",
        has_body: None,
    });
    let Step::Ask(Lookup::Introspection { reader, .. }) = step else { panic!("nobody is asked") };
    reader
});

pub fn run(data: &[u8]) -> Reached {
    let read = READER.read(data);
    // serde takes the last of two members with one name, and so may not say more than is held against it.
    let Ok(Value::Object(said)) = serde_json::from_slice::<Value>(data) else {
        assert!(read.is_err(), "what is no object stands for somebody");
        return "no answer";
    };
    let active = said.get("active") == Some(&Value::Bool(true));
    let meant = match said.get("aud") {
        Some(Value::String(audience)) => audience == "pets",
        Some(Value::Array(audiences)) => audiences.iter().any(|audience| audience == "pets"),
        _ => false,
    };
    match read {
        Ok(identity) => {
            assert!(active && meant, "{said:?}");
            let subject = said.get("sub").or_else(|| said.get("username"));
            assert_eq!(identity.subject(), subject.and_then(Value::as_str), "{said:?}");
            "active"
        }
        Err(_) if !active => "inactive",
        Err(_) if !meant => "another audience",
        Err(_) => "no answer",
    }
}
