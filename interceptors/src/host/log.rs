//! What components say, for the log: cut short, and not too much of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use super::guest::Level;

/// Bytes of a line.
pub const MAX_LINE: usize = 2 * 1024;
/// Lines of one call.
pub const MAX_LINES: u32 = 16;
/// Lines of a component in a second.
pub const MAX_RATE: u32 = 100;

/// Of one call.
pub(super) struct Log {
    name: Arc<str>,
    rate: Arc<Rate>,
    lines: u32,
}

/// Of one component: what it said in this second.
pub(super) struct Rate {
    start: Instant,
    second: AtomicU64,
    lines: AtomicU32,
}

// === impl Rate ===

impl Rate {
    pub(super) fn new() -> Rate {
        Rate { start: Instant::now(), second: AtomicU64::new(0), lines: AtomicU32::new(0) }
    }

    #[cfg(test)]
    pub(super) fn lines(&self) -> u32 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Roughly: who comes at the turn of a second may have one line more.
    fn admits(&self) -> bool {
        let second = self.start.elapsed().as_secs();
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.lines.store(0, Ordering::Relaxed);
        }
        self.lines.fetch_add(1, Ordering::Relaxed) < MAX_RATE
    }
}

// === impl Log ===

impl Log {
    pub(super) fn new(name: Arc<str>, rate: Arc<Rate>) -> Log {
        Log { name, rate, lines: 0 }
    }

    pub(super) fn write(&mut self, level: Level, message: &str) {
        if self.lines >= MAX_LINES || !self.rate.admits() {
            return;
        }
        self.lines += 1;
        let (name, message) = (&*self.name, cut(message));
        match level {
            Level::Debug => tracing::debug!(interceptor = name, "{message}"),
            Level::Info => tracing::info!(interceptor = name, "{message}"),
            Level::Warn => tracing::warn!(interceptor = name, "{message}"),
            Level::Error => tracing::error!(interceptor = name, "{message}"),
        }
    }

    /// Why it is of no use.
    pub(super) fn of_gateway(&self, message: &str) {
        if self.rate.admits() {
            tracing::warn!(interceptor = &*self.name, "{}", cut(message));
        }
    }
}

fn cut(message: &str) -> &str {
    let message = message.trim_end();
    message.get(..message.floor_char_boundary(MAX_LINE)).unwrap_or(message)
}
