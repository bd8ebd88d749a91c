//! Users with passwords, as `micro-gw.conf` lists them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use microgw_engine::Identity;
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

/// Passwords verified at a time: argon2 takes tens of megabytes and milliseconds each.
const CONCURRENCY: usize = 4;
/// Bytes; a longer password is wrong, unread.
const MAX_PASSWORD_LENGTH: usize = 1024;

/// One user as configured.
#[derive(Clone)]
pub struct UserConfig {
    pub name: String,
    /// A hash: lower-case SHA-1 hex, `@sha256:{hex}`, `@sha512:{hex}`, or argon2 in PHC form.
    pub password: String,
    pub scopes: Vec<String>,
}

/// Verifies passwords, off the request threads.
pub struct Users {
    by_name: BTreeMap<String, User>,
    /// Verified for unknown names, so that they cannot be told from known ones by the time it takes.
    decoy: Verifier,
    permits: Arc<Semaphore>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("the password of user `{0}` is none of SHA-1 hex, `@sha256:{{hex}}`, `@sha512:{{hex}}` and argon2")]
    Password(String),
    #[error("user `{0}` is listed twice")]
    Repeated(String),
    #[error("a user's name is empty or contains `:`")]
    Name,
}

/// Why there is no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    #[error("the password is empty")]
    Empty,
    #[error("the password has more than {MAX_PASSWORD_LENGTH} bytes")]
    TooLong,
    #[error("there is no randomness")]
    NoRandomness,
    #[error("the password cannot be hashed")]
    Failed,
}

/// The argon2 hash of `password`, in PHC form, as [`UserConfig::password`] takes it.
pub fn hash_password(password: &str) -> Result<String, HashError> {
    match password.len() {
        0 => return Err(HashError::Empty),
        length if length > MAX_PASSWORD_LENGTH => return Err(HashError::TooLong),
        _ => {}
    }
    let mut salt = [0; 16];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| HashError::NoRandomness)?;
    let hash: PasswordHash =
        Argon2::default().hash_password_with_salt(password.as_bytes(), &salt).map_err(|_| HashError::Failed)?;
    Ok(hash.to_string())
}

struct User {
    verifier: Verifier,
    identity: Arc<Identity>,
}

/// In the order of their cost.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Verifier {
    Sha1(Vec<u8>),
    Sha256(Vec<u8>),
    Sha512(Vec<u8>),
    Argon2(String),
}

// === impl Users ===

impl Users {
    pub fn new(configured: impl IntoIterator<Item = UserConfig>) -> Result<Users, UserError> {
        let mut users = BTreeMap::new();
        for UserConfig { name, password, scopes } in configured {
            // HTTP Basic cannot say such a name, RFC 7617 section 2.
            if name.is_empty() || name.contains(':') {
                return Err(UserError::Name);
            }
            let verifier = Verifier::parse(&password).ok_or_else(|| UserError::Password(name.clone()))?;
            if matches!(verifier, Verifier::Sha1(_)) {
                tracing::warn!(user = name, "the password is hashed with SHA-1, which is quickly guessed: use argon2");
            }
            let identity = Arc::new(Identity::user(&name, scopes.iter().map(String::as_str)));
            if users.insert(name.clone(), User { verifier, identity }).is_some() {
                return Err(UserError::Repeated(name));
            }
        }
        let decoy = users.values().map(|user| &user.verifier).max().cloned().unwrap_or(Verifier::Sha256(vec![0; 32]));
        Ok(Users { by_name: users, decoy, permits: Arc::new(Semaphore::new(CONCURRENCY)) })
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The user, if the password is right.
    pub async fn verify(&self, name: &str, password: String) -> Option<Arc<Identity>> {
        let user = self.by_name.get(name);
        let verifier = user.map_or(&self.decoy, |user| &user.verifier).clone();
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        // The work goes on when the caller hangs up, and so does its permit.
        let work = move || {
            let verified = verifier.verify(&password);
            drop(permit);
            verified
        };
        let verified = tokio::task::spawn_blocking(work).await.unwrap_or(false);
        user.filter(|_| verified).map(|user| Arc::clone(&user.identity))
    }
}

impl Default for Users {
    /// Nobody.
    fn default() -> Users {
        let (by_name, decoy) = (BTreeMap::new(), Verifier::Sha256(vec![0; 32]));
        Users { by_name, decoy, permits: Arc::new(Semaphore::new(CONCURRENCY)) }
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_name.keys()).finish()
    }
}

