//! Keeps one Envoy running, and stops it without cutting requests.

use std::fmt;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::admin::Admin;
use crate::binary::Binary;
use crate::exec::EXEC_SUBCOMMAND;
use crate::log;

mod drain;

pub use drain::drain;

/// How Envoy is started.
#[derive(Clone, Debug)]
pub struct Launch {
    pub envoy: Binary,
    /// A program that answers to [`EXEC_SUBCOMMAND`]: our own (`std::env::current_exe`).
    pub launcher: PathBuf,
    /// File that holds [`crate::Bootstrap::to_json`].
    pub bootstrap: PathBuf,
    /// Envoy's admin socket, as in the bootstrap.
    pub admin: PathBuf,
    /// Worker threads; `None`: one per core.
    pub concurrency: Option<NonZeroU32>,
    pub log_level: LogLevel,
    /// How long requests in flight may take to end when Envoy is stopped.
    pub drain: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    #[default]
    Warning,
    Error,
    Critical,
    Off,
}

/// What became of Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Starting,
    /// `restarts` counts those since the supervisor was started.
    Running {
        pid: u32,
        restarts: u32,
    },
    /// It ended, or could not be started; it is started again after `delay`.
    BackingOff {
        reason: String,
        delay: Duration,
        restarts: u32,
    },
    Stopped,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot start the thread that looks after Envoy")]
pub struct StartError(#[source] io::Error);

/// Runs Envoy until it is stopped or dropped; dropping kills it at once.
///
/// All is done on a thread of its own: the kernel ties the child's life to the *thread* that spawned it, and those
/// of a runtime may end before their process does.
#[derive(Debug)]
pub struct Supervisor {
    state: watch::Receiver<State>,
    /// Sent: drain. Dropped: kill.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

// === impl Supervisor ===

impl Supervisor {
    pub fn start(launch: Launch) -> Result<Supervisor, StartError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError)?;
        let (report, state) = watch::channel(State::Starting);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("envoy".to_owned())
            .spawn(move || {
                runtime.block_on(supervise(&launch, &report, stopped));
                report.send_replace(State::Stopped);
            })
            .map_err(StartError)?;
        Ok(Supervisor { state, stop: Some(stop), thread: Some(thread) })
    }

    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// `None` while no Envoy runs.
    pub fn pid(&self) -> Option<u32> {
        match *self.state.borrow() {
            State::Running { pid, .. } => Some(pid),
            State::Starting | State::BackingOff { .. } | State::Stopped => None,
        }
    }

    /// Fails Envoy's health check, lets requests in flight end, at most for [`Launch::drain`], and stops it. No
    /// process is left.
    pub async fn drain_and_stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // The other end is gone only when the thread is.
            let _ = stop.send(());
        }
        // An error means that the sender is gone, and with it the child.
        let _ = self.state.wait_for(|state| *state == State::Stopped).await;
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported, and its child was killed when it unwound.
            let _ = thread.join();
        }
    }
}

async fn supervise(launch: &Launch, report: &watch::Sender<State>, mut stop: oneshot::Receiver<()>) {
    let mut backoff = Backoff::default();
    for restarts in 0.. {
        let reason = match spawn(launch) {
            Ok((mut child, pid)) => {
                let started = Instant::now();
                report.send_replace(State::Running { pid, restarts });
                tokio::select! {
                    exit = child.wait() => {
                        backoff.ran(started.elapsed());
                        exit.map_or_else(|error| format!("it was lost: {error}"), |status| status.to_string())
                    }
                    order = &mut stop => {
                        if order.is_ok() {
                            end_gently(launch, &mut child).await;
                        }
                        return end(&mut child, order.is_ok()).await;
                    }
                }
            }
            Err(error) => format!("it could not be started: {error}"),
        };
        let delay = backoff.next();
        tracing::error!(%reason, restarts, delay_ms = delay.as_millis(), "Envoy ended");
        report.send_replace(State::BackingOff { reason, delay, restarts });
        tokio::select! {
            () = sleep(delay) => {}
            _ = &mut stop => return,
        }
    }
}

