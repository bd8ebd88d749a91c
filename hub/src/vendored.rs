//! The policies that a project has taken in: directories in `policies/`, and the lock. Both change together, or not at all.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use microgw_compiler::packages::{DIRECTORY, LOCK, Lock, LockError, Locked, MANIFEST, MAX_LOCK, is_name};
use tempfile::{Builder, NamedTempFile, TempDir};

use crate::package::{Package, PackageError};

/// A project whose policies nobody else changes meanwhile.
pub struct Vendored {
    root: PathBuf,
    lock: Lock,
    /// Held until it is dropped.
    _exclusive: File,
}

/// Where a package came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub source: String,
    pub manifest: Option<String>,
}

/// What is there of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// As it was taken in.
    Locked,
    Changed,
    Missing,
    /// Nobody took it in: it is the project's.
    Own,
    /// It is none that can be used.
    Unusable(String),
}

#[derive(Debug, thiserror::Error)]
pub enum VendorError {
    #[error("`{0}` cannot be changed")]
    Disk(PathBuf, #[source] io::Error),
    #[error("`{0}` is a link: it would be somewhere else that is changed")]
    Link(&'static str),
    #[error("`{LOCK}` cannot be used: {0}")]
    Lock(#[from] LockError),
    #[error("`{LOCK}` is too long, or not in UTF-8")]
    LockText,
    #[error("`{0}` cannot be the name of a policy: it has lower-case letters, digits and `-`")]
    Name(String),
    #[error("there is a policy `{0}` already: `policy update` has a newer one, `--name` another name")]
    Taken(String),
    #[error("`{0}` was not taken in: `{LOCK}` does not have it")]
    Unknown(String),
    #[error("`{DIRECTORY}/{0}` was changed since it was taken in; `--force` does it all the same")]
    Changed(String),
}

type Done<T> = Result<T, VendorError>;

// === impl Vendored ===

impl Vendored {
    /// Waits for whoever else is at it.
    pub fn open(root: &Path) -> Done<Vendored> {
        let failed = |error| VendorError::Disk(root.to_owned(), error);
        for part in [LOCK, DIRECTORY] {
            // What is written there would be written elsewhere.
            if fs::symlink_metadata(root.join(part)).is_ok_and(|there| there.is_symlink()) {
                return Err(VendorError::Link(part));
            }
        }
        let exclusive = File::open(root).map_err(failed)?;
        exclusive.lock().map_err(failed)?;
        Ok(Vendored { root: root.to_owned(), lock: Vendored::read_lock(root)?, _exclusive: exclusive })
    }

    fn read_lock(root: &Path) -> Done<Lock> {
        let path = root.join(LOCK);
        let mut text = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                file.take(MAX_LOCK + 1).read_to_end(&mut text).map_err(|error| VendorError::Disk(path, error))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock::default()),
            Err(error) => return Err(VendorError::Disk(path, error)),
        };
        if text.len() as u64 > MAX_LOCK {
            return Err(VendorError::LockText);
        }
        Ok(Lock::read(&String::from_utf8(text).map_err(|_| VendorError::LockText)?)?)
    }

    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    pub fn directory(&self, name: &str) -> PathBuf {
        self.root.join(DIRECTORY).join(name)
    }

    /// Every policy that is a package, or ought to be there.
    pub fn names(&self) -> Done<Vec<String>> {
        let directory = self.root.join(DIRECTORY);
        let failed = |error| VendorError::Disk(directory.clone(), error);
        let mut names: Vec<String> = self.lock.policies.keys().cloned().collect();
        match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(entries) => {
                for entry in entries {
                    let entry = entry.map_err(failed)?;
                    let name = entry.file_name().into_string().unwrap_or_default();
                    if entry.path().join(MANIFEST).is_file() && !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// What is there, and whether it is what was taken in.
    pub fn state(&self, name: &str) -> (State, Option<Package>) {
        let directory = self.directory(name);
        let locked = self.lock.policies.get(name);
        if !directory.exists() {
            return (if locked.is_some() { State::Missing } else { State::Own }, None);
        }
        match (Package::from_directory(&directory), locked) {
            (Ok(package), Some(locked)) if self.is_intact(name, &package, locked) => (State::Locked, Some(package)),
            (Ok(package), Some(_)) => (State::Changed, Some(package)),
            (Ok(package), None) => (State::Own, Some(package)),
            (Err(PackageError::Content(_)), Some(_)) => (State::Changed, None),
            (Err(error), _) => (State::Unusable(error.to_string()), None),
        }
    }

    /// What a package leaves out, as files that begin with a dot, was not there when it was taken in.
    fn is_intact(&self, name: &str, package: &Package, locked: &Locked) -> bool {
        package.digest() == locked.digest && !has_hidden(&self.directory(name))
    }

    /// Puts it there under that name, which nothing has.
    pub fn add(&mut self, name: &str, package: &Package, origin: Origin) -> Done<()> {
        if !is_name(name) {
            return Err(VendorError::Name(name.to_owned()));
        }
        let taken = |path: PathBuf| fs::symlink_metadata(path).is_ok();
        let files = ["", ".yaml", ".yml", ".json"];
        if self.lock.policies.contains_key(name)
            || files.iter().any(|extension| taken(self.directory(&format!("{name}{extension}"))))
        {
            return Err(VendorError::Taken(name.to_owned()));
        }
        self.replace(name, Some((package, origin)))
    }

    /// Puts another in its place. Without `force` only where nobody has changed it.
    pub fn update(&mut self, name: &str, package: &Package, origin: Origin, force: bool) -> Done<()> {
        self.may_go(name, force)?;
        self.replace(name, Some((package, origin)))
    }

    pub fn remove(&mut self, name: &str, force: bool) -> Done<()> {
        self.may_go(name, force)?;
        self.replace(name, None)
    }

    /// It is the project's from now on.
    pub fn keep(&mut self, name: &str) -> Done<()> {
        let mut lock = self.lock.clone();
        lock.policies.remove(name).ok_or_else(|| VendorError::Unknown(name.to_owned()))?;
        self.write_lock(&lock)?;
        self.lock = lock;
        Ok(())
    }

    pub fn may_go(&self, name: &str, force: bool) -> Done<()> {
        if !self.lock.policies.contains_key(name) {
            return Err(VendorError::Unknown(name.to_owned()));
        }
        match self.state(name).0 {
            State::Locked | State::Missing => Ok(()),
            _ if force => Ok(()),
            _ => Err(VendorError::Changed(name.to_owned())),
        }
    }

    /// The lock goes first: whoever is interrupted in between has a project that does not build, rather than one with something in it that
    /// nobody looked at.
    fn replace(&mut self, name: &str, by: Option<(&Package, Origin)>) -> Done<()> {
        let directory = self.directory(name);
        let disk = |error| VendorError::Disk(directory.clone(), error);
        // Beside where it is to be, and out of the sight of builds.
        let aside = Builder::new().prefix(".policy-").tempdir_in(&self.root).map_err(disk)?;
        let mut lock = self.lock.clone();
        let made = aside.path().join("new");
        match by {
            None => drop(lock.policies.remove(name)),
            Some((package, origin)) => {
                fs::create_dir(&made).and_then(|()| package.write_to(&made)).map_err(disk)?;
                let locked = Locked {
                    package: package.manifest.name.clone(),
                    version: package.manifest.version.clone(),
                    source: origin.source,
                    manifest: origin.manifest,
                    digest: package.digest(),
                };
                lock.policies.insert(name.to_owned(), locked);
            }
        }
        self.write_lock(&lock)?;
        let moved = self.swap(&directory, &made, &aside);
        if let Err(error) = moved {
            // As it was; if even that fails, the build says what is missing.
            let _ = self.write_lock(&self.lock);
            return Err(disk(error));
        }
        self.lock = lock;
        Ok(())
    }

    /// What was made, if anything was, in the place of what is there, if anything is.
    fn swap(&self, directory: &Path, made: &Path, aside: &TempDir) -> io::Result<()> {
        let old = aside.path().join("old");
        let had = fs::symlink_metadata(directory).is_ok();
        if had {
            fs::rename(directory, &old)?;
        }
        if !made.exists() {
            return Ok(());
        }
        fs::create_dir_all(self.root.join(DIRECTORY))?;
        fs::rename(made, directory).inspect_err(|_| {
            if had {
                let _ = fs::rename(&old, directory);
            }
        })
    }

    /// Without entries there is no file.
    fn write_lock(&self, lock: &Lock) -> Done<()> {
        let path = self.root.join(LOCK);
        let written = || -> io::Result<()> {
            if lock.policies.is_empty() {
                return match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                };
            }
            let mut file = NamedTempFile::new_in(&self.root)?;
            file.write_all(lock.write().as_bytes())?;
            file.as_file().sync_all()?;
            fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
            file.persist(&path)?;
            Ok(())
        };
        written().map_err(|error| VendorError::Disk(path.clone(), error))
    }
}

/// A name that begins with a dot, at any depth.
fn has_hidden(directory: &Path) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return true };
    entries.into_iter().any(|entry| {
        entry.is_ok_and(|entry| {
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            hidden || entry.file_type().is_ok_and(|kind| kind.is_dir()) && has_hidden(&entry.path())
        })
    })
}

#[cfg(test)]
mod tests;
