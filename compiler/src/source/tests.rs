use proptest::prelude::*;

use super::{Content, Document, MAX_DEPTH, Value};
use crate::diagnostic::{Code, Diagnostic, LineColumn};

fn parse(file: &str, text: &str) -> Result<Document, Vec<Diagnostic>> {
    Document::parse(file, 0, text.as_bytes().to_vec())
}

fn code_of(file: &str, text: &str) -> Code {
    parse(file, text).err().map(|diagnostics| diagnostics[0].code).expect("it parsed")
}

/// The tree as serde_json has it.
fn to_json(value: Value<'_>) -> serde_json::Value {
    match value.content() {
        Content::Null => serde_json::Value::Null,
        Content::Bool(boolean) => boolean.into(),
        Content::Number(number) => serde_json::from_str(number).unwrap_or_else(|_| number.into()),
        Content::Text(text) => text.into(),
        Content::List => value.items().map(to_json).collect(),
        Content::Map => value.entries().map(|(key, value)| (key.text().to_owned(), to_json(value))).collect(),
    }
}

#[test]
fn json_and_yaml_have_one_shape() {
    let json = r#"{"a": [1, -2.5e3, true, null, "x\n\u00e9\ud83d\ude00\/"], "b": {"": {}, "c": []}, "d": "é"}"#;
    let yaml =
        "a:\n  - 1\n  - -2.5e3\n  - true\n  -\n  - \"x\\n\\u00e9\\ud83d\\ude00/\"\nb:\n  '': {}\n  c: []\nd: é\n";
    let expected: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(to_json(parse("a.json", json).unwrap().root()), expected);
    assert_eq!(to_json(parse("a.yaml", yaml).unwrap().root()), expected);
    // JSON in a `.yaml`, and YAML's flow style that only looks like it.
    assert_eq!(to_json(parse("a.yaml", json).unwrap().root()), expected);
    assert_eq!(to_json(parse("a.yaml", "{a: 1}").unwrap().root()), serde_json::json!({"a": 1}));
}

#[test]
fn plain_scalars_have_the_types_of_yaml_1_2() {
    let document = parse(
        "a.yaml",
        "[~, null, '', True, yes, on, 0x1F, 0o17, 1_000, +1, .5, .inf, 1e3, 12:30, !!str 1, -x, nan, e5, 200]",
    );
    let types: Vec<&str> = document.unwrap().root().items().map(Value::type_name).collect();
    let (nothing, boolean, number, text) = ("nothing", "a boolean", "a number", "text");
    assert_eq!(
        types,
        [
            nothing, nothing, text, boolean, text, text, number, number, text, number, number, number, number, text,
            text, text, text, text, number
        ]
    );
}

#[test]
fn positions_are_in_characters() {
    for (file, text) in [("a.yaml", "\u{feff}é: [ü, 'ä b']\nx: 1\n"), ("a.json", "\u{feff}{\"é\": [\"ü\",\n \"ä\"]}")]
    {
        let document = parse(file, text).unwrap();
        let places: Vec<String> = document.values().skip(1).map(|value| value.place().to_string()).collect();
        insta::assert_debug_snapshot!(format!("positions_{}", file.replace('.', "_")), places);
    }
}

#[test]
fn columns_in_one_long_line() {
    let text = format!("{{\"{}\": 1, \"k\": 2}}", "é".repeat(5000));
    let document = parse("a.json", &text).unwrap();
    let (key, _) = document.root().entry("k").unwrap();
    assert_eq!(key.place().start, LineColumn { line: 1, column: 5009 });
}

#[test]
fn merge_keys_are_expanded() {
    let document = parse(
        "a.yaml",
        "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\none: {<<: *base, b: 5}\ntwo:\n  <<: [*base, *more]\n  d: {<<: *more}\n",
    )
    .unwrap();
    let expected = serde_json::json!({
        "base": {"a": 1, "b": 2}, "more": {"b": 3, "c": 4}, "one": {"a": 1, "b": 5},
        "two": {"a": 1, "b": 2, "c": 4, "d": {"b": 3, "c": 4}},
    });
    assert_eq!(to_json(document.root()), expected);
    assert_eq!(code_of("a.yaml", "a: {<<: 1}"), Code::Syntax);
    assert_eq!(code_of("a.yaml", "a: {<<: [1]}"), Code::Syntax);
}

