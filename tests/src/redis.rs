//! A real Redis, ended with the value.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use microgw_extproc::redis::{Place, Redis};

use crate::gateway::free_port;
use crate::tls::Identity;
use crate::{eventually, install_crypto};

pub struct RedisServer {
    child: Child,
    pub port: u16,
    tls: Option<String>,
    password: Option<String>,
    arguments: Vec<String>,
}

/// Whether there is a Redis to test with. Without one a test is skipped, visibly; on CI it fails.
///
/// # Panics
/// On CI, when there is none.
pub fn redis_is_here() -> bool {
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "CI needs redis-server");
    if !found {
        eprintln!("SKIPPED: redis-server is not installed");
    }
    found
}

// === impl RedisServer ===

/// # Panics
/// All of these do when Redis does not start.
impl RedisServer {
    /// On a free port of this host, without persistence.
    pub async fn start() -> RedisServer {
        RedisServer::launch(free_port(), None, None, Vec::new()).await
    }

    /// With TLS and a password; its files in `directory`. Clients trust `authority`.
    pub async fn start_tls(directory: &Path, authority: &Identity, server: &Identity, password: &str) -> RedisServer {
        let file = |name: &str, text: String| {
            let path = directory.join(name);
            std::fs::write(&path, text).expect("it can be written");
            path.display().to_string()
        };
        let port = free_port();
        let arguments = [
            ["--tls-port", &port.to_string()],
            ["--tls-cert-file", &file("redis.pem", server.certificate_pem())],
            ["--tls-key-file", &file("redis.key", server.key_pem())],
            ["--tls-ca-cert-file", &file("redis-ca.pem", authority.certificate_pem())],
            ["--tls-auth-clients", "no"],
            ["--requirepass", password],
        ];
        let arguments = arguments.into_iter().flatten().map(str::to_owned).collect();
        let tls = Some(authority.certificate_pem());
        RedisServer::launch(port, tls, Some(password.to_owned()), arguments).await
    }

    async fn launch(port: u16, tls: Option<String>, password: Option<String>, arguments: Vec<String>) -> RedisServer {
        install_crypto();
        let child = RedisServer::spawn(port, tls.is_some(), &arguments);
        let server = RedisServer { child, port, tls, password, arguments };
        server.wait().await;
        server
    }

    fn spawn(port: u16, tls: bool, arguments: &[String]) -> Child {
        let plain = if tls { 0 } else { port };
        Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &plain.to_string()])
            .args(arguments)
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .expect("redis-server starts")
    }

    async fn wait(&self) {
        let redis = self.client();
        eventually("Redis answers", async || redis.connect().await.ok()).await;
    }

    /// Ends it; connections break.
    pub fn stop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Starts it again on the same port, empty.
    pub async fn restart(&mut self) {
        self.child = RedisServer::spawn(self.port, self.tls.is_some(), &self.arguments);
        self.wait().await;
    }

    /// As the gateway connects to it.
    pub fn client(&self) -> std::sync::Arc<Redis> {
        let place = Place {
            host: if self.tls.is_some() { "localhost" } else { "127.0.0.1" }.to_owned(),
            port: self.port,
            tls: self.tls.is_some(),
            database: 0,
            user: None,
            password: self.password.clone(),
            timeout: Duration::from_secs(5),
            prefix: "microgw".to_owned(),
        };
        Redis::new(place, self.tls.as_deref()).expect("it can be connected to")
    }

    /// `[redis]` of the settings, for one without TLS.
    pub fn settings(&self) -> String {
        format!("[redis]\nurl = \"redis://127.0.0.1:{}\"\n\n", self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
