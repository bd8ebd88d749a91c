//! `build` and `check`: a project to an artifact, or to its problems.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use microgw_compiler::artifact;
use microgw_compiler::compile::{Compilation, Options, compile};
use microgw_compiler::diagnostic::{Diagnostic, Severity};
use microgw_compiler::model::Model;

use crate::args::{self, Compile, ReportFormat};
use crate::config;
use crate::inspect::material;
use crate::output;
use crate::preflight::{Refused, Trial};
use crate::project::Project;
use crate::report;

/// The input is wrong, and that has been said.
#[derive(Debug, thiserror::Error)]
#[error("the project does not build")]
pub struct DoesNotBuild;

pub fn build(args: &args::Build) -> anyhow::Result<()> {
    let project = Project::open(&args.project, args.compile.deployment_config.as_deref())?;
    let mut compilation = compiled(&project, &args.compile);
    let written = match &compilation.model {
        Some(model) if !failed(&compilation, &args.compile) => written(&project, args, model),
        _ => Err(DoesNotBuild.into()),
    };
    let written = written.map_err(|error| match problems_in(&error, args.format) {
        Some(problems) => {
            compilation.diagnostics.extend(problems);
            DoesNotBuild.into()
        }
        None => error,
    });
    // Whatever came of it, the problems are shown.
    report::print(&project, &compilation, args.format, written.as_ref().ok())?;
    written.map(drop)
}

/// The problems that made `--preflight` fail: Envoy's, and, for machines, those of the settings. For people these are an error
/// as in every other command.
fn problems_in(error: &anyhow::Error, format: ReportFormat) -> Option<Vec<Diagnostic>> {
    if let Some(Refused(problems)) = error.downcast_ref() {
        return Some(problems.clone());
    }
    let config::Refused(problems) = error.downcast_ref().filter(|_| format != ReportFormat::Human)?;
    Some(problems.iter().map(Diagnostic::from).collect())
}

/// The artifact's path and id.
fn written(project: &Project, args: &args::Build, model: &Model) -> anyhow::Result<(PathBuf, String)> {
    let bytes = artifact::encode(model);
    let id = artifact::id(&bytes);
    if args.preflight {
        preflight(args, model, &id)?;
    }
    let path = args.output.clone().unwrap_or_else(|| project.artifact());
    write_atomically(&path, &bytes)?;
    Ok((path, id))
}

/// A real Envoy has to take the snapshot.
fn preflight(args: &args::Build, model: &Model, id: &str) -> anyhow::Result<()> {
    let config = crate::settings(&args.project, &args.settings, args.compile.allow_unenforced)?;
    let settings = config.settings(material(&config)?);
    let envoy = args.envoy.as_deref().or(config.envoy.path.as_deref());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        Trial::offer(Arc::new(model.clone()), id.to_owned(), settings, envoy).await?.end().await;
        Ok(())
    })
}

pub fn check(args: &args::Check) -> anyhow::Result<()> {
    let project = Project::open(&args.project, args.compile.deployment_config.as_deref())?;
    let compilation = compiled(&project, &args.compile);
    report::print(&project, &compilation, args.format, None)?;
    if failed(&compilation, &args.compile) { Err(DoesNotBuild.into()) } else { Ok(()) }
}

/// A model and its artifact, for `run` on a project directory: problems go to stderr.
pub fn model(project: &Project, options: &Compile) -> anyhow::Result<(Model, Vec<u8>)> {
    let compilation = compiled(project, options);
    report::problems(project, &compilation.diagnostics);
    if failed(&compilation, options) {
        report::summary(&compilation.diagnostics);
        return Err(DoesNotBuild.into());
    }
    let model = compilation.model.ok_or(DoesNotBuild)?;
    let bytes = artifact::encode(&model);
    Ok((model, bytes))
}

/// Reads an artifact.
pub fn load(path: &Path) -> anyhow::Result<(Model, Vec<u8>)> {
    let size = fs::metadata(path).with_context(|| format!("cannot read artifact `{}`", path.display()))?.len();
    if size > artifact::MAX_SIZE as u64 {
        bail!("`{}` is too large for an artifact", path.display());
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read artifact `{}`", path.display()))?;
    let model = artifact::decode(&bytes).with_context(|| format!("cannot load artifact `{}`", path.display()))?;
    Ok((model, bytes))
}

fn compiled(project: &Project, options: &Compile) -> Compilation {
    let options = Options { allow_unenforced: options.allow_unenforced };
    output::progress("compiling", || compile(project, project.name(), &options))
}

fn failed(compilation: &Compilation, options: &Compile) -> bool {
    let refused = |diagnostic: &Diagnostic| match diagnostic.severity {
        Severity::Error => true,
        Severity::Warning => options.deny_warnings,
        Severity::Note => false,
    };
    compilation.model.is_none() || compilation.diagnostics.iter().any(refused)
}

/// Readers see the old content or the new, never a part.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory).with_context(|| format!("cannot create `{}`", directory.display()))?;
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))
}
