//! Diagnostics as SARIF 2.1.0, for code scanning. Numbers in comments are sections of that standard.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Code, Diagnostic, Locate, Place, Severity};
use crate::compile::DEPLOYMENT_CONFIG;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// What relative URIs are relative to.
const BASE: &str = "SRCROOT";
/// Bytes.
const FINGERPRINT: usize = 16;

/// One run, pretty-printed, with a final newline. `project` is the path of the project, which tells its reports from those
/// of other projects in one repository.
pub fn render_sarif(diagnostics: &[Diagnostic], project: &str, locate: Locate<'_>) -> String {
    let mut codes: Vec<Code> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    codes.sort();
    codes.dedup();
    let mut seen = HashMap::new();
    let results: Vec<Value> =
        diagnostics.iter().map(|diagnostic| result(diagnostic, &codes, locate, &mut seen)).collect();
    let category = match project.rsplit_once('/').filter(|_| project.starts_with('/')) {
        // Where that is on this machine changes from run to run.
        Some((_, name)) => format!("{}/", encoded(name)),
        None if project == "." => String::new(),
        None => format!("{}/", encoded(project)),
    };
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "micro-gw",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| rule(*code)).collect::<Vec<_>>(),
            } },
            // What stands before the last slash is the category.
            "automationDetails": { "id": format!("micro-gw/{category}") },
            // Without a URI (3.14.14): where that is on this machine is nobody's concern.
            "originalUriBaseIds": { BASE: {
                "description": { "text": "The directory in which micro-gw was started." }
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    // Strings and numbers only: serialising cannot fail.
    let mut text = serde_json::to_string_pretty(&log).unwrap_or_default();
    text.push('\n');
    text
}

fn rule(code: Code) -> Value {
    let record = code.record();
    let text = super::markdown(&record.text);
    let help = record.markdown(2);
    json!({
        "id": code.id(),
        "name": code.slug(),
        "shortDescription": { "text": code.summary() },
        "fullDescription": { "text": text },
        // Plain text is asked for too (3.49.10), and Markdown is text.
        "help": { "text": help, "markdown": help },
        "defaultConfiguration": { "level": level(code.severity()) },
        "properties": { "class": code.class().as_str() },
    })
}

fn result(diagnostic: &Diagnostic, codes: &[Code], locate: Locate<'_>, seen: &mut HashMap<String, u32>) -> Value {
    // Every result needs a location in a file, or code scanning refuses the report.
    let whole = Place::whole(DEPLOYMENT_CONFIG);
    let place = diagnostic.place.as_ref().unwrap_or(&whole);
    let help = diagnostic.help.as_ref().map(|help| format!("\n\nhelp: {help}")).unwrap_or_default();
    let related = diagnostic.related.iter().enumerate().map(|(index, (place, what))| {
        json!({ "id": index + 1, "physicalLocation": physical(place, locate), "message": { "text": what } })
    });
    json!({
        "ruleId": diagnostic.code.id(),
        "ruleIndex": codes.binary_search(&diagnostic.code).unwrap_or_default(),
        "level": level(diagnostic.severity),
        // The standard doubles braces (3.11.5), and viewers show what has no arguments as it is.
        "message": { "text": format!("{}{help}", diagnostic.message) },
        "locations": [{ "physicalLocation": physical(place, locate) }],
        "relatedLocations": related.collect::<Vec<_>>(),
        "partialFingerprints": { "microgwProblem/v1": fingerprint(diagnostic, seen) },
    })
}

fn physical(place: &Place, locate: Locate<'_>) -> Value {
    let path = locate(&place.file);
    let artifact = if path.starts_with('/') {
        json!({ "uri": format!("file://{}", encoded(&path)) })
    } else {
        json!({ "uri": encoded(&path), "uriBaseId": BASE })
    };
    let mut region = Map::new();
    region.insert("startLine".to_owned(), place.start.line.into());
    region.insert("startColumn".to_owned(), place.start.column.into());
    // Of a point only the start is known: without an end it is the rest of the line (3.30.8).
    if place.end > place.start {
        region.insert("endLine".to_owned(), place.end.line.into());
        region.insert("endColumn".to_owned(), place.end.column.into());
    }
    json!({ "artifactLocation": artifact, "region": region })
}

/// The same for the same problem wherever in its file it moves.
fn fingerprint(diagnostic: &Diagnostic, seen: &mut HashMap<String, u32>) -> String {
    let file = diagnostic.place.as_ref().map_or("", |place| &place.file);
    let mut hash = Sha256::new();
    for part in [diagnostic.code.id(), file, &diagnostic.message] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut hex = String::new();
    for byte in hash.finalize().iter().take(FINGERPRINT) {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    let count = seen.entry(hex.clone()).or_default();
    *count += 1;
    // Equal ones are told apart by their order.
    format!("{hex}:{count}")
}

fn level(severity: Severity) -> &'static str {
    // They have the same names.
    severity.as_str()
}

/// A path as a URI reference: RFC 3986 sections 2.3 and 3.3, and no colon, which would end a scheme.
fn encoded(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}
