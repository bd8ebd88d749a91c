//! Black-box tests start the real `micro-gw`, the real Envoy and real backends on free ports. Nothing is shared between
//! tests, and nothing sleeps: every wait is for a condition, with a deadline.

pub mod authorization_server;
pub mod backend;
pub mod bodies;
pub mod collector;
pub mod container;
pub mod dpop;
pub mod envoy;
pub mod etcd;
pub mod gateway;
pub mod http2;
pub mod issuer;
pub mod load;
pub mod misbehaving;
pub mod openid_provider;
pub mod project;
pub mod proxy;
pub mod raw;
pub mod redis;
pub mod registry;
pub mod scripted;
pub mod streaming;
pub mod tls;

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything that should happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the answer is `Some`.
///
/// # Panics
/// When that takes longer than [`PATIENCE`].
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Stops a process as it is, until it is sent `SIGCONT`: none of its threads does anything more when this returns.
///
/// # Panics
/// When it is not there, or goes on.
pub fn freeze(pid: u32) {
    let process = Pid::from_raw(i32::try_from(pid).expect("a pid is an i32"));
    kill(process, Signal::SIGSTOP).expect("it can be signalled");
    let is_stopped = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with(['T', 'Z', 'X']))
    };
    let started = Instant::now();
    while !std::fs::read_dir(format!("/proc/{pid}/task")).expect("it is there").flatten().all(is_stopped) {
        assert!(started.elapsed() < PATIENCE, "it goes on");
        std::thread::yield_now();
    }
}

/// Whether there is an Envoy to test with. Without one a test is skipped, visibly; on CI it fails.
///
/// # Panics
/// On CI, when there is none.
pub fn envoy_is_here() -> bool {
    let found = microgw_envoy::find(None);
    assert!(found.is_ok() || std::env::var_os("CI").is_none(), "CI needs Envoy: run `make envoy`");
    if let Err(error) = &found {
        eprintln!("SKIPPED: {error}");
    }
    found.is_ok()
}

/// One process-wide crypto provider, as in the gateway.
pub fn install_crypto() {
    // A second test in this process finds it installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
