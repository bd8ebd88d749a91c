//! Where diagnostics are collected.

use crate::diagnostic::{Class, Code, Diagnostic, Severity};
use crate::model::Unenforced;
use crate::source::Value;

pub(crate) struct Report {
    diagnostics: Vec<Diagnostic>,
    unenforced: Vec<Unenforced>,
    allow_unenforced: bool,
}

// === impl Report ===

impl Report {
    pub(crate) fn new(allow_unenforced: bool) -> Report {
        Report { diagnostics: Vec::new(), unenforced: Vec::new(), allow_unenforced }
    }

    pub(crate) fn add(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    pub(crate) fn extend(&mut self, diagnostics: impl IntoIterator<Item = Diagnostic>) {
        self.diagnostics.extend(diagnostics);
    }

    /// About `at`, which also is where what is not enforced was declared.
    pub(crate) fn say(&mut self, code: Code, at: Value<'_>, message: impl Into<String>) {
        self.put(at, Diagnostic::new(code, at.place(), message));
    }

    pub(crate) fn advise(&mut self, code: Code, at: Value<'_>, message: impl Into<String>, help: impl Into<String>) {
        self.put(at, Diagnostic::new(code, at.place(), message).help(help));
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// What was reported, and what is not enforced by order of position.
    pub(crate) fn finish(self) -> (Vec<Diagnostic>, Vec<Unenforced>) {
        let Report { diagnostics, mut unenforced, .. } = self;
        unenforced.sort_by(|a, b| (a.source, &a.code, &a.message).cmp(&(b.source, &b.code, &b.message)));
        unenforced.dedup();
        (diagnostics, unenforced)
    }

    fn put(&mut self, at: Value<'_>, mut diagnostic: Diagnostic) {
        if diagnostic.code.class() == Class::Unenforced {
            if self.allow_unenforced {
                diagnostic.severity = Severity::Warning;
                let (code, message) = (diagnostic.code.id().to_owned(), diagnostic.message.clone());
                self.unenforced.push(Unenforced { code, message, source: at.position() });
            } else if diagnostic.help.is_none() {
                diagnostic.help = Some("remove it, or build with `--allow-unenforced` and do without".to_owned());
            }
        }
        self.diagnostics.push(diagnostic);
    }
}
