//! Where artifacts come from: a file, or a project that is built.

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::last_live::Loaded;
use crate::args::Compile;
use crate::build;
use crate::project::Project;

#[derive(Clone)]
pub struct Source {
    target: PathBuf,
    compile: Compile,
}

// === impl Source ===

impl Source {
    pub fn new(target: &Path, compile: &Compile) -> anyhow::Result<Source> {
        if !target.exists() {
            bail!("there is no artifact or project `{}`", target.display());
        }
        Ok(Source { target: target.to_owned(), compile: compile.clone() })
    }

    /// Builds the project, or reads the artifact as it is now.
    pub fn load(&self) -> anyhow::Result<Loaded> {
        if !self.target.is_dir() {
            return Loaded::read(&self.target);
        }
        let project = Project::open(&self.target, self.compile.deployment_config.as_deref())?;
        build::model(&project, &self.compile).map(|(model, bytes)| Loaded::new(bytes, Some(model)))
    }

    /// What to watch: the project's directory, or the one that holds the artifact (which is replaced by rename).
    pub fn directory(&self) -> &Path {
        if self.target.is_dir() {
            return &self.target;
        }
        self.target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Whether a change of `path` is a change of the source.
    pub fn concerns(&self, path: &Path) -> bool {
        if self.target.is_dir() {
            // `build` writes there.
            return !path.strip_prefix(&self.target).is_ok_and(|path| path.starts_with("target"));
        }
        path.file_name() == self.target.file_name()
    }
}

/// The project that Envoys ask for.
pub fn project_name(target: &Path) -> anyhow::Result<String> {
    if target.is_dir() {
        return Ok(Project::open(target, None)?.name().to_owned());
    }
    Ok(Loaded::read(target)?.model()?.project)
}
