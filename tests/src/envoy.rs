//! An Envoy that was started by somebody else, for `micro-gw serve`.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures_util::FutureExt as _;
use microgw_envoy::Admin;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::eventually;
use crate::gateway::command;

/// Ended with the value.
pub struct Envoy {
    pub child: Child,
    pub admin: Admin,
    log: PathBuf,
}

// === impl Envoy ===

impl Envoy {
    /// Starts with what `micro-gw bootstrap target` prints, after `change`.
    ///
    /// # Panics
    /// When there is no Envoy, or no bootstrap.
    pub async fn start(directory: &Path, target: &str, sockets: &Path, change: impl FnOnce(&mut Value)) -> Envoy {
        Envoy::start_with(directory, &["bootstrap", target], sockets, change).await
    }

    /// Starts with what `micro-gw` prints with these arguments, after `change`. Its admin socket is in `sockets`.
    ///
    /// # Panics
    /// When there is no Envoy, or no bootstrap.
    pub async fn start_with(
        directory: &Path,
        arguments: &[&str],
        sockets: &Path,
        change: impl FnOnce(&mut Value),
    ) -> Envoy {
        let sockets_text = sockets.to_str().expect("it is UTF-8");
        let output = command(directory, &[arguments, &["--sockets", sockets_text]].concat()).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut bootstrap: Value = serde_json::from_slice(&output.stdout).expect("a bootstrap is JSON");
        change(&mut bootstrap);
        let path = directory.join("bootstrap.json");
        std::fs::write(&path, bootstrap.to_string()).expect("it can be written");
        // Whoever serves makes it, and Envoy ends where it is not there.
        eventually("the directory of the sockets is there", async || sockets.is_dir().then_some(())).await;
        let log = directory.join("envoy.log");
        let file = std::fs::File::create(&log).expect("it can be written");
        let binary = microgw_envoy::find(None).expect("there is an Envoy");
        let child = Command::new(binary.path())
            .arg("--config-path")
            .arg(&path)
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .expect("Envoy starts");
        let admin = Admin::new(&microgw_envoy::SocketPaths::within(sockets).admin);
        Envoy { child, admin, log }
    }

    /// Waits for its listeners: HTTP and HTTPS.
    ///
    /// # Panics
    /// When it does not get them.
    pub async fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let listening = eventually("Envoy has listeners", async || {
            let listeners = self.admin.listeners().await.ok()?;
            let find = |name| listeners.iter().find(|(listener, _)| listener == name).map(|(_, address)| *address);
            Some((find("http")?, find("https")?))
        });
        let found = AssertUnwindSafe(listening).catch_unwind().await;
        found.unwrap_or_else(|_| panic!("Envoy has no listeners; its log:\n{}", self.log()))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
