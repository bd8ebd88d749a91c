//! What one call may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmtime::{Error, ResourceLimiter, Result, bail};

use super::settings::{ELEMENTS, MEMORIES};

/// Tables and core instances; the pool has less.
const MAX_PARTS: usize = 256;

/// All memories of a call share what there is, and all calls what there is of that.
pub(super) struct Limits {
    left: usize,
    taken: usize,
    all: Arc<Budget>,
    /// It wanted more.
    pub(super) exceeded: bool,
}

/// Bytes that nobody has.
pub(super) struct Budget(AtomicUsize);

// === impl Budget ===

impl Budget {
    pub(super) fn new(bytes: usize) -> Budget {
        Budget(AtomicUsize::new(bytes))
    }

    fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Limits ===

impl Limits {
    pub(super) fn new(memory: usize, all: Arc<Budget>) -> Limits {
        Limits { left: memory, taken: 0, all, exceeded: false }
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        self.all.0.fetch_add(self.taken, Ordering::Relaxed);
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let more = desired.saturating_sub(current);
        let left = self.left.checked_sub(more).filter(|_| self.all.take(more));
        let Some(left) = left else {
            // Few programs survive that, and fewer say why they did not.
            self.exceeded = true;
            bail!("it takes more memory than it may have, or than there is")
        };
        self.left = left;
        self.taken += more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        self.exceeded = true;
        Err(error)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        Ok(desired <= ELEMENTS)
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }

    fn tables(&self) -> usize {
        MAX_PARTS
    }

    fn instances(&self) -> usize {
        MAX_PARTS
    }
}