impl fmt::Debug for UserConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserConfig").field("name", &self.name).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

// === impl Verifier ===

impl Verifier {
    fn parse(password: &str) -> Option<Verifier> {
        let digest = |hex: &str, length: usize| {
            let hex = hex.strip_prefix('{').map_or(Some(hex), |hex| hex.strip_suffix('}'))?;
            unhex(hex).filter(|digest| digest.len() == length)
        };
        if let Some(hex) = password.strip_prefix("@sha256:") {
            digest(hex, 32).map(Verifier::Sha256)
        } else if let Some(hex) = password.strip_prefix("@sha512:") {
            digest(hex, 64).map(Verifier::Sha512)
        } else if password.starts_with("$argon2") {
            PasswordHash::new(password).ok()?.hash?;
            Some(Verifier::Argon2(password.to_owned()))
        } else {
            digest(password, 20).map(Verifier::Sha1)
        }
    }

    fn verify(&self, password: &str) -> bool {
        let password = password.as_bytes();
        if password.len() > MAX_PASSWORD_LENGTH {
            return false;
        }
        match self {
            Verifier::Sha1(digest) => Sha1::digest(password).ct_eq(digest).into(),
            Verifier::Sha256(digest) => Sha256::digest(password).ct_eq(digest).into(),
            Verifier::Sha512(digest) => Sha512::digest(password).ct_eq(digest).into(),
            Verifier::Argon2(hash) => {
                PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
            }
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // `admin`, as in the configuration that 3.2 shipped.
    const SHA1: &str = "d033e22ae348aeb5660fc2140aec35850c4da997";

    fn user(name: &str, password: impl Into<String>) -> UserConfig {
        UserConfig { name: name.into(), password: password.into(), scopes: vec!["s".into()] }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect()
    }

    #[tokio::test]
    async fn every_kind_of_hash_verifies() {
        let argon2 = hash_password("secret").unwrap();
        let users = Users::new([
            user("sha1", SHA1),
            user("sha256", format!("@sha256:{{{}}}", hex(&Sha256::digest("secret")))),
            user("sha512", format!("@sha512:{}", hex(&Sha512::digest("secret")))),
            user("argon2", argon2),
        ])
        .unwrap();
        for (name, password) in [("sha1", "admin"), ("sha256", "secret"), ("sha512", "secret"), ("argon2", "secret")] {
            let identity = users.verify(name, password.into()).await.unwrap();
            assert_eq!(identity.subject(), Some(name));
            assert!(users.verify(name, "wrong".into()).await.is_none(), "{name}");
            assert!(users.verify(name, String::new()).await.is_none(), "{name}");
        }
        assert!(users.verify("nobody", "secret".into()).await.is_none(), "the decoy lets nobody in");
        assert!(matches!(users.decoy, Verifier::Argon2(_)), "unknown names cost the most");
        let shown = format!("{users:?}");
        assert_eq!(shown, r#"["argon2", "sha1", "sha256", "sha512"]"#);
    }

    #[test]
    fn hashes_are_salted_and_of_what_can_be_verified() {
        assert_ne!(hash_password("secret"), hash_password("secret"));
        assert_eq!(hash_password(""), Err(HashError::Empty));
        assert_eq!(hash_password(&"x".repeat(MAX_PASSWORD_LENGTH + 1)), Err(HashError::TooLong));
        assert!(hash_password(&"x".repeat(MAX_PASSWORD_LENGTH)).is_ok());
    }

    #[test]
    fn what_is_no_hash_is_an_error() {
        for password in [
            "",
            "admin",
            "@sha256:{abc}",
            "@sha256:{zz}",
            "$argon2id$v=19$broken",
            &SHA1[1..],
            "$argon2id$v=19$m=1,t=1,p=1",
        ] {
            assert_eq!(Users::new([user("u", password)]).err(), Some(UserError::Password("u".into())), "{password}");
        }
        assert_eq!(Users::new([user("a:b", SHA1)]).err(), Some(UserError::Name));
        assert_eq!(Users::new([user("a", SHA1), user("a", SHA1)]).err(), Some(UserError::Repeated("a".into())));
    }
}
