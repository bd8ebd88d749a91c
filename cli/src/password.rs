//! `hash-password`: what `b7a.users.*.password` takes.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use anyhow::Context as _;
use microgw_extproc::users::hash_password;

use crate::output;

/// Bytes that are read: more than the longest password, so that one that is too long is seen to be.
const MOST: u64 = 4096;

pub fn hash() -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        output::note("password (it is shown as you type), then Enter:");
    }
    let mut line = String::new();
    stdin.lock().take(MOST).read_line(&mut line).context("cannot read the password")?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    output::line(&hash_password(password.strip_suffix('\r').unwrap_or(password))?);
    Ok(())
}
