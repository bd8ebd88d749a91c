//! Users with passwords, as `micro-gw.conf` lists them.

mod verifier;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher as _};
use microgw_engine::Identity;
use tokio::sync::Semaphore;

use verifier::{Cost, Verifier};

/// Passwords verified at a time, at most: argon2 takes tens of megabytes and milliseconds each, and decisions need the
/// processor, too.
const CONCURRENCY: usize = 4;
/// Those that may wait for their turn; a decision could not wait for more.
const QUEUE: usize = 64;
/// Bytes; a longer password is wrong, unread.
const MAX_PASSWORD_LENGTH: usize = 1024;
/// Each login takes as long as one hash of every cost that some user has.
const MAX_COSTS: usize = 4;

/// One user as configured.
#[derive(Clone)]
pub struct UserConfig {
    pub name: String,
    /// A hash: argon2 in PHC form, bcrypt, or of the old product's lower-case SHA-1 hex, `@sha256:{hex}`, `@sha512:{hex}`.
    pub password: String,
    pub scopes: Vec<String>,
}

/// Verifies passwords, off the request threads.
pub struct Users {
    by_name: BTreeMap<String, User>,
    /// One hash of each cost that is not negligible. Every login, of unknown users too, pays for all of them: names cannot
    /// be told by the time it takes.
    decoys: Arc<BTreeMap<Cost, Verifier>>,
    /// Those that are worked on.
    permits: Arc<Semaphore>,
    /// Those and the ones that wait.
    places: Arc<Semaphore>,
}

/// What becomes of a name and a password.
#[derive(Clone, Debug)]
pub enum Verification {
    Right(Arc<Identity>),
    Wrong,
    /// Too many wait already.
    Busy,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error(
        "the password of user `{0}` is none of argon2, bcrypt, SHA-1 hex, `@sha256:{{hex}}` and `@sha512:{{hex}}`, or takes too \
         long to verify"
    )]
    Password(String),
    #[error("user `{0}` is listed twice")]
    Repeated(String),
    #[error("a user's name is empty or contains `:`")]
    Name,
    #[error(
        "users have hashes of {0} different costs: every login takes as long as all of them, so {MAX_COSTS} is the most"
    )]
    Costs(usize),
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
    verifier: Arc<Verifier>,
    cost: Cost,
    identity: Arc<Identity>,
}

// === impl Users ===

impl Users {
    pub fn new(configured: impl IntoIterator<Item = UserConfig>) -> Result<Users, UserError> {
        let mut users = BTreeMap::new();
        let mut decoys = BTreeMap::new();
        for UserConfig { name, password, scopes } in configured {
            // HTTP Basic cannot say such a name, RFC 7617 section 2.
            if name.is_empty() || name.contains(':') {
                return Err(UserError::Name);
            }
            let verifier = Verifier::parse(&password).and_then(|verifier| Some((verifier.cost()?, verifier)));
            let (cost, verifier) = verifier.ok_or_else(|| UserError::Password(name.clone()))?;
            if cost != Cost::Nothing {
                decoys.entry(cost).or_insert_with(|| verifier.clone());
            }
            let identity = Arc::new(Identity::user(&name, scopes.iter().map(String::as_str)));
            if users.insert(name.clone(), User { verifier: Arc::new(verifier), cost, identity }).is_some() {
                return Err(UserError::Repeated(name));
            }
        }
        if decoys.len() > MAX_COSTS {
            return Err(UserError::Costs(decoys.len()));
        }
        // Of two processors one is left to those who decide.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let permits = (processors / 2).clamp(1, CONCURRENCY);
        Ok(Users {
            by_name: users,
            decoys: Arc::new(decoys),
            permits: Arc::new(Semaphore::new(permits)),
            places: Arc::new(Semaphore::new(permits + QUEUE)),
        })
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The user, if the password is right.
    pub async fn verify(&self, name: &str, password: &str) -> Verification {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return Verification::Busy };
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return Verification::Busy };
        let user = self.by_name.get(name);
        let own = user.map(|user| (user.cost, Arc::clone(&user.verifier)));
        let (decoys, password) = (Arc::clone(&self.decoys), password.to_owned());
        // The work goes on when the caller hangs up, and so do its permit and its place.
        let work = move || {
            let verified = verify(own.as_ref(), &decoys, &password);
            drop((permit, place));
            verified
        };
        let verified = tokio::task::spawn_blocking(work).await.unwrap_or(false);
        match user.filter(|_| verified) {
            Some(user) => Verification::Right(Arc::clone(&user.identity)),
            None => Verification::Wrong,
        }
    }
}

