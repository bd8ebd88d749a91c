//! How many gateways there are: each has its part of a limit when the store cannot be asked.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What was said of them last, and what is assumed before.
#[derive(Debug)]
pub struct Crowd {
    /// No fewer are assumed.
    least: u32,
    /// What earlier processes knew.
    remembered: u32,
    /// How many, above the one of us among them; 0: nobody has said yet.
    told: AtomicU64,
    /// In the life of this process.
    most: AtomicU32,
    /// Where that outlives it.
    file: Option<PathBuf>,
    saved: AtomicU32,
}

// === impl Crowd ===

impl Crowd {
    /// `least`: no fewer are assumed. `file`: remembers how many there were.
    pub fn new(least: u32, file: Option<PathBuf>) -> Crowd {
        let remembered = file.as_deref().map_or(0, remembered);
        Crowd {
            least,
            remembered,
            told: AtomicU64::new(0),
            most: AtomicU32::new(0),
            file,
            saved: AtomicU32::new(remembered),
        }
    }

    /// How many, and which of them this one is, from 0 on. Of a number that is only assumed it is the last: what cannot be divided
    /// evenly is nobody's then.
    pub(super) fn now(&self) -> (u32, u32) {
        match self.told.load(Ordering::Relaxed) {
            0 => {
                let count = self.least.max(self.remembered).max(1);
                (count, count - 1)
            }
            told => {
                let [count, rank] = [told >> 32, told & u64::from(u32::MAX)].map(|n| u32::try_from(n).unwrap_or(0));
                let count = count.max(self.least).max(1);
                (count, rank.min(count - 1))
            }
        }
    }

    pub(super) fn learn(&self, count: u32, rank: u32) {
        self.told.store(u64::from(count) << 32 | u64::from(rank), Ordering::Relaxed);
        self.most.fetch_max(count, Ordering::Relaxed);
    }

    /// Most that there were: those that stop one after the other must not be taken for fewer when they all start again.
    pub(super) async fn save(&self) {
        let most = self.most.load(Ordering::Relaxed);
        let Some(file) = self.file.clone() else { return };
        if self.saved.swap(most, Ordering::Relaxed) == most {
            return;
        }
        let shown = file.display().to_string();
        let saved = tokio::task::spawn_blocking(move || write(&file, most)).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!("limits: how many gateways there are is not remembered: `{shown}`: {error}");
        }
    }
}

impl Default for Crowd {
    fn default() -> Crowd {
        Crowd::new(1, None)
    }
}

/// 0: nothing.
fn remembered(file: &Path) -> u32 {
    match std::fs::read_to_string(file) {
        Ok(text) => text.trim().parse().unwrap_or(0),
        Err(_) => 0,
    }
}

fn write(file: &Path, most: u32) -> io::Result<()> {
    let next = file.with_extension("next");
    let mut written = File::create(&next)?;
    writeln!(written, "{most}")?;
    written.sync_all()?;
    std::fs::rename(next, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_assumed_is_what_was_known_or_set() {
        let directory = tempfile::tempdir().unwrap();
        let file = || Some(directory.path().join("gateways"));
        let first = Crowd::new(1, file());
        assert_eq!(first.now(), (1, 0));
        first.learn(10, 3);
        first.save().await;
        // The others stop before it does.
        first.learn(1, 0);
        first.save().await;
        assert_eq!(first.now(), (1, 0));
        assert_eq!(Crowd::new(1, file()).now(), (10, 9), "nobody has the rest");
        assert_eq!(Crowd::new(12, file()).now(), (12, 11));
        // What is told counts, but no fewer than were set.
        let next = Crowd::new(3, file());
        next.learn(2, 1);
        next.save().await;
        assert_eq!(next.now(), (3, 1));
        assert_eq!(Crowd::new(1, file()).now(), (2, 1));
        std::fs::write(directory.path().join("gateways"), "x").unwrap();
        assert_eq!(Crowd::new(1, file()).now(), (1, 0));
    }
}
