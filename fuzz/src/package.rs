//! Policies from elsewhere: whatever a registry, a lock or a schema says, nothing panics, and what is taken says the same when it is written
//! and read again.

use microgw_compiler::packages::{Content, Lock};
use microgw_hub::{Package, Reference};
use microgw_schemas::Standalone;

use crate::{Reached, Target};

pub const TARGET: Target = Target {
    name: "package",
    run,
    reaches: &[
        "no text",
        "no package",
        "a package",
        "no reference",
        "a reference",
        "no lock",
        "a lock",
        "no schema",
        "as the schema says",
        "not as the schema says",
    ],
    dictionary: &[
        "policy.yaml",
        "../",
        "./",
        "ustar",
        "PaxHeader",
        "oci://",
        "@sha256:",
        "localhost:5000/",
        "[[policy]]",
        "version = 1",
        "$ref",
        "#/$defs/a",
        "\"$id\":",
        "\"$anchor\":",
        "\"$dynamicRef\":",
        "\"$dynamicAnchor\":",
        "\"default\":",
        "\"pattern\":",
        "\"anyOf\":[",
        "\"additionalProperties\":false",
        "patternProperties",
        "unevaluatedProperties",
    ],
    mutations: 3000,
};

/// The first byte says what the rest is.
pub fn run(bytes: &[u8]) -> Reached {
    let Some((kind, rest)) = bytes.split_first() else { return "no text" };
    if *kind == b't' {
        return tar(rest);
    }
    let Ok(text) = std::str::from_utf8(rest) else { return "no text" };
    match kind {
        b'r' => reference(text),
        b'l' => lock(text),
        b's' => schema(text),
        _ => "no text",
    }
}

fn tar(bytes: &[u8]) -> Reached {
    let Ok(package) = Package::from_tar(bytes) else { return "no package" };
    for (path, _) in package.files() {
        Content::check_path(path).expect("nothing else is taken");
        let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.');
        assert!(path.split('/').all(is_plain), "{path}");
    }
    let again = Package::from_tar(&package.to_tar().expect("it can be packed")).expect("it is one");
    assert_eq!((&again, again.digest()), (&package, package.digest()));
    "a package"
}

fn reference(text: &str) -> Reached {
    let Ok(reference) = text.parse::<Reference>() else { return "no reference" };
    let written = reference.to_string();
    assert_eq!(written.parse::<Reference>().as_ref(), Ok(&reference), "{written}");
    // A tag may have dots in a row, and is no path.
    let (repository, _) = written.rsplit_once([':', '@']).unwrap_or((&written, ""));
    assert!(!repository.contains("..") && !written.contains(char::is_whitespace), "{written}");
    "a reference"
}

fn lock(text: &str) -> Reached {
    let Ok(lock) = Lock::read(text) else { return "no lock" };
    assert_eq!(Lock::read(&lock.write()).as_ref(), Ok(&lock));
    "a lock"
}

/// A schema, and in the last line a value.
fn schema(text: &str) -> Reached {
    let (schema, value) = text.trim_end().rsplit_once('\n').unwrap_or((text, "{}"));
    let compiled = serde_json::from_str(schema).ok().and_then(|schema| Standalone::compile(&schema).ok());
    let Some(compiled) = compiled else { return "no schema" };
    if compiled.check(value).is_empty() { "as the schema says" } else { "not as the schema says" }
}
