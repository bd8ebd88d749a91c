//! What the kernel says about the process.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::families::{CPU, RESIDENT_MEMORY, START_TIME};
use super::{Reading, Value};

/// Clock ticks per second in what the kernel tells programs, on every architecture that Linux has today.
const TICKS: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process {
    started: f64,
}

// === impl Process ===

impl Process {
    pub(super) fn new() -> Process {
        Process { started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()) }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let memory = resident_bytes().map(|bytes| Reading::of(&RESIDENT_MEMORY, Value::Integer(bytes)));
        let processor = cpu_seconds().map(|seconds| Reading::of(&CPU, Value::Float(seconds)));
        let started = Reading::of(&START_TIME, Value::Float(self.started));
        memory.into_iter().chain([started]).chain(processor).try_for_each(|reading| reading.encode(&mut encoder))
    }
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// User and system time.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Fields 14 and 15; the second, the program's name, may have blanks and parentheses in it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}
