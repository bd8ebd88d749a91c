//! Scripts that Redis runs: one step, whatever is in it.

use std::fmt::Write as _;

use ::redis::{Cmd, RedisError, ServerErrorKind, Value};
use sha1::{Digest as _, Sha1};

use super::place::Connection;

/// Sent once, and called by its hash from then on.
#[derive(Debug)]
pub struct Script {
    text: String,
    hash: String,
}

// === impl Script ===

impl Script {
    pub fn new(text: impl Into<String>) -> Script {
        let text = text.into();
        let mut hash = String::with_capacity(40);
        for byte in Sha1::digest(&text) {
            // Writing to a string does not fail.
            let _ = write!(hash, "{byte:02x}");
        }
        Script { text, hash }
    }

    /// All keys must be of one slot; `arguments` adds `ARGV`, and may be asked twice.
    pub(super) async fn run(
        &self,
        connection: &Connection,
        keys: &[String],
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Value, RedisError> {
        match connection.query(&call("EVALSHA", &self.hash, keys, &arguments)).await {
            // A Redis that was started anew knows it no more. The text brings it along.
            Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
                connection.query(&call("EVAL", &self.text, keys, &arguments)).await
            }
            answer => answer,
        }
    }
}

fn call(command: &str, script: &str, keys: &[String], arguments: impl Fn(&mut Cmd)) -> Cmd {
    let mut command = ::redis::cmd(command);
    command.arg(script).arg(keys.len());
    for key in keys {
        command.arg(key);
    }
    arguments(&mut command);
    command
}
