//! Issuers' keys: fetched in the background, kept while their source is away, withdrawn when it no longer has them.
//!
//! Each source has one task that fetches, so there is never more than one fetch at a time; requests only read what it
//! published last, or wait for it.

mod discovery;
mod fetch;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use microgw_engine::{Answer, KeySet, KeySource};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;

use crate::metrics::Metrics;
use crate::transport::{ClientError, Clients, Redirects, Transport};
pub use discovery::{Discovery, is_loopback};
pub use fetch::FetchError;
use fetch::Fetcher;

/// Between attempts while an issuer's keys were never seen.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Where the keys of one issuer come from.
#[derive(Clone, Debug)]
pub struct IssuerKeys {
    pub source: KeySource,
    /// Fetched again and again. `None`: only `pinned`.
    pub location: Option<KeyLocation>,
    /// Known from the start and never withdrawn.
    pub pinned: KeySet,
}

/// A JWK set, or PEM certificates and public keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyLocation {
    /// `https:`, or `http:` where the caller allows it.
    Url(String),
    File(PathBuf),
    /// Where the issuer says.
    Discovered(Discovery),
}

/// When keys are fetched.
#[derive(Clone, Copy, Debug)]
pub struct KeyTiming {
    /// Between fetches; up to a tenth is added, so that gateways started together do not ask together.
    pub refresh: Duration,
    /// Between fetches that tokens with an unknown `kid` cause, and after a failed one.
    pub cooldown: Duration,
    /// For one fetch.
    pub timeout: Duration,
}

/// The keys of every issuer.
pub struct KeyStore {
    sources: HashMap<KeySource, Source>,
    clients: Clients,
    timing: KeyTiming,
    /// Ends with the store.
    _tasks: JoinSet<()>,
}

struct Source {
    published: watch::Receiver<Published>,
    wanted: Arc<Notify>,
    /// `None`: its keys are fetched.
    pinned: Option<watch::Sender<Published>>,
}

#[derive(Clone, Default)]
struct Published {
    /// `None`: never had any.
    keys: Option<Arc<KeySet>>,
    /// Fetches that ended.
    attempts: u64,
    /// When the last one ended. `None`: nothing is ever fetched, or nothing was yet.
    last: Option<Instant>,
    failed: bool,
}

impl Default for KeyTiming {
    fn default() -> KeyTiming {
        KeyTiming {
            refresh: Duration::from_mins(5),
            cooldown: Duration::from_secs(30),
            timeout: Duration::from_secs(2),
        }
    }
}

impl KeyStore {
    /// Begins to fetch at once, on the current runtime. A process-wide rustls provider must be installed.
    pub fn start(
        issuers: impl IntoIterator<Item = IssuerKeys>,
        timing: KeyTiming,
        transport: &Transport,
        metrics: &Arc<Metrics>,
    ) -> Result<KeyStore, FetchError> {
        let clients = Clients::new(transport, Redirects::Followed, timing.timeout)?;
        let (mut sources, mut tasks) = (HashMap::new(), JoinSet::new());
        for issuer in issuers {
            let wanted = Arc::new(Notify::new());
            let (sender, published) = watch::channel(Published::default());
            let pinned = match issuer.location {
                None => {
                    sender.send_modify(|published| published.keys = Some(Arc::new(issuer.pinned)));
                    Some(sender)
                }
                Some(location) => {
                    let task = Task {
                        name: match &issuer.source {
                            KeySource::Issuer(name) => Arc::clone(name),
                            KeySource::ApiKeys => "API keys".into(),
                        },
                        fetcher: Fetcher::new(location, timing.timeout, &clients)?,
                        pinned: issuer.pinned,
                        timing,
                        metrics: Arc::clone(metrics),
                        wanted: Arc::clone(&wanted),
                        published: sender,
                    };
                    tasks.spawn(task.run());
                    None
                }
            };
            sources.insert(issuer.source, Source { published, wanted, pinned });
        }
        Ok(KeyStore { sources, clients, timing, _tasks: tasks })
    }

    /// Fetches over `transport` from now on.
    pub fn reach_over(&self, transport: &Transport) -> Result<(), ClientError> {
        self.clients.replace(transport)
    }

    /// Other keys for a source whose keys are known and not fetched. Those that it no longer has are withdrawn, and with
    /// them what they verified.
    pub fn replace(&self, source: &KeySource, keys: KeySet) {
        let Some(pinned) = self.sources.get(source).and_then(|source| source.pinned.as_ref()) else { return };
        pinned.send_modify(|published| {
            let keys = match &published.keys {
                Some(old) => keys.succeed(old),
                None => keys,
            };
            published.keys = Some(Arc::new(keys));
        });
    }

