//! Policies that were made elsewhere: what a package may hold, the digest of its content, and `policies.lock`, which names those that
//! a project has taken in.

mod check;
mod manifest;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

pub(crate) use self::check::check;
pub use self::manifest::{Case, Manifest};

/// Of a project: the policies.
pub const DIRECTORY: &str = "policies";
/// Of a project: what was taken in.
pub const LOCK: &str = "policies.lock";
/// Of a package: what it is.
pub const MANIFEST: &str = "policy.yaml";
/// Of a package: what shows that it does as it says.
pub const TESTS: &str = "tests";

/// Files of a package.
pub const MAX_FILES: usize = 256;
/// Bytes of one of them.
pub const MAX_FILE: u64 = 16 << 20;
/// Bytes of all of them.
pub const MAX_SIZE: u64 = 32 << 20;
/// Bytes of the path of one.
pub const MAX_PATH: usize = 200;
/// Bytes of the lock.
pub const MAX_LOCK: u64 = 1 << 20;

/// Files of a package by their paths, each by its hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    files: BTreeMap<String, String>,
    size: u64,
}

/// Why something cannot be in a package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    #[error(
        "`{0}` cannot be in a policy: paths have letters, digits, `.`, `_`, `-` and `/`, and no part begins with a dot"
    )]
    Path(String),
    #[error("`{0}` is there twice")]
    Twice(String),
    #[error("`{0}` has more than {max} MiB", max = MAX_FILE >> 20)]
    FileTooLarge(String),
    #[error("all files together have more than {max} MiB", max = MAX_SIZE >> 20)]
    TooLarge,
    #[error("there are more than {MAX_FILES} files")]
    TooMany,
}

/// What a project has taken in, by the names that it uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    pub policies: BTreeMap<String, Locked>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The name that the package gives itself.
    pub package: String,
    pub version: String,
    /// Where it came from: a path, or `oci://...`.
    pub source: String,
    /// What a reference meant in its registry.
    pub manifest: Option<String>,
    /// Of the content: see [`Content::digest`].
    pub digest: String,
}

/// Why a lock cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LockError {
    pub message: String,
    /// Bytes of the text.
    pub range: Range<usize>,
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    #[serde(default)]
    policy: Vec<toml::Spanned<WrittenPolicy>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPolicy {
    name: String,
    package: String,
    version: String,
    source: String,
    manifest: Option<String>,
    digest: String,
}

const LOCK_VERSION: u32 = 1;
const LOCK_HEAD: &str = "# What `micro-gw policy add` has put into policies/. It is micro-gw that writes here.\n";

/// A policy's name: of a directory, and in a registry.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let all = name.bytes().all(|byte| plain(byte) || byte == b'-');
    all && name.len() <= 64 && name.bytes().next().is_some_and(plain) && name.bytes().next_back().is_some_and(plain)
}

/// `sha256:` and 64 digits.
pub fn is_digest(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// Of bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

// === impl Content ===

impl Content {
    /// `path` is relative to the package, `/` separated. It names one file on every system.
    pub fn check_path(path: &str) -> Result<(), ContentError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
        if path.len() <= MAX_PATH && path.split('/').all(part) {
            Ok(())
        } else {
            // Whatever it is, it is told on one line.
            Err(ContentError::Path(path.chars().take(MAX_PATH).flat_map(char::escape_default).collect()))
        }
    }

    pub fn add(&mut self, path: &str, bytes: &[u8]) -> Result<(), ContentError> {
        Content::check_path(path)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(ContentError::FileTooLarge(path.to_owned()));
        }
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > MAX_SIZE {
            return Err(ContentError::TooLarge);
        }
        // On some systems these would be one file.
        let same = |other: &String| other.eq_ignore_ascii_case(path);
        if self.files.keys().any(same) {
            return Err(ContentError::Twice(path.to_owned()));
        }
        if self.files.len() >= MAX_FILES {
            return Err(ContentError::TooMany);
        }
        self.files.insert(path.to_owned(), hex(&Sha256::digest(bytes)));
        Ok(())
    }

    /// SHA-256 of a text: for each file, in the order of the bytes of their paths, a line of its SHA-256, two spaces and its path. In a
    /// package's directory: `find . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum`.
    pub fn digest(&self) -> String {
        let mut lines = String::new();
        for (path, hash) in &self.files {
            // Writing to a string does not fail.
            let _ = writeln!(lines, "{hash}  {path}");
        }
        digest(lines.as_bytes())
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

// === impl Lock ===

impl Lock {
    pub fn read(text: &str) -> Result<Lock, LockError> {
        Lock::read_spanned(text)
            .map(|spanned| Lock { policies: spanned.into_iter().map(|(name, (locked, _))| (name, locked)).collect() })
    }

    /// Each with the bytes that say it.
    pub(crate) fn read_spanned(text: &str) -> Result<BTreeMap<String, (Locked, Range<usize>)>, LockError> {
        let written: Written = toml::from_str(text).map_err(|error| LockError {
            message: error.message().to_owned(),
            range: error.span().unwrap_or_default(),
        })?;
        if written.version != LOCK_VERSION {
            let message = format!("its version is {}, and {LOCK_VERSION} is the one that is known", written.version);
            return Err(LockError { message, range: 0..0 });
        }
        let mut policies = BTreeMap::new();
        for spanned in written.policy {
            let range = spanned.span();
            let WrittenPolicy { name, package, version, source, manifest, digest } = spanned.into_inner();
            let wrong = |message: String| LockError { message, range: range.clone() };
            if !is_name(&name) {
                return Err(wrong(format!("`{name}` is no name of a policy")));
            }
            if !is_digest(&digest) {
                return Err(wrong(format!("the digest of `{name}` is none")));
            }
            let locked = Locked { package, version, source, manifest, digest };
            if policies.insert(name.clone(), (locked, range.clone())).is_some() {
                return Err(wrong(format!("`{name}` is there twice")));
            }
        }
        Ok(policies)
    }

    pub fn write(&self) -> String {
        let mut text = format!("{LOCK_HEAD}version = {LOCK_VERSION}\n");
        for (name, Locked { package, version, source, manifest, digest }) in &self.policies {
            text.push_str("\n[[policy]]\n");
            let mut line = |key: &str, value: &str| {
                // TOML's own quotes and escapes. Writing to a string does not fail.
                let _ = writeln!(text, "{key} = {}", toml::Value::String(value.to_owned()));
            };
            line("name", name);
            line("package", package);
            line("version", version);
            line("source", source);
            if let Some(manifest) = manifest {
                line("manifest", manifest);
            }
            line("digest", digest);
        }
        text
    }
}
