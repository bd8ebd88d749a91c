//! A running `micro-gw run` with its Envoy on a processor of its own.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::Bench;
use crate::process::{ENVOY_CORE, Process, SERVICE_CORE, child, pin};

/// What the gateway says when it is live, and when that was.
pub struct Live {
    pub at: Instant,
    pub http: SocketAddr,
    pub https: SocketAddr,
}

pub struct Gateway {
    process: Process,
    lines: Receiver<(Instant, String)>,
    log: PathBuf,
}

/// How long anything may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port that was free a moment ago.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

// === impl Gateway ===

impl Gateway {
    /// Starts it on `cores`, without waiting. `data` is its data directory; 0 is any port.
    pub fn start(bench: &Bench, cores: &str, artifact: &Path, data: &Path, port: u16) -> io::Result<Gateway> {
        Gateway::start_with(bench, cores, artifact, data, (port, &[]))
    }

    fn start_with(
        bench: &Bench,
        cores: &str,
        artifact: &Path,
        data: &Path,
        (port, settings): (u16, &[String]),
    ) -> io::Result<Gateway> {
        fs::create_dir_all(data)?;
        let log = data.join("gateway.log");
        let arguments = [
            "run".to_owned(),
            artifact.display().to_string(),
            "--output=json".to_owned(),
            format!("--envoy={}", bench.envoy.display()),
            format!("--gateway.dataDir={}", data.display()),
            format!("--listenerConfig.httpPort={port}"),
            "--listenerConfig.httpsPort=0".to_owned(),
            "--adminConfig.address=127.0.0.1:0".to_owned(),
            "--envoyConfig.concurrency=1".to_owned(),
            "--envoyConfig.drainTimeout=0".to_owned(),
            format!("--b7a.http.accesslog.path={}", crate::bare::ACCESS_LOG),
        ];
        let arguments = arguments.iter().chain(settings);
        let mut process = Process::start(cores, &bench.gateway, arguments, &log)?;
        let stdout = process.stdout().ok_or_else(|| io::Error::other("no stdout"))?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Gateway { process, lines, log })
    }

    /// Starts it, waits until it is live, and gives Envoy its processor.
    pub fn run(bench: &Bench, artifact: &Path, data: &Path) -> io::Result<(Gateway, Live)> {
        Gateway::run_with(bench, artifact, data, &[])
    }

    /// The same with more settings.
    pub fn run_with(bench: &Bench, artifact: &Path, data: &Path, settings: &[String]) -> io::Result<(Gateway, Live)> {
        let gateway = Gateway::start_with(bench, SERVICE_CORE, artifact, data, (0, settings))?;
        let live = gateway.wait_until_live()?;
        pin(gateway.envoy()?, ENVOY_CORE)?;
        Ok((gateway, live))
    }

    /// Waits for the next generation.
    pub fn wait_until_live(&self) -> io::Result<Live> {
        let silent = || io::Error::other(format!("not live: {}", fs::read_to_string(&self.log).unwrap_or_default()));
        let (at, line) = self.lines.recv_timeout(PATIENCE).map_err(|_| silent())?;
        let said: Value = serde_json::from_str(&line)?;
        let address = |name: &str| said.get(name).and_then(Value::as_str).and_then(|text| text.parse().ok());
        match (address("http"), address("https")) {
            (Some(http), Some(https)) => Ok(Live { at, http, https }),
            _ => Err(io::Error::other(line)),
        }
    }

    /// Has it load its artifact again.
    pub fn reload(&self) -> io::Result<()> {
        self.process.signal(Signal::SIGHUP)
    }

    /// Pid of the service.
    pub fn service(&self) -> u32 {
        self.process.pid()
    }

    /// Pid of its Envoy.
    pub fn envoy(&self) -> io::Result<u32> {
        child(self.process.pid(), "envoy")
    }

    /// A key from the issuer, for all APIs.
    pub fn api_key(bench: &Bench, live: &Live) -> io::Result<String> {
        bench.runtime.block_on(async {
            let client = reqwest::Client::builder().danger_accept_invalid_certs(true).no_proxy().build();
            let request = client.map_err(io::Error::other)?.get(format!("https://{}/apikey", live.https));
            let answer = request.basic_auth("admin", Some("admin")).send().await;
            let answer = answer.and_then(reqwest::Response::error_for_status).map_err(io::Error::other)?;
            answer.text().await.map_err(io::Error::other)
        })
    }
}
