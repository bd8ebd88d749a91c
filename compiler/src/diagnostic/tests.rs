use std::collections::HashSet;

use super::{Code, Diagnostic, LineColumn, Place, render_human, sort};
use crate::files::MemoryFiles;

#[test]
fn codes_are_distinct_and_in_order() {
    let ids: Vec<&str> = Code::ALL.iter().map(|code| code.id()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let slugs: HashSet<&str> = Code::ALL.iter().map(|code| code.slug()).collect();
    assert_eq!(slugs.len(), Code::ALL.len());
    for code in Code::ALL {
        assert!(code.summary().ends_with('.') && code.summary().len() > 20, "{code}");
    }
}

#[test]
fn order_is_by_place() {
    let at = |file: &str, line, column| Place::point(file, LineColumn { line, column });
    let new = |place| Diagnostic::new(Code::Syntax, place, "x");
    let mut diagnostics = vec![
        new(Some(at("b", 1, 1))),
        new(Some(at("a", 10, 1))),
        new(Some(at("a", 9, 7))),
        new(Some(at("a", 9, 2))),
        new(None),
        new(Some(at("b", 1, 1))),
    ];
    sort(&mut diagnostics);
    let places: Vec<String> = diagnostics
        .iter()
        .map(|diagnostic| diagnostic.place.as_ref().map_or_else(String::new, Place::to_string))
        .collect();
    assert_eq!(places, ["", "a:9:2", "a:9:7", "a:10:1", "b:1:1"]);
}

#[test]
fn what_cannot_be_shown_is_named() {
    let files = MemoryFiles::new().with("long.json", "x".repeat(1000)).with("bytes.yaml", b"\xff".to_vec());
    let at = |file: &str| Place::point(file, LineColumn { line: 1, column: 900 });
    let diagnostic = Diagnostic::new(Code::DuplicateKey, at("long.json"), "the key stands twice")
        .related(at("bytes.yaml"), "first here")
        .related(at("gone.yaml"), "and here")
        .help("remove one");
    insta::assert_snapshot!(render_human(&[diagnostic], &files, false));
}

#[test]
fn codes_are_found_by_number_and_name() {
    for name in ["MGW-0104", "mgw-0104", "MGW0104", "0104", "104", " 104 ", "duplicate-key", "Duplicate-Key"] {
        assert_eq!(Code::find(name), Some(Code::DuplicateKey), "{name}");
    }
    for name in ["", "MGW-", "MGW-9999", "-104", "+104", "1e2", "104x", "key", "99999999999999999999", "MGW-MGW-0104"] {
        assert_eq!(Code::find(name), None, "{name}");
    }
    for code in Code::ALL {
        assert_eq!((Code::find(code.id()), Code::find(code.slug())), (Some(*code), Some(*code)));
    }
}

#[test]
fn names_of_no_code_have_codes_near() {
    let near = |name: &str| Code::near(name).iter().map(|code| code.slug()).collect::<Vec<_>>();
    assert_eq!(near("MGW-0113").first(), Some(&"error-template"));
    assert_eq!(near("duplicate-kye").first(), Some(&"duplicate-key"));
    assert!(near("etcd endpoint").contains(&"etcd"), "{:?}", near("etcd endpoint"));
    assert!(near("MGW-9999").is_empty() && near("").is_empty() && near("zzzzzz").is_empty());
    assert!(near("duplicate").len() > 3 && near("duplicate").iter().all(|slug| slug.contains("duplicate")));
}
