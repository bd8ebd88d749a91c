//! What was found last, in the data directory: a gateway that starts while nobody answers serves what it served before.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use microgw_compiler::assemble::fingerprint;
use microgw_compiler::snapshot::Found;
use microgw_discovery::Wanted;
use serde::{Deserialize, Serialize};

use crate::build::write_atomically;

const MOST: u64 = 64 * 1024 * 1024;

pub struct Memory {
    file: PathBuf,
    found: BTreeMap<String, Found>,
}

/// Of one target.
#[derive(Serialize, Deserialize)]
struct Entry {
    host: Option<String>,
    addresses: Vec<SocketAddr>,
}

// === impl Memory ===

impl Memory {
    /// What cannot be read is as good as absent.
    pub fn read(file: PathBuf) -> Memory {
        let found = read(&file).unwrap_or_else(|error| {
            tracing::warn!("what is known of backends' addresses is not used: {error:#}");
            BTreeMap::new()
        });
        Memory { file, found }
    }

    pub fn get(&self, wanted: &Wanted) -> Option<&Found> {
        if self.found.is_empty() { None } else { self.found.get(&key(wanted)) }
    }

    pub fn write(&self, found: BTreeMap<Wanted, Found>) {
        let entries: BTreeMap<String, Entry> = found
            .into_iter()
            .map(|(wanted, Found { host, addresses })| (key(&wanted), Entry { host, addresses }))
            .collect();
        let written = serde_json::to_vec(&entries).map_err(anyhow::Error::new);
        if let Err(error) = written.and_then(|bytes| write_atomically(&self.file, &bytes)) {
            tracing::warn!("backends' addresses are not kept for the next start: {error:#}");
        }
    }
}

fn read(file: &Path) -> anyhow::Result<BTreeMap<String, Found>> {
    if !file.exists() {
        return Ok(BTreeMap::new());
    }
    let context = || format!("cannot read `{}`", file.display());
    anyhow::ensure!(std::fs::metadata(file).with_context(context)?.len() <= MOST, "`{}` is too large", file.display());
    let bytes = std::fs::read(file).with_context(context)?;
    let entries: BTreeMap<String, Entry> = serde_json::from_slice(&bytes).with_context(context)?;
    Ok(entries.into_iter().map(|(key, Entry { host, addresses })| (key, Found { host, addresses })).collect())
}

fn key(wanted: &Wanted) -> String {
    fingerprint(format!("{wanted:?}").as_bytes())
}
