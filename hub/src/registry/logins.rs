//! Logins as `docker login` leaves them: in `config.json`, or with the helpers that are named there.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use super::keychain::{Helper, HelperError};

/// Bytes of the file.
const MAX_FILE: u64 = 1 << 20;

/// By the registry's host.
#[derive(Clone, Debug, Default)]
pub struct Logins {
    by_host: BTreeMap<String, Option<Login>>,
    /// The names of programs that have the logins of hosts, and of the one that has all others.
    helpers: BTreeMap<String, String>,
    store: Option<String>,
    file: String,
}

/// Shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    Password {
        user: String,
        password: String,
    },
    /// Of a server of tokens, for more of them.
    Token(String),
}

/// A login, and who had it.
pub(super) struct Known {
    pub(super) login: Login,
    pub(super) keeper: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
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
            helpers: cred_helpers.into_iter().map(|(name, helper)| (host(&name), helper)).collect(),
            store: creds_store.filter(|store| !store.is_empty()),
            file: file.display().to_string(),
        })
    }

    /// Of the helper that has it, or else of the file.
    pub(super) async fn of(&self, host: &str) -> Result<Option<Known>, HelperError> {
        if let Some(name) = self.helper(host) {
            let helper = Helper::named(name)?;
            if let Some(login) = helper.login(host).await? {
                return Ok(Some(Known { login, keeper: helper.program() }));
            }
        }
        let login = self.by_host.get(host).cloned().flatten();
        Ok(login.map(|login| Known { login, keeper: "auths".to_owned() }))
    }

    fn helper(&self, host: &str) -> Option<&str> {
        // An empty one says that there is none for this host.
        let own = self.helpers.get(host).map(String::as_str);
        own.or(self.store.as_deref()).filter(|name| !name.is_empty())
    }

    /// How somebody comes to have one.
    pub(super) fn hint(&self, host: &str) -> String {
        let file = if self.file.is_empty() { "the file of logins" } else { &self.file };
        let neither = self.helper(host).map(|name| format!(", and neither has `docker-credential-{name}`"));
        let neither = neither.unwrap_or_default();
        if self.by_host.contains_key(host) {
            return format!(
                "`auths` of {file} has neither `auth`, `username` and `password` nor `identitytoken` for it{neither}"
            );
        }
        format!("`auths` of {file} has none for it{neither}")
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
        // Whoever has one was logged in with it last.
        if let Some(token) = self.identitytoken.filter(|token| !token.is_empty()) {
            return Some(Login::Token(token));
        }
        let (user, password) = match self.auth.filter(|auth| !auth.is_empty()) {
            Some(auth) => of_auth(auth)?,
            None => (self.username?, self.password?),
        };
        (!user.is_empty() && !password.is_empty()).then_some(Login::Password { user, password })
    }
}

// === impl Login ===

impl Login {
    /// RFC 7617. `None`: it is a token, and no password.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let Login::Password { user, password } = self else { return None };
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        // Base64 is text.
        let mut value = HeaderValue::try_from(format!("Basic {encoded}")).unwrap_or(HeaderValue::from_static("Basic"));
        value.set_sensitive(true);
        Some(value)
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

    async fn found(logins: &Logins, host: &str) -> Option<Login> {
        logins.of(host).await.unwrap().map(|known| known.login)
    }

    #[tokio::test]
    async fn logins_are_found_by_host() {
        let auth = STANDARD.encode("ann:a:b");
        let text = format!(
            r#"{{"auths":{{"https://Registry.example:5000/v1/":{{"auth":"{auth}"}},"b.example":{{"username":"bob","password":"pw"}},
            "c.example":{{}},"d.example":{{"auth":"!"}},"e.example":{{"auth":"","identitytoken":"t"}}}},"HttpHeaders":{{}}}}"#
        );
        let all = logins(&text).unwrap();
        let basic = found(&all, "registry.example:5000").await.unwrap().basic().unwrap();
        assert_eq!(basic, format!("Basic {auth}"));
        let bob = Login::Password { user: "bob".to_owned(), password: "pw".to_owned() };
        assert_eq!(found(&all, "b.example").await, Some(bob));
        assert_eq!(found(&all, "e.example").await, Some(Login::Token("t".to_owned())));
        for host in ["registry.example", "c.example", "d.example", "example"] {
            assert_eq!(found(&all, host).await, None, "{host}");
        }
        assert!(all.hint("c.example").contains("has neither `auth`"));
        assert!(!format!("{all:?}").contains("pw") && !format!("{all:?}").contains("\"t\""));
        let error = logins(r#"{"auths":{"a":{"auth":"c2VjcmV0"#).unwrap_err().to_string();
        assert!(!error.contains("c2Vj"), "{error}");
        let none = Logins::read(Path::new("/nowhere/config.json")).unwrap();
        assert_eq!(found(&none, "a").await, None);
    }

    #[tokio::test]
    async fn helpers_are_for_their_hosts() {
        let all = logins(
            r#"{"credsStore":"pass","credHelpers":{"https://a.example":"a","b.example":"","c.example":"../c"}}"#,
        );
        let all = all.unwrap();
        assert_eq!(
            (all.helper("a.example"), all.helper("b.example"), all.helper("x")),
            (Some("a"), None, Some("pass"))
        );
        assert!(all.hint("x").ends_with("and neither has `docker-credential-pass`"));
        assert_eq!(found(&all, "b.example").await, None);
        assert!(matches!(all.of("c.example").await, Err(HelperError::Name(_))));
    }
}
