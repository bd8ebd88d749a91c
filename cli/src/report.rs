//! What `build` and `check` print: data on stdout, what is for the person at the terminal on stderr.

use std::path::PathBuf;

use microgw_compiler::compile::Compilation;
use microgw_compiler::diagnostic::{
    Code, Diagnostic, Severity, render_github, render_human, render_json, render_sarif,
};
use serde_json::{Value, json};
use tracing::Level;

use crate::args::ReportFormat;
use crate::project::Project;
use crate::{logging, output};

/// `written` is the artifact's path and id.
pub fn print(
    project: &Project,
    compilation: &Compilation,
    format: ReportFormat,
    written: Option<&(PathBuf, String)>,
) -> anyhow::Result<()> {
    let diagnostics = compilation.diagnostics.as_slice();
    let locate = |file: &str| project.locate(file);
    match format {
        ReportFormat::Human => {
            problems(project, diagnostics);
            if !compilation.coverage.apis.is_empty() {
                output::line(compilation.coverage.render().trim_end());
            }
            if let Some((path, id)) = written {
                output::line(&format!("\nartifact {} ({id})", path.display()));
            }
            summary(diagnostics);
        }
        ReportFormat::Json => {
            let problems: Value = serde_json::from_str(&render_json(diagnostics, &locate))?;
            let report = json!({
                "project": project.shown(),
                "diagnostics": problems,
                "coverage": compilation.coverage,
                "artifact": written.map(|(path, id)| json!({ "path": path, "id": id })),
            });
            output::line(&serde_json::to_string_pretty(&report)?);
        }
        ReportFormat::Sarif | ReportFormat::Github => {
            let text = match format {
                ReportFormat::Sarif => render_sarif(diagnostics, &project.shown(), &locate),
                _ => render_github(diagnostics, &locate),
            };
            output::data(&text);
            if let Some((path, id)) = written {
                output::note(&format!("artifact {} ({id})", path.display()));
            }
            summary(diagnostics);
        }
    }
    Ok(())
}

/// Each problem with the lines that it is about.
pub fn problems(project: &Project, diagnostics: &[Diagnostic]) {
    if !diagnostics.is_empty() {
        logging::say(Level::WARN, render_human(diagnostics, project, output::colour()).trim_end());
    }
}

/// How many there are, and where to read on.
pub fn summary(diagnostics: &[Diagnostic]) {
    let count = |severity| diagnostics.iter().filter(|found| found.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if errors + warnings > 0 {
        logging::say(Level::INFO, &format!("{errors} error(s), {warnings} warning(s)"));
    }
    if let Some(worst) = diagnostics.iter().min_by_key(|found| found.severity) {
        hint(worst.code);
    }
}

/// Where to read on.
pub fn hint(code: Code) {
    logging::say(Level::INFO, &format!("hint: `micro-gw explain-code {}` says more, with an example", code.id()));
}
