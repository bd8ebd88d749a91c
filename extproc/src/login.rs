//! HTTP Basic, with repeated failures from one address slowed down.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use governor::clock::Clock as _;
use governor::{DefaultDirectRateLimiter, Quota};
use microgw_engine::Identity;
use microgw_faults::Fault;
use quick_cache::sync::Cache;

use crate::fault::HttpFault;
use crate::metrics::{LoginOutcome, Metrics};
use crate::users::Users;

/// Addresses that are remembered: an attacker with more of them gains little by having one forgotten.
const ADDRESSES: usize = 4096;
const REALM: HeaderValue = HeaderValue::from_static("Basic realm=\"micro-gw\", charset=\"UTF-8\"");

/// The way in for people: users, and the memory of who failed.
pub struct Login {
    users: Arc<Users>,
    failures: Cache<Source, Arc<Failures>>,
    quota: Quota,
    limit: u32,
    metrics: Arc<Metrics>,
}

/// Failures are counted by address; an IPv6 host has the whole /64 to itself. All callers without one share a count.
type Source = Option<IpAddr>;

struct Failures {
    budget: DefaultDirectRateLimiter,
    blocked_until: Mutex<Option<Instant>>,
    /// Attempts whose password is being verified: else a thousand at once would all pass before the first has failed.
    running: AtomicU32,
}

/// One attempt that was let through to the password check.
struct Attempt(Arc<Failures>);

impl Login {
    /// `limit` failures per minute and address; then one more for every `60 / limit` seconds.
    pub fn new(users: Arc<Users>, limit: NonZeroU32, metrics: Arc<Metrics>) -> Login {
        // The failure that uses up the budget must itself be the one that blocks.
        let burst = NonZeroU32::new(limit.get() - 1).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(limit).allow_burst(burst);
        Login { users, failures: Cache::new(ADDRESSES), quota, limit: limit.get(), metrics }
    }

    /// Who calls, by `Authorization: Basic`.
    pub async fn authenticate(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<Arc<Identity>, HttpFault> {
        let Some((name, password)) = credentials(headers)? else {
            return Err(unauthorized(Fault::MissingCredentials));
        };
        let attempt = self.admit(address).map_err(|wait| {
            self.metrics.login(LoginOutcome::Slowed);
            HttpFault::new(Fault::TooManyLogins).with(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1))
        })?;
        if let Some(identity) = self.users.verify(&name, password).await {
            self.metrics.login(LoginOutcome::Accepted);
            return Ok(identity);
        }
        attempt.failed();
        self.metrics.login(LoginOutcome::Refused);
        // Not the name: people type their password there.
        tracing::warn!(address = address.map(tracing::field::display), "refused a login");
        Err(unauthorized(Fault::LoginFailed))
    }

    fn admit(&self, address: Option<IpAddr>) -> Result<Attempt, Duration> {
        let source = address.map(|address| match address {
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(address) => IpAddr::V4(address),
                None => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
            },
            IpAddr::V4(_) => address,
        });
        let new = || {
            Ok::<_, std::convert::Infallible>(Arc::new(Failures {
                budget: DefaultDirectRateLimiter::direct(self.quota),
                blocked_until: Mutex::new(None),
                running: AtomicU32::new(0),
            }))
        };
        let Ok(failures) = self.failures.get_or_insert_with(&source, new);
        let blocked_until = *failures.blocked_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = blocked_until.and_then(|until| until.checked_duration_since(Instant::now())) {
            return Err(wait);
        }
        if failures.running.fetch_add(1, Ordering::AcqRel) >= self.limit {
            failures.running.fetch_sub(1, Ordering::AcqRel);
            return Err(Duration::from_secs(1));
        }
        Ok(Attempt(failures))
    }
}

impl Attempt {
    fn failed(&self) {
        if let Err(until) = self.0.budget.check() {
            let wait = until.wait_time_from(governor::clock::DefaultClock::default().now());
            *self.0.blocked_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + wait);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
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
