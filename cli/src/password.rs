//! Passwords that are typed or piped in, and `hash-password`: what `b7a.users.*.password` takes.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use anyhow::Context as _;
use microgw_extproc::users::hash_password;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::output;

/// Bytes that are read: more than the longest password, so that one that is too long is seen to be.
const MOST: u64 = 4096;

/// A terminal that does not show what is typed, for as long as the value lives.
struct Silence(Termios);

pub fn hash() -> anyhow::Result<()> {
    output::line(&hash_password(&read()?)?);
    Ok(())
}

/// A line of standard input; on a terminal without an echo, and twice.
pub fn read() -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        return line();
    }
    let _silence = Silence::new().context("cannot have the terminal hide what is typed")?;
    output::note("password, which is not shown as you type, then Enter:");
    let password = line()?;
    output::note("again:");
    anyhow::ensure!(line()? == password, "the two are not the same");
    Ok(password)
}

fn line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().take(MOST).read_line(&mut line).context("cannot read the password")?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    Ok(password.strip_suffix('\r').unwrap_or(password).to_owned())
}

// === impl Silence ===

impl Silence {
    fn new() -> nix::Result<Silence> {
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &silent)?;
        Ok(Silence(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &self.0);
    }
}
