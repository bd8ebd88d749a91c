//! Keys in a file: JSON, one to a line. It is replaced whole, and looked at four times a second rather than watched: some file
//! systems tell of no changes, and a key that is revoked is to be gone within a second.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use nix::fcntl::{Flock, FlockArg};

use super::record::{Record, RecordError};
use super::{OpaqueKeys, StoreError, table};
use crate::polled::{INTERVAL, Print};

/// Bytes: some hundred thousand keys.
const MAX_FILE: u64 = 256 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile(PathBuf);

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot {doing} `{}`", .path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("`{}` has more than {MAX_FILE} bytes", .0.display())]
    TooLong(PathBuf),
    #[error("`{}`, line {line}: {error}", .path.display())]
    Line { path: PathBuf, line: usize, error: RecordError },
    #[error("`{}`, line {line}: the key `{id}` is there twice", .path.display())]
    Repeated { path: PathBuf, line: usize, id: String },
}

// === impl KeyFile ===

impl KeyFile {
    pub fn new(path: PathBuf) -> KeyFile {
        KeyFile(path)
    }

    /// A file that is not there has no keys.
    pub fn read(&self) -> Result<Vec<Record>, FileError> {
        let mut text = String::new();
        match File::open(&self.0) {
            Ok(file) => {
                file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| self.failed("read", error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(self.failed("read", error)),
        }
        if text.len() as u64 > MAX_FILE {
            return Err(FileError::TooLong(self.0.clone()));
        }
        self.parse(&text)
    }

    fn parse(&self, text: &str) -> Result<Vec<Record>, FileError> {
        let (mut records, mut ids) = (Vec::new(), std::collections::HashSet::new());
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let path = || self.0.clone();
            let record =
                Record::parse(line).map_err(|error| FileError::Line { path: path(), line: index + 1, error })?;
            if !ids.insert(record.id.clone()) {
                return Err(FileError::Repeated { path: path(), line: index + 1, id: record.id });
            }
            records.push(record);
        }
        Ok(records)
    }

    /// Changes the keys. One at a time does, and others see the file as it was or as it will be.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Vec<Record>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let beside = |suffix: &str| {
            let mut name = self.0.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        let private = |path: &Path| File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
        let lock = private(&beside(".lock")).map_err(|error| self.failed("lock", error))?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, error)| self.failed("lock", io::Error::from(error)))?;
        let mut records = self.read()?;
        let result = change(&mut records)?;
        let text: String = records.iter().map(|record| record.to_json() + "\n").collect();
        let (fresh, written) = (beside(".new"), "write");
        let mut file = private(&fresh).map_err(|error| self.failed(written, error))?;
        // As readable as it was, and to whom: the gateway may be another user than whoever makes keys.
        if let Ok(metadata) = fs::metadata(&self.0) {
            fchown(&file, Some(metadata.uid()), Some(metadata.gid()))
                .and_then(|()| file.set_permissions(metadata.permissions()))
                .map_err(|error| self.failed("keep the owner of", error))?;
        }
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&fresh, &self.0))
            .map_err(|error| self.failed(written, error))?;
        Ok(result)
    }

    /// Reads it now, which must succeed, and again whenever it is another.
    pub(super) fn follow(&self, keys: &Arc<OpaqueKeys>) -> Result<(), FileError> {
        let seen = self.print();
        keys.replace(table(&self.read()?));
        keys.hear();
        tokio::spawn(watch(self.clone(), seen, Arc::downgrade(keys)));
        Ok(())
    }

    fn print(&self) -> Option<Print> {
        Some(Print::of(&fs::metadata(&self.0).ok()?))
    }

    fn failed(&self, doing: &'static str, error: io::Error) -> FileError {
        FileError::Io { doing, path: self.0.clone(), error }
    }
}

