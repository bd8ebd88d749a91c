//! Compiled code on the disk, for the next start. wasmtime's cache writes and reads it, by the component, the compiler and its settings.
//! It believes what it reads, and clears away once in a process: so what it may find, and how much there is, is seen to here.
//!
//! Compiled code is machine code: whoever can write it runs it as the gateway. It is read from a directory that is ours alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256};
use wasmtime::{Cache, CacheConfig};

/// How much is kept: some ten engines of scripts, or many small components.
pub(super) const MOST: Most = Most { bytes: 256 << 20, files: 256 };

/// Below the directory: what is wasmtime's, and what its files were when they were written.
const CODE: &str = "code";
const SUMS: &str = "sha256sums";
/// Bytes of the list.
const MAX_SUMS: u64 = 1 << 20;
/// Where wasmtime has code, a directory for each of its versions.
const OF_WASMTIME: &str = "modules";
/// Of a file that tells when its neighbour was used last.
const USED: &str = "stats";
/// Uses before which a file is compressed anew, and so another: none reaches it.
const NEVER: u64 = u64::MAX;
/// Its own clearing away: seldom is as good as often.
const CLEARING: Duration = Duration::from_secs(60 * 60);
/// Others than we.
const OTHERS: u32 = 0o077;
const WRITABLE: u32 = 0o022;
/// In such a directory nobody replaces what is somebody else's.
const STICKY: u32 = 0o1000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) bytes: u64,
    pub(super) files: usize,
}

/// Compiled code that is as it was written.
pub(super) struct Kept {
    cache: Cache,
    directory: PathBuf,
    most: Most,
    sums: Mutex<Sums>,
}

/// SHA-256 in hexadecimal digits, by the name below wasmtime's directory.
type Sums = BTreeMap<String, String>;

/// A piece of code.
struct Code {
    name: String,
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// Why code cannot be kept there.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeptError {
    #[error("for the directory is not this user's own")]
    Owner,
    #[error("for others have access to the directory (mode {0:03o}, and not 700)")]
    Access(u32),
    #[error("for the directory that it is in is another user's, or others can write to it (mode {0:03o})")]
    Within(u32),
    #[error("for it is no directory")]
    Kind,
    #[error("{0}")]
    System(#[from] io::Error),
    #[error("{0}")]
    Cache(Box<str>),
}

// === impl Kept ===

impl Kept {
    /// What is not as it was written is gone afterwards.
    pub(super) fn open(directory: &Path, most: Most) -> Result<Kept, KeptError> {
        let directory = own(directory)?;
        let code = directory.join(CODE);
        let mut config = CacheConfig::new();
        config
            .with_directory(&code)
            .with_optimized_compression_usage_counter_threshold(NEVER)
            .with_cleanup_interval(CLEARING)
            .with_files_total_size_soft_limit(most.bytes)
            .with_file_count_soft_limit(most.files as u64);
        let cache = Cache::new(config).map_err(|error| KeptError::Cache(error.to_string().into()))?;
        let kept = Kept { cache, sums: Mutex::new(read(&directory.join(SUMS))), directory, most };
        kept.check()?;
        Ok(kept)
    }

    pub(super) fn cache(&self) -> Cache {
        self.cache.clone()
    }

    /// How often something was there that was looked for.
    pub(super) fn found(&self) -> usize {
        self.cache.cache_hits()
    }

    /// Knows what has been written since, and makes room for it.
    pub(super) fn remember(&self) -> io::Result<()> {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.all()?;
        all.sort_unstable_by_key(|code| std::cmp::Reverse(code.used));
        let mut left = self.most;
        for code in &all {
            let room = left.bytes.checked_sub(code.bytes).zip(left.files.checked_sub(1));
            let Some((bytes, files)) = room else {
                remove(&code.path)?;
                sums.remove(&code.name);
                continue;
            };
            left = Most { bytes, files };
            if !sums.contains_key(&code.name) {
                sums.insert(code.name.clone(), sum(&code.path)?);
            }
        }
        sums.retain(|name, _| all.iter().any(|code| code.name == *name));
        write(&self.directory.join(SUMS), &sums)
    }

