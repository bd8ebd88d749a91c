//! Signs what backends are told of callers, away from the request threads: one JWT for each caller and API, for as long as
//! it says the same.

mod cache;
mod key;
mod publish;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use microgw_engine::backend_jwt::{Assertion, Order};
use microgw_engine::{Answer, KeySet};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::clock::now;
use crate::transport::{ClientError, Transport};
use crate::user_claims::ClaimRetriever;
pub use cache::AssertionCache;
pub use key::{BackendKey, BackendKeyError, SigningAlgorithm};
pub use publish::{KEYS_PATH, publish};

/// Orders that may wait for a signature, those that are being signed included. One with RSA takes a millisecond.
const MAX_WAITING: usize = 1024;
/// Backends may be slow to see that a key signs no more.
const GRACE: Duration = Duration::from_secs(60);

/// Makes backend JWTs.
pub struct BackendJwts {
    key: ArcSwap<BackendKey>,
    published: Mutex<Published>,
    /// The key set that backends verify with, as JSON.
    key_set: ArcSwap<String>,
    cache: AssertionCache,
    /// `None`: nobody is asked about users.
    retriever: Option<ClaimRetriever>,
    /// What is being signed, and who waits for it.
    flights: Mutex<HashMap<Order, Flight>>,
    /// Signatures that are made at a time.
    permits: Arc<Semaphore>,
    runtime: Handle,
}

type Flight = watch::Receiver<Option<Outcome>>;
/// `None`: it could not be signed.
type Outcome = Option<Assertion>;

/// What is in the key set beside the key that signs.
struct Published {
    /// Configured: the next key, or the last one.
    others: KeySet,
    /// Those that signed until a moment ago, and when nothing they signed is used any more.
    retired: Vec<(KeySet, Instant)>,
    /// How long a JWT lives.
    lifetime: Duration,
}

// === impl BackendJwts ===

impl BackendJwts {
    /// Signs on the current runtime's threads for such work. JWTs live for `lifetime` at most.
    pub fn start(
        key: BackendKey,
        others: KeySet,
        lifetime: Duration,
        cache: AssertionCache,
        retriever: Option<ClaimRetriever>,
    ) -> Arc<BackendJwts> {
        let published = Published { others, retired: Vec::new(), lifetime };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(BackendJwts {
            key_set: ArcSwap::from_pointee(published.key_set(&key)),
            key: ArcSwap::from_pointee(key),
            published: Mutex::new(published),
            cache,
            retriever,
            flights: Mutex::default(),
            permits: Arc::new(Semaphore::new(cores.div_ceil(2))),
            runtime: Handle::current(),
        })
    }

    /// Signs with `key` from now on. The last one stays published until nothing that it signed is valid.
    pub fn replace(&self, key: BackendKey, others: KeySet) {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.key.load_full();
        if last.id() != key.id() {
            let until = Instant::now() + published.lifetime + GRACE;
            published.retired.push((last.public().clone(), until));
        }
        published.others = others;
        // Published first: whoever sees its first signature finds it.
        self.key_set.store(Arc::new(published.key_set(&key)));
        self.key.store(Arc::new(key));
    }

    /// What signs.
    pub fn key(&self) -> Arc<BackendKey> {
        self.key.load_full()
    }

    /// The key set that backends verify with, RFC 7517.
    pub fn key_set(&self) -> Arc<String> {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if published.retired.iter().any(|(_, until)| *until <= now) {
            published.retired.retain(|(_, until)| *until > now);
            self.key_set.store(Arc::new(published.key_set(&self.key.load())));
        }
        self.key_set.load_full()
    }

    /// The JWT of `order`. Whoever orders the same at the same time gets the same one.
    pub async fn sign(self: &Arc<Self>, order: &Order) -> Answer {
        let Some(mut flight) = self.board(order) else { return Answer::Unavailable };
        // An error: whoever signed is gone, and signed nothing.
        match flight.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Some(assertion))) => Answer::Assertion(assertion.clone()),
            _ => Answer::Unavailable,
        }
    }

    /// `None`: too many wait.
    fn board(self: &Arc<Self>, order: &Order) -> Option<Flight> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(order) {
            return Some(flight.clone());
        }
        if flights.len() >= MAX_WAITING {
            return None;
        }
        let (landed, flight) = watch::channel(None);
        flights.insert(order.clone(), flight.clone());
        let (this, order) = (Arc::clone(self), order.clone());
        // The work goes on when the request that asked for it is given up.
        self.runtime.spawn(async move {
            let cleared = Cleared(&this, &order);
            let outcome = this.make(&order).await;
            if let Some(assertion) = &outcome {
                this.cache.put(order.clone(), assertion.clone());
            }
            // First: whoever orders after the others were answered gets one of its own.
            drop(cleared);
            landed.send_replace(Some(outcome));
        });
        Some(flight)
    }

    /// Asks over `transport` from now on.
    pub fn reach_over(&self, transport: &Transport) -> Result<(), ClientError> {
        self.retriever.as_ref().map_or(Ok(()), |retriever| retriever.reach_over(transport))
    }

    async fn make(self: &Arc<Self>, order: &Order) -> Outcome {
        // A JWT that says less than it should might let its bearer do more.
        let more = match order.identity.subject().filter(|_| order.identity.wants_user_claims()) {
            Some(user) => Some(self.retriever.as_ref()?.claims(user).await?),
            None => None,
        };
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let (key, order) = (self.key.load_full(), order.clone());
        let work = move || {
            let _permit = permit;
            let mut id = [0; 16];
            rand::fill(&mut id).ok()?;
            let draft = order.terms.draft(
                &order.identity,
                order.subscription.as_deref(),
                more.as_deref(),
                &URL_SAFE_NO_PAD.encode(id),
                now(),
            );
            let signed = key.sign(&draft.claims);
            let text = signed.inspect_err(|error| tracing::error!(%error, "a backend JWT could not be signed")).ok()?;
            Some(Assertion::new(text, draft.until))
        };
        tokio::task::spawn_blocking(work).await.ok().flatten()
    }
}

/// Takes the flight off the board, however it ended.
struct Cleared<'a>(&'a BackendJwts, &'a Order);

impl Drop for Cleared<'_> {
    fn drop(&mut self) {
        self.0.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(self.1);
    }
}

impl fmt::Debug for BackendJwts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendJwts").field("key", &*self.key.load()).finish_non_exhaustive()
    }
}

// === impl Published ===

impl Published {
    fn key_set(&self, key: &BackendKey) -> String {
        let retired = self.retired.iter().map(|(keys, _)| keys.clone());
        KeySet::join([key.public().clone(), self.others.clone()].into_iter().chain(retired)).to_jwks()
    }
}

#[cfg(test)]
mod tests;
