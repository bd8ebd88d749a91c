//! Credential helpers of Docker: programs that keep logins elsewhere, `docker-credential-NAME`, found like any other (`PATH`). One is
//! asked for the registry at hand, once that wants a login. What it says is for the registry: it is in no log and in no error.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::logins::Login;

/// Somebody may have to unlock something first.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of an answer.
const MAX_ANSWER: u64 = 64 << 10;
const MAX_NAME: usize = 64;
/// What helpers say of a registry that they do not know: an error, in words.
const UNKNOWN: &str = "credentials not found";
/// The name of a user that has an identity token in the place of a password.
const TOKEN: &str = "<token>";

/// The name of one, which is a word: nothing that leads elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper(String);

/// Why a helper is of no use.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    #[error("`{0}` is no name of a credential helper: letters, digits, `-`, `_` and `.` are one")]
    Name(String),
    #[error("`{0}` cannot be run")]
    Run(String, #[source] io::Error),
    #[error("`{0}` has not answered within a minute")]
    Late(String),
    #[error("`{0}` has failed. What it says is not repeated here; `docker login` uses it, too")]
    Failed(String),
    #[error("`{0}` does not answer as credential helpers do")]
    Answer(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

// === impl Helper ===

impl Helper {
    pub(super) fn named(name: &str) -> Result<Helper, HelperError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_word) {
            return Err(HelperError::Name(name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()));
        }
        Ok(Helper(name.to_owned()))
    }

    pub(super) fn program(&self) -> String {
        format!("docker-credential-{}", self.0)
    }

    /// `None`: it has no login for that host.
    pub(super) async fn login(&self, host: &str) -> Result<Option<Login>, HelperError> {
        let program = self.program();
        let child = Command::new(&program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| HelperError::Run(program.clone(), error))?;
        let asked = timeout(PATIENCE, ask(child, host)).await.map_err(|_| HelperError::Late(program.clone()))?;
        let (succeeded, said) = asked.map_err(|error| HelperError::Run(program.clone(), error))?;
        if said.len() as u64 > MAX_ANSWER {
            return Err(HelperError::Answer(program));
        }
        if !succeeded {
            let is_unknown = String::from_utf8_lossy(&said).to_ascii_lowercase().contains(UNKNOWN);
            return if is_unknown { Ok(None) } else { Err(HelperError::Failed(program)) };
        }
        let Ok(Answer { username, secret }) = serde_json::from_slice(&said) else {
            return Err(HelperError::Answer(program));
        };
        if username.is_empty() || secret.is_empty() {
            return Ok(None);
        }
        Ok(Some(if username == TOKEN {
            Login::Token(secret)
        } else {
            Login::Password { user: username, password: secret }
        }))
    }
}

/// Whether it went well, and what it said, as far as anybody looks at it.
async fn ask(mut child: Child, host: &str) -> io::Result<(bool, Vec<u8>)> {
    if let Some(mut input) = child.stdin.take() {
        // One that does not read it may know all the same.
        let _ = input.write_all(host.as_bytes()).await;
    }
    let mut said = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(MAX_ANSWER + 1).read_to_end(&mut said).await?;
    }
    if said.len() as u64 > MAX_ANSWER {
        return Ok((true, said));
    }
    Ok((child.wait().await?.success(), said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words() {
        assert_eq!(Helper::named("osx-keychain_2.0").unwrap().program(), "docker-credential-osx-keychain_2.0");
        for bad in ["", "a/b", "../x", "a b", "a;b", "a\nb", "\u{e9}", &"a".repeat(65)] {
            assert!(matches!(Helper::named(bad), Err(HelperError::Name(_))), "{bad}");
        }
    }
}
