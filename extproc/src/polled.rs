//! Files that are looked at four times a second rather than watched: a file system that tells of no changes, such as a
//! mounted one, would have news wait.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

/// Between two looks at a file.
pub(crate) const INTERVAL: Duration = Duration::from_millis(250);

/// What tells one state of a file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Print(u64, u64, u64, i64, i64);

// === impl Print ===

impl Print {
    pub(crate) fn of(file: &fs::Metadata) -> Print {
        Print(file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec())
    }
}
