use proptest::prelude::*;
use proto::parameter::Location;
use serde_json::json;

use super::*;
use crate::fixtures::{compile, head, parameter, told};

const NONE: [String; 0] = [];

fn check(declared: proto::Parameter, schema: serde_json::Value, path: &str) -> Vec<String> {
    let template = if declared.location() == Location::Path { "/{p}" } else { "/" };
    let contract = proto::Contract { parameters: vec![declared], ..proto::Contract::default() };
    told(&head(&compile(template, &[schema], &contract), path, &[]))
}

fn styled(location: Location, style: proto::Style, explode: bool) -> proto::Parameter {
    proto::Parameter { style: style.into(), explode, ..parameter(location, "p", 1) }
}

#[test]
fn every_style_of_a_list() {
    use proto::Style as S;
    let exactly = json!({"type": "array", "items": {"type": "integer"}, "const": [1, 2, 3]});
    for (location, style, explode, path) in [
        (Location::Path, S::Simple, false, "/1,2,3"),
        (Location::Path, S::Simple, true, "/1,2,3"),
        (Location::Path, S::Label, false, "/.1,2,3"),
        (Location::Path, S::Label, true, "/.1.2.3"),
        (Location::Path, S::Matrix, false, "/;p=1,2,3"),
        (Location::Path, S::Matrix, true, "/;p=1;p=2;p=3"),
        (Location::Query, S::Form, true, "/?p=1&p=2&x=9&p=3"),
        (Location::Query, S::Form, false, "/?p=1,2,3"),
        (Location::Query, S::Form, false, "/?p=%31,2,3"),
        (Location::Query, S::Space, false, "/?p=1%202+3"),
        (Location::Query, S::Pipe, false, "/?p=1|2%7C3"),
        (Location::Query, S::Tab, false, "/?p=1%092%093"),
        (Location::Query, S::Space, true, "/?p=1&p=2&p=3"),
        (Location::Query, S::Pipe, true, "/?p=1&p=2&p=3"),
    ] {
        assert_eq!(check(styled(location, style, explode), exactly.clone(), path), NONE, "{path}");
    }
    // A comma that is encoded is none that divides.
    let text = json!({"type": "array", "items": {"type": "string"}, "const": ["1,2", "3"]});
    assert_eq!(check(styled(Location::Query, S::Form, false), text, "/?p=1%2C2,3"), NONE);
    let integers = json!({"type": "array", "items": {"type": "integer"}});
    assert_eq!(check(styled(Location::Query, S::Form, true), integers.clone(), "/?p=1,2").len(), 1);
    assert_eq!(
        check(styled(Location::Query, S::Form, false), integers, "/?p=1&p=2"),
        ["query p: is given more than once"]
    );
}

#[test]
fn every_style_of_an_object() {
    use proto::Style as S;
    let exactly = json!({
        "type": "object", "properties": {"r": {"type": "integer"}, "n": {"type": "string"}}, "const": {"r": 1, "n": "2"},
    });
    for (location, style, explode, path) in [
        (Location::Path, S::Simple, false, "/r,1,n,2"),
        (Location::Path, S::Simple, true, "/r=1,n=2"),
        (Location::Path, S::Label, false, "/.r,1,n,2"),
        (Location::Path, S::Label, true, "/.r=1.n=2"),
        (Location::Path, S::Matrix, false, "/;p=r,1,n,2"),
        (Location::Path, S::Matrix, true, "/;r=1;n=2"),
        (Location::Query, S::Form, false, "/?p=r,1,n,2"),
        (Location::Query, S::Form, true, "/?r=1&n=2&other=3"),
        (Location::Query, S::Space, false, "/?p=r%201%20n%202"),
        (Location::Query, S::Pipe, false, "/?p=r|1|n|2"),
        (Location::Query, S::DeepObject, true, "/?p[r]=1&p%5Bn%5D=2"),
    ] {
        assert_eq!(check(styled(location, style, explode), exactly.clone(), path), NONE, "{path}");
    }
    let deep = |path: &str| check(styled(Location::Query, S::DeepObject, true), exactly.clone(), path);
    assert_eq!(deep("/?p[r]=1&p[r]=2"), ["query p: is given more than once"]);
    assert_eq!(deep("/?p[r"), ["query p: is not written as it must be"]);
    assert_eq!(deep("/?p[r]=1&p[r][x]=2"), ["query p: has a property twice"]);
    for other in [
        "p",
        "p=1",
        "p[r]=1&p=1",
        "p=&p[r]=1",
        "p[]=1",
        "p[r][]=1",
        "p%5B%5D=1",
        "p[][r]=1",
        "p[r]x=1",
        "p[r]]=1",
        "%70=1",
    ] {
        assert_eq!(deep(&format!("/?{other}")), ["query p: is not written as it must be"], "{other}");
    }
    assert!(deep("/?p[r][x]=1&p[n]=2").contains(&"query p/r: must be a whole number".to_owned()));
    assert_eq!(deep("/?p[a][b][c][d][e][f][g][h][i]=1"), ["query p: is not written as it must be"]);
    assert_eq!(
        check(styled(Location::Path, S::Simple, false), exactly.clone(), "/r,1,n"),
        ["path p: is not written as it must be"]
    );
    assert_eq!(check(styled(Location::Path, S::Simple, false), exactly, "/r,1,r,2"), ["path p: has a property twice"]);
    let nested = json!({"type": "object", "properties": {
        "a": {"type": "object", "properties": {"b": {"type": "integer"}}}, "l": {"type": "array", "items": {"type": "integer"}},
    }, "const": {"a": {"b": 1}, "l": [1, 2]}});
    let path = "/?p[a][b]=1&p[l]=1&p[l][]=2";
    assert_eq!(check(styled(Location::Query, S::DeepObject, true), nested, path), NONE);
}

