//! Diagnostics for machines: an array of objects, one per diagnostic, in their order. Keys are only ever added.

use serde::Serialize;

use super::{Diagnostic, Locate, Place};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    code: &'static str,
    name: &'static str,
    severity: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Location<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related: Vec<Related<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location<'a> {
    /// In the project.
    file: &'a str,
    /// From where the tool was started.
    path: String,
    line: u32,
    column: u32,
    end_line: u32,
    end_column: u32,
}

#[derive(Serialize)]
struct Related<'a> {
    message: &'a str,
    location: Location<'a>,
}

/// A JSON array, pretty-printed, with a final newline.
pub fn render_json(diagnostics: &[Diagnostic], locate: Locate<'_>) -> String {
    let records: Vec<Record<'_>> = diagnostics.iter().map(|diagnostic| Record::of(diagnostic, locate)).collect();
    // Strings and numbers only: serialising cannot fail.
    let mut text = serde_json::to_string_pretty(&records).unwrap_or_default();
    text.push('\n');
    text
}

impl<'a> Record<'a> {
    fn of(diagnostic: &'a Diagnostic, locate: Locate<'_>) -> Record<'a> {
        Record {
            code: diagnostic.code.id(),
            name: diagnostic.code.slug(),
            severity: diagnostic.severity.as_str(),
            message: &diagnostic.message,
            help: diagnostic.help.as_deref(),
            location: diagnostic.place.as_ref().map(|place| Location::of(place, locate)),
            related: diagnostic
                .related
                .iter()
                .map(|(place, message)| Related { message, location: Location::of(place, locate) })
                .collect(),
        }
    }
}

impl<'a> Location<'a> {
    fn of(place: &'a Place, locate: Locate<'_>) -> Location<'a> {
        Location {
            file: &place.file,
            path: locate(&place.file),
            line: place.start.line,
            column: place.start.column,
            end_line: place.end.line,
            end_column: place.end.column,
        }
    }
}
