//! A project's files to its [`Model`]: every problem in one run, a model only when none is an error.

mod report;

use crate::coverage::Coverage;
use crate::diagnostic::{self, Code, Diagnostic};
use crate::files::Files;
use crate::model::Model;
pub(crate) use report::Report;

/// How to compile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Build although something declared is not enforced, and record it in [`Model::unenforced`].
    pub allow_unenforced: bool,
}

/// What came of a project.
#[derive(Clone, Debug)]
pub struct Compilation {
    /// `None` when there is an error among the diagnostics.
    pub model: Option<Model>,
    /// By file, line and column.
    pub diagnostics: Vec<Diagnostic>,
    /// Of what could be read, even where there is no model.
    pub coverage: Coverage,
}

/// Compiles the project of that name.
pub fn compile(_files: &dyn Files, project: &str, options: &Options) -> Compilation {
    let mut report = Report::new(options.allow_unenforced);
    report.add(Diagnostic::new(Code::NothingToBuild, None, "nothing to build"));
    let mut model = Model { project: project.to_owned(), ..Model::default() };
    let (mut diagnostics, unenforced) = report.finish();
    model.unenforced = unenforced;
    diagnostic::sort(&mut diagnostics);
    let coverage = Coverage::of(&model);
    let failed = diagnostics.iter().any(Diagnostic::is_error);
    Compilation { model: (!failed).then_some(model), diagnostics, coverage }
}
