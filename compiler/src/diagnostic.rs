//! What the compiler has to say about a project. Knows nothing of how it is shown: see [`render_human`], [`render_json`],
//! [`render_sarif`] and [`render_github`] for that.

mod code;
mod github;
mod human;
mod json;
mod record;
mod sarif;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use code::{Class, Code};
pub use github::render_github;
pub use human::render_human;
pub use json::render_json;
pub use record::{Block, Record, markdown};
pub use sarif::render_sarif;

/// From a project's file to its path for whoever reads a report: relative to the directory in which the tool was started,
/// or absolute where it lies elsewhere.
pub type Locate<'a> = &'a dyn Fn(&str) -> String;

/// One problem, or one remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    /// Makes sense alone. Values in backticks.
    pub message: String,
    /// `None`: about the project as a whole.
    pub place: Option<Place>,
    /// What to do about it.
    pub help: Option<String>,
    /// Other places that belong to it, each with what it has to do with it.
    pub related: Vec<(Place, String)>,
}

/// Worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Error,
    Warning,
    Note,
}

/// A stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Relative to the project.
    pub file: Arc<str>,
    pub start: LineColumn,
    /// Exclusive. Equal to `start` where only a point is known.
    pub end: LineColumn,
}

/// Both from 1; columns are in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineColumn {
    pub line: u32,
    pub column: u32,
}

// === impl Diagnostic ===

impl Diagnostic {
    /// With the code's own severity.
    pub fn new(code: Code, place: impl Into<Option<Place>>, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: code.severity(),
            message: message.into(),
            place: place.into(),
            help: None,
            related: Vec::new(),
        }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn related(mut self, place: Place, what: impl Into<String>) -> Diagnostic {
        self.related.push((place, what.into()));
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Orders by file, line and column; what concerns the whole project comes first. Exact repetitions are dropped:
/// a part that two definitions share is read twice.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics
        .sort_by(|a, b| (&a.place, a.severity, a.code, &a.message).cmp(&(&b.place, b.severity, b.code, &b.message)));
    diagnostics.dedup();
}

// === impl Severity ===

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

// === impl Place ===

impl Place {
    /// The first character of a file, for what concerns the file as a whole.
    pub fn whole(file: impl Into<Arc<str>>) -> Place {
        Place::point(file, LineColumn { line: 1, column: 1 })
    }

    pub fn point(file: impl Into<Arc<str>>, at: LineColumn) -> Place {
        Place { file: file.into(), start: at, end: at }
    }
}

impl std::fmt::Display for Place {
    /// `file:line:column`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.start.line, self.start.column)
    }
}
