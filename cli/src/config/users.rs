//! Who may log in when nobody is configured.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use aws_lc_rs::digest;

/// A user of `[b7a.users]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// A hash, in one of the forms that `b7a.users.*.password` takes.
    pub password: Secret,
    pub scopes: Vec<String>,
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The users, and what must be told about them.
#[derive(Debug, PartialEq, Eq)]
pub struct Users {
    pub users: Vec<User>,
    /// Password of `admin`, generated now. To be shown once; it is stored nowhere.
    pub generated: Option<Secret>,
}

const ADMIN: &str = "admin";

/// The users that are configured. Without any there is one, `admin`: with the password `admin`, which everybody knows,
/// while nobody but this host can reach `listening`, and with one from `generate` otherwise.
pub fn or_admin(configured: &[User], listening: &[IpAddr], generate: impl FnOnce() -> String) -> Users {
    if !configured.is_empty() {
        return Users { users: configured.to_vec(), generated: None };
    }
    let generated = (!listening.iter().all(IpAddr::is_loopback)).then(generate);
    let password = generated.as_deref().unwrap_or(ADMIN);
    let admin = User { name: ADMIN.to_owned(), password: Secret::new(hashed(password)), scopes: Vec::new() };
    Users { users: vec![admin], generated: generated.map(Secret::new) }
}

/// Unsalted is enough for what is random, or known to all.
fn hashed(password: &str) -> String {
    format!("@sha256:{{{}}}", hex(&digest::SHA256, password))
}

/// Whether it is the hash of a password that the old product ships with or documents.
pub fn is_well_known(hash: &str) -> bool {
    [ADMIN, "password"].into_iter().any(|password| {
        let forms = [
            hex(&digest::SHA1_FOR_LEGACY_USE_ONLY, password),
            hashed(password),
            format!("@sha512:{{{}}}", hex(&digest::SHA512, password)),
        ];
        forms.iter().any(|form| form.eq_ignore_ascii_case(hash))
    })
}

fn hex(algorithm: &'static digest::Algorithm, text: &str) -> String {
    let mut hex = String::new();
    for byte in digest::digest(algorithm, text.as_bytes()).as_ref() {
        // Writing to a `String` does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// What stands between a hash and the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKind {
    /// Nothing but the password's length; the algorithm's name.
    Fast(&'static str),
    /// Work and a salt.
    Slow,
}

/// `None`: `password` has none of the forms of a hash.
pub fn hash_kind(password: &str) -> Option<HashKind> {
    let hex = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let braced = |prefix| password.strip_prefix(prefix)?.strip_prefix('{')?.strip_suffix('}');
    if hex(password, 40) && !password.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Some(HashKind::Fast("SHA-1"))
    } else if braced("@sha256:").is_some_and(|digest| hex(digest, 64)) {
        Some(HashKind::Fast("SHA-256"))
    } else if braced("@sha512:").is_some_and(|digest| hex(digest, 128)) {
        Some(HashKind::Fast("SHA-512"))
    } else {
        ["$argon2", "$2a$", "$2b$", "$2y$"].iter().any(|form| password.starts_with(form)).then_some(HashKind::Slow)
    }
}

// === impl Secret ===

impl Secret {
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
