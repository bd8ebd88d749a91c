//! Data goes to stdout, everything else to stderr.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::builder::styling::Style;
use indicatif::{ProgressBar, ProgressStyle};

/// A line of data. A reader that went away is not our problem.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Data that ends its lines itself.
pub fn data(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Columns, as wide as what is in them; the first row names them.
pub fn table<const N: usize>(rows: &[[String; N]]) {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or_default()).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        line(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// A line for the person at the terminal.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Whether what is for the person at the terminal may have colours.
pub fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// In bold, where data goes to a terminal.
pub fn bold(text: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        let bold = Style::new().bold();
        return format!("{bold}{text}{bold:#}");
    }
    text.to_owned()
}

/// Shows `text` with the time spent, on a terminal, if the work takes more than a second.
pub fn progress<T>(text: &str, work: impl FnOnce() -> T) -> T {
    if !std::io::stderr().is_terminal() {
        return work();
    }
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(text.to_owned());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let handle = scope.spawn(|| {
            // Parked rather than asleep: the work's end wakes it.
            let started = std::time::Instant::now();
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                std::thread::park_timeout(Duration::from_millis(200));
                if started.elapsed() >= Duration::from_secs(1) {
                    bar.tick();
                }
            }
            bar.finish_and_clear();
        });
        let result = work();
        done.store(true, std::sync::atomic::Ordering::Release);
        handle.thread().unpark();
        result
    })
}
