//! Revocations in a file: one JSON object in each line, or an array of them.
//!
//! The file is looked at four times a second rather than watched: a file system that tells of no changes, such as a mounted
//! one, would have a revocation wait.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Instant;

use serde_json::Value;

use super::{Ends, Entry, EntryError, MARGIN, Revocations};
use crate::clock::now;
use crate::polled::{INTERVAL, Print};

/// Bytes.
const MAX_FILE: u64 = 1 << 30;

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it has more than {MAX_FILE} bytes")]
    TooLong,
    #[error("line {0}: it is no JSON")]
    Json(usize),
    #[error("line {0}: {1}")]
    Entry(usize, EntryError),
}

pub(super) async fn follow(path: PathBuf, revocations: Weak<Revocations>) {
    let (mut seen, mut complaint) = (None, None);
    while let Some(revocations) = revocations.upgrade() {
        let (at, file) = (Instant::now(), path.clone());
        let known = seen;
        let looked = tokio::task::spawn_blocking(move || look(&file, known, &revocations)).await;
        match looked {
            Ok((Ok(print), revocations)) => {
                seen = Some(print);
                complaint = None;
                if let Some(feed) = &revocations.file {
                    feed.complete_at(at);
                }
            }
            Ok((Err(error), _)) => {
                // Said once, not four times a second.
                let error = error.to_string();
                if complaint.as_ref() != Some(&error) {
                    tracing::error!(file = %path.display(), "cannot read revocations: {error}");
                    complaint = Some(error);
                }
            }
            Err(_) => tracing::error!("reading revocations ended in a panic"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Reads the file, if it is another than was `seen`.
fn look(
    path: &Path,
    seen: Option<Print>,
    revocations: &Arc<Revocations>,
) -> (Result<Print, FileError>, Arc<Revocations>) {
    let outcome = fs::metadata(path).map_err(FileError::from).and_then(|metadata| {
        let print = Print::of(&metadata);
        let full = revocations.file.as_ref().is_some_and(super::Feed::is_full);
        // What was too much may fit once something has ended.
        if seen != Some(print) || full {
            take_in(&read(File::open(path)?)?, revocations);
        }
        Ok(print)
    });
    (outcome, Arc::clone(revocations))
}

/// They replace what the file said before.
fn take_in(entries: &[Entry], revocations: &Revocations) {
    let now = now().0;
    let mut ends: Ends = HashMap::with_capacity(entries.len());
    for entry in entries {
        // Without an end it is revoked for as long as it is listed.
        if let Some(end) = entry.end.map_or(Some(u64::MAX), |_| revocations.end(entry, now)) {
            let known = ends.entry(entry.name).or_default();
            *known = end.max(*known);
        }
    }
    let full = ends.len() + revocations.told.len() > revocations.settings.most;
    if full {
        // What there is room for is refused by name, all else because nobody can tell.
        let room = revocations.settings.most.saturating_sub(revocations.told.len());
        ends = ends.into_iter().take(room).collect();
    }
    if let Some(feed) = &revocations.file {
        feed.set_full(full);
    }
    revocations.listed.store(Arc::new(ends));
}

fn read(file: File) -> Result<Vec<Entry>, FileError> {
    let mut text = String::new();
    if file.take(MAX_FILE + 1).read_to_string(&mut text)? as u64 > MAX_FILE {
        return Err(FileError::TooLong);
    }
    Ok(lines(&text)?.into_iter().map(|(entry, _)| entry).collect())
}

/// Each entry, and its text.
fn lines(text: &str) -> Result<Vec<(Entry, String)>, FileError> {
    let entry = |line: usize, value: &Value| {
        let entry = Entry::from_json(value).map_err(|error| FileError::Entry(line, error))?;
        Ok((entry, value.to_string()))
    };
    if text.trim_start().starts_with('[') {
        let list: Vec<Value> = serde_json::from_str(text).map_err(|error| FileError::Json(error.line()))?;
        return list.iter().enumerate().map(|(index, value)| entry(index + 1, value)).collect();
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            let value: Value = serde_json::from_str(line).map_err(|_| FileError::Json(index + 1))?;
            entry(index + 1, &value)
        })
        .collect()
}

/// Adds entries, as JSON objects, and leaves out what has ended. Who writes at the same time waits.
pub fn add_to_file(path: &Path, entries: &[Value]) -> Result<(), FileError> {
    let lock = path.with_added_extension("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(lock)?;
    lock.lock()?;
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let now = now().0;
    let mut fresh = String::new();
    for (entry, text) in lines(&text)? {
        if entry.end.is_none_or(|end| end.saturating_add(MARGIN) > now) {
            fresh.push_str(&text);
            fresh.push('\n');
        }
    }
    for (index, entry) in entries.iter().enumerate() {
        Entry::from_json(entry).map_err(|error| FileError::Entry(index + 1, error))?;
        fresh.push_str(&entry.to_string());
        fresh.push('\n');
    }
    // In one step: whoever reads sees all of it or nothing. Its readers stay its readers.
    let beside = path.with_added_extension("new");
    let mut file = File::create(&beside)?;
    if let Ok(metadata) = fs::metadata(path) {
        fchown(&file, Some(metadata.uid()), Some(metadata.gid()))?;
        file.set_permissions(fs::Permissions::from_mode(metadata.mode() & 0o777))?;
    }
    file.write_all(fresh.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    Ok(())
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
