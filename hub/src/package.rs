//! The files of a package: in a directory, in a tar, in memory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use microgw_compiler::diagnostic::Diagnostic;
use microgw_compiler::packages::{Content, ContentError, MANIFEST, MAX_FILE, MAX_FILES, MAX_SIZE, Manifest};
use tar::EntryType;

/// Bytes of a tar: all files, and what stands before and after each.
pub(crate) const MAX_TAR: u64 = MAX_SIZE + (MAX_FILES as u64 + 2) * 4096;
/// What a directory has beside a package: nobody is to look at millions of files.
const MAX_ENTRIES: usize = 10_000;

/// All of it, and it is sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    pub manifest: Manifest,
    files: BTreeMap<String, Vec<u8>>,
    content: Content,
}

/// Why something is no package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    #[error("`{0}` cannot be read")]
    Disk(PathBuf, #[source] io::Error),
    #[error("it is no tar")]
    Tar(#[source] io::Error),
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("`{path}` is {kind}: a policy has files and directories alone")]
    Kind { path: String, kind: &'static str },
    #[error("the name of a file is not in UTF-8")]
    Name,
    #[error("it has no `{MANIFEST}`")]
    NoManifest,
    #[error("it has no `{0}`, which its `{MANIFEST}` names")]
    NoComponent(String),
    #[error("its `{MANIFEST}` cannot be used: {}", told(.0))]
    Manifest(Vec<Diagnostic>),
    #[error("it is larger than {} MiB", MAX_TAR >> 20)]
    TooLarge,
    #[error("it is not compressed as `gzip` does")]
    Gzip(#[source] io::Error),
}

fn told(problems: &[Diagnostic]) -> String {
    let told = problems.iter().map(|problem| match &problem.place {
        Some(at) => format!("{at}: {}", problem.message),
        None => problem.message.clone(),
    });
    // Whoever wrote the package wrote some of it.
    told.collect::<Vec<_>>().join("; ").replace(char::is_control, "\u{fffd}")
}

// === impl Package ===

impl Package {
    fn of(files: BTreeMap<String, Vec<u8>>, content: Content) -> Result<Package, PackageError> {
        let manifest = files.get(MANIFEST).ok_or(PackageError::NoManifest)?;
        let manifest = Manifest::read(manifest.clone()).map_err(PackageError::Manifest)?;
        match &manifest.component {
            Some(component) if !files.contains_key(component) => Err(PackageError::NoComponent(component.clone())),
            _ => Ok(Package { manifest, files, content }),
        }
    }

    /// What begins with a dot is left out, and so are empty directories; links are an error.
    pub fn from_directory(directory: &Path) -> Result<Package, PackageError> {
        let (mut files, mut content) = (BTreeMap::new(), Content::default());
        let mut pending = vec![String::new()];
        let mut looked = 0;
        while let Some(below) = pending.pop() {
            let here = directory.join(&below);
            let failed = |error| PackageError::Disk(here.clone(), error);
            for entry in fs::read_dir(&here).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                looked += 1;
                if looked > MAX_ENTRIES {
                    return Err(ContentError::TooMany.into());
                }
                let name = entry.file_name().into_string().map_err(|_| PackageError::Name)?;
                if name.starts_with('.') {
                    continue;
                }
                let path = if below.is_empty() { name } else { format!("{below}/{name}") };
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() {
                    Content::check_path(&path)?;
                    pending.push(path);
                } else if kind.is_file() {
                    let bytes = read(&entry.path(), &path)?;
                    content.add(&path, &bytes)?;
                    files.insert(path, bytes);
                } else {
                    let kind = if kind.is_symlink() { "a link" } else { "neither a file nor a directory" };
                    return Err(PackageError::Kind { path, kind });
                }
            }
        }
        Package::of(files, content)
    }

    /// Nothing is written anywhere.
    pub fn from_tar(bytes: &[u8]) -> Result<Package, PackageError> {
        Package::from_tar_below(bytes, None)
    }

    /// Of a tar in `gzip`, which is unpacked as far as a tar may be long.
    pub(crate) fn from_gzip(bytes: &[u8], below: Option<&str>) -> Result<Package, PackageError> {
        let mut tar = Vec::new();
        flate2::bufread::MultiGzDecoder::new(bytes)
            .take(MAX_TAR + 1)
            .read_to_end(&mut tar)
            .map_err(PackageError::Gzip)?;
        Package::from_tar_below(&tar, below)
    }

    /// `below`: a directory that its files may be in.
    pub(crate) fn from_tar_below(bytes: &[u8], below: Option<&str>) -> Result<Package, PackageError> {
        let inside = |path: &str| -> Option<String> {
            let path = path.strip_prefix("./").unwrap_or(path);
            Some(path.strip_prefix(below?)?.strip_prefix('/')?.to_owned())
        };
        if bytes.len() as u64 > MAX_TAR {
            return Err(PackageError::TooLarge);
        }
        let (mut files, mut content) = (BTreeMap::new(), Content::default());
        let mut archive = tar::Archive::new(bytes);
        for (index, entry) in archive.entries().map_err(PackageError::Tar)?.enumerate() {
            let entry = entry.map_err(PackageError::Tar)?;
            if index > 2 * MAX_FILES {
                return Err(ContentError::TooMany.into());
            }
            let path = entry.path_bytes().into_owned();
            let path = String::from_utf8(path).map_err(|_| PackageError::Name)?;
            let path = inside(&path).unwrap_or(path);
            let kind = match entry.header().entry_type() {
                EntryType::Regular => None,
                EntryType::Directory => {
                    // Some name what they packed, too.
                    let path = path.trim_end_matches('/');
                    if !path.is_empty() && path != "." {
                        Content::check_path(path.strip_prefix("./").unwrap_or(path))?;
                    }
                    continue;
                }
                EntryType::Symlink | EntryType::Link => Some("a link"),
                EntryType::Char | EntryType::Block | EntryType::Fifo => Some("a device"),
                _ => Some("of an unknown kind"),
            };
            let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
            Content::check_path(&path)?;
            if let Some(kind) = kind {
                return Err(PackageError::Kind { path, kind });
            }
            if entry.size() > MAX_FILE {
                return Err(ContentError::FileTooLarge(path).into());
            }
            let size = entry.size();
            let mut bytes = Vec::new();
            entry.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(PackageError::Tar)?;
            if bytes.len() as u64 != size {
                return Err(PackageError::Tar(io::ErrorKind::UnexpectedEof.into()));
            }
            content.add(&path, &bytes)?;
            files.insert(path, bytes);
        }
        Package::of(files, content)
    }

    /// The same bytes wherever it is made.
    pub fn to_tar(&self) -> io::Result<Vec<u8>> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, bytes) in &self.files {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            builder.append_data(&mut header, path, bytes.as_slice())?;
        }
        builder.into_inner()
    }

    /// Of the content: see [`Content::digest`].
    pub fn digest(&self) -> String {
        self.content.digest()
    }

    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
    }

    /// Below `directory`, which is there and empty.
    pub(crate) fn write_to(&self, directory: &Path) -> io::Result<()> {
        for (path, bytes) in &self.files {
            let file = directory.join(path);
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(file, bytes)?;
        }
        Ok(())
    }
}

fn read(file: &Path, path: &str) -> Result<Vec<u8>, PackageError> {
    let failed = |error| PackageError::Disk(file.to_owned(), error);
    let mut bytes = Vec::new();
    fs::File::open(file).map_err(failed)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ContentError::FileTooLarge(path.to_owned()).into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
