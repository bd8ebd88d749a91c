//! How components are compiled and run.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use super::LoadError;
use super::kept::Kept;

/// Calls at a time; those beyond wait.
pub(super) const CALLS: u32 = 128;
/// Bytes of a call's memories together, whatever its description says, and of those of all calls.
pub const MAX_MEMORY: usize = 1 << 30;
/// Of a call's stack. Recursion ends there.
const STACK: usize = 512 * 1024;
/// What host functions need of it.
const HOST_STACK: usize = 256 * 1024;
/// Parts of a component, as toolchains make them: a program, its adapter, and what puts them together.
const CORES: u32 = 32;
pub(super) const MEMORIES: u32 = 4;
const TABLES: u32 = 16;
/// Of a table. Engines of scripts have some ten thousand.
pub(super) const ELEMENTS: usize = 1 << 16;
/// Bytes of a memory that are put back by copying, not by giving pages back and taking them anew.
const RESIDENT: usize = 1 << 20;
/// Memories that keep theirs, while nobody uses them.
const WARM: u32 = 32;

pub(super) fn engine(kept: Option<&Kept>) -> Result<Engine, LoadError> {
    match Engine::new(&config(true, kept)) {
        Ok(engine) => Ok(engine),
        // Room for all of them is a terabyte of addresses, and not every system lets a process have that.
        Err(error) => {
            tracing::info!("instances of components are not pooled: {error:#}");
            Engine::new(&config(false, kept)).map_err(|error| LoadError::Engine(format!("{error:#}").into()))
        }
    }
}

fn config(pooled: bool, kept: Option<&Kept>) -> Config {
    let mut config = Config::new();
    config
        .cache(kept.map(Kept::cache))
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        .async_stack_size(STACK + HOST_STACK)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(8))
        .native_unwind_info(false);
    if pooled {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(CALLS)
            .total_core_instances(CALLS * CORES)
            .total_memories(CALLS * MEMORIES)
            .total_tables(CALLS * TABLES)
            .total_stacks(CALLS)
            .max_core_instances_per_component(CORES)
            .max_memories_per_component(MEMORIES)
            .max_tables_per_component(TABLES)
            .max_tables_per_module(4)
            .max_memory_size(MAX_MEMORY)
            .table_elements(ELEMENTS)
            .linear_memory_keep_resident(RESIDENT)
            .table_keep_resident(ELEMENTS * size_of::<usize>())
            .max_unused_warm_slots(WARM);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}
