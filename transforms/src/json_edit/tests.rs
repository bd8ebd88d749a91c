use proptest::prelude::*;

use super::*;

fn json(text: &str) -> Json {
    Json::read(text.as_bytes()).unwrap()
}

fn edited(body: &str, edit: Result<JsonEdit, PlaceError>, value: &str) -> Result<String, Failure> {
    let mut body = json(body);
    edit.unwrap().apply(&mut body, Some(&json(value)), &mut Budget::default())?;
    Ok(body.write().unwrap())
}

#[test]
fn adding() {
    let add = |body: &str, at: &str| edited(body, JsonEdit::add(at), "9");
    assert_eq!(add(r#"{"a":1}"#, "/b").unwrap(), r#"{"a":1,"b":9}"#);
    assert_eq!(add(r#"{"a":1,"b":2}"#, "/a").unwrap(), r#"{"a":9,"b":2}"#);
    assert_eq!(add("{}", "/a/b/c").unwrap(), r#"{"a":{"b":{"c":9}}}"#);
    assert_eq!(add("[1,2]", "/1").unwrap(), "[1,9,2]");
    assert_eq!(add("[1,2]", "/-").unwrap(), "[1,2,9]");
    assert_eq!(add("[1,2]", "/2").unwrap(), "[1,2,9]");
    for (body, at) in
        [("[1]", "/2"), ("[1]", "/a"), ("1", "/a"), (r#"{"a":1}"#, "/a/b"), ("[1]", "/-/a"), ("null", "/a")]
    {
        assert_eq!(add(body, at), Err(Failure::Place), "{body} {at}");
    }
    assert_eq!(add(r#"[{"a":1},{},3]"#, "$[*].a").unwrap(), r#"[{"a":9},{"a":9},3]"#);
    assert_eq!(add("[[1],[],2]", "$[*][0]").unwrap(), "[[9,1],[9],2]");
    assert_eq!(add(r#"{"a":{"a":{}}}"#, "$..a").unwrap(), r#"{"a":9}"#);
    assert_eq!(add(r#"{"x":[{"y":{}}]}"#, "$..z").unwrap(), r#"{"x":[{"y":{"z":9},"z":9}],"z":9}"#);
    for bad in ["$.a[*]", "$[1:2]", "$['a','b']", "$[-1]"] {
        assert_eq!(JsonEdit::add(bad).unwrap_err(), PlaceError::NoMember, "{bad}");
    }
}

#[test]
fn replacing_removing_renaming() {
    assert_eq!(edited(r#"{"a":[1,{"a":2}]}"#, JsonEdit::replace("$..a"), "[[0]]").unwrap(), r#"{"a":[[0]]}"#);
    assert_eq!(edited(r#"{"a":1}"#, JsonEdit::replace("/b"), "9").unwrap(), r#"{"a":1}"#);
    assert_eq!(edited("[1,2,3,4]", JsonEdit::remove("$[0,2]"), "0").unwrap(), "[2,4]");
    let nested = r#"{"a":{"p":1,"b":[{"p":2,"x":0},{"p":{"p":3}}]},"p":4,"z":5}"#;
    assert_eq!(edited(nested, JsonEdit::remove("$..p"), "0").unwrap(), r#"{"a":{"b":[{"x":0},{}]},"z":5}"#);
    assert_eq!(edited("[1,2]", JsonEdit::remove("/5"), "0").unwrap(), "[1,2]");
    assert_eq!(edited(r#"{"a":1,"b":2,"c":3}"#, JsonEdit::rename("/b", "x"), "0").unwrap(), r#"{"a":1,"x":2,"c":3}"#);
    assert_eq!(edited(r#"{"a":1,"b":2,"c":3}"#, JsonEdit::rename("/b", "a"), "0").unwrap(), r#"{"a":2,"c":3}"#);
    assert_eq!(edited(r#"{"a":1,"b":2}"#, JsonEdit::rename("/b", "b"), "0").unwrap(), r#"{"a":1,"b":2}"#);
    assert_eq!(edited(r#"{"a":1}"#, JsonEdit::rename("/x", "a"), "0").unwrap(), r#"{"a":1}"#);
    assert_eq!(
        edited(r#"[{"id":{"id":1}},{"id":2}]"#, JsonEdit::rename("$..id", "key"), "0").unwrap(),
        r#"[{"key":{"key":1}},{"key":2}]"#
    );
    assert_eq!(JsonEdit::rename("$[0]", "a").unwrap_err(), PlaceError::NoName);
}

#[test]
fn moving() {
    let moved = |body: &str, at: &str, to: &str| edited(body, JsonEdit::moved(at, to), "0");
    assert_eq!(moved(r#"{"a":{"b":1},"c":2}"#, "/a/b", "/d/e").unwrap(), r#"{"a":{},"c":2,"d":{"e":1}}"#);
    assert_eq!(moved("[1,2,3]", "/0", "/2").unwrap(), "[2,3,1]");
    assert_eq!(moved(r#"{"a":[1,2]}"#, "$.a[-1]", "/last").unwrap(), r#"{"a":[1],"last":2}"#);
    assert_eq!(moved(r#"{"a":1}"#, "/b", "/c").unwrap(), r#"{"a":1}"#);
    assert_eq!(moved(r#"{"a":1,"b":2}"#, "/a", "/b/c"), Err(Failure::Place));
    assert_eq!(JsonEdit::moved("/a", "/a/b").unwrap_err(), PlaceError::Within);
    assert_eq!(JsonEdit::moved("$..a", "/b").unwrap_err(), PlaceError::Several);
    assert_eq!(JsonEdit::moved("/a", "$.b").unwrap_err(), PlaceError::Start);
}

#[test]
fn what_is_put_in_is_bounded() {
    let body = format!("[{}0]", "0,".repeat(9_000));
    let value = Json::Text("x".repeat(1_000));
    let mut body = json(&body);
    let edit = JsonEdit::replace("$[*]").unwrap();
    assert_eq!(edit.apply(&mut body, Some(&value), &mut Budget::default()), Err(Failure::TooLarge));
}

/// Names from the root, by a walk that knows nothing of locations.
fn naive(body: &Json, names: &[&str]) -> Option<Json> {
    let [first, rest @ ..] = names else { return Some(body.clone()) };
    match body {
        Json::Object(members) => naive(members.get(*first)?, rest),
        Json::Array(items) => naive(items.get(first.parse::<usize>().ok()?)?, rest),
        _ => None,
    }
}

fn without(body: &Json, names: &[&str]) -> Json {
    match (body, names) {
        (Json::Object(members), [last]) => {
            Json::Object(members.iter().filter(|(name, _)| name != last).map(|(n, v)| (n.clone(), v.clone())).collect())
        }
        (Json::Array(items), [last]) => {
            let kept = items.iter().enumerate().filter(|(index, _)| index.to_string() != *last);
            Json::Array(kept.map(|(_, item)| item.clone()).collect())
        }
        (Json::Object(members), [first, rest @ ..]) => {
            let edit = |name: &String, value: &Json| if name == first { without(value, rest) } else { value.clone() };
            Json::Object(members.iter().map(|(name, value)| (name.clone(), edit(name, value))).collect())
        }
        (Json::Array(items), [first, rest @ ..]) => {
            let edit = |(index, item): (usize, &Json)| {
                if index.to_string() == *first { without(item, rest) } else { item.clone() }
            };
            Json::Array(items.iter().enumerate().map(edit).collect())
        }
        _ => body.clone(),
    }
}

fn without_member(body: &Json, name: &str) -> Json {
    match body {
        Json::Object(members) => {
            let kept = members.iter().filter(|(other, _)| *other != name);
            Json::Object(kept.map(|(other, value)| (other.clone(), without_member(value, name))).collect())
        }
        Json::Array(items) => Json::Array(items.iter().map(|item| without_member(item, name)).collect()),
        _ => body.clone(),
    }
}

fn count(body: &Json) -> usize {
    match body {
        Json::Object(members) => 1 + members.values().map(count).sum::<usize>(),
        Json::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        _ => 1,
    }
}

proptest! {
    #[test]
    fn pointers_do_what_a_naive_walk_does(
        body in crate::json::tests::any_json(),
        names in prop::collection::vec(prop_oneof!["[a-d]", "[0-3]"], 1..4),
        value in crate::json::tests::any_json(),
    ) {
        let pointer = format!("/{}", names.join("/"));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let budget = || Budget::default();
        let there = naive(&body, &names);

        let mut removed = body.clone();
        JsonEdit::remove(&pointer).unwrap().apply(&mut removed, None, &mut budget()).unwrap();
        prop_assert_eq!(&removed, &without(&body, &names));

        let mut replaced = body.clone();
        JsonEdit::replace(&pointer).unwrap().apply(&mut replaced, Some(&value), &mut budget()).unwrap();
        prop_assert_eq!(naive(&replaced, &names), there.as_ref().map(|_| value.clone()));
        prop_assert!(there.is_some() || replaced == body);

        let mut added = body.clone();
        if JsonEdit::add(&pointer).unwrap().apply(&mut added, Some(&value), &mut budget()).is_ok() {
            prop_assert_eq!(naive(&added, &names), Some(value.clone()));
        }

        let mut moved = body.clone();
        if JsonEdit::moved(&pointer, "/new").unwrap().apply(&mut moved, None, &mut budget()).is_ok() && there.is_some() {
            prop_assert_eq!(naive(&moved, &["new"]), there);
        }
    }

    #[test]
    fn descendants_go_wherever_they_are(body in crate::json::tests::any_json()) {
        let mut removed = body.clone();
        JsonEdit::remove("$..a").unwrap().apply(&mut removed, None, &mut Budget::default()).unwrap();
        prop_assert_eq!(&removed, &without_member(&body, "a"));
        let mut renamed = body.clone();
        JsonEdit::rename("$..a", "new name").unwrap().apply(&mut renamed, None, &mut Budget::default()).unwrap();
        prop_assert_eq!(count(&renamed), count(&body));
        prop_assert_eq!(&without_member(&renamed, "a"), &renamed);
    }
}
