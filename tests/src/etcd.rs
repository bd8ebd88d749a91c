//! A real etcd, ended with the value. It keeps its data while it is stopped.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct EtcdServer {
    child: Option<Child>,
    pub port: u16,
    peers: u16,
    data: PathBuf,
    tls: Option<Files>,
    /// `user:password` for what tests do there.
    pub user: Option<String>,
    arguments: Vec<String>,
}

/// PEM files: whom both sides trust, and what the server is and its clients are.
#[derive(Clone)]
pub struct Files {
    pub authority: PathBuf,
    pub server: (PathBuf, PathBuf),
    pub client: (PathBuf, PathBuf),
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Whether there is an etcd to test with. Without one a test is skipped, visibly; on CI it fails.
///
/// # Panics
/// On CI, when there is none.
pub fn etcd_is_here() -> bool {
    let here = |program: &str, argument| {
        Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    let found = here("etcd", "--version") && here("etcdctl", "version");
    assert!(found || std::env::var_os("CI").is_none(), "CI needs etcd-server and etcd-client");
    if !found {
        eprintln!("SKIPPED: etcd-server and etcd-client are not installed");
    }
    found
}

// === impl EtcdServer ===

/// # Panics
/// All of these do when etcd does not do as it is told.
impl EtcdServer {
    /// On free ports of this host, with its data below `directory`.
    pub fn start(directory: &Path) -> EtcdServer {
        EtcdServer::start_with(directory, None, &[])
    }

    /// With TLS, for clients that have a certificate.
    pub fn start_with(directory: &Path, tls: Option<Files>, arguments: &[&str]) -> EtcdServer {
        let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let (port, peers, data) = (port(), port(), directory.join("etcd"));
        let mut server = EtcdServer { child: None, port, peers, data, tls, user: None, arguments };
        server.restart();
        server
    }

    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// At the same address, with the data that it had.
    pub fn restart(&mut self) {
        self.kill();
        let mut command = Command::new("etcd");
        let peers = format!("http://127.0.0.1:{}", self.peers);
        command
            .args(["--name", "test", "--logger", "zap", "--log-level", "error"])
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--listen-client-urls", &self.url(), "--advertise-client-urls", &self.url()])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .arg(format!("--initial-cluster=test={peers}"))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(Files { authority, server, .. }) = &self.tls {
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(authority);
            command.arg("--cert-file").arg(&server.0).arg("--key-file").arg(&server.1);
        }
        self.child = Some(command.spawn().expect("etcd starts"));
        let begun = Instant::now();
        while !self.control(&["endpoint", "health"]).0 {
            assert!(begun.elapsed() < PATIENCE, "etcd does not answer");
        }
    }

    /// Forgets everything: as another one at the same address.
    pub fn restart_empty(&mut self) {
        self.kill();
        std::fs::remove_dir_all(&self.data).expect("its data can be removed");
        self.restart();
    }

    pub fn put(&self, key: &str, value: &str) {
        self.must(&["put", "--", key, value]);
    }

    pub fn delete(&self, key: &str) {
        self.must(&["del", key]);
    }

    /// Forgets the history before now.
    pub fn compact(&self) {
        let status = self.must(&["endpoint", "status", "--write-out=json"]);
        let (_, rest) = status.split_once("\"revision\":").expect("it has a revision");
        let revision: String = rest.chars().take_while(char::is_ascii_digit).collect();
        self.must(&["compact", "--physical", &revision]);
    }

    /// A user `gateway` that may read what begins with `prefix`; `root` may do everything.
    pub fn enable_auth(&mut self, password: &str, prefix: &str) {
        self.must(&["user", "add", "root:root"]);
        self.must(&["user", "grant-role", "root", "root"]);
        self.must(&["user", "add", &format!("gateway:{password}")]);
        self.must(&["role", "add", "reader"]);
        self.must(&["role", "grant-permission", "--prefix=true", "reader", "read", prefix]);
        self.must(&["user", "grant-role", "gateway", "reader"]);
        self.must(&["auth", "enable"]);
        self.user = Some("root:root".to_owned());
    }

    /// # Returns
    /// What it printed.
    pub fn must(&self, arguments: &[&str]) -> String {
        let (succeeded, text) = self.control(arguments);
        assert!(succeeded, "etcdctl {arguments:?}: {text}");
        text
    }

    fn control(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.url(), "--command-timeout=5s"]);
        if let Some(user) = &self.user {
            command.args(["--user", user]);
        }
        if let Some(Files { authority, client, .. }) = &self.tls {
            command.arg("--cacert").arg(authority).arg("--cert").arg(&client.0).arg("--key").arg(&client.1);
        }
        let output = command.args(arguments).output().expect("etcdctl runs");
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (output.status.success(), text)
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.kill();
    }
}
