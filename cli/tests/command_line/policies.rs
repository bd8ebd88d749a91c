//! `policy`, as far as no registry is needed.

use microgw_compiler::packages::Manifest;

use super::*;

const STAMP: &str = "name: stamp\nversion: 1.2.0\ndescription: Says who it was.\nparameters:\n  properties: {by: {type: string, default: me}}\nrequest:\n  - headers: {set: {X-By: \"{{ parameters.by }}\"}}\n";
const TEST: &str = "- {name: it does, request: {path: /}, expect: {headers: {X-By: me}}}\n";

fn write(place: &Place, path: &str, text: &str) {
    fs::create_dir_all(place.at(path).parent().unwrap()).unwrap();
    fs::write(place.at(path), text).unwrap();
}

/// The petstore, beside a policy.
fn place() -> Place {
    let place = Place::with_petstore();
    write(&place, "shared/stamp/policy.yaml", STAMP);
    write(&place, "shared/stamp/tests/any.yaml", TEST);
    place
}

#[test]
fn the_policies_of_this_repository_pass_their_tests() {
    let place = Place::new();
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policies.md")).unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(policies).unwrap() {
        let directory = entry.unwrap().path();
        if !directory.is_dir() {
            continue;
        }
        let name = directory.file_name().unwrap().to_str().unwrap().to_owned();
        let told = place.succeeds(&["policy", "test", directory.to_str().unwrap()]);
        assert!(told.starts_with(&format!("{name} 1.")) && told.ends_with("passed\n"), "{told}");
        let readme = fs::read_to_string(directory.join("README.md")).unwrap();
        assert!(readme.starts_with(&format!("# {name}\n")) && readme.contains(&format!("policy: {name}")), "{readme}");
        let about = Manifest::read(fs::read(directory.join("policy.yaml")).unwrap()).unwrap();
        let row = format!("| [{name}](../policies/{name}/README.md) {} | {} |\n", about.version, about.description);
        assert!(page.contains(&row), "docs/policies.md lacks {row}");
        seen += 1;
    }
    assert!(seen >= 12, "{seen}");
    assert_eq!(page.matches("](../policies/").count(), seen, "docs/policies.md has others");
}

#[test]
fn policies_come_and_go() {
    let place = place();
    let added = place.succeeds(&["policy", "add", "shared/stamp", "-p", "petstore"]);
    assert!(added.starts_with("policies/stamp  stamp 1.2.0  ../shared/stamp\nsha256:"), "{added}");
    place.succeeds(&["build", "petstore"]);
    let listed = place.succeeds(&["policy", "list", "-p", "petstore"]);
    assert_eq!(listed, "NAME   VERSION  STATE   SOURCE\nstamp  1.2.0    locked  ../shared/stamp\n");
    assert_eq!(place.succeeds(&["policy", "verify", "-p", "petstore"]), "policies/stamp is what was taken in\n");
    assert_eq!(place.succeeds(&["policy", "test", "-p", "petstore"]), "stamp 1.2.0: 1 passed\n");
    // Changed by hand: no build, no update, no removal by accident.
    write(&place, "petstore/policies/stamp/README.md", "mine");
    let ended = place.run(&["build", "petstore"]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("[MGW-0733]") && ended.stderr.contains("is not what was taken in"),
        "{}",
        ended.stderr
    );
    assert_eq!(place.run(&["policy", "verify", "-p", "petstore"]).code, Some(1));
    for command in ["update", "remove"] {
        let stderr = place.refuses(&["policy", command, "stamp", "-p", "petstore"]);
        assert!(stderr.contains("was changed since it was taken in"), "{stderr}");
    }
    // A newer one takes its place, all the same.
    write(&place, "shared/stamp/policy.yaml", &STAMP.replace("1.2.0", "1.3.0"));
    let told = place.succeeds(&["policy", "update", "--force", "-p", "petstore"]);
    assert_eq!(told, "policies/stamp  1.3.0 in the place of 1.2.0\n");
    place.succeeds(&["build", "petstore"]);
    fs::remove_dir_all(place.at("petstore/policies/stamp")).unwrap();
    assert!(place.run(&["build", "petstore"]).stderr.contains("`policies/stamp` is not there"));
    assert!(place.succeeds(&["policy", "list", "-p", "petstore"]).contains("stamp  1.3.0    missing"));
    place.succeeds(&["policy", "update", "stamp", "-p", "petstore"]);
    place.succeeds(&["policy", "remove", "--keep", "stamp", "-p", "petstore"]);
    assert!(!place.at("petstore/policies.lock").exists() && place.at("petstore/policies/stamp/policy.yaml").exists());
    assert!(place.succeeds(&["policy", "list", "-p", "petstore"]).contains("stamp  1.3.0    own"));
    assert!(place.refuses(&["policy", "remove", "stamp", "-p", "petstore"]).contains("was not taken in"));
    // Where another policy is now.
    fs::remove_dir_all(place.at("petstore/policies/stamp")).unwrap();
    place.succeeds(&["policy", "add", "shared/stamp", "-p", "petstore"]);
    write(&place, "shared/stamp/policy.yaml", &STAMP.replace("name: stamp", "name: other"));
    let stderr = place.refuses(&["policy", "update", "-p", "petstore"]);
    assert!(stderr.contains("has the policy `other` now, not `stamp`"), "{stderr}");
    place.succeeds(&["policy", "remove", "stamp", "-p", "petstore"]);
    assert!(place.refuses(&["policy", "test", "-p", "petstore"]).contains("has no policy with tests"));
}

