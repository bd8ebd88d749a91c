//! Processes under measurement: where they run, what they cost, how large they are. All from `/proc`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a process may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which processor does what: Envoy has one for itself.
pub const ENVOY_CORE: &str = "0";
/// Load, backend and service share the other.
pub const SERVICE_CORE: &str = "1";
/// Where the scheduler decides.
pub const ANY_CORE: &str = "0,1";

/// A child process, ended with the value.
pub struct Process(Child);

/// Bytes of physical memory.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// At most so far.
    pub peak: u64,
}

// === impl Process ===

impl Process {
    /// Starts `program` on `cores`. What it says on stderr is appended to `log`.
    pub fn start<A: AsRef<OsStr>>(
        cores: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        log: &Path,
    ) -> io::Result<Process> {
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        // `taskset` becomes the program: the pid is the program's.
        let child = Command::new("taskset")
            .args(["-c", cores])
            .arg(program)
            .args(arguments)
            .env_remove("MGW_CONF_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        Ok(Process(child))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// What it prints; once.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }

    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.pid()).map_err(io::Error::other)?;
        Ok(kill(Pid::from_raw(pid), signal)?)
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> io::Result<Option<bool>> {
        Ok(self.0.try_wait()?.map(|status| status.success()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let asked = Instant::now();
        // Gone already: nothing to do.
        let _ = self.signal(Signal::SIGTERM);
        while let Ok(None) = self.0.try_wait() {
            if asked.elapsed() > PATIENCE {
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Moves all threads of a running process to `cores`.
pub fn pin(pid: u32, cores: &str) -> io::Result<()> {
    let status = Command::new("taskset").args(["-a", "-c", "-p", cores]).arg(pid.to_string()).output()?.status;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("cannot pin process {pid} to {cores}"))) }
}

/// Processor time of all threads that are alive. The scheduler counts it in nanoseconds; `stat` only has ticks.
pub fn cpu(pid: u32) -> io::Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may have ended since it was listed.
        let Ok(schedule) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        nanoseconds += schedule.split(' ').next().and_then(|time| time.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

pub fn memory(pid: u32) -> io::Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    };
    let gone = || io::Error::other(format!("process {pid} has no memory any more"));
    Ok(Memory { resident: field("VmRSS:").ok_or_else(gone)?, peak: field("VmHWM:").ok_or_else(gone)? })
}

/// The child of `parent` that runs `program`.
pub fn child(parent: u32, program: &str) -> io::Result<u32> {
    for task in fs::read_dir(format!("/proc/{parent}/task"))? {
        let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        for pid in children.split_whitespace() {
            if fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == program) {
                return pid.parse().map_err(io::Error::other);
            }
        }
    }
    Err(io::Error::other(format!("process {parent} runs no `{program}`")))
}
