//! A project's files to its [`Model`]: every problem in one run, a model only when none is an error.

mod checks;
mod deployment;
mod error_templates;
mod legacy;
mod policies;
mod report;

use crate::coverage::Coverage;
use crate::definition::{self, Definition, EndpointTable, Library};
use crate::diagnostic::{self, Code, Diagnostic, Place};
use crate::files::Files;
use crate::interceptors::{self, InterceptorFiles};
use crate::model::Model;
use crate::packages;
use crate::transforms::{self, PolicyFiles};
pub(crate) use deployment::EmptySecurity;
pub use deployment::PATH as DEPLOYMENT_CONFIG;
pub(crate) use policies::Policies;
pub(crate) use report::Report;

/// Where definitions are: the developer's, then those that were imported.
const DEFINITIONS: [&str; 2] = ["api_definitions", "gen/api_definitions"];

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
pub fn compile(files: &dyn Files, project: &str, options: &Options) -> Compilation {
    let mut report = Report::new(options.allow_unenforced);
    let mut library = Library::new(files);
    let mut table = EndpointTable::default();
    let empty = deployment::read(files, &mut report);
    let mut policies = Policies::read(files, &mut library, &mut report);
    let error_templates =
        error_templates::read(files, list(files, &mut report, error_templates::DIRECTORY), &mut report);
    legacy::check(files, |report, directory| list(files, report, directory), &mut report);
    let shared = list(files, &mut report, transforms::DIRECTORY);
    packages::check(files, &shared, &mut report);
    policies.transforms.files = PolicyFiles::read(&mut library, shared, &mut report);
    let programs = list(files, &mut report, interceptors::DIRECTORY);
    let carriers = policies.transforms.files.carriers();
    policies.interceptors.files = InterceptorFiles::read(files, &mut library, &programs, carriers, &mut report);
    let mut definitions = read_definitions(files, &mut library, &mut report, &mut policies, &mut table, empty);
    policies.report_unused(&mut report);
    policies.transforms.files.report_unused(&mut report);
    policies.interceptors.files.report_unused(&mut report);

    definitions.sort_by(|a, b| (&a.api.base_path, a.api.source).cmp(&(&b.api.base_path, b.api.source)));
    let files = library.into_names();
    // What could not be read would be missed.
    if !report.has_errors() {
        policies.report_idle(&definitions, &files, &mut report);
    }
    let (transforms, interceptors) = (policies.transforms.take(), policies.interceptors.take());
    let (limits, tiers) = policies.into_limits();
    checks::check(&definitions, &files, &mut report);

    let (mut diagnostics, unenforced) = report.finish();
    diagnostic::sort(&mut diagnostics);
    let apis = definitions.into_iter().map(|definition| definition.api).collect();
    let model = Model {
        project: project.to_owned(),
        files,
        endpoints: table.into_endpoints(),
        apis,
        unenforced,
        error_templates,
        limits,
        tiers,
        transforms,
        interceptors,
    };
    let coverage = Coverage::of(&model);
    let failed = diagnostics.iter().any(Diagnostic::is_error);
    Compilation { model: (!failed).then_some(model), diagnostics, coverage }
}

/// Reads every definition, one after the other: each is dropped before the next is opened.
fn read_definitions(
    files: &dyn Files,
    library: &mut Library<'_>,
    report: &mut Report,
    policies: &mut Policies,
    table: &mut EndpointTable,
    empty: EmptySecurity,
) -> Vec<Definition> {
    let listed = DEFINITIONS.iter().flat_map(|directory| list(files, report, directory));
    let paths: Vec<String> = listed.filter(|path| is_structured(path)).collect();
    let mut definitions = Vec::new();
    let mut fragments = Vec::new();
    for path in &paths {
        match library.open(path) {
            Err(diagnostics) => report.extend(diagnostics),
            Ok(document) if definition::is_definition(&document) => {
                let bundle = library.bundle(document, report);
                definitions.extend(definition::read(&bundle, report, policies, table, empty));
            }
            Ok(_) => fragments.push(path.as_str()),
        }
    }
    for path in fragments.iter().filter(|path| !library.is_fragment(path)) {
        let message = format!("`{path}` has neither `openapi` nor `swagger`, and no definition refers to it");
        report.add(Diagnostic::new(Code::UnusedFragment, Place::whole(*path), message));
    }
    if paths.len() == fragments.len() {
        report.add(
            Diagnostic::new(Code::NothingToBuild, None, "nothing to build: the project has no API definition")
                .help("put OpenAPI files (`.json`, `.yaml`) into `api_definitions`"),
        );
    }
    definitions
}

/// The files below a directory, in a stable order.
fn list(files: &dyn Files, report: &mut Report, directory: &str) -> Vec<String> {
    let mut paths = files.list(directory).unwrap_or_else(|error| {
        let message = format!("`{directory}` cannot be listed: {error}");
        report.add(Diagnostic::new(Code::UnreadableFile, None, message));
        Vec::new()
    });
    paths.sort();
    paths
}

fn is_structured(path: &str) -> bool {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    matches!(extension.as_deref(), Some("json" | "yaml" | "yml"))
}