#[test]
fn budgets() {
    let bomb = (1..12).fold("l0: &l0 [x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let below = format!("*l{}, ", level - 1).repeat(8);
        format!("{text}l{level}: &l{level} [{below}]\n")
    });
    assert_eq!(code_of("a.yaml", &bomb), Code::InputBudget);
    let ladder = (1..300)
        .fold("l0: &l0 [x]\n".to_owned(), |text, level| format!("{text}l{level}: &l{level} [*l{}]\n", level - 1));
    assert_eq!(code_of("a.yaml", &ladder), Code::InputBudget);
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(code_of("a.json", &deep(MAX_DEPTH + 1)), Code::InputBudget);
    assert!(parse("a.json", &deep(MAX_DEPTH)).is_ok());
    assert!(parse("a.yaml", &deep(MAX_DEPTH + 1)).is_err());
    assert!(parse("a.yaml", &deep(1_000_000)).is_err());
    let block = (0..1000).fold(String::new(), |text, depth| text + &" ".repeat(depth) + "a:\n");
    assert!(parse("a.yaml", &block).is_err());
}

#[test]
fn json_is_strict() {
    let bad = [
        "",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "[01]",
        "[1.]",
        "[.5]",
        "[+1]",
        "[1e]",
        "[tru]",
        "[\"\t\"]",
        "[\"\\x\"]",
        "[\"\\ud800\"]",
        "[\"\\ud800\\u0041\"]",
        "[\"\\u12\"]",
        "[\"a]",
        "[1] 2",
        "'a'",
        "[\"\\",
        "\"\\\"",
        "[1 2]",
        "// x\n[]",
    ];
    for text in bad {
        assert_eq!(code_of("a.json", text), Code::Syntax, "{text}");
    }
}

#[test]
fn text_that_is_none() {
    assert_eq!(Document::parse("a.json", 0, b"{\"a\": \"\xff\"}".to_vec()).err().unwrap()[0].code, Code::NotText);
    assert_eq!(Document::parse("a.yaml", 0, b"\xff\xfea\0".to_vec()).err().unwrap()[0].code, Code::NotText);
    assert_eq!(to_json(parse("a.yaml", "").unwrap().root()), serde_json::Value::Null);
    assert_eq!(to_json(parse("a.yaml", "# nothing\n").unwrap().root()), serde_json::Value::Null);
}

#[test]
fn pointers() {
    let document = parse("a.json", r#"{"a/b": {"c~d": [1, {"": 2}]}}"#).unwrap();
    let mut wide = super::Wide::default();
    let mut at = |pointer: &str| document.root().resolve(pointer, &mut wide).map(to_json);
    assert_eq!(at("/a~1b/c~0d/1/"), Some(serde_json::json!(2)));
    assert!(at("").is_some());
    for nowhere in ["/a", "a", "/a~1b/c~0d/2", "/a~1b/c~0d/x", "/a~1b/c~0d/0/x"] {
        assert_eq!(at(nowhere), None, "{nowhere}");
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::btree_map("[^\0]{0,6}", inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Text that is often nearly YAML.
fn nearly_yaml() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", ": ", "- ", "\n", "  ", "&x ", "*x", "<<: ", "{", "}", "[", "]", ", ", "'", "\"", "|\n", ">-\n", "!!str ",
        "é", "#", "---\n", "? ", "\t", "%", "\\u", "...",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_is_read_as_serde_json_reads_it(value in any_json()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            prop_assert_eq!(to_json(parse("a.json", &text).unwrap().root()), value.clone());
        }
    }

    #[test]
    fn whatever_serde_json_refuses_is_refused(text in r#"[\[\]{}",:0-9a-z\\ .eE+-]{0,12}"#) {
        if parse("a.json", &text).is_ok() {
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for file in ["a.json", "a.yaml"] {
            let _ = Document::parse(file, 0, bytes.clone());
        }
    }

    #[test]
    fn nothing_like_yaml_panics(text in nearly_yaml()) {
        match parse("a.yaml", &text) {
            Ok(document) => document.values().for_each(|value| { let _ = (value.place(), to_json(value)); }),
            Err(diagnostics) => prop_assert!(!diagnostics.is_empty()),
        }
    }
}
