//! The Unix sockets between the gateway and its Envoy, and the directory that guards them.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// `sun_path` of `sockaddr_un` holds 108 bytes, the closing NUL among them.
const MAX_PATH: usize = 107;

/// Longest name in [`SocketPaths`], with its slash.
const LONGEST_NAME: usize = "/issuer.sock".len();

/// Where each socket is. The gateway listens on the first three, Envoy on the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPaths {
    pub xds: PathBuf,
    pub authz: PathBuf,
    pub issuer: PathBuf,
    pub admin: PathBuf,
}

/// A directory that only our user can enter, locked by this process for as long as the value lives.
#[derive(Debug)]
pub struct SocketDir {
    path: PathBuf,
    /// Made for this process: removed with it.
    private: bool,
    _lock: Flock<File>,
}

#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error(
        "socket directory `{}` is too long: a Unix socket's path has at most {MAX_PATH} bytes, choose one of at most {} bytes",
        .0.display(),
        MAX_PATH - LONGEST_NAME
    )]
    TooLong(PathBuf),
    #[error("socket directory `{}` is not absolute", .0.display())]
    Relative(PathBuf),
    /// It goes into Envoy's bootstrap, which is JSON.
    #[error("socket directory `{}` is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
    #[error("`{}` is not a directory", .0.display())]
    NotDirectory(PathBuf),
    #[error("socket directory `{}` belongs to user {owner}, not to us", .path.display())]
    NotOurs { path: PathBuf, owner: u32 },
    #[error("socket directory `{}` can be entered by others (mode {mode:04o})\n\nhint: `chmod 700` it, or name another", .path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("another gateway uses the socket directory `{}`", .0.display())]
    InUse(PathBuf),
    #[error("`{}` is in the way: it is not a socket", .0.display())]
    NotSocket(PathBuf),
    #[error("cannot prepare `{}`", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

// === impl SocketPaths ===

impl SocketPaths {
    /// The sockets' names are fixed, so that a bootstrap can be printed before the gateway runs.
    pub fn within(directory: &Path) -> SocketPaths {
        let at = |name| directory.join(name);
        SocketPaths { xds: at("xds.sock"), authz: at("authz.sock"), issuer: at("issuer.sock"), admin: at("admin.sock") }
    }
}

// === impl SocketDir ===

impl SocketDir {
    /// Opens `path`, creating it with mode 0700, and removes the gateway's own sockets that a predecessor left.
    /// Envoy's admin socket stays: an Envoy that was not started by us may still be serving on it.
    pub fn open(path: &Path) -> Result<SocketDir, SocketError> {
        check_length(path)?;
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| io_error(path, source))?;
        SocketDir::lock(path.to_owned(), false)
    }

    /// A directory of this process alone, below `$XDG_RUNTIME_DIR` or the system's temporary directory. It is
    /// removed with the value.
    pub fn private() -> Result<SocketDir, SocketError> {
        let parents = [std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), Some(std::env::temp_dir())];
        let parent = parents.into_iter().flatten().find(|parent| parent.is_absolute() && parent.is_dir());
        SocketDir::private_below(&parent.unwrap_or_else(|| PathBuf::from("/tmp")))
    }

    /// As [`Self::private`], below `parent`.
    pub fn private_below(parent: &Path) -> Result<SocketDir, SocketError> {
        // A name that is taken is not ours: `create` fails on it rather than follow what someone else put there.
        for attempt in 0..64 {
            let path = parent.join(format!("micro-gw-{}-{attempt}", std::process::id()));
            check_length(&path)?;
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return SocketDir::lock(path, true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(io_error(&path, source)),
            }
        }
        Err(io_error(parent, io::ErrorKind::AlreadyExists.into()))
    }

    fn lock(path: PathBuf, private: bool) -> Result<SocketDir, SocketError> {
        // Not followed: a link could be turned to another directory after it was checked.
        let metadata = fs::symlink_metadata(&path).map_err(|source| io_error(&path, source))?;
        if !metadata.is_dir() {
            return Err(SocketError::NotDirectory(path));
        }
        if metadata.uid() != nix::unistd::geteuid().as_raw() {
            return Err(SocketError::NotOurs { path, owner: metadata.uid() });
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SocketError::Exposed { path, mode });
        }
        let lock_path = path.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|source| io_error(&lock_path, source))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            nix::errno::Errno::EWOULDBLOCK => SocketError::InUse(path.clone()),
            errno => io_error(&lock_path, errno.into()),
        })?;
        let directory = SocketDir { path, private, _lock: lock };
        let SocketPaths { xds, authz, issuer, admin: _ } = directory.sockets();
        for socket in [xds, authz, issuer] {
            remove_stale(&socket)?;
        }
        Ok(directory)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn sockets(&self) -> SocketPaths {
        SocketPaths::within(&self.path)
    }

    /// Where `run` keeps Envoy's bootstrap.
    pub fn bootstrap(&self) -> PathBuf {
        self.path.join("bootstrap.json")
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        if self.private {
            // Nothing in it outlives the process; failing to tidy up is no reason to fail.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Listens on `path`, one of [`SocketPaths`], with mode 0600 and ready for an asynchronous runtime (non-blocking).
pub fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    // The directory keeps others out between `bind` and `chmod`.
    let listener = UnixListener::bind(path).map_err(|source| io_error(path, source))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|source| io_error(path, source))?;
    listener.set_nonblocking(true).map_err(|source| io_error(path, source))?;
    Ok(listener)
}

/// Writes `content` to a file that only our user can read, replacing it in one step.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), SocketError> {
    let fresh = path.with_extension("new");
    let write = || {
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        io::Write::write_all(&mut file, content)?;
        fs::rename(&fresh, path)
    };
    write().map_err(|source| io_error(path, source))
}

fn check_length(path: &Path) -> Result<(), SocketError> {
    if !path.is_absolute() {
        return Err(SocketError::Relative(path.to_owned()));
    }
    if path.to_str().is_none() {
        return Err(SocketError::NotUtf8(path.to_owned()));
    }
    if path.as_os_str().len() + LONGEST_NAME > MAX_PATH {
        return Err(SocketError::TooLong(path.to_owned()));
    }
    Ok(())
}

/// The caller holds the directory's lock: no gateway listens on what is found.
fn remove_stale(socket: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(socket) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            fs::remove_file(socket).map_err(|source| io_error(socket, source))
        }
        Ok(_) => Err(SocketError::NotSocket(socket.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io_error(socket, source)),
    }
}

fn io_error(path: &Path, source: io::Error) -> SocketError {
    SocketError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
#[path = "sockets_tests.rs"]
mod tests;
