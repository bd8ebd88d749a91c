//! What the compiler sees of a project: names and bytes. It never touches the disk itself.

use std::collections::BTreeMap;
use std::io;

/// A project's files. Paths are relative to its root, `/` separated, without `.` and `..`.
pub trait Files {
    /// Reads one file.
    ///
    /// # Errors
    /// [`io::ErrorKind::FileTooLarge`] when it has more than `limit` bytes (an implementation must not read on),
    /// [`io::ErrorKind::NotFound`] when there is none; an implementation over a disk refuses what lies outside
    /// the project, links included.
    fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>>;

    /// Every file below `directory`, at any depth, in any order, as paths relative to the project's root.
    /// A directory that does not exist has no files.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;
}

/// Files in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles(BTreeMap<String, Vec<u8>>);

// === impl MemoryFiles ===

impl MemoryFiles {
    pub fn new() -> MemoryFiles {
        MemoryFiles::default()
    }

    #[must_use]
    pub fn with(mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) -> MemoryFiles {
        self.insert(path, content);
        self
    }

    pub fn insert(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), content.into());
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let content = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        if content.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(content.clone())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let below = |path: &&String| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
        Ok(self.0.keys().filter(below).cloned().collect())
    }
}
