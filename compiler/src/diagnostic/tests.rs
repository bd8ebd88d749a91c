use std::collections::HashSet;

use super::{Code, Diagnostic, LineColumn, Place, Severity, render_github, render_human, render_sarif, sort};
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
    assert!(near("etcd endpoint").contains(&"bad-etcd"), "{:?}", near("etcd endpoint"));
    assert!(near("MGW-9999").is_empty() && near("").is_empty() && near("zzzzzz").is_empty());
    assert!(near("duplicate").len() > 3 && near("duplicate").iter().all(|slug| slug.contains("duplicate")));
}

/// One of each kind: of a stretch, of a point, over two lines, and of the whole project.
fn kinds() -> Vec<Diagnostic> {
    let at = |line, column| LineColumn { line, column };
    let place = |start, end| Place { file: "a b.yaml".into(), start, end };
    vec![
        Diagnostic::new(Code::DuplicateKey, place(at(2, 3), at(2, 8)), "100% `ä`: {id}, twice")
            .related(place(at(1, 3), at(1, 3)), "first, here")
            .help("remove\none"),
        Diagnostic::new(Code::UnknownKey, place(at(4, 1), at(4, 1)), "a point"),
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::new(Code::UnenforceableScheme, place(at(5, 9), at(6, 2)), "two lines")
        },
        Diagnostic::new(Code::UnusedPolicies, None, "the project"),
    ]
}

#[test]
fn workflow_commands() {
    insta::assert_snapshot!(render_github(&kinds(), &|file| format!("shop, 1:2/{file}")));
    assert_eq!(render_github(&[], &str::to_owned), "");
}

#[test]
fn sarif_results() {
    let text = render_sarif(&kinds(), "shop", &|file| format!("shop/{file}"));
    let mut log: serde_json::Value = serde_json::from_str(&text).unwrap();
    let run = log["runs"][0].take();
    insta::assert_snapshot!(serde_json::to_string_pretty(&run["results"]).unwrap());
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let ids: Vec<&str> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["MGW-0104", "MGW-0211", "MGW-0603", "MGW-0711"]);
    // What is reported is said again each time in the same bytes.
    assert_eq!(render_sarif(&kinds(), "shop", &|file| format!("shop/{file}")), text);
    assert!(render_sarif(&[], "/home/someone/shop", &str::to_owned).contains("\"micro-gw/shop/\""));
}
