//! What one call may take.

use wasmtime::{Error, ResourceLimiter, Result, bail};

use super::settings::{ELEMENTS, MEMORIES};

/// Tables and core instances; the pool has less.
const MAX_PARTS: usize = 256;

/// All memories of an instance share what there is.
pub(super) struct Limits {
    left: usize,
    /// It wanted more.
    pub(super) exceeded: bool,
}

// === impl Limits ===

impl Limits {
    pub(super) fn new(memory: usize) -> Limits {
        Limits { left: memory, exceeded: false }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let Some(left) = self.left.checked_sub(desired.saturating_sub(current)) else {
            // Few programs survive that, and fewer say why they did not.
            self.exceeded = true;
            bail!("it takes more memory than it may have")
        };
        self.left = left;
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
