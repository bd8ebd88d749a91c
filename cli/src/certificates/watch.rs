//! When files change: written in place, replaced by rename, or reached over other links than before, as Kubernetes
//! replaces what it mounts.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Files that belong together are written one after the other: a change counts when it has been quiet for this long.
const QUIET: Duration = Duration::from_millis(100);
/// It is never quiet in some directories.
const PATIENCE: Duration = Duration::from_secs(2);
/// Some file systems tell of no changes, and a directory that is replaced takes its watch along: looked at anyway.
const INTERVAL: Duration = Duration::from_mins(1);
const MAX_LINKS: usize = 16;

/// Watches files.
pub struct Watch {
    files: Vec<PathBuf>,
    seen: Vec<Print>,
    /// Those that are on the way to the files.
    directories: BTreeSet<PathBuf>,
    /// `None`: changes are only seen by looking.
    watcher: Option<RecommendedWatcher>,
    events: mpsc::Receiver<()>,
}

/// What tells one state of a file from another: the file itself, its size, and when it was written.
#[derive(Debug, PartialEq, Eq)]
struct Print(Option<(u64, u64, u64, i64, i64)>);

// === impl Watch ===

impl Watch {
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Watch {
        let files: Vec<PathBuf> = files.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let (sender, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event, too. An error: events were lost.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                // Full: a change is already waiting to be seen.
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "cannot watch files: they are looked at every minute"))
            .ok();
        let mut watch = Watch { seen: Vec::new(), directories: BTreeSet::new(), files, watcher, events };
        watch.follow();
        watch.seen = watch.prints();
        watch
    }

    /// Completes when a file is another than it was. Nothing is lost if it is dropped before.
    pub async fn changed(&mut self) {
        if self.files.is_empty() {
            return std::future::pending().await;
        }
        while self.prints() == self.seen {
            tokio::select! {
                // The sender lives in the watcher.
                event = self.events.recv() => if event.is_none() { sleep(INTERVAL).await },
                () = sleep(INTERVAL) => {}
            }
            self.follow();
        }
        let end = Instant::now() + PATIENCE;
        while timeout_at(end, timeout(QUIET, self.events.recv()))
            .await
            .is_ok_and(|event| event.is_ok_and(|event| event.is_some()))
        {}
        self.follow();
        self.seen = self.prints();
    }

    /// Watches the directories that lead to the files now.
    fn follow(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let directories: BTreeSet<PathBuf> = self.files.iter().flat_map(|file| on_the_way(file)).collect();
        for gone in self.directories.difference(&directories) {
            // It may be gone itself.
            let _ = watcher.unwatch(gone);
        }
        // Those that stay, too: another directory may have their name by now.
        self.directories = directories
            .into_iter()
            .filter(|directory| watcher.watch(directory, RecursiveMode::NonRecursive).is_ok())
            .collect();
    }

    fn prints(&self) -> Vec<Print> {
        self.files.iter().map(|file| Print::of(file)).collect()
    }
}

/// The directories in which a change makes the path lead elsewhere: the file's own, and those of the links it is reached
/// over.
fn on_the_way(file: &Path) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    let mut at = file.to_owned();
    for _ in 0..MAX_LINKS {
        let directory =
            at.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        directories.push(directory.clone());
        let Ok(target) = fs::read_link(&at) else { break };
        // `..data/tls.crt`: the link `..data` is in the same directory, and is watched with it.
        at = directory.join(target);
    }
    directories
}

// === impl Print ===

impl Print {
    fn of(file: &Path) -> Print {
        let metadata = fs::metadata(file).ok();
        Print(metadata.map(|file| (file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec())))
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
