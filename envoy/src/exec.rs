//! The last step before Envoy: our own binary, re-executed, ties its life to ours and becomes Envoy.
//!
//! `Command::pre_exec` would do the same in one process fewer, and is `unsafe`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// Name of the hidden subcommand: `micro-gw __envoy-exec <parent's pid> <envoy> <argument>...`.
pub const EXEC_SUBCOMMAND: &str = "__envoy-exec";

/// What Envoy, or a script that starts it, may see of our environment: ours may hold passwords
/// (`b7a_users_admin_password`).
const PASSED_ON: [&str; 6] = ["PATH", "HOME", "TMPDIR", "TZ", "LANG", "LD_LIBRARY_PATH"];
const PASSED_ON_PREFIX: &str = "ENVOY_";

/// Becomes Envoy. `arguments` are those after [`EXEC_SUBCOMMAND`]. Returns only on failure.
///
/// Envoy gets SIGTERM when the thread that spawned it ends. It exits on that at once, but writes out its access log
/// first, which SIGKILL would lose.
pub fn exec_child(arguments: impl IntoIterator<Item = OsString>) -> io::Error {
    let mut arguments = arguments.into_iter();
    let parent = arguments.next().and_then(|pid| pid.to_str()?.parse().ok()).map(Pid::from_raw);
    let (Some(parent), Some(envoy)) = (parent, arguments.next()) else {
        return io::Error::new(io::ErrorKind::InvalidInput, "usage: <parent's pid> <envoy> <argument>...");
    };
    if let Err(errno) = nix::sys::prctl::set_pdeathsig(Signal::SIGTERM) {
        return errno.into();
    }
    // A parent that died before the line above sends no signal any more.
    if getppid() != parent {
        return io::Error::other("the gateway ended before its Envoy was started");
    }
    Command::new(envoy).args(arguments).env_clear().envs(std::env::vars_os().filter(|(name, _)| passed_on(name))).exec()
}

fn passed_on(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| PASSED_ON.contains(&name) || name.starts_with(PASSED_ON_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_a_command() {
        for arguments in [&[][..], &["1"], &["x", "/bin/true"]] {
            let error = exec_child(arguments.iter().map(OsString::from));
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{arguments:?}");
        }
    }

    #[test]
    fn keeps_our_secrets_to_ourselves() {
        assert!(passed_on(OsStr::new("PATH")) && passed_on(OsStr::new("ENVOY_DYNAMIC_MODULES_SEARCH_PATH")));
        assert!(!passed_on(OsStr::new("b7a_users_admin_password")) && !passed_on(OsStr::new("AWS_SECRET_ACCESS_KEY")));
    }
}
