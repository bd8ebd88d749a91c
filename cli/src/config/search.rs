//! Which file the settings are in.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes. Settings are written by hand.
const MAX_SIZE: u64 = 1 << 20;

const NAME: &str = "micro-gw.conf";

/// Where to look.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `--config`.
    pub explicit: Option<PathBuf>,
    /// `$MGW_CONF_DIR`.
    pub directory: Option<PathBuf>,
    /// Directories whose `conf/` may have it: the project's, the working directory.
    pub homes: Vec<PathBuf>,
    /// `/etc/micro-gw`.
    pub system: PathBuf,
}

// === impl Places ===

impl Places {
    /// The first that is there, with its text. What was named must be there, and what is there must be readable: the
    /// next in line has other rules.
    pub fn read(&self) -> Result<Option<(PathBuf, String)>, (PathBuf, io::Error)> {
        let named = self.explicit.clone().or_else(|| Some(self.directory.as_ref()?.join(NAME)));
        if let Some(file) = named {
            return match read(&file) {
                Ok(text) => Ok(Some((file, text))),
                Err(error) => Err((file, error)),
            };
        }
        let homes = self.homes.iter().map(|home| home.join("conf").join(NAME));
        for file in homes.chain([self.system.join(NAME)]) {
            match read(&file) {
                Ok(text) => return Ok(Some((file, text))),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err((file, error)),
            }
        }
        Ok(None)
    }
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(MAX_SIZE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(io::Error::other(format!("it has more than {MAX_SIZE} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
