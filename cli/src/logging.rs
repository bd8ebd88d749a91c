//! The log: stderr, one line per event, with what Envoy logs folded in.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::LevelFilter;

/// Starts it for the whole process.
pub fn start(level: LevelFilter) {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(colour).compact().init();
}
