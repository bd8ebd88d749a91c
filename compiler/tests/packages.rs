//! Policies that are packages: where they lie, what they need, what they are used with, and that they are what was taken in.

use microgw_compiler::artifact;
use microgw_compiler::compile::{Compilation, Options, compile};
use microgw_compiler::diagnostic::{Code, Diagnostic};
use microgw_compiler::files::MemoryFiles;
use microgw_compiler::packages::{self, Content, Lock, Locked};

const HEAD: &str = "name: mask\nversion: 1.0.0\ndescription: Hides members.\n";
const STEPS: &str = "response:\n  - json: [{remove: \"{{ parameters.fields }}\"}]\n";
const PARAMETERS: &str = r##"parameters:
  type: object
  required: [fields]
  properties:
    fields: {type: array, minItems: 1, items: {type: string, pattern: "^[/$]"}}
    limits:
      $ref: "#/$defs/limits"
  $defs:
    limits:
      type: object
      additionalProperties: false
      properties:
        most: {type: integer, minimum: 1, default: 10}
        rules:
          type: array
          items: {type: object, properties: {code: {type: string, default: x}, next: {$ref: "#/$defs/limits"}}}
"##;

fn definition(with: &str) -> String {
    format!(
        "openapi: 3.0.3\ninfo: {{title: Shop, version: '1'}}\nservers: [{{url: https://shop.example.com/shop}}]\nx-microgw-transform:\n  - policy: mask\n    with: {with}\npaths: {{/items: {{get: {{}}}}}}\n"
    )
}

fn files(with: &str, more: &[(&str, &str)]) -> MemoryFiles {
    let files = MemoryFiles::new().with("api_definitions/shop.yaml", definition(with));
    more.iter().fold(files, |files, (path, text)| files.with(*path, *text))
}

fn compiled(files: &MemoryFiles) -> Compilation {
    compile(files, "shop", &Options::default())
}

fn told(diagnostic: &Diagnostic) -> String {
    format!("{} {}", diagnostic.place.as_ref().unwrap(), diagnostic.message)
}

/// What is wrong, and nothing else.
fn problems(files: &MemoryFiles) -> Vec<String> {
    let compilation = compiled(files);
    let said = compilation.diagnostics.iter();
    said.filter(|found| matches!(found.code, Code::BadTransform | Code::ChangedPolicy | Code::UnusedTransforms))
        .map(told)
        .collect()
}

fn package() -> String {
    format!("{HEAD}{PARAMETERS}{STEPS}")
}

#[test]
fn packages_are_used_as_files_are() {
    let policy = package();
    let with = "{fields: [/a]}";
    let packaged = files(
        with,
        &[
            ("policies/mask/policy.yaml", &policy),
            ("policies/mask/README.md", "# mask"),
            ("policies/mask/tests/any.yaml", "[]"),
            ("policies/mask/more.json", "{"),
        ],
    );
    assert_eq!(problems(&packaged), Vec::<String>::new());
    let model = compiled(&packaged).model.unwrap();
    // Where a step is written.
    let step = &model.transforms[0].steps[0];
    assert_eq!(step.source, "policies/mask/policy.yaml:21:5");
    // What it is used with, and not what else lies there, makes the artifact.
    let other = files(with, &[("policies/mask/policy.yaml", &policy)]);
    assert_eq!(artifact::encode(&model), artifact::encode(&compiled(&other).model.unwrap()));
    let single = files(with, &[("policies/mask.yaml", &policy)]);
    let of_file = compiled(&single).model.unwrap();
    assert_eq!(of_file.transforms[0].parameters, model.transforms[0].parameters);
}

