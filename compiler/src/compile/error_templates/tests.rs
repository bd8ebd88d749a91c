use crate::compile::{Compilation, Options, compile};
use crate::diagnostic::Code;
use crate::files::MemoryFiles;

const SHOP: &str = "openapi: 3.0.3\ninfo: {title: Shop, version: '1'}\nservers: [{url: 'https://shop.example.com/shop'}]\n\
                    paths: {/items: {get: {}}}\n";

fn compiled(templates: &[(&str, &str)]) -> Compilation {
    let files = MemoryFiles::new().with("api_definitions/shop.yaml", SHOP);
    let files =
        templates.iter().fold(files, |files, (name, source)| files.with(format!("error_templates/{name}"), *source));
    compile(&files, "project", &Options::default())
}

/// File, line and column of what is wrong with the templates.
fn problems(templates: &[(&str, &str)]) -> Vec<String> {
    let found = compiled(templates).diagnostics.into_iter();
    found
        .filter(|diagnostic| diagnostic.code == Code::ErrorTemplate)
        .map(|diagnostic| diagnostic.place.unwrap().to_string())
        .collect()
}

#[test]
fn templates_are_found_by_their_names() {
    let templates = [
        ("900902.json", "{}"),
        ("900902.problem.json", "{}"),
        ("default.html", "<p>{{ message }}"),
        ("default.problem.json", "{}"),
    ];
    let model = compiled(&templates).model.unwrap();
    let found: Vec<_> = model.error_templates.iter().map(|found| (found.code, found.problem)).collect();
    assert_eq!(found, [(None, false), (None, true), (Some(900_902), false), (Some(900_902), true)]);
}

#[test]
fn a_name_that_is_for_nothing_is_an_error() {
    for name in [
        "900999.json",
        "0404.json",
        "404",
        "404.md",
        "404.JSON",
        "404.problem.xml",
        "404.problem",
        "404.json.j2",
        "de/404.json",
        "Default.json",
        ".json",
    ] {
        assert_eq!(problems(&[(name, "{}")]), [format!("error_templates/{name}:1:1")], "{name}");
    }
}

#[test]
fn two_templates_for_one_answer_are_an_error() {
    assert_eq!(problems(&[("404.html", ""), ("404.json", "{}")]), ["error_templates/404.json:1:1"]);
}

#[test]
fn what_does_not_render_is_an_error_at_its_line() {
    assert_eq!(problems(&[("404.txt", "\n\n{{ nothing }}")]), ["error_templates/404.txt:3:1"]);
    assert_eq!(problems(&[("404.json", "{\"a\": \"{{ message }}\"}")]), ["error_templates/404.json:1:1"]);
    // Only for some of the faults that it is for.
    let some = "{% if status == 503 %}{{ nothing }}{% endif %}{}";
    assert_eq!(problems(&[("default.json", some)]), ["error_templates/default.json:1:1"]);
    assert!(problems(&[("404.json", some)]).is_empty());
    let long = compiled(&[("404.txt", &"x".repeat(70_000))]).diagnostics;
    assert!(long.iter().any(|diagnostic| diagnostic.code == Code::InputBudget));
}
