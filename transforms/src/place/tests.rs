use proptest::prelude::*;

use super::*;
use crate::MAX_VALUES;

/// RFC 9535 section 1.5.
const STORE: &str = r#"{"store":{"book":[
{"category":"reference","author":"Nigel Rees","price":8.95},
{"category":"fiction","author":"Evelyn Waugh","price":12.99},
{"category":"fiction","author":"Herman Melville","isbn":"0-553-21311-3","price":8.99},
{"category":"fiction","author":"J. R. R. Tolkien","isbn":"0-395-19395-8","price":22.99}],
"bicycle":{"color":"red","price":399}},"a/b":1,"m~n":2," ":3,"":4}"#;

fn json(text: &str) -> Json {
    Json::read(text.as_bytes()).unwrap()
}

/// What a place finds, as JSON.
fn found(root: &Json, place: &str) -> Vec<String> {
    let locations = Place::read(place).unwrap().find(root).unwrap();
    locations.iter().map(|location| get(root, location).unwrap().write().unwrap()).collect()
}

#[test]
fn paths_find_what_the_standard_says() {
    let store = json(STORE);
    let authors = ["\"Nigel Rees\"", "\"Evelyn Waugh\"", "\"Herman Melville\"", "\"J. R. R. Tolkien\""];
    assert_eq!(found(&store, "$.store.book[*].author"), authors);
    assert_eq!(found(&store, "$..author"), authors);
    assert_eq!(found(&store, "$.store..price"), ["8.95", "12.99", "8.99", "22.99", "399"]);
    assert_eq!(found(&store, "$..book[2].author"), ["\"Herman Melville\""]);
    assert_eq!(found(&store, "$..book[-1].price"), ["22.99"]);
    assert_eq!(found(&store, "$..book[0,1].price"), ["8.95", "12.99"]);
    assert_eq!(found(&store, "$..book[:2].price"), ["8.95", "12.99"]);
    assert_eq!(found(&store, "$['store'][\"bicycle\"]['color']"), ["\"red\""]);
    assert_eq!(found(&store, "$.store.bicycle.*").len(), 2);
    assert_eq!(found(&store, "$['a/b']"), ["1"]);
    assert_eq!(found(&store, "$.nothing.at.all"), [""; 0]);
    assert_eq!(found(&store, "$..*").len(), 27);

    let letters = json(r#"["a","b","c","d","e","f","g"]"#);
    let at = |path: &str| found(&letters, path).concat().replace('"', "");
    assert_eq!(at("$[1:3]"), "bc");
    assert_eq!(at("$[5:]"), "fg");
    assert_eq!(at("$[1:5:2]"), "bd");
    // In the order of the document: they are edited, not listed.
    assert_eq!(at("$[5:1:-2]"), "df");
    assert_eq!(at("$[::-1]"), "abcdefg");
    assert_eq!(at("$[ 0 , 'x' , -1 ]"), "ag");
    assert_eq!(at("$[0:9007199254740991]"), "abcdefg");
    assert_eq!(at("$[1:1]"), "");
    assert_eq!(at("$[0,0]"), "a");
    assert_eq!(at("$[::0]"), "");
}

/// RFC 6901 section 5.
#[test]
fn pointers_find_what_the_standard_says() {
    let store = json(STORE);
    for (pointer, value) in [
        ("/a~1b", "1"),
        ("/m~0n", "2"),
        ("/ ", "3"),
        ("/", "4"),
        ("/store/book/1/price", "12.99"),
        ("/store/bicycle/color", "\"red\""),
    ] {
        assert_eq!(found(&store, pointer), [value], "{pointer}");
    }
    for pointer in ["/store/book/4", "/store/book/01", "/store/book/-", "/store/book/-1", "/store/book/1/price/0", "/x"]
    {
        assert_eq!(found(&store, pointer), [""; 0], "{pointer}");
    }
}

#[test]
fn what_is_no_place() {
    for text in [
        "",
        "a",
        "store/book",
        "/a~",
        "/a~2b",
        "$",
        "$.",
        "$a",
        "$..",
        "$[",
        "$[]",
        "$['a]",
        "$['a'",
        "$[01]",
        "$[-0]",
        "$[1:2:3:4]",
        "$.a-b",
        "$.1a",
        "$[?@.a]",
        "$[?(@.a > 1)]",
        "$.a b",
        "$ .a",
        "$.a ",
        "$['\\u0041']",
        "$[9007199254740992]",
        "$[--1]",
        "$...a",
        "@.a",
    ] {
        assert!(Place::read(text).is_err(), "{text}");
    }
    assert_eq!(Place::read("$.a[?@.b]").unwrap_err(), PlaceError::Syntax(5));
    assert_eq!(Place::read(&format!("/{}", "a".repeat(MAX_LENGTH))).unwrap_err(), PlaceError::Length);
    assert_eq!(Place::read(&"/a".repeat(MAX_DEPTH + 1)).unwrap_err(), PlaceError::Length);
}

#[test]
fn what_a_path_costs_is_bounded() {
    let deep = json(&format!("{}1{}", "{\"a\":".repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH)));
    assert_eq!(found(&deep, &format!("${}", "..a".repeat(40))).len(), MAX_DEPTH - 39);
    let wide = json(&format!("[{}1]", "1,".repeat(MAX_VALUES / 2)));
    assert_eq!(Place::read("$..*").unwrap().find(&wide), Err(Failure::Hits));
    assert_eq!(Place::read("$[*]").unwrap().find(&wide), Err(Failure::Hits));
    let several = format!("$[{}1]", "*,".repeat(200));
    assert_eq!(Place::read(&several).unwrap().find(&wide), Err(Failure::Hits));
}

proptest! {
    #[test]
    fn never_panics(text in "[$./a-c0-9\\[\\]'\":*,~ \\-\\\\\u{e9}]{0,16}", body in crate::json::tests::any_json()) {
        if let Ok(place) = Place::read(&text) {
            let found = place.find(&body).unwrap();
            prop_assert!(found.iter().all(|location| get(&body, location).is_some()));
            prop_assert!(found.is_sorted());
            let _ = place.find_parents(&body).unwrap();
        }
    }
}