#[test]
fn packages_are_held_to_their_form() {
    let with = "{fields: [/a]}";
    let of = |text: &str| format!("{text}{PARAMETERS}{STEPS}");
    for (path, text, expected) in [
        (
            "policies/mask/policy.yaml",
            of("name: mask\nversion: 1.0.0\n"),
            "1:1 `policies/mask/policy.yaml` is a policy of its own, and needs `description`",
        ),
        (
            "policies/mask/policy.yaml",
            of("name: Mask!\nversion: 1.0.0\ndescription: x\n"),
            "1:7 `Mask!` is no name of a policy",
        ),
        ("policies/mask/policy.yaml", of("name: mask\nversion: 1.0\ndescription: x\n"), "2:10 `1.0` is no version"),
        (
            "policies/mask/policy.yaml",
            of("name: mask\nversion: 1.0.0\ndescription: ' '\n"),
            "3:14 `description` is empty",
        ),
        (
            "policies/mask/policy.yaml",
            of("name: mask\nversion: 1.0.0\ndescription: x\ninterceptor: a.wasm\n"),
            "21:1 a policy that carries an interceptor has no steps",
        ),
    ] {
        let found = problems(&files(with, &[(path, &text)]));
        let expected = format!("{path}:{expected}");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{expected}\n{found:#?}");
    }
    let policy = package();
    let twice = files(with, &[("policies/mask.yaml", &policy), ("policies/mask/policy.yaml", &policy)]);
    assert!(problems(&twice)[0].contains("are one policy, `mask`"), "{:?}", problems(&twice));
    let astray = files(with, &[("policies/mask.yaml", &policy), ("policies/other/mask.yaml", &policy)]);
    assert!(problems(&astray)[0].contains("`policies/other/mask.yaml` is not read"), "{:?}", problems(&astray));
    let unused = files(with, &[("policies/mask.yaml", &policy), ("policies/other/policy.yaml", &policy)]);
    assert!(problems(&unused)[0].contains("uses `policies/other/policy.yaml`"), "{:?}", problems(&unused));
    let missing = compiled(&files(with, &[]));
    let help = missing.diagnostics.iter().find(|found| found.code == Code::BadTransform).unwrap().help.as_deref();
    assert!(help.unwrap().contains("micro-gw policy add"), "{help:?}");
}

#[test]
fn parameters_are_compared_with_their_schema() {
    let policy = package();
    for (with, at, expected) in [
        ("{fields: []}", "6:20", "the parameter `fields` of `mask` must have at least 1 items"),
        ("{fields: [a]}", "6:21", "the parameter `fields/0` of `mask` must match the pattern `^[/$]`"),
        ("{fields: [/a], limits: {most: 0}}", "6:41", "the parameter `limits/most` of `mask` must be at least 1"),
        (
            "{fields: [/a], limits: {least: 0}}",
            "6:34",
            "the parameter `limits` of `mask` has the property `least`, which is not declared",
        ),
        (
            "{fields: [/a], limits: {rules: [{next: {most: a}}]}}",
            "6:57",
            "the parameter `limits/rules/0/next/most` of `mask` must be a whole number",
        ),
        ("{}", "5:13", "the policy `mask` needs the parameter `fields`"),
        ("{limits: {most: 0x10}, fields: [/a]}", "6:20", "`limits` has a number that JSON has no form for"),
        ("{field: [/a], fields: [/a]}", "6:12", "the policy `mask` has no parameter `field`"),
    ] {
        let files = files(with, &[("policies/mask/policy.yaml", &policy)]);
        let expected = format!("api_definitions/shop.yaml:{at} {expected}");
        assert_eq!(problems(&files), [expected], "{with}");
    }
    // Told beside where it is declared.
    let files = files("{fields: []}", &[("policies/mask/policy.yaml", &policy)]);
    let compilation = compiled(&files);
    let found = compilation.diagnostics.iter().find(|found| found.code == Code::BadTransform).unwrap();
    let related: Vec<String> = found.related.iter().map(|(place, what)| format!("{place} {what}")).collect();
    assert_eq!(related, ["policies/mask/policy.yaml:8:5 declared here"]);
}

#[test]
fn defaults_are_filled_in_at_any_depth() {
    // However the schema calls what it refers to.
    let by_pointer = package();
    let by_anchor = by_pointer
        .replace("\"#/$defs/limits\"", "\"#limits\"")
        .replace("    limits:\n      type", "    limits:\n      $anchor: limits\n      type");
    let by_uri = by_pointer
        .replace("\"#/$defs/limits\"", "urn:example:limits")
        .replace("    limits:\n      type", "    limits:\n      $id: urn:example:limits\n      type");
    for (policy, (with, expected)) in [&by_pointer, &by_anchor, &by_uri].into_iter().flat_map(|policy| {
        [
            ("{fields: [/a]}", r#"{"fields":["/a"]}"#),
            ("{fields: [/a], limits: {}}", r#"{"fields":["/a"],"limits":{"most":10}}"#),
            (
                "{fields: [/a], limits: {rules: [{}, {code: y, next: {}}]}}",
                r#"{"fields":["/a"],"limits":{"rules":[{"code":"x"},{"code":"y","next":{"most":10}}],"most":10}}"#,
            ),
        ]
        .map(|case| (policy, case))
    }) {
        let model = compiled(&files(with, &[("policies/mask/policy.yaml", policy)])).model.unwrap();
        assert_eq!(model.transforms[0].parameters, [expected]);
    }
    // One that would never end.
    let endless = format!(
        "{HEAD}parameters: {{properties: {{fields: {{type: array}}, a: {{$ref: '#/$defs/a', default: {{}}}}}}, $defs: {{a: {{properties: {{a: {{$ref: '#/$defs/a', default: {{}}}}, b: {{$ref: '#/$defs/a', default: {{}}}}}}}}}}}}\n{STEPS}"
    );
    let found = problems(&files("{fields: [/a]}", &[("policies/mask/policy.yaml", &endless)]));
    assert!(found.len() == 1 && found[0].contains("has too many defaults to fill in"), "{found:?}");
}

fn lock(content: &[(&str, &str)]) -> String {
    let mut files = Content::default();
    for (path, text) in content {
        files.add(path, text.as_bytes()).unwrap();
    }
    let locked = Locked {
        package: "mask".to_owned(),
        version: "1.0.0".to_owned(),
        source: "oci://registry.example.com/policies/mask:1".to_owned(),
        manifest: None,
        digest: files.digest(),
    };
    Lock { policies: [("mask".to_owned(), locked)].into() }.write()
}

#[test]
fn what_is_vendored_is_what_was_taken_in() {
    let policy = package();
    let with = "{fields: [/a]}";
    let lock = lock(&[("README.md", "# mask\n"), ("policy.yaml", &policy)]);
    let good = [
        ("policies.lock", lock.as_str()),
        ("policies/mask/policy.yaml", &policy),
        ("policies/mask/README.md", "# mask\n"),
    ];
    assert_eq!(problems(&files(with, &good)), Vec::<String>::new());
    let changed =
        "policies.lock:4:1 `policies/mask` is not what was taken in from `oci://registry.example.com/policies/mask:1`";
    for (files, expected) in [
        // A file is another one, is missing, or came to it.
        (files(with, &[good[0], good[1], ("policies/mask/README.md", "# Mask\n")]), changed),
        (files(with, &good[..2]), changed),
        (files(with, &[good[0], good[1], good[2], ("policies/mask/tests/a.yaml", "")]), changed),
        (files(with, &[good[0], ("policies/mask.yaml", &policy)]), "policies.lock:4:1 `policies/mask` is not there"),
        (
            files(with, &[good[0], good[1], good[2], ("policies/mask/.hidden", "")]),
            "policies.lock:4:1 `policies/mask`: `.hidden` cannot be in a policy",
        ),
        (
            files(with, &[("policies.lock", "version = 2\n"), good[1]]),
            "policies.lock:1:1 `policies.lock` cannot be used: its version is 2",
        ),
        (
            files(with, &[("policies.lock", "version = 1\npolicies = 1\n"), good[1]]),
            "policies.lock:2:1 `policies.lock` cannot be used",
        ),
        (files(with, &[("policies.lock", "version = "), good[1]]), "policies.lock:1:11 `policies.lock` cannot be used"),
        (
            files(with, &[("policies.lock", &lock.replace("sha256:", "sha1:")), good[1]]),
            "policies.lock:4:1 `policies.lock` cannot be used: the digest of `mask` is none",
        ),
    ] {
        let found = problems(&files);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{expected}\n{found:#?}");
        assert!(compiled(&files).model.is_none());
    }
    // The lock itself is nothing of the artifact.
    let unlocked = compiled(&files(with, &good[1..])).model.unwrap();
    assert_eq!(artifact::encode(&compiled(&files(with, &good)).model.unwrap()), artifact::encode(&unlocked));
}

#[test]
fn a_lock_is_what_was_written() {
    let text = lock(&[("policy.yaml", "x")]);
    let read = Lock::read(&text).unwrap();
    assert_eq!(read.write(), text);
    let mut odd = read.clone();
    odd.policies.get_mut("mask").unwrap().source = "a \"path\"\n\\ \u{e9}".to_owned();
    odd.policies.get_mut("mask").unwrap().manifest = Some(packages::digest(b""));
    assert_eq!(Lock::read(&odd.write()).unwrap(), odd);
    let twice = format!("{text}{}", text.split_once("\n\n").unwrap().1);
    assert!(Lock::read(&twice).unwrap_err().message.contains("twice"));
}

/// `find . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum`.
#[test]
fn the_digest_is_what_is_documented() {
    let mut content = Content::default();
    for (path, text) in [("tests/a.yaml", "- {}\n"), ("policy.yaml", "name: x\n"), ("README.md", "")] {
        content.add(path, text.as_bytes()).unwrap();
    }
    let lines = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  README.md\n\
                 PPP  policy.yaml\n\
                 TTT  tests/a.yaml\n";
    let lines = lines.replace("PPP", packages::digest(b"name: x\n").strip_prefix("sha256:").unwrap());
    let lines = lines.replace("TTT", packages::digest(b"- {}\n").strip_prefix("sha256:").unwrap());
    assert_eq!(content.digest(), packages::digest(lines.as_bytes()));
}

#[test]
fn what_cannot_be_in_a_package() {
    for path in [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "./a",
        ".a",
        "a/.b",
        "a b",
        "a\\b",
        "a\nb",
        "\u{e9}",
        "C:a",
        &"a/".repeat(200),
    ] {
        assert!(Content::check_path(path).is_err(), "{path:?}");
    }
    let mut content = Content::default();
    content.add("a/B.yaml", b"").unwrap();
    assert!(content.add("A/b.yaml", b"").is_err(), "one file where case does not count");
    for index in 1..packages::MAX_FILES {
        content.add(&index.to_string(), b"").unwrap();
    }
    assert_eq!(content.add("one-more", b""), Err(packages::ContentError::TooMany));
}

/// Condition and action of each step of requests.
fn of_requests(policy: &str, with: &str) -> Result<Vec<String>, Vec<String>> {
    let files = files(with, &[("policies/mask/policy.yaml", policy)]);
    let compilation = compiled(&files);
    let Some(model) = compilation.model else { return Err(problems(&files)) };
    let steps = model.transforms[0].steps.iter();
    Ok(steps.map(|step| format!("{} {:?}", step.condition, step.action.as_ref().unwrap())).collect())
}

#[test]
fn parameters_stand_in_conditions_and_names() {
    let policy =
        |steps: &str| format!("{HEAD}parameters: {{properties: {{a: {{}}, b: {{}}}}}}\nrequest:\n  - {steps}\n");
    let with = "{a: 'x\" || true || \"', b: [1, \"\u{e9}\"]}";
    let steps = of_requests(
        &policy("if: '{{ parameters.a }} in request.query && request.method in {{parameters.b}}'\n    method: PUT"),
        with,
    );
    // Whatever it says, it is one text.
    assert_eq!(steps.unwrap(), [r#""x\" || true || \"" in request.query && request.method in [1,"é"] Method("PUT")"#]);
    for (steps, with, expected) in [
        ("if: '{{ parameters.a }} == 1'\n    method: PUT", "{a: {c: 1}}", "6:9 `parameters.a` is an object"),
        ("if: '{{ parameters.a }} == 1'\n    method: PUT", "{}", "6:9 the parameter `a` is needed here"),
        ("if: '{{ parameters.c }} == 1'\n    method: PUT", "{}", "6:9 the policy declares no parameter `c`"),
        (
            "if: '{{ caller.subject }} == 1'\n    method: PUT",
            "{}",
            "6:9 in an `if` braces have `parameters.name` alone",
        ),
        ("if: '{{ parameters.a'\n    method: PUT", "{a: 1}", "6:9 the condition is not accepted"),
        ("headers: {set: {'{{ parameters.a }}': x}}", "{a: Host}", "api_definitions/shop.yaml:6:15 the header `Host`"),
        ("headers: {set: {'{{ parameters.a }}': x}}", "{a: [1]}", "api_definitions/shop.yaml:6:15 `set` must be text"),
        ("toXml: {contentType: application/json}", "{}", "6:5 `application/json` is no content type of XML"),
        ("body: {contentType: text/plain, template: '{{ request.idd }}'}", "{}", "`request.idd` is not known"),
    ] {
        let found = of_requests(&policy(steps), with).unwrap_err();
        assert!(found.len() == 1 && found[0].contains(expected), "{steps} {expected}\n{found:#?}");
    }
    let names = "headers: {set: {'{{ parameters.a }}': '{{ request.id }}'}, remove: ['{{ parameters.b }}']}";
    let steps = of_requests(&policy(names), "{a: X-Id, b: X-Old}").unwrap();
    assert!(steps[0].contains("\"x-old\"") || steps[0].contains("X-Old"), "{steps:?}");
    assert!(steps[0].contains("X-Id") && steps[0].contains("request.id"), "{steps:?}");
    // What a value says names nothing.
    let given = "headers: {set: '{{ parameters.a }}'}";
    let found = of_requests(&policy(given), "{a: {'{{ parameters.b }}': x}, b: Y}").unwrap_err();
    assert!(found[0].contains("the header `{{ parameters.b }}` cannot be edited"), "{found:?}");
    // Outside policies there are none.
    let bare = "openapi: 3.0.3\ninfo: {title: S, version: '1'}\nservers: [{url: https://s.example.com/s}]\nx-microgw-transform:\n  request: [{if: '{{ parameters.a }}', method: PUT}]\npaths: {/items: {get: {}}}\n";
    let found = problems(&MemoryFiles::new().with("api_definitions/s.yaml", bare));
    assert!(found[0].contains("the condition is not accepted"), "{found:?}");
}
