//! A running `micro-gw`, ended with the value.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::raw::RawAnswer;
use crate::{PATIENCE, eventually, install_crypto};

/// `micro-gw run` (or `serve`) with its own data directory.
pub struct Gateway {
    pub child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
    /// The last line it printed.
    pub live: Live,
    pub client: reqwest::Client,
}

/// What the line on stdout says.
#[derive(Clone, Debug, Default)]
pub struct Live {
    pub state: String,
    pub generation: String,
    pub http: Option<SocketAddr>,
    pub https: Option<SocketAddr>,
    pub token: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
}

/// The program under test.
///
/// # Panics
/// When it has not been built.
pub fn micro_gw() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let target = test.ancestors().find(|path| path.join("micro-gw").is_file());
    target.expect("`cargo build -p micro-gw` first").join("micro-gw")
}

/// Runs a command of `micro-gw` to its end.
pub async fn command(directory: &Path, arguments: &[&str]) -> std::process::Output {
    command_with(directory, arguments, &[]).await
}

/// The same with these variables.
pub async fn command_with(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> std::process::Output {
    let mut command = Command::new(micro_gw());
    command.envs(environment.iter().copied());
    command.current_dir(directory).args(arguments).env_remove("MGW_CONF_DIR").stdin(Stdio::null()).kill_on_drop(true);
    timeout(PATIENCE, command.output()).await.expect("the command ends").expect("the command starts")
}

/// A client that takes the gateway's self-signed certificate and follows nothing.
pub fn client() -> reqwest::Client {
    install_crypto();
    reqwest::Client::builder()
        .danger_accept_invalid_certs(true)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .expect("a client can be made")
}

// === impl Gateway ===

impl Gateway {
    /// Starts `micro-gw run target` in `directory`, all ports free ones, and waits until it is live.
    ///
    /// # Panics
    /// When it does not become live.
    pub async fn run(directory: &Path, target: &str, settings: &[&str]) -> Gateway {
        let mut gateway = Gateway::start(directory, "run", target, settings);
        gateway.wait_until_live().await;
        gateway
    }

    /// The same, with these variables in its environment.
    ///
    /// # Panics
    /// When it does not become live.
    pub async fn run_with(directory: &Path, target: &str, settings: &[&str], environment: &[(&str, &str)]) -> Gateway {
        let mut gateway = Gateway::start_with(directory, "run", target, settings, environment);
        gateway.wait_until_live().await;
        gateway
    }

    /// Starts it without waiting.
    pub fn start(directory: &Path, command: &str, target: &str, settings: &[&str]) -> Gateway {
        Gateway::start_with(directory, command, target, settings, &[])
    }

    /// The same, with these variables in its environment.
    ///
    /// # Panics
    /// When it has not been built.
    pub fn start_with(
        directory: &Path,
        command: &str,
        target: &str,
        settings: &[&str],
        environment: &[(&str, &str)],
    ) -> Gateway {
        let data = directory.join("data");
        let log = directory.join("gateway.log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("the log can be opened");
        let mut child = Command::new(micro_gw())
            .current_dir(directory)
            .args([command, target, "--output", "json"])
            .arg(format!("--gateway.dataDir={}", data.display()))
            .args(["--listenerConfig.httpPort=0", "--listenerConfig.httpsPort=0", "--adminConfig.address=127.0.0.1:0"])
            .args(["--envoyConfig.concurrency=1", "--gateway.publishTimeout=10000"])
            .args(settings)
            .env_remove("MGW_CONF_DIR")
            .envs(environment.iter().copied())
            // Its sockets: a gateway that is killed leaves them behind.
            .env("XDG_RUNTIME_DIR", directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .expect("micro-gw starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let stdout = BufReader::new(stdout).lines();
        Gateway { child, stdout, log, live: Live::default(), client: client() }
    }

    /// Waits for the next line on stdout: another generation is live.
    pub async fn wait_until_live(&mut self) -> Live {
        let line = timeout(PATIENCE, self.stdout.next_line()).await;
        let Ok(Ok(Some(line))) = line else { panic!("it is not live; its log:\n{}", self.log()) };
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        let address = |name: &str| value[name].as_str().and_then(|text| text.parse().ok());
        self.live = Live {
            state: value["state"].as_str().unwrap_or_default().to_owned(),
            generation: value["generation"].as_str().unwrap_or_default().to_owned(),
            http: address("http").or(self.live.http),
            https: address("https").or(self.live.https),
            token: address("token").or(self.live.token),
            admin: address("admin").or(self.live.admin),
        };
        self.live.clone()
    }

    /// Replaces the artifact that it serves, has it read again, and waits until the new one is live.
    pub async fn publish(&mut self, artifact: &Path, bytes: &[u8]) -> Live {
        replace(artifact, bytes);
        self.signal(nix::sys::signal::Signal::SIGHUP);
        self.wait_until_live().await
    }

    /// Sends bytes over a new connection to the HTTP listener.
    pub async fn raw(&self, request: &[u8]) -> RawAnswer {
        let address = self.live.http.expect("it has an HTTP listener");
        RawAnswer::of(address, request).await
    }

    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.live.http.expect("it has an HTTP listener"))
    }

    pub fn https(&self, path: &str) -> String {
        format!("https://{}{path}", self.live.https.expect("it has an HTTPS listener"))
    }

    pub fn admin(&self, path: &str) -> String {
        format!("http://{}{path}", self.live.admin.expect("it has an admin interface"))
    }

    pub async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request).await
    }

    pub async fn status(&self) -> Value {
        self.get(&self.admin("/status"), &[]).await.json()
    }

    /// Waits until `/status` says so.
    pub async fn status_where(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || Some(self.status().await).filter(|status| holds(status))).await
    }

    /// An API key from the issuer, as the user admin.
    pub async fn api_key(&self) -> String {
        let answer = Answer::of(self.client.get(self.https("/apikey")).basic_auth("admin", Some("admin"))).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// An API key for what `wish` says.
    pub async fn narrow_key(&self, wish: &Value) -> Answer {
        Answer::of(self.client.post(self.https("/apikey")).basic_auth("admin", Some("admin")).json(wish)).await
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What its Envoy says that it is configured with.
    ///
    /// # Panics
    /// When Envoy is not here.
    pub async fn envoy_config(&self) -> String {
        let directory = self.log.parent().expect("it is in a directory");
        let sockets = std::fs::read_dir(directory).expect("it is there").flatten();
        let admin = sockets.map(|entry| entry.path().join("admin.sock")).find(|path| path.exists());
        let admin = microgw_envoy::Admin::new(&admin.expect("Envoy has an admin socket"));
        let dump = admin.get("/config_dump?include_eds").await.expect("Envoy answers");
        String::from_utf8_lossy(&dump).into_owned()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = i32::try_from(self.child.id().expect("it runs")).expect("a pid is an i32");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("it can be signalled");
    }

    /// Waits until it has ended by itself, and returns its log.
    ///
    /// # Panics
    /// When it goes on.
    pub async fn refusal(&mut self) -> String {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("its end can be seen");
        assert!(!status.success(), "it ended well; its log:\n{}", self.log());
        self.log()
    }

    /// Stops it in good order.
    pub async fn stop(&mut self) -> std::process::ExitStatus {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("its end can be seen")
    }

    /// Its own pid.
    ///
    /// # Panics
    /// When it has ended.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// The pid of its Envoy.
    pub async fn envoy(&self) -> i32 {
        let own = self.pid();
        eventually("Envoy runs", async || {
            children(own).into_iter().find(|pid| {
                std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "envoy")
            })
        })
        .await
    }
}

fn children(parent: u32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|children| children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Writes a file in one step.
///
/// # Panics
/// When the disk is full.
pub fn replace(path: &Path, content: &[u8]) {
    let fresh = path.with_extension("fresh");
    std::fs::create_dir_all(path.parent().expect("it is in a directory")).expect("it can be made");
    std::fs::write(&fresh, content).expect("it can be written");
    std::fs::rename(&fresh, path).expect("it can be renamed");
}

/// A port that was free a moment ago, for what must be found at the same place twice.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Below those that systems give to connections, which come and go meanwhile; each process begins elsewhere.
    let begin = u16::try_from(std::process::id() % 100).unwrap_or(0) * 100;
    let mut ports = std::iter::repeat_with(|| 20_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.by_ref().take(10_000).find(is_free).expect("a port is free")
}

/// Whether a process is there and no zombie.
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// A response, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub async fn of(request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("there is an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.text().await.expect("the body arrives") }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The code of a fault.
    pub fn code(&self) -> u64 {
        self.json()["fault"]["code"].as_u64().unwrap_or_default()
    }
}
