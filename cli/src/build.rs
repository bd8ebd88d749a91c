//! `build` and `check`: a project to an artifact, or to its problems.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use microgw_compiler::artifact;
use microgw_compiler::compile::{Compilation, Options, compile};
use microgw_compiler::diagnostic::{Diagnostic, Severity, render_human, render_json};
use microgw_compiler::model::Model;
use serde_json::{Value, json};
use tracing::Level;

use crate::args::{self, Compile, Format};
use crate::inspect::{backend_trust, passing_identity};
use crate::preflight::Trial;
use crate::project::Project;
use crate::{logging, output};

/// The input is wrong, and that has been said.
#[derive(Debug, thiserror::Error)]
#[error("the project does not build")]
pub struct DoesNotBuild;

pub fn build(args: &args::Build) -> anyhow::Result<()> {
    let project = Project::open(&args.project, args.compile.deployment_config.as_deref())?;
    let compilation = compiled(&project, &args.compile);
    let failed = failed(&compilation, &args.compile);
    let mut written = None;
    if let (Some(model), false) = (&compilation.model, failed) {
        let bytes = artifact::encode(model);
        if args.preflight {
            preflight(args, model, &bytes)?;
        }
        let path = args.output.clone().unwrap_or_else(|| project.artifact());
        write_atomically(&path, &bytes)?;
        written = Some((path, artifact::id(&bytes)));
    }
    report(&project, &compilation, args.format, written.as_ref())?;
    if failed { Err(DoesNotBuild.into()) } else { Ok(()) }
}

/// A real Envoy has to take the snapshot.
fn preflight(args: &args::Build, model: &Model, bytes: &[u8]) -> anyhow::Result<()> {
    let config = crate::settings(&args.project, &args.settings, args.compile.allow_unenforced)?;
    let settings = config.settings(passing_identity()?, backend_trust(&config));
    let envoy = args.settings.envoy.as_deref().or(config.envoy.path.as_deref());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        Trial::offer(Arc::new(model.clone()), artifact::id(bytes), settings, envoy).await?.end().await;
        Ok(())
    })
}

pub fn check(args: &args::Check) -> anyhow::Result<()> {
    let project = Project::open(&args.project, args.compile.deployment_config.as_deref())?;
    let compilation = compiled(&project, &args.compile);
    report(&project, &compilation, args.format, None)?;
    if failed(&compilation, &args.compile) { Err(DoesNotBuild.into()) } else { Ok(()) }
}

/// A model and its artifact, for `run` on a project directory: problems go to stderr.
pub fn model(project: &Project, options: &Compile) -> anyhow::Result<(Model, Vec<u8>)> {
    let compilation = compiled(project, options);
    print_diagnostics(project, &compilation.diagnostics);
    if failed(&compilation, options) {
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

fn print_diagnostics(project: &Project, diagnostics: &[Diagnostic]) {
    if !diagnostics.is_empty() {
        logging::say(Level::WARN, render_human(diagnostics, project, output::colour()).trim_end());
    }
}

fn report(
    project: &Project,
    compilation: &Compilation,
    format: Format,
    written: Option<&(PathBuf, String)>,
) -> anyhow::Result<()> {
    if format == Format::Json {
        let diagnostics: Value = serde_json::from_str(&render_json(&compilation.diagnostics))?;
        let report = json!({
            "diagnostics": diagnostics,
            "coverage": compilation.coverage,
            "artifact": written.map(|(path, id)| json!({ "path": path, "id": id })),
        });
        output::line(&serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    print_diagnostics(project, &compilation.diagnostics);
    output::line(compilation.coverage.render().trim_end());
    let count = |severity| compilation.diagnostics.iter().filter(|found| found.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if let Some((path, id)) = written {
        output::line(&format!("\nartifact {} ({id})", path.display()));
    }
    if errors + warnings > 0 {
        output::note(&format!("{errors} error(s), {warnings} warning(s)"));
    }
    Ok(())
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
