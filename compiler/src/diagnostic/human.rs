//! Diagnostics for people: the message, the annotated source, the help.

use std::collections::HashMap;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Diagnostic, LineColumn, Place, Severity};
use crate::files::Files;

/// Longer lines (generated definitions are often a single one) are named, not shown.
const MAX_LINE: usize = 400;
/// Larger files are named, not shown.
const MAX_FILE: u64 = 64 << 20;

/// Renders each diagnostic with the lines it is about, which are read from `files` again, and a blank line after it.
pub fn render_human(diagnostics: &[Diagnostic], files: &dyn Files, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut sources = Sources { files, read: HashMap::new() };
    for place in diagnostics.iter().flat_map(places) {
        sources.load(&place.file);
    }
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&renderer.render(&report(diagnostic, &sources)));
        text.push_str("\n\n");
    }
    text
}

fn report<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources<'_>) -> Vec<Group<'a>> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.id());
    let mut group = match &diagnostic.place {
        Some(place) => show(Group::with_title(title), place, AnnotationKind::Primary, None, sources),
        None => Group::with_title(title),
    };
    for (place, what) in &diagnostic.related {
        group = show(group, place, AnnotationKind::Context, Some(what), sources);
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    vec![group]
}

fn show<'a>(
    group: Group<'a>,
    place: &'a Place,
    kind: AnnotationKind,
    label: Option<&'a String>,
    sources: &'a Sources<'_>,
) -> Group<'a> {
    let label = label.map(String::as_str);
    if let Some((text, line, range)) = sources.excerpt(place) {
        let annotation = kind.span(range).label(label);
        return group.element(Snippet::source(text).line_start(line).path(&*place.file).annotation(annotation));
    }
    let origin = Origin::path(&*place.file).line(place.start.line as usize).char_column(place.start.column as usize);
    match label {
        Some(label) => group.element(origin).element(Level::NOTE.message(label)),
        None => group.element(origin),
    }
}

fn places(diagnostic: &Diagnostic) -> impl Iterator<Item = &Place> {
    diagnostic.place.iter().chain(diagnostic.related.iter().map(|(place, _)| place))
}

/// The texts that excerpts are cut from, with the byte where each line starts.
struct Sources<'f> {
    files: &'f dyn Files,
    read: HashMap<String, Option<(String, Vec<usize>)>>,
}

// === impl Sources ===

impl Sources<'_> {
    fn load(&mut self, file: &str) {
        if self.read.contains_key(file) {
            return;
        }
        let text = self.files.read(file, MAX_FILE).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.map(|text| {
            // The byte order mark is not part of the first line's columns.
            let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
            let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
            (text, starts)
        });
        self.read.insert(file.to_owned(), text);
    }

    /// The line that `place` starts on, its number, and the part of it to point at.
    fn excerpt(&self, place: &Place) -> Option<(&str, usize, Range<usize>)> {
        let (text, starts) = self.read.get(&*place.file)?.as_ref()?;
        let number = place.start.line as usize;
        let start = *starts.get(number.checked_sub(1)?)?;
        let end = starts.get(number).copied().unwrap_or(text.len());
        let line = text.get(start..end)?.trim_end_matches(['\n', '\r']);
        if line.is_empty() || line.len() > MAX_LINE {
            return None;
        }
        let offset = |at: LineColumn| {
            line.char_indices().nth(at.column.saturating_sub(1) as usize).map_or(line.len(), |(index, _)| index)
        };
        let from = offset(place.start);
        let to = if place.end.line == place.start.line { offset(place.end) } else { line.len() };
        // A point is shown as the character there.
        let to = if to > from { to } else { line.get(from..)?.chars().next().map_or(from, |c| from + c.len_utf8()) };
        Some((line, number, from..to))
    }
}
