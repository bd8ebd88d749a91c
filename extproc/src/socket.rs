//! Unix sockets that only our own user can talk to.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::serve::Listener;
use nix::unistd::{Uid, geteuid};
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

/// How long to wait when the process has run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listening Unix socket with mode 0600 that also checks the uid of every peer. Serves axum, too.
#[derive(Debug)]
pub struct PrivateListener {
    listener: UnixListener,
    path: PathBuf,
    uid: Uid,
}

impl PrivateListener {
    /// Takes the place of a socket that an earlier process left behind; any other file there is an error. The directory
    /// must be closed to other users already.
    pub fn bind(path: &Path) -> io::Result<PrivateListener> {
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(path)?,
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path is taken by another file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(PrivateListener { listener, path: path.to_owned(), uid: geteuid() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn trusts(&self, stream: &UnixStream) -> bool {
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == self.uid.as_raw() => true,
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), path = %self.path.display(), "refused a connection of another user");
                false
            }
            Err(_) => false,
        }
    }
}

impl Listener for PrivateListener {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) if self.trusts(&stream) => return (stream, address),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, path = %self.path.display(), "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn peers_of_another_user_are_turned_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let mut listener = PrivateListener::bind(&path).unwrap();
        let own = listener.uid;

        listener.uid = Uid::from_raw(own.as_raw() + 1);
        let stranger = UnixStream::connect(&path).await.unwrap();
        let (accepted, _) = listener.listener.accept().await.unwrap();
        assert!(!listener.trusts(&accepted));
        drop(stranger);

        listener.uid = own;
        let friend = UnixStream::connect(&path).await.unwrap();
        let (accepted, _) = listener.accept().await;
        assert_eq!(accepted.peer_cred().unwrap().uid(), own.as_raw());
        drop(friend);
    }
}
