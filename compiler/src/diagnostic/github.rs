//! Diagnostics as workflow commands of GitHub Actions, which shows them beside the lines of a pull request.

use std::fmt::Write as _;

use super::{Diagnostic, Locate, Severity};

/// One command a line. Empty when there is nothing to say.
pub fn render_github(diagnostics: &[Diagnostic], locate: Locate<'_>) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let command = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let mut properties = Vec::new();
        if let Some(place) = &diagnostic.place {
            properties.push(("file", locate(&place.file)));
            properties.push(("line", place.start.line.to_string()));
            properties.push(("endLine", place.end.line.to_string()));
            // Columns of different lines are not understood.
            if place.start.line == place.end.line {
                properties.push(("col", place.start.column.to_string()));
                properties.push(("endColumn", place.end.column.to_string()));
            }
        }
        properties.push(("title", format!("{} {}", diagnostic.code.id(), diagnostic.code.slug())));
        let properties = properties.iter().map(|(name, value)| format!("{name}={}", property(value)));
        let properties = properties.collect::<Vec<_>>().join(",");
        let mut message = diagnostic.message.clone();
        // Writing to a string does not fail.
        for (place, what) in &diagnostic.related {
            let _ = write!(message, "\n{}:{}:{}: {what}", locate(&place.file), place.start.line, place.start.column);
        }
        if let Some(help) = &diagnostic.help {
            let _ = write!(message, "\nhelp: {help}");
        }
        let _ = writeln!(text, "::{command} {properties}::{}", data(&message));
    }
    text
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