/// Whether the password is right, in a time that depends on nothing.
fn verify(own: Option<&(Cost, Arc<Verifier>)>, decoys: &BTreeMap<Cost, Verifier>, password: &str) -> bool {
    if password.len() > MAX_PASSWORD_LENGTH {
        return false;
    }
    let cost = own.map(|(cost, _)| *cost);
    for decoy in decoys.iter().filter(|(other, _)| Some(**other) != cost).map(|(_, decoy)| decoy) {
        // Whatever it finds. The call must not be seen to be needless.
        std::hint::black_box(decoy.verify(password));
    }
    own.is_some_and(|(_, verifier)| verifier.verify(password))
}

impl Default for Users {
    /// Nobody.
    fn default() -> Users {
        let (permits, places) = (Semaphore::new(1), Semaphore::new(QUEUE));
        Users { by_name: BTreeMap::new(), decoys: Arc::default(), permits: Arc::new(permits), places: Arc::new(places) }
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

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256, Sha512};

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
            user("bcrypt", bcrypt::hash("secret", 4).unwrap()),
        ])
        .unwrap();
        for (name, password) in
            [("sha1", "admin"), ("sha256", "secret"), ("sha512", "secret"), ("argon2", "secret"), ("bcrypt", "secret")]
        {
            let right = users.verify(name, password).await;
            assert!(matches!(right, Verification::Right(user) if user.subject() == Some(name)), "{name}");
            for wrong in ["wrong", "", &"x".repeat(MAX_PASSWORD_LENGTH + 1)] {
                assert!(matches!(users.verify(name, wrong).await, Verification::Wrong), "{name}");
            }
        }
        assert!(matches!(users.verify("nobody", "secret").await, Verification::Wrong), "a decoy lets nobody in");
        let argon2 = Cost::Argon2 { memory: 19 * 1024, iterations: 2, lanes: 1 };
        assert_eq!(users.decoys.keys().copied().collect::<Vec<_>>(), [Cost::Bcrypt(4), argon2]);
        let shown = format!("{users:?}");
        assert_eq!(shown, r#"["argon2", "bcrypt", "sha1", "sha256", "sha512"]"#);
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
            "$argon2id$v=19$m=1048576,t=2,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA",
            "$argon2id$v=19$m=19456,t=99,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA",
            "$2b$31$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzABCDEFGHI",
            "$2b$10$short",
            "$2x$10$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzABCDE",
            "$2b$4$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzABCDEFG",
        ] {
            assert_eq!(Users::new([user("u", password)]).err(), Some(UserError::Password("u".into())), "{password}");
        }
        assert_eq!(Users::new([user("a:b", SHA1)]).err(), Some(UserError::Name));
        assert_eq!(Users::new([user("a", SHA1), user("a", SHA1)]).err(), Some(UserError::Repeated("a".into())));
    }

    #[tokio::test]
    async fn a_long_password_is_not_what_bcrypt_makes_of_it() {
        let (short, long) = ("x".repeat(72), "x".repeat(73));
        let users = Users::new([user("u", bcrypt::hash(&short, 4).unwrap())]).unwrap();
        assert!(matches!(users.verify("u", &short).await, Verification::Right(_)));
        assert!(matches!(users.verify("u", &long).await, Verification::Wrong));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_does_not_fit_into_the_queue_is_told_at_once() {
        let users = Users::new([user("u", SHA1)]).unwrap();
        let held =
            Arc::clone(&users.places).acquire_many_owned(u32::try_from(users.places.available_permits()).unwrap());
        let held = held.await.unwrap();
        assert!(matches!(users.verify("u", "admin").await, Verification::Busy));
        drop(held);
        assert!(matches!(users.verify("u", "admin").await, Verification::Right(_)));
    }

    #[test]
    fn costs_add_up_and_are_few() {
        let hashes =
            |costs: std::ops::Range<u32>| costs.map(|cost| user(&cost.to_string(), bcrypt::hash("x", cost).unwrap()));
        assert_eq!(Users::new(hashes(4..9)).err(), Some(UserError::Costs(5)));
        assert_eq!(Users::new(hashes(4..8)).unwrap().decoys.len(), 4);
    }
}
