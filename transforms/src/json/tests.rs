use proptest::prelude::*;

use super::*;

/// Any JSON, small.
pub(crate) fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?".prop_map(|text| Json::Number(text.into())),
        any::<String>().prop_map(Json::Text),
        "[a-c ]{0,3}".prop_map(Json::Text),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let name = prop_oneof!["[a-d]", any::<String>()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
            prop::collection::vec((name, inner), 0..5).prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

fn serde(text: &str) -> Option<serde_json::Value> {
    serde_json::from_str(text).ok()
}

proptest! {
    #[test]
    fn is_read_as_it_was_written(json in any_json()) {
        let text = json.write().unwrap();
        prop_assert_eq!(&Json::read(text.as_bytes()).unwrap(), &json);
        prop_assert!(serde(&text).is_some() || text.contains(['e', 'E']), "{}", text);
        prop_assert!(json.size() + 1 >= text.len() || text.contains('\\'));
    }

    #[test]
    fn is_taken_for_json_by_others(text in "[\\[\\]{}:,\"a\\\\u0-9eE+.tfn \\-]{0,12}") {
        let ours = Json::read(text.as_bytes());
        let theirs = serde(&text);
        match (&ours, &theirs) {
            (Ok(_), Some(_)) | (Err(_), None) => {}
            // A number that a double does not hold.
            (Ok(_), None) => prop_assert!(text.contains(['e', 'E']), "{}", text),
            // A member that is repeated.
            (Err(_), Some(_)) => prop_assert!(text.matches(':').count() > 1, "{}", text),
        }
    }

    #[test]
    fn never_panics(bytes in any::<Vec<u8>>()) {
        let _ = Json::read(&bytes);
    }
}

#[test]
fn digits_and_order_stay() {
    for text in [
        r#"{"z":1.10,"a":12345678901234567890123,"m":1e400,"b":-0.0,"c":0.1000}"#,
        r#"[1,-2.5,null,true,false,"",{},[]]"#,
        r#""\"\\\n\r\t\u0001é😀""#,
    ] {
        assert_eq!(Json::read(text.as_bytes()).unwrap().write().unwrap(), text);
    }
    assert_eq!(Json::read(br#""\ud83d\ude00\u00e9\/""#), Ok(Json::Text("\u{1f600}\u{e9}/".to_owned())));
    assert_eq!(Json::read(b" \n{ } \t").unwrap().write().unwrap(), "{}");
}

#[test]
fn what_is_no_json() {
    for text in [
        "",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "NaN",
        "nul",
        "true1",
        "\"\n\"",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\\u00g0\"",
        "\"\\u+123\"",
        "{} {}",
        "\u{feff}{}",
        "[1 2]",
        "{\"a\":1,\"a\":2}",
        "{\"a\":{\"b\":1,\"\\u0062\":1}}",
    ] {
        assert_eq!(Json::read(text.as_bytes()), Err(NoJson), "{text}");
    }
    assert_eq!(Json::read(b"\"\xff\""), Err(NoJson));
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Json::read(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert!(Json::read(nested(MAX_DEPTH + 1).as_bytes()).is_err());
    assert!(Json::read("[".repeat(1_000_000).as_bytes()).is_err());
    assert!(Json::read(format!("[{}1]", "1,".repeat(MAX_VALUES)).as_bytes()).is_err());
}
