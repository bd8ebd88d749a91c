//! What the allocator of a service that runs for long is told.
//!
//! Assembling a snapshot takes many times the memory that the snapshot needs, and mimalloc keeps what was freed for the
//! next allocations, which may never come. It reads its options from the environment alone, before `main`, so the
//! service starts itself once more, in the same process.

use std::env;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

const OPTIONS: [(&str, &str); 2] = [
    // Give freed pages back at once.
    ("MIMALLOC_PURGE_DELAY", "0"),
    // Commit page by page: the kernel would back a whole arena with huge pages, which come back only as a whole.
    ("MIMALLOC_ARENA_EAGER_COMMIT", "0"),
];

/// Replaces the process by itself with the options set, unless they are. Returns only if nothing is to be done or it
/// cannot be; then only memory is lost. Call it before the process has threads or files.
pub fn be_thrifty() -> io::Result<()> {
    let missing = || OPTIONS.into_iter().filter(|(name, _)| env::var_os(name).is_none());
    if missing().next().is_none() {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    Err(command.args(arguments).envs(missing()).exec())
}
