//! Subscriptions in a file: one JSON object with a list for each table.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::{Change, Loader, RecordError, Subscriptions, Table, Tables};
use crate::polled::{INTERVAL, Print};

/// Bytes.
const MAX_FILE: u64 = 1 << 30;

/// The file says everything: what it does not list is not subscribed.
#[derive(Clone, Debug)]
pub struct FromFile(pub PathBuf);

#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it has more than {MAX_FILE} bytes")]
    TooLong,
    #[error("line {0}: it is no JSON")]
    Json(usize),
    #[error("it must be an object with lists `apis`, `applications`, `subscriptions` and `applicationKeyMappings`")]
    Form,
    #[error("`{0}`, entry {1}: {2}")]
    Record(&'static str, usize, RecordError),
}

impl Loader for FromFile {
    async fn load(self, store: Arc<Subscriptions>) {
        let (mut seen, mut complaint) = (None, None);
        let weak = Arc::downgrade(&store);
        drop(store);
        while let Some(store) = weak.upgrade() {
            let (path, known) = (self.0.clone(), seen);
            match tokio::task::spawn_blocking(move || look(&path, known, &store)).await {
                Ok(Ok(print)) => {
                    seen = Some(print);
                    complaint = None;
                }
                Ok(Err(error)) => {
                    // Said once. What was known stays known.
                    let error = error.to_string();
                    if complaint.as_ref() != Some(&error) {
                        tracing::error!(file = %self.0.display(), "cannot read subscriptions: {error}");
                        complaint = Some(error);
                    }
                }
                Err(_) => tracing::error!("reading subscriptions ended in a panic"),
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

pub(super) fn look(path: &Path, seen: Option<Print>, store: &Subscriptions) -> Result<Print, FileError> {
    let print = Print::of(&fs::metadata(path)?);
    if seen != Some(print) {
        let mut text = Vec::new();
        if File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut text)? as u64 > MAX_FILE {
            return Err(FileError::TooLong);
        }
        store.replace(read(&text)?);
    }
    Ok(print)
}

fn read(text: &[u8]) -> Result<Tables, FileError> {
    let value: Value = serde_json::from_slice(text).map_err(|error| FileError::Json(error.line()))?;
    let members = value.as_object().ok_or(FileError::Form)?;
    // A list under another name would be subscriptions that do not count.
    if members.keys().any(|name| Table::named(name).is_none()) {
        return Err(FileError::Form);
    }
    let mut tables = Tables::default();
    for table in Table::ALL {
        let list = match members.get(table.name()) {
            None => continue,
            // As the event hub answers.
            Some(Value::Object(answer)) => answer.get("list"),
            list => list,
        };
        for (index, record) in list.and_then(Value::as_array).ok_or(FileError::Form)?.iter().enumerate() {
            let change = Change::record(table, record);
            tables.apply(change.map_err(|error| FileError::Record(table.name(), index + 1, error))?);
        }
    }
    Ok(tables)
}
