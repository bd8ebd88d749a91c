//! HTTP Basic, with repeated failures from one address slowed down: for operations, the API-key issuer and the admin
//! interface alike.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use governor::clock::Clock as _;
use governor::{DefaultDirectRateLimiter, Quota};
use microgw_engine::client_address::network;
use microgw_engine::{Answer, CredentialDigest, Identity, TokenError};
use microgw_faults::Fault;
use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fault::HttpFault;
use crate::flights::Flights;
use crate::metrics::{LoginOutcome, Metrics};
use crate::users::{Users, Verification};

/// Addresses that are remembered: an attacker with more of them gains little by having one forgotten.
const ADDRESSES: usize = 4096;
/// Attempts that may wait for others from their own address.
const WAITING: usize = 256;
const REALM: HeaderValue = HeaderValue::from_static("Basic realm=\"micro-gw\", charset=\"UTF-8\"");

/// The way in for people: users, and the memory of who failed.
pub struct Login {
    users: Arc<Users>,
    failures: Cache<Source, Arc<Failures>>,
    quota: Quota,
    limit: u32,
    waiting: Semaphore,
    /// One client that asks for many things at a time brings the same credentials along each time.
    attempts: Flights<(Source, CredentialDigest), Attempted>,
    verifications: Flights<CredentialDigest, Verification>,
    metrics: Arc<Metrics>,
}

/// Failures are counted by address; an IPv6 host has the whole /64 to itself. All callers without one share a count.
type Source = Option<IpAddr>;

struct Failures {
    budget: DefaultDirectRateLimiter,
    blocked_until: Mutex<Option<Instant>>,
    /// For attempts whose password is being verified: else a thousand at once would all pass before the first has failed.
    running: Arc<Semaphore>,
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub enum Attempted {
    Accepted(Arc<Identity>),
    Refused,
    /// Too many failures before; the password was not looked at.
    Slowed(Duration),
    /// Too many others are being looked at.
    Busy,
}

/// One attempt that was let through to the password check.
struct Attempt {
    failures: Arc<Failures>,
    _running: OwnedSemaphorePermit,
}

impl Login {
    /// `limit` failures per minute and address; then one more for every `60 / limit` seconds.
    pub fn new(users: Arc<Users>, limit: NonZeroU32, metrics: Arc<Metrics>) -> Login {
        // The failure that uses up the budget must itself be the one that blocks.
        let burst = NonZeroU32::new(limit.get() - 1).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(limit).allow_burst(burst);
        Login {
            users,
            failures: Cache::new(ADDRESSES),
            quota,
            limit: limit.get(),
            waiting: Semaphore::new(WAITING),
            attempts: Flights::default(),
            verifications: Flights::default(),
            metrics,
        }
    }

