//! Logins as `docker login` leaves them in `config.json`, where it keeps them itself: helpers are programs, and none is run.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Bytes of the file.
const MAX_FILE: u64 = 1 << 20;

/// By the registry's host.
#[derive(Clone, Debug, Default)]
pub struct Logins {
    by_host: BTreeMap<String, Option<Login>>,
    has_helpers: bool,
    file: String,
}

/// Shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    user: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    creds_store: Option<IgnoredAny>,
    #[serde(default)]
    cred_helpers: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

// === impl Logins ===

impl Logins {
    /// A file that is not there has none.
    pub fn read(file: &Path) -> io::Result<Logins> {
        let mut bytes = Vec::new();
        match std::fs::File::open(file) {
            Ok(opened) => opened.take(MAX_FILE + 1).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Logins { file: file.display().to_string(), ..Logins::default() });
            }
            Err(error) => return Err(error),
        };
        if bytes.len() as u64 > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // What the reader says of it may have a part of a password.
        let not_json = |error: serde_json::Error| {
            io::Error::other(format!("it cannot be read, near line {} column {}", error.line(), error.column()))
        };
        let File { auths, creds_store, cred_helpers } = serde_json::from_slice(&bytes).map_err(not_json)?;
        Ok(Logins {
            by_host: auths.into_iter().map(|(name, auth)| (host(&name), auth.login())).collect(),
            has_helpers: creds_store.is_some() || !cred_helpers.is_empty(),
            file: file.display().to_string(),
        })
    }

    pub(super) fn of(&self, host: &str) -> Option<Login> {
        self.by_host.get(host)?.clone()
    }

    /// How somebody comes to have one.
    pub(super) fn hint(&self, host: &str) -> String {
        let file = if self.file.is_empty() { "the file of logins" } else { &self.file };
        match (self.by_host.contains_key(host), self.has_helpers) {
            (true, _) => format!(
                "`auths` of {file} has neither `auth` nor `username` and `password` for it, as when a credential helper has them, and none is run"
            ),
            (false, true) => format!("`auths` of {file} has none for it, and credential helpers are not run"),
            (false, false) => format!("`auths` of {file} has none for it"),
        }
    }
}

/// `https://host/v1/` is how some are kept.
fn host(name: &str) -> String {
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    name.split('/').next().unwrap_or_default().to_ascii_lowercase()
}

// === impl Entry ===

impl Entry {
    fn login(self) -> Option<Login> {
        let of_auth = |auth: String| {
            let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
            let (user, password) = text.split_once(':')?;
            Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
        };
        let (user, password) = match self.auth.filter(|auth| !auth.is_empty()) {
            Some(auth) => of_auth(auth)?,
            None => (self.username?, self.password?),
        };
        (!user.is_empty() && !password.is_empty()).then_some(Login { user, password })
    }
}

// === impl Login ===

impl Login {
    /// RFC 7617.
    pub(super) fn basic(&self) -> HeaderValue {
        let encoded = STANDARD.encode(format!("{}:{}", self.user, self.password));
        // Base64 is text.
        let mut value = HeaderValue::try_from(format!("Basic {encoded}")).unwrap_or(HeaderValue::from_static("Basic"));
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(text: &str) -> io::Result<Logins> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Logins::read(file.path())
    }

    #[test]
    fn logins_are_found_by_host() {
        let auth = STANDARD.encode("ann:a:b");
        let text = format!(
            r#"{{"auths":{{"https://Registry.example:5000/v1/":{{"auth":"{auth}"}},"b.example":{{"username":"bob","password":"pw"}},
            "c.example":{{}},"d.example":{{"auth":"!"}},"e.example":{{"auth":"","identitytoken":"t"}}}},"HttpHeaders":{{}}}}"#
        );
        let found = logins(&text).unwrap();
        assert_eq!(found.of("registry.example:5000").unwrap().basic(), format!("Basic {auth}"));
        assert_eq!(found.of("b.example").unwrap().password, "pw");
        for host in ["registry.example", "c.example", "d.example", "e.example", "example"] {
            assert_eq!(found.of(host), None, "{host}");
        }
        assert!(found.hint("c.example").contains("neither `auth` nor"));
        assert!(logins(r#"{"credsStore":"pass"}"#).unwrap().hint("a").contains("credential helpers are not run"));
        assert!(!format!("{found:?}").contains("pw"));
        let error = logins(r#"{"auths":{"a":{"auth":"c2VjcmV0"#).unwrap_err().to_string();
        assert!(!error.contains("c2Vj"), "{error}");
        assert!(Logins::read(Path::new("/nowhere/config.json")).unwrap().of("a").is_none());
    }
}