async fn watch(file: KeyFile, mut seen: Option<Print>, keys: Weak<OpaqueKeys>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(keys) = keys.upgrade() else { return };
        let (at, known) = (file.clone(), seen);
        let look = move || {
            let print = at.print();
            // One that is gone is not one without keys: what is known stays until there is another.
            (print, (print != known).then(|| if print.is_none() { Err(gone(&at)) } else { at.read() }))
        };
        let Ok((print, read)) = tokio::task::spawn_blocking(look).await else { continue };
        match read {
            None => {}
            Some(Ok(records)) => {
                keys.replace(table(&records));
                keys.content();
                seen = print;
            }
            // Who was revoked in it nobody can tell: what is known goes stale, and the file is looked at again.
            Some(Err(error)) => {
                keys.complain(&format!("{}: the keys stay as they were until they are stale", chain(&error)));
                continue;
            }
        }
        keys.hear();
    }
}

fn gone(file: &KeyFile) -> FileError {
    file.failed("read", io::ErrorKind::NotFound.into())
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use microgw_engine::OpaqueKey;
    use microgw_engine::opaque;

    use super::*;
    use crate::opaque_keys::Store;

    fn create(owner: &str) -> (Record, String) {
        Record::create(Record::terms(owner), 1000).unwrap()
    }

    async fn until(what: &str, holds: impl Fn() -> bool) {
        for _ in 0..1000 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}");
    }

    #[tokio::test]
    async fn what_is_in_the_file_is_what_is_known_and_a_broken_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.jsonl");
        let file = KeyFile::new(path.clone());
        let store = Store::File(file.clone());
        let keys = OpaqueKeys::new(Some(Duration::from_secs(5)));
        let (record, key) = create("alice");
        let hash = opaque::hash(&key).unwrap();
        let known = || matches!(keys.get(&hash), OpaqueKey::Known(_));
        assert!(matches!(keys.get(&hash), OpaqueKey::Unavailable), "not read yet");
        store.follow(&keys).unwrap();
        assert!(matches!(keys.get(&hash), OpaqueKey::Unknown));

        store.add(&record).await.unwrap();
        until("a key that is added is known", known).await;
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(&path).unwrap().contains(&key));

        let good = fs::read_to_string(&path).unwrap();
        for broken in [format!("{good}{{"), format!("{good}{good}"), "\u{0}".to_owned()] {
            fs::write(&path, broken).unwrap();
            until("it is said", || keys.status().problem.is_some()).await;
            assert!(known());
            fs::write(&path, &good).unwrap();
            until("it is good again", || keys.status().problem.is_none()).await;
        }
        fs::remove_file(&path).unwrap();
        until("it is said", || keys.status().problem.is_some()).await;
        assert!(known());
        fs::write(&path, &good).unwrap();
        until("it is good again", || keys.status().problem.is_none()).await;

        store.change(&record.id, |record| Ok((None, record.revoke(2000)))).await.unwrap();
        until("a key that is revoked is none", || !known()).await;
        assert_eq!(store.all().await.unwrap()[0].revoked, Some(2000));
        assert!(matches!(store.change("nobody", |_| Ok((None, ()))).await, Err(StoreError::Unknown(_))));
        assert_eq!(keys.status().keys, Some(0));
    }

    #[test]
    fn a_file_that_cannot_be_read_at_the_start_is_an_error_with_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.jsonl");
        fs::write(&path, format!("{}\n\n{{\"owner\":\"sesame\"}}\n", create("a").0.to_json())).unwrap();
        let error = KeyFile::new(path).read().unwrap_err().to_string();
        assert!(error.contains("line 3") && !error.contains("sesame"), "{error}");
    }

    #[test]
    fn many_at_a_time_lose_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path().join("keys.jsonl"));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let add = |records: &mut Vec<Record>| {
                            records.push(create("a").0);
                            Ok(())
                        };
                        file.edit(add).unwrap();
                    }
                });
            }
        });
        assert_eq!(file.read().unwrap().len(), 40);
    }
}
