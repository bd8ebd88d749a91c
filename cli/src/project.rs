//! A project on the disk.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use microgw_compiler::compile::DEPLOYMENT_CONFIG;
use microgw_compiler::files::Files;

/// A project directory. Nothing outside it is read, not even through a link.
pub struct Project {
    root: PathBuf,
    name: String,
    /// Its path for whoever reads a report: see [`from_here`].
    shown: PathBuf,
    /// Read in place of [`DEPLOYMENT_CONFIG`].
    deployment_config: Option<PathBuf>,
}

// === impl Project ===

impl Project {
    pub fn open(directory: &Path, deployment_config: Option<&Path>) -> anyhow::Result<Project> {
        let root =
            fs::canonicalize(directory).with_context(|| format!("cannot open project `{}`", directory.display()))?;
        if !root.is_dir() {
            bail!("`{}` is not a project directory", directory.display());
        }
        let name = root.file_name().and_then(|name| name.to_str()).context("the project needs a name in UTF-8")?;
        if let Some(file) = deployment_config
            && !file.is_file()
        {
            bail!("there is no deployment configuration `{}`", file.display());
        }
        Ok(Project {
            name: name.to_owned(),
            shown: from_here(directory)?,
            deployment_config: deployment_config.map(Path::to_owned),
            root,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The project's path as [`Project::locate`] gives those of its files: `.` where the tool was started in it.
    pub fn shown(&self) -> String {
        let path = self.shown.to_string_lossy();
        if path.is_empty() { ".".to_owned() } else { path.into_owned() }
    }

    /// From a file's path in the project to the one for whoever reads a report. An absolute path (of settings, which are
    /// no part of the project) is one already, and only becomes relative.
    pub fn locate(&self, file: &str) -> String {
        let own = self.deployment_config.as_deref().filter(|_| file == DEPLOYMENT_CONFIG);
        let path = match own.or(Some(Path::new(file)).filter(|file| file.is_absolute())) {
            Some(path) => from_here(path).unwrap_or_else(|_| path.to_owned()),
            None => self.shown.join(file),
        };
        path.to_string_lossy().into_owned()
    }

    /// Where `build` puts the artifact by default.
    pub fn artifact(&self) -> PathBuf {
        self.root.join("target").join(format!("{}.mgw", self.name))
    }

    fn resolve(&self, path: &str) -> io::Result<PathBuf> {
        if let Some(file) = self.deployment_config.as_deref().filter(|_| path == DEPLOYMENT_CONFIG) {
            return Ok(file.to_owned());
        }
        let typed = self.root.join(path);
        let real = fs::canonicalize(&typed).map_err(|error| {
            // What is there, and leads nowhere, is not missing.
            let leads_nowhere = error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(&typed).is_ok();
            if leads_nowhere { io::Error::other("it is a link that leads nowhere") } else { error }
        })?;
        if !real.starts_with(&self.root) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it lies outside the project"));
        }
        // Of others there may be no end.
        if !fs::metadata(&real)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
        }
        Ok(real)
    }
}

/// Relative to the working directory, where CI has the root of the repository, or absolute where it lies elsewhere. As it
/// was typed, links and all, since that is how a repository has it; but `..` of a link is somewhere else than it looks.
fn from_here(path: &Path) -> io::Result<PathBuf> {
    let here = std::env::current_dir()?;
    let climbs = path.components().any(|component| component == Component::ParentDir);
    let typed = if climbs { fs::canonicalize(path)? } else { std::path::absolute(path)? };
    let within = |path: &Path| path.strip_prefix(&here).map(Path::to_owned).ok();
    Ok(within(&typed).or_else(|| within(&fs::canonicalize(path).ok()?)).unwrap_or(typed))
}

impl Files for Project {
    fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        fs::File::open(self.resolve(path)?)?.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(content)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let mut files = Vec::new();
        let mut pending = vec![directory.trim_matches('/').to_owned()];
        while let Some(directory) = pending.pop() {
            let entries = match fs::read_dir(self.root.join(&directory)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name().into_string().map_err(|_| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("a file name below `{directory}` is not UTF-8"))
                })?;
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                // Links to directories are not followed; links to files are, inside the project.
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    pending.push(path);
                } else {
                    files.push(path);
                }
            }
        }
        Ok(files)
    }
}
