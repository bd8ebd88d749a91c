//! What the tool says about itself: codes, completions, manual pages.

use super::*;

#[test]
fn codes_are_explained() {
    let place = Place::new();
    let page = place.succeeds(&["explain-code", "MGW-0104"]);
    assert!(page.starts_with("MGW-0104 duplicate-key (error)\n") && page.contains("\nExample\n"), "{page}");
    // To a pipe no line is coloured, and prose is as wide as a terminal that says nothing.
    assert!(!page.contains('\u{1b}') && page.lines().all(|line| line.chars().count() <= 100), "{page}");
    for name in ["mgw-0104", "0104", "104", "Duplicate-Key"] {
        assert_eq!(place.succeeds(&["explain-code", name]), page, "{name}");
    }
    // The example is a project that has the problem.
    let record = json(&place.succeeds(&["explain-code", "104", "--format", "json"]));
    assert_eq!(
        (&record["code"], &record["name"], &record["class"]),
        (&"MGW-0104".into(), &"duplicate-key".into(), &"error".into())
    );
    for (part, code) in [("example", 1), ("fix", 0)] {
        for (path, text) in record[part]["files"].as_object().unwrap() {
            fs::create_dir_all(place.at("shop").join(path).parent().unwrap()).unwrap();
            fs::write(place.at("shop").join(path), text.as_str().unwrap()).unwrap();
        }
        assert_eq!(place.run(&["check", "shop"]).code, Some(code), "{part}");
    }
    // Settings have codes like all else.
    assert!(place.succeeds(&["explain-code", "bad-setting"]).contains("micro-gw.conf"));
    for format in ["human", "json"] {
        let stderr = place.refuses(&["explain-code", "duplicate-kye", "--format", format]);
        assert!(stderr.starts_with("error: there is no code `duplicate-kye`"), "{stderr}");
        assert!(stderr.contains("MGW-0104 duplicate-key"), "{stderr}");
    }
}