fn spawn(launch: &Launch) -> io::Result<(Child, u32)> {
    let mut command = Command::new(&launch.launcher);
    command.arg(EXEC_SUBCOMMAND).arg(std::process::id().to_string()).arg(launch.envoy.path());
    command.arg("--config-path").arg(&launch.bootstrap);
    if let Some(workers) = launch.concurrency {
        command.args(["--concurrency", &workers.to_string()]);
    }
    command.args(["--log-level", launch.log_level.as_str(), "--log-format", log::FORMAT, "--log-format-escaped"]);
    // One Envoy at a time owns the sockets: there is nothing to hand over, nor shared memory to clash in.
    command.arg("--disable-hot-restart");
    // Once drained, every response says `connection: close`, not a growing share of them.
    let drain = launch.drain.as_secs().max(1).to_string();
    command.args(["--drain-strategy", "immediate", "--drain-time-s", &drain]);
    // The access log is read by people too: ten seconds, the default, is long to wait for a line.
    command.args(["--file-flush-interval-msec", "1000"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C goes to us alone; Envoy is drained then.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
    if let Some(stderr) = child.stderr.take() {
        follow("envoy-log", stderr.into_owned_fd()?, log::fold)?;
    }
    if let Some(stdout) = child.stdout.take() {
        // Not inherited: Envoy opens `/dev/stdout` by name, which fails when ours is a socket, as under systemd.
        follow("envoy-stdout", stdout.into_owned_fd()?, |mut stdout| {
            io::copy(&mut stdout, &mut io::stdout())?;
            io::stdout().flush()
        })?;
    }
    Ok((child, pid))
}

/// Reads one of the child's outputs to its end, on a thread: what we write it to may block.
fn follow(
    name: &str,
    output: OwnedFd,
    read: impl FnOnce(std::fs::File) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let followed = move || {
        if let Err(error) = read(output.into()) {
            tracing::warn!(%error, "lost an output of Envoy");
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(followed).map(drop)
}

/// Drains, unless the child ends meanwhile.
async fn end_gently(launch: &Launch, child: &mut Child) {
    let admin = Admin::new(&launch.admin);
    tokio::select! {
        drained = drain::drain(&admin, launch.drain) => {
            if let Err(error) = drained {
                tracing::warn!(error = &error as &dyn std::error::Error, "Envoy is stopped without being drained");
            }
        }
        _ = child.wait() => {}
    }
}

/// Ends the child if it still runs.
async fn end(child: &mut Child, gently: bool) {
    const PATIENCE: Duration = Duration::from_secs(2);
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    if gently
        && let Some(pid) = pid
        && kill(pid, Signal::SIGTERM).is_ok()
        && timeout(PATIENCE, child.wait()).await.is_ok()
    {
        return;
    }
    // It fails only for a child that has ended.
    let _ = child.kill().await;
}

// === impl Backoff ===

/// How long to wait before the next start.
#[derive(Debug)]
struct Backoff {
    delay: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { delay: Backoff::FIRST }
    }
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);
    /// A process that ran this long was healthy.
    const HEALTHY: Duration = Duration::from_secs(30);

    fn ran(&mut self, time: Duration) {
        if time >= Backoff::HEALTHY {
            self.delay = Backoff::FIRST;
        }
    }

    fn next(&mut self) -> Duration {
        let delay = self.delay;
        self.delay = (delay * 2).min(Backoff::LONGEST);
        delay
    }
}

// === impl LogLevel ===

impl LogLevel {
    pub const ALL: [LogLevel; 7] = [
        LogLevel::Trace,
        LogLevel::Debug,
        LogLevel::Info,
        LogLevel::Warning,
        LogLevel::Error,
        LogLevel::Critical,
        LogLevel::Off,
    ];

    /// As Envoy's `--log-level` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warning => "warning",
            LogLevel::Error => "error",
            LogLevel::Critical => "critical",
            LogLevel::Off => "off",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Envoy's log levels are trace, debug, info, warning, error, critical and off")]
pub struct UnknownLogLevel;

impl FromStr for LogLevel {
    type Err = UnknownLogLevel;

    /// Case-insensitive; `warn` is `warning`.
    fn from_str(text: &str) -> Result<LogLevel, UnknownLogLevel> {
        if text.eq_ignore_ascii_case("warn") {
            return Ok(LogLevel::Warning);
        }
        LogLevel::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text)).ok_or(UnknownLogLevel)
    }
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
