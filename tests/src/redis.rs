//! A real Redis, ended with the value.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use microgw_extproc::redis::{Place, Redis};

use nix::sys::signal::Signal;

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
        RedisServer::launch(Vec::new()).await
    }

    /// With TLS and a password; its files in `directory`. Clients trust `authority`.
    pub async fn start_tls(directory: &Path, authority: &Identity, server: &Identity, password: &str) -> RedisServer {
        let redis = RedisServer::spawn_tls(directory, authority, server, password, None);
        redis.wait().await;
        redis
    }

    /// The same for clients of `clients` alone, with the password `sesame`. [`Self::client`] is none of them.
    pub async fn start_mutual_tls(
        directory: &Path,
        authority: &Identity,
        server: &Identity,
        clients: &Identity,
    ) -> RedisServer {
        let redis = RedisServer::spawn_tls(directory, authority, server, "sesame", Some(clients));
        let port = redis.port;
        eventually("Redis listens", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
        redis
    }

    fn spawn_tls(
        directory: &Path,
        authority: &Identity,
        server: &Identity,
        password: &str,
        clients: Option<&Identity>,
    ) -> RedisServer {
        install_crypto();
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
            ["--tls-ca-cert-file", &file("clients.pem", clients.unwrap_or(authority).certificate_pem())],
            ["--tls-auth-clients", if clients.is_some() { "yes" } else { "no" }],
            ["--requirepass", password],
        ];
        let arguments: Vec<String> = arguments.into_iter().flatten().map(str::to_owned).collect();
        let child = RedisServer::spawn(port, true, &arguments);
        let (tls, password) = (Some(authority.certificate_pem()), Some(password.to_owned()));
        RedisServer { child, port, tls, password, arguments }
    }

    /// The same with more settings.
    pub async fn start_with(arguments: &[&str]) -> RedisServer {
        RedisServer::launch(arguments.iter().map(ToString::to_string).collect()).await
    }

    async fn launch(arguments: Vec<String>) -> RedisServer {
        install_crypto();
        let port = free_port();
        let child = RedisServer::spawn(port, false, &arguments);
        let server = RedisServer { child, port, tls: None, password: None, arguments };
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

    /// It accepts connections and answers nothing, until [`Self::thaw`].
    pub fn freeze(&self) {
        crate::freeze(self.child.id());
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid is an i32");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("it can be signalled");
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
        // A frozen one is killed as well.
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Sentinel that watches one master, `mymaster`; ended with the value.
pub struct Sentinel {
    child: Child,
    pub port: u16,
}

// === impl Sentinel ===

impl Sentinel {
    /// Its files in `directory`. It alone decides that a master is down, after half a second.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(directory: &Path, master: u16) -> Sentinel {
        install_crypto();
        let port = free_port();
        let file = directory.join(format!("sentinel-{port}.conf"));
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor mymaster 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 2000\n",
            directory.display()
        );
        std::fs::write(&file, text).expect("it can be written");
        let child = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let sentinel = Sentinel { child, port };
        let client = ::redis::Client::open(("127.0.0.1", port)).expect("an address");
        eventually("the Sentinel knows the replica", async || {
            let mut connection = client.get_multiplexed_async_connection().await.ok()?;
            let replicas: Vec<::redis::Value> =
                ::redis::cmd("SENTINEL").arg("replicas").arg("mymaster").query_async(&mut connection).await.ok()?;
            (!replicas.is_empty()).then_some(())
        })
        .await;
        sentinel
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A master, what follows it, and who watches both.
pub struct Replicated {
    pub master: RedisServer,
    pub replica: RedisServer,
    pub sentinel: Sentinel,
}

// === impl Replicated ===

impl Replicated {
    /// Their files in `directory`.
    ///
    /// # Panics
    /// When they do not start.
    pub async fn start(directory: &Path) -> Replicated {
        let directories = ["master", "replica"].map(|name| directory.join(name));
        for directory in &directories {
            std::fs::create_dir_all(directory).expect("it can be made");
        }
        let [own, other] = directories.map(|directory| directory.display().to_string());
        let master = RedisServer::start_with(&["--dir", &own]).await;
        let follow = ["--replicaof", "127.0.0.1", &master.port.to_string(), "--dir", &other];
        let replica = RedisServer::start_with(&follow).await;
        let sentinel = Sentinel::start(directory, master.port).await;
        Replicated { master, replica, sentinel }
    }
}

/// Three nodes that are one cluster, without replicas.
pub struct Cluster {
    pub nodes: Vec<RedisServer>,
}

// === impl Cluster ===

impl Cluster {
    /// Their files in `directory`.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(directory: &Path) -> Cluster {
        let (mut nodes, mut buses) = (Vec::new(), Vec::new());
        for number in 0..3 {
            let own = directory.join(format!("node-{number}"));
            std::fs::create_dir_all(&own).expect("it can be made");
            let bus = free_port().to_string();
            let own = own.display().to_string();
            let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--dir", &own];
            let more = ["--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no"];
            nodes.push(RedisServer::start_with(&[arguments.as_slice(), &more].concat()).await);
            buses.push(bus);
        }
        let slots = [(0, 5460), (5461, 10_922), (10_923, 16_383)];
        for (node, (first, last)) in nodes.iter().zip(slots) {
            let mut connection = node.client().connect().await.expect("it answers");
            let mut command = ::redis::cmd("CLUSTER");
            command.arg("ADDSLOTSRANGE").arg(first).arg(last);
            command.exec_async(&mut connection).await.expect("it has slots");
            for (other, bus) in nodes.iter().zip(&buses) {
                let mut command = ::redis::cmd("CLUSTER");
                command.arg("MEET").arg("127.0.0.1").arg(other.port).arg(bus);
                command.exec_async(&mut connection).await.expect("it meets the others");
            }
        }
        for node in &nodes {
            let mut connection = node.client().connect().await.expect("it answers");
            eventually("the cluster is one", async || {
                let info: String = ::redis::cmd("CLUSTER").arg("INFO").query_async(&mut connection).await.ok()?;
                (info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")).then_some(())
            })
            .await;
        }
        Cluster { nodes }
    }
}
