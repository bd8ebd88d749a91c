//! The data directory: what outlives the process.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use anyhow::Context as _;

/// Creates the data directory, for our own user alone. One that is there already is taken as it is, since volumes often
/// come open to a group or to everybody; but who can write to it can put keys of theirs in the place of ours.
pub fn directory(data: &Path) -> anyhow::Result<()> {
    let shown = data.display();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(|| format!("cannot create `{shown}` (gateway.dataDir)"))?;
    let mode =
        fs::metadata(data).with_context(|| format!("cannot look at `{shown}` (gateway.dataDir)"))?.mode() & 0o777;
    if mode & 0o022 != 0 {
        tracing::warn!(path = %shown, "others can write to the data directory (mode {mode:03o}), and so replace keys in it");
    }
    Ok(())
}