#[test]
fn what_is_empty_and_what_is_json() {
    let integer = json!({"type": "integer"});
    let empty = proto::Parameter { allow_empty: true, ..parameter(Location::Query, "p", 1) };
    for path in ["/?p=", "/?p", "/?p=5", "/"] {
        assert_eq!(check(empty.clone(), integer.clone(), path), NONE, "{path}");
    }
    assert_eq!(check(empty, integer.clone(), "/?p=x").len(), 1);
    assert_eq!(check(parameter(Location::Query, "p", 1), integer, "/?p=").len(), 1);
    let json = proto::Parameter { json: true, ..parameter(Location::Query, "p", 1) };
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    assert_eq!(check(json.clone(), schema.clone(), "/?p=%7B%22a%22:1%7D"), NONE);
    assert_eq!(check(json.clone(), schema.clone(), "/?p={\"a\":\"x\"}"), ["query p/a: must be a whole number"]);
    assert_eq!(check(json.clone(), schema.clone(), "/?p={"), ["query p: is no JSON, or none that can be taken"]);
    let nested = format!("/?p={}", "[".repeat(100_000));
    assert_eq!(check(json, schema, &nested), ["query p: is no JSON, or none that can be taken"]);
}

#[test]
fn a_value_that_may_be_of_several_types_is_any_of_them() {
    let either = json!({"oneOf": [{"type": "integer", "maximum": 5}, {"type": "string", "pattern": "^x"}]});
    let p = || parameter(Location::Query, "p", 1);
    assert_eq!(check(p(), either.clone(), "/?p=5"), NONE);
    assert_eq!(check(p(), either.clone(), "/?p=xy"), NONE);
    assert_eq!(check(p(), either.clone(), "/?p=6").len(), 1);
    assert_eq!(check(p(), either, "/?p=y").len(), 1);
    let one_or_many = json!({"anyOf": [{"type": "string", "maxLength": 1}, {"type": "array", "items": {"type": "string", "maxLength": 1}}]});
    assert_eq!(check(p(), one_or_many.clone(), "/?p=a"), NONE);
    assert_eq!(check(p(), one_or_many.clone(), "/?p=a&p=b"), NONE);
    assert_eq!(check(p(), one_or_many, "/?p=ab").len(), 1);
    // Without a type, digits are still text where a pattern asks.
    assert_eq!(check(p(), json!({"pattern": "^[0-9]{4}$"}), "/?p=12345").len(), 1);
    assert_eq!(check(p(), json!({"enum": [1, 2]}), "/?p=2"), NONE);
    assert_eq!(check(p(), json!({"enum": [1, 2]}), "/?p=3").len(), 1);
    assert_eq!(check(p(), json!({"type": ["integer", "null"]}), "/?p="), NONE);
}

#[test]
fn headers_and_cookies_are_as_they_are() {
    let list = json!({"type": "array", "items": {"type": "integer"}, "const": [1, 2]});
    let contract = proto::Contract {
        parameters: vec![parameter(Location::Header, "x-list", 1), parameter(Location::Cookie, "c", 2)],
        ..proto::Contract::default()
    };
    let contract = compile("/", &[list, json!({"type": "string", "const": "a b"})], &contract);
    let check = |headers: &[(&str, &str)]| told(&head(&contract, "/", headers));
    assert_eq!(check(&[("x-list", "1, 2"), ("cookie", "d=x; c=a%20b")]), NONE);
    assert_eq!(check(&[("cookie", "c=\"a b\"")]), NONE);
    assert_eq!(check(&[("cookie", "c=a b; c=x")]), ["cookie c: is given more than once"]);
    let many = format!("{}c=a%20b", "a=;".repeat(crate::MAX_FIELDS));
    assert_eq!(check(&[("cookie", &many)])[0], "cookie: has too many names and values");
}

