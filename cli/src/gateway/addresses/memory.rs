//! What was found last, in the data directory: a gateway that starts while nobody answers serves what it served before.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use microgw_compiler::assemble::fingerprint;
use microgw_compiler::snapshot::{Found, Instance};
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
    #[serde(default)]
    instances: Vec<Kept>,
    /// Files of before have these alone.
    #[serde(default, skip_serializing)]
    addresses: Vec<SocketAddr>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    priority: u32,
    weight: u32,
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
        let entries: BTreeMap<String, Entry> =
            found.into_iter().map(|(wanted, found)| (key(&wanted), found.into())).collect();
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
    Ok(entries.into_iter().map(|(key, entry)| (key, entry.into())).collect())
}

fn key(wanted: &Wanted) -> String {
    fingerprint(format!("{wanted:?}").as_bytes())
}

// === impl Entry ===

impl From<Found> for Entry {
    fn from(Found { host, instances }: Found) -> Entry {
        let kept = |Instance { priority, weight, addresses }| Kept { priority, weight, addresses };
        Entry { host, instances: instances.into_iter().map(kept).collect(), addresses: Vec::new() }
    }
}

impl From<Entry> for Found {
    fn from(Entry { host, instances, addresses }: Entry) -> Found {
        if instances.is_empty() {
            return Found::at(host, addresses);
        }
        let known = |Kept { priority, weight, addresses }| Instance { priority, weight, addresses };
        Found { host, instances: instances.into_iter().map(known).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use microgw_compiler::model::Lookup;

    fn wanted() -> Wanted {
        (Lookup::Srv("_http._tcp.test".to_owned()), microgw_compiler::url::parse("http://a.test").unwrap())
    }

    #[test]
    fn what_is_written_is_read_and_so_is_what_was_written_before() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("addresses.json");
        let instance =
            |priority, weight| Instance { priority, weight, addresses: vec!["10.0.0.1:80".parse().unwrap()] };
        let found = Found { host: Some("b.test".to_owned()), instances: vec![instance(1, 7), instance(2, 1)] };
        Memory::read(file.clone()).write(BTreeMap::from([(wanted(), found.clone())]));
        assert_eq!(Memory::read(file.clone()).get(&wanted()), Some(&found));
        let old = format!(r#"{{"{}": {{"host": null, "addresses": ["10.0.0.1:80", "10.0.0.2:80"]}}}}"#, key(&wanted()));
        std::fs::write(&file, old).unwrap();
        let addresses = ["10.0.0.1:80", "10.0.0.2:80"].map(|address| address.parse().unwrap()).to_vec();
        assert_eq!(Memory::read(file).get(&wanted()), Some(&Found::at(None, addresses)));
    }
}
