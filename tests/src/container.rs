//! Processes that see what a container's would: a network of their own and, if asked for, a root directory of their own.
//! Enough of a container engine to run what `docker-compose.yml` and the documentation say, to the letter, where there
//! is none. `microgw-contained` does the work in the process that it then becomes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::PATIENCE;

/// What one process is to see and to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Spec {
    /// A directory to be `/`, with a directory or a file wherever something is mounted. `None`: the machine's own.
    pub root: Option<Root>,
    pub directory: PathBuf,
    pub user: Option<User>,
    pub environment: BTreeMap<String, String>,
    pub command: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Root {
    pub path: PathBuf,
    pub read_only: bool,
    /// In this order.
    pub mounts: Vec<Mount>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// `None`: an empty file system in memory.
    pub source: Option<PathBuf>,
    /// Absolute, as the process sees it.
    pub target: PathBuf,
    pub read_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

/// A network with nothing in it but loopback, for as long as the value lives.
pub struct Pod {
    child: Child,
    pid: u32,
}

/// The program that becomes what it contains.
pub fn contained() -> PathBuf {
    crate::gateway::micro_gw().with_file_name("microgw-contained")
}

/// Whether processes can be given a network and a root of their own here. Where they cannot a test is skipped, visibly;
/// on CI it fails.
///
/// # Panics
/// On CI, when they cannot.
pub async fn containers_are_possible() -> bool {
    let tried = Command::new(contained()).args(["alone", "true"]).output().await;
    let told = match &tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    assert!(std::env::var_os("CI").is_none(), "CI needs namespaces: {told}");
    eprintln!("SKIPPED: no namespaces here: {told}");
    false
}

// === impl Pod ===

impl Pod {
    /// Whoever is not root is `user` in it, and can be nobody else.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn start(user: User) -> Pod {
        let mut child = Command::new(contained())
            .args(["pod", &user.uid.to_string(), &user.gid.to_string()])
            // It ends with its standard input.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("`microgw-contained` starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.expect("the pod starts in time");
        assert_eq!(line.expect("stdout can be read").as_deref(), Some("ready"), "the pod does not start");
        let pid = child.id().expect("it runs");
        Pod { child, pid }
    }

    /// What starts a process in it. `file` is written for it.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn command(&self, file: &Path, spec: &Spec) -> Command {
        let text = serde_json::to_string(spec).expect("it is JSON");
        std::fs::write(file, text).expect("it can be written");
        let mut command = Command::new(contained());
        command.args(["join", &self.pid.to_string()]).arg(file).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Ends it. What still runs in it keeps its network.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop(mut self) {
        drop(self.child.stdin.take());
        timeout(PATIENCE, self.child.wait()).await.expect("the pod ends").expect("its end can be seen");
    }
}