    fn check(&self) -> io::Result<()> {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.all()?;
        for code in &all {
            let known = sums.get(&code.name);
            if known.is_none() || known != sum(&code.path).ok().as_ref() {
                tracing::info!(file = %code.path.display(), "compiled code is not as it was written, and is made anew");
                remove(&code.path)?;
                sums.remove(&code.name);
            }
        }
        sums.retain(|name, _| all.iter().any(|code| code.name == *name));
        Ok(())
    }

    /// What there is of code. Files that were never finished would keep others from being written.
    fn all(&self) -> io::Result<Vec<Code>> {
        let mut all = Vec::new();
        for version in entries(&self.directory.join(CODE).join(OF_WASMTIME))? {
            if !version.file_type()?.is_dir() {
                continue;
            }
            for entry in entries(&version.path())? {
                let (path, metadata) = (entry.path(), entry.metadata()?);
                let names = (version.file_name().into_string(), entry.file_name().into_string());
                match path.extension() {
                    None => {}
                    Some(extension) if extension == USED => continue,
                    Some(_) => {
                        gone(fs::remove_file(&path))?;
                        continue;
                    }
                }
                let (Ok(version), Ok(name), true) = (names.0, names.1, metadata.is_file()) else {
                    return Err(io::Error::other("something is there that is no compiled code"));
                };
                let used = fs::metadata(path.with_extension(USED)).and_then(|used| used.modified());
                let used = used.or_else(|_| metadata.modified())?;
                all.push(Code { name: format!("{version}/{name}"), path, bytes: metadata.len(), used });
            }
        }
        Ok(all)
    }
}

/// Makes it, if it is not there. What is there must be ours, and nobody else's.
fn own(directory: &Path) -> Result<PathBuf, KeptError> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let us = rustix::process::geteuid().as_raw();
    let found = fs::symlink_metadata(directory)?;
    if !found.is_dir() {
        return Err(KeptError::Kind);
    }
    if found.uid() != us {
        return Err(KeptError::Owner);
    }
    if found.mode() & OTHERS != 0 {
        return Err(KeptError::Access(found.mode() & 0o777));
    }
    let directory = fs::canonicalize(directory)?;
    let within = fs::metadata(directory.parent().ok_or(KeptError::Kind)?)?;
    let is_shared = within.mode() & WRITABLE != 0 && within.mode() & STICKY == 0;
    if is_shared || ![0, us].contains(&within.uid()) {
        return Err(KeptError::Within(within.mode() & 0o777));
    }
    Ok(directory)
}

/// None, where there is no directory yet.
fn entries(directory: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    gone(fs::remove_file(path.with_extension(USED)))?;
    gone(fs::remove_file(path))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn sum(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut context, mut room) = (Context::new(&SHA256), vec![0; 64 * 1024]);
    loop {
        let read = file.read(&mut room)?;
        let Some(piece) = room.get(..read).filter(|piece| !piece.is_empty()) else { break };
        context.update(piece);
    }
    let mut sum = String::new();
    for byte in context.finish().as_ref() {
        let _ = write!(sum, "{byte:02x}");
    }
    Ok(sum)
}

/// Nothing that cannot be read is known.
fn read(path: &Path) -> Sums {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SUMS).read_to_string(&mut text));
    let lines = read.is_ok().then(|| text.lines().filter_map(|line| line.split_once("  ")));
    lines.into_iter().flatten().map(|(sum, name)| (name.to_owned(), sum.to_owned())).collect()
}

/// As `sha256sum` would have it.
fn write(path: &Path, sums: &Sums) -> io::Result<()> {
    let mut text = String::new();
    for (name, sum) in sums {
        let _ = writeln!(text, "{sum}  {name}");
    }
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    fs::rename(new, path)
}