    /// The keys as they are known; at once, unless none were ever. The caller bounds the time.
    pub async fn keys(&self, source: &KeySource) -> Answer {
        match self.sources.get(source) {
            Some(source) => source.keys().await,
            None => Answer::Unavailable,
        }
    }

    /// The keys, fetched again unless that happened a moment ago. The caller bounds the time.
    pub async fn fresh_keys(&self, source: &KeySource) -> Answer {
        match self.sources.get(source) {
            Some(source) => source.fresh_keys(self.timing.cooldown).await,
            None => Answer::Unavailable,
        }
    }
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sources.keys()).finish()
    }
}

// === impl Source ===

impl Source {
    /// The keys as they are known. Waits for the first fetch only.
    async fn keys(&self) -> Answer {
        let mut published = self.published.clone();
        match published.wait_for(|published| published.keys.is_some() || published.attempts > 0).await {
            Ok(published) => published.keys.clone().map_or(Answer::Unavailable, Answer::Keys),
            Err(_) => self.published.borrow().keys.clone().map_or(Answer::Unavailable, Answer::Keys),
        }
    }

    /// Fetches again, unless that happened a moment ago. While the source is away nobody can tell whether it has the key:
    /// that is no answer.
    async fn fresh_keys(&self, cooldown: Duration) -> Answer {
        let mut published = self.published.clone();
        let (attempts, last) = {
            let published = published.borrow();
            (published.attempts, published.last)
        };
        if last.is_some_and(|last| last.elapsed() >= cooldown) {
            self.wanted.notify_one();
            if published.wait_for(|published| published.attempts > attempts).await.is_err() {
                return Answer::Unavailable;
            }
        }
        let published = published.borrow();
        match &published.keys {
            Some(keys) if !published.failed => Answer::Keys(Arc::clone(keys)),
            _ => Answer::Unavailable,
        }
    }
}

/// What fetches for one source.
struct Task {
    name: Arc<str>,
    fetcher: Fetcher,
    pinned: KeySet,
    timing: KeyTiming,
    metrics: Arc<Metrics>,
    wanted: Arc<Notify>,
    published: watch::Sender<Published>,
}

impl Task {
    async fn run(self) {
        loop {
            let span = tracing::info_span!("fetch keys", issuer = &*self.name, outcome = tracing::field::Empty);
            let fetched = self.fetcher.fetch().instrument(span.clone()).await;
            span.record("outcome", if fetched.is_ok() { "ok" } else { "error" });
            let failed = match fetched {
                Ok(keys) => {
                    self.replace(keys);
                    false
                }
                Err(error) => {
                    // The old keys stay: an issuer that is away has not withdrawn anything.
                    tracing::warn!(issuer = %self.name, %error, "could not fetch keys");
                    self.published.send_modify(|published| {
                        published.attempts += 1;
                        published.last = Some(Instant::now());
                        published.failed = true;
                    });
                    true
                }
            };
            self.metrics.key_fetch(&self.name, !failed);
            drop(span);
            self.wait(Instant::now() + jitter(self.pause(failed))).await;
        }
    }

    fn pause(&self, failed: bool) -> Duration {
        let KeyTiming { refresh, cooldown, .. } = self.timing;
        match failed {
            false => refresh,
            // Requests are refused for want of keys.
            true if self.published.borrow().keys.is_none() => FIRST_RETRY.min(refresh),
            true => cooldown.max(FIRST_RETRY).min(refresh),
        }
    }

    fn replace(&self, fetched: KeySet) {
        if fetched.skipped() > 0 {
            tracing::warn!(issuer = %self.name, skipped = fetched.skipped(), "the key set has keys that cannot be used");
        }
        let keys = KeySet::join([fetched, self.pinned.clone()]);
        self.published.send_modify(|published| {
            let keys = match &published.keys {
                Some(old) => keys.succeed(old),
                None => keys,
            };
            *published = Published {
                keys: Some(Arc::new(keys)),
                attempts: published.attempts + 1,
                last: Some(Instant::now()),
                failed: false,
            };
        });
    }

    /// Until it is time, or a request wants fresh keys and the last ones are old enough.
    async fn wait(&self, until: Instant) {
        loop {
            tokio::select! {
                () = sleep_until(until) => return,
                () = self.wanted.notified() => {
                    let last = self.published.borrow().last;
                    if last.is_none_or(|last| last.elapsed() >= self.timing.cooldown) {
                        return;
                    }
                }
            }
        }
    }
}

/// Up to a tenth more.
fn jitter(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness there is none; nothing depends on it.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    pause + pause.mul_f64(f64::from(byte[0]) / 2560.0)
}