// === whatever is written is read as it was ===

fn encoded(text: &str, reserved: bool) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) || (reserved && b":/?@!$'()*;".contains(&byte)) {
            out.push(char::from(byte));
        } else {
            out.extend(["%", &format!("{byte:02X}")]);
        }
        out
    })
}

fn read(declared: &proto::Parameter, schema: serde_json::Value, path: &str) -> bool {
    check(declared.clone(), schema, path).is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn lists_are_read_as_they_are_written(
        items in proptest::collection::vec("[^\u{0}]{1,8}", 1..5), explode: bool, reserved: bool, index in 0..5_usize,
    ) {
        use proto::Style as S;
        let style = [S::Form, S::Space, S::Pipe, S::Tab, S::Simple][index];
        let divides = |c: char| match style { S::Space => c == ' ', S::Pipe => c == '|', S::Tab => c == '\t', _ => false };
        prop_assume!(!items.iter().any(|item| item.contains(divides)) || explode);
        let encoded: Vec<String> = items.iter().map(|item| encoded(item, reserved && style != S::Simple)).collect();
        let path = match (style, explode) {
            (S::Simple, _) => format!("/{}", encoded.join(",")),
            (_, true) => format!("/?p={}", encoded.join("&p=")),
            (S::Space, false) => format!("/?p={}", encoded.join("%20")),
            (S::Pipe, false) => format!("/?p={}", encoded.join("%7C")),
            (S::Tab, false) => format!("/?p={}", encoded.join("%09")),
            (_, false) => format!("/?p={}", encoded.join(",")),
        };
        let location = if style == S::Simple { Location::Path } else { Location::Query };
        let schema = json!({"type": "array", "items": {"type": "string"}, "const": items});
        prop_assert!(read(&styled(location, style, explode), schema, &path), "{}", path);
    }

    #[test]
    fn objects_are_read_as_they_are_written(
        members in proptest::collection::btree_map("[a-z%&=,\\[é]{1,6}", "[^\u{0}]{1,8}", 1..4), index in 0..4_usize,
    ) {
        use proto::Style as S;
        let (style, explode) = [(S::Form, true), (S::Form, false), (S::DeepObject, true), (S::Simple, true)][index];
        let pair = |join: &'static str| members.iter().map(move |(key, value)| format!("{}{join}{}", encoded(key, false), encoded(value, false)));
        let path = match style {
            S::Form if explode => format!("/?{}", pair("=").collect::<Vec<_>>().join("&")),
            S::Form => format!("/?p={}", pair(",").collect::<Vec<_>>().join(",")),
            S::Simple => format!("/{}", pair("=").collect::<Vec<_>>().join(",")),
            _ => {
                let deep = members.iter().map(|(key, value)| format!("p%5B{}%5D={}", encoded(key, false), encoded(value, false)));
                format!("/?{}", deep.collect::<Vec<_>>().join("&"))
            }
        };
        prop_assume!(style != S::DeepObject || !members.keys().any(|key| key.contains(']')));
        let properties: serde_json::Map<_, _> = members.keys().map(|key| (key.clone(), json!({"type": "string"}))).collect();
        let schema = json!({"type": "object", "properties": properties, "const": members});
        let location = if style == S::Simple { Location::Path } else { Location::Query };
        prop_assert!(read(&styled(location, style, explode), schema, &path), "{}", path);
    }

    #[test]
    fn numbers_are_read_as_they_are_written(number: i64, fraction: f32) {
        prop_assume!(fraction.is_finite());
        let p = parameter(Location::Query, "p", 1);
        let whole = read(&p, json!({"type": "integer", "const": number}), &format!("/?p={number}"));
        let any = read(&p, json!({"type": "number"}), &format!("/?p={fraction}"));
        prop_assert!(whole && any);
    }

    #[test]
    fn nothing_that_is_sent_panics(path in "(/|\\?|&|=|p|\\[|\\]|%|,|;|\\.|[^\u{0}]){0,40}", index in 0..8_usize, explode: bool) {
        use proto::Style as S;
        let style = [S::Form, S::Space, S::Pipe, S::Tab, S::Simple, S::Label, S::Matrix, S::DeepObject][index];
        for location in [Location::Path, Location::Query, Location::Cookie, Location::Header] {
            for schema in [json!({"type": "array"}), json!({"type": "object"}), json!({"type": "integer"}), json!({})] {
                let contract = proto::Contract { parameters: vec![styled(location, style, explode)], ..proto::Contract::default() };
                let contract = compile(if location == Location::Path { "/{p}" } else { "/" }, &[schema], &contract);
                head(&contract, &path, &[("p", &path), ("cookie", &path)]);
            }
        }
    }
}