#[test]
fn policies_are_packed() {
    let place = place();
    let packed = place.succeeds(&["policy", "pack", "shared/stamp"]);
    assert!(packed.starts_with("stamp-1.2.0.tar  stamp 1.2.0\nsha256:"), "{packed}");
    let first = fs::read(place.at("stamp-1.2.0.tar")).unwrap();
    place.succeeds(&["policy", "pack", "shared/stamp", "-o", "again.tar"]);
    assert_eq!(fs::read(place.at("again.tar")).unwrap(), first);
    let added = place.succeeds(&["policy", "add", "again.tar", "--name", "mark", "-p", "petstore"]);
    assert_eq!(added.lines().last(), packed.lines().last());
    let listed = json(&place.succeeds(&["policy", "list", "--output", "json", "-p", "petstore"]));
    assert_eq!((&listed[0]["name"], &listed[0]["package"]), (&"mark".into(), &"stamp".into()));
    for (source, expected) in [
        ("nowhere", "is neither a directory or file that is there, nor in a registry"),
        ("./nowhere", "cannot read `./nowhere`"),
        ("petstore", "it has no `policy.yaml`"),
        ("petstore/api_definitions/swagger.json", "it is no tar"),
    ] {
        let stderr = place.refuses(&["policy", "add", source, "-p", "petstore"]);
        assert!(stderr.contains(expected), "{source}: {stderr}");
    }
    assert!(place.refuses(&["policy", "add", "again.tar", "-p", "shared"]).contains("`shared` is no project"));
    assert!(place.refuses(&["policy", "push", "shared/stamp", "stamp:1"]).contains("names no registry"));
    assert!(place.refuses(&["policy", "pack", "petstore"]).contains("it has no `policy.yaml`"));
    write(&place, "shared/stamp/policy.yaml", &STAMP.replace("1.2.0", "1.2.0+build.7"));
    let stderr = place.refuses(&["policy", "push", "shared/stamp", "localhost:1/stamp"]);
    assert!(stderr.contains("name a tag: the policy's version can be none"), "{stderr}");
}

#[test]
fn tests_say_what_is_other_than_expected() {
    let place = place();
    for (text, expected) in [
        ("- {name: a, request: {path: /x?y=1}, expect: {path: /x}}", "path: expected /x, found /x?y=1"),
        ("- {name: a, request: {path: /}, expect: {headers: {X-By: you}}}", "header X-By: expected `you`, found `me`"),
        ("- {name: a, request: {path: /}, expect: {headers: {X-By: null}}}", "header X-By: expected none, found `me`"),
        ("- {name: a, request: {path: /}, expect: {headers: {X-No: a}}}", "header X-No: expected `a`, found none"),
        ("- {name: a, request: {path: /}, expect: {method: POST}}", "method: expected POST, found GET"),
        ("- {name: a, request: {body: {a: 1}}, expect: {body: {a: 2}}}", "body: expected {\"a\":2}, found {\"a\":1}"),
        ("- {name: a, request: {path: /}, expect: {refused: 400}}", "it is passed on"),
        ("- {name: a, request: {path: /}, expect: {error: x}}", "it builds"),
        ("- {name: a, with: {by: 1}, expect: {error: no such}}", "another error: api_definitions/test.json"),
        ("- {name: a, with: {by: 1}, expect: {path: /}}", "it does not build: api_definitions/test.json"),
        ("- {name: a, with: {by: \"a\\tb\"}, expect: {path: /}}", "it is refused with 500"),
    ] {
        write(&place, "shared/stamp/tests/any.yaml", &format!("{text}\n{TEST}"));
        let ended = place.run(&["policy", "test", "shared/stamp"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), "stamp 1.2.0: 1 passed, 1 failed\n"), "{text}");
        let at = format!("shared/stamp/tests/any.yaml:1: stamp: a\n  {expected}");
        assert!(ended.stderr.starts_with(&at), "{text}\n{}", ended.stderr);
    }
    for (text, expected) in [
        ("{}", "tests are a list"),
        ("- {name: a, request: {path: /}, expect: {}}", "nothing is expected of it"),
        ("- {name: a, expects: {}}", "this is no test"),
        ("- [", "tests/any.yaml:"),
    ] {
        write(&place, "shared/stamp/tests/any.yaml", text);
        let stderr = place.refuses(&["policy", "test", "shared/stamp"]);
        assert!(stderr.contains(expected), "{text}: {stderr}");
    }
    // Who calls, and parameters of the path, are known.
    write(
        &place,
        "shared/stamp/policy.yaml",
        &STAMP.replace("{{ parameters.by }}", "{{ caller.subject }} {{ caller.claims.dept }} {{ path.id }}"),
    );
    let known = "- {name: a, request: {path: /pets/7}, context: {operation: '/pets/{id}', caller: {sub: ann, dept: it}}, expect: {headers: {X-By: ann it 7}}}\n";
    write(&place, "shared/stamp/tests/any.yaml", known);
    assert_eq!(place.succeeds(&["policy", "test", "shared/stamp"]), "stamp 1.2.0: 1 passed\n");
}
