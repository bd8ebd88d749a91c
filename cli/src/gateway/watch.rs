//! `--watch`: changes of the source on the disk.

use std::time::Duration;

use anyhow::Context as _;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::source::Source;

/// Editors and compilers write in bursts: a change counts when it has been quiet for this long.
const QUIET: Duration = Duration::from_millis(100);

pub struct Changes {
    events: Option<mpsc::Receiver<()>>,
    _watcher: Option<RecommendedWatcher>,
}

// === impl Changes ===

impl Changes {
    /// `None`: nothing ever changes.
    pub fn of(source: Option<&Source>) -> anyhow::Result<Changes> {
        let Some(source) = source else { return Ok(Changes { events: None, _watcher: None }) };
        let (sender, events) = mpsc::channel(1);
        let concerned = source.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let changed = match event {
                // Reading a file is an event, too.
                Ok(event) => {
                    !matches!(event.kind, EventKind::Access(_))
                        && event.paths.iter().any(|path| concerned.concerns(path))
                }
                // Events were lost: something may have changed.
                Err(_) => true,
            };
            if changed {
                // Full: a change is already waiting to be seen.
                let _ = sender.try_send(());
            }
        })
        .context("cannot watch files")?;
        let directory = source.directory();
        watcher
            .watch(directory, RecursiveMode::Recursive)
            .with_context(|| format!("cannot watch `{}`", directory.display()))?;
        Ok(Changes { events: Some(events), _watcher: Some(watcher) })
    }

    pub async fn next(&mut self) {
        let Some(events) = &mut self.events else { return std::future::pending().await };
        if events.recv().await.is_none() {
            return std::future::pending().await;
        }
        while timeout(QUIET, events.recv()).await.is_ok() {}
    }
}