    /// Who calls one of our own interfaces, by `Authorization: Basic`.
    pub async fn authenticate(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<Arc<Identity>, HttpFault> {
        let Some((name, password)) = credentials(headers)? else {
            return Err(unauthorized(Fault::MissingCredentials));
        };
        match self.attempt(source(address), self.users.verify(&name, &password)).await {
            Attempted::Accepted(identity) => Ok(identity),
            Attempted::Refused => Err(unauthorized(Fault::LoginFailed)),
            Attempted::Slowed(wait) => {
                let seconds = HeaderValue::from(wait.as_secs() + 1);
                Err(HttpFault::new(Fault::TooManyLogins).with(header::RETRY_AFTER, seconds))
            }
            Attempted::Busy => {
                let seconds = HeaderValue::from_static("1");
                Err(HttpFault::new(Fault::CannotVerify).with(header::RETRY_AFTER, seconds))
            }
        }
    }

    /// Who calls an operation, with credentials that nothing is known of. `digest` names them.
    pub async fn verify(
        &self,
        digest: CredentialDigest,
        name: &str,
        password: &str,
        address: Option<IpAddr>,
    ) -> Answer {
        let source = source(address);
        let verification = self.verifications.join(&digest, self.users.verify(name, password));
        match self.attempts.join(&(source, digest), self.attempt(source, verification)).await {
            Attempted::Accepted(identity) => Answer::Identity(identity),
            Attempted::Refused => Answer::Refused(TokenError::Password),
            Attempted::Slowed(wait) => Answer::Slowed { seconds: wait.as_secs() + 1 },
            Attempted::Busy => Answer::Unavailable,
        }
    }

    async fn attempt(&self, source: Source, verification: impl Future<Output = Verification>) -> Attempted {
        let attempt = match self.admit(source).await {
            Ok(attempt) => attempt,
            Err(refusal) => {
                let slowed = matches!(refusal, Attempted::Slowed(_));
                self.metrics.login(if slowed { LoginOutcome::Slowed } else { LoginOutcome::Busy });
                return refusal;
            }
        };
        match verification.await {
            Verification::Right(identity) => {
                self.metrics.login(LoginOutcome::Accepted);
                Attempted::Accepted(identity)
            }
            Verification::Wrong => {
                attempt.failed();
                self.metrics.login(LoginOutcome::Refused);
                // Not the name: people type their password there.
                tracing::warn!(address = source.map(tracing::field::display), "refused a login");
                Attempted::Refused
            }
            Verification::Busy => {
                self.metrics.login(LoginOutcome::Busy);
                Attempted::Busy
            }
        }
    }

    /// Lets few at a time through: the others wait, so that many good logins of one address all succeed, and of many bad
    /// ones few are looked at before their address is blocked.
    async fn admit(&self, source: Source) -> Result<Attempt, Attempted> {
        let new = || {
            let permits = usize::try_from(self.limit).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
            Ok::<_, std::convert::Infallible>(Arc::new(Failures {
                budget: DefaultDirectRateLimiter::direct(self.quota),
                blocked_until: Mutex::new(None),
                running: Arc::new(Semaphore::new(permits)),
            }))
        };
        let Ok(failures) = self.failures.get_or_insert_with(&source, new);
        failures.check()?;
        let running = if let Ok(running) = Arc::clone(&failures.running).try_acquire_owned() {
            running
        } else {
            let _waiting = self.waiting.try_acquire().map_err(|_| Attempted::Busy)?;
            let running = Arc::clone(&failures.running).acquire_owned().await.map_err(|_| Attempted::Busy)?;
            failures.check()?;
            running
        };
        Ok(Attempt { failures, _running: running })
    }
}

// === impl Failures ===

impl Failures {
    fn check(&self) -> Result<(), Attempted> {
        let blocked_until = *self.blocked_until.lock().unwrap_or_else(PoisonError::into_inner);
        match blocked_until.and_then(|until| until.checked_duration_since(Instant::now())) {
            Some(wait) => Err(Attempted::Slowed(wait)),
            None => Ok(()),
        }
    }
}

impl Attempt {
    fn failed(&self) {
        if let Err(until) = self.failures.budget.check() {
            let wait = until.wait_time_from(governor::clock::DefaultClock::default().now());
            *self.failures.blocked_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + wait);
        }
    }
}

fn source(address: Option<IpAddr>) -> Source {
    address.map(network)
}

/// RFC 7617. `None`: there are none.
fn credentials(headers: &HeaderMap) -> Result<Option<(String, String)>, HttpFault> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let malformed = || unauthorized(Fault::MalformedLogin);
    if values.next().is_some() {
        return Err(malformed());
    }
    let encoded = match value.to_str().ok().and_then(|value| value.split_once(' ')) {
        Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("basic") => encoded.trim(),
        _ => return Err(unauthorized(Fault::InvalidScheme)),
    };
    let decoded =
        STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(malformed)?;
    let (name, password) = decoded.split_once(':').ok_or_else(malformed)?;
    Ok(Some((name.to_owned(), password.to_owned())))
}

fn unauthorized(fault: Fault) -> HttpFault {
    HttpFault::new(fault).with(header::WWW_AUTHENTICATE, REALM)
}
