//! What the authorization server says about opaque tokens, RFC 7662: asked once about each, however many wait, and no more
//! often than it can bear.
//!
//! ```text
//! ask ─ a question under way? ─ known? ─ refused just now? ─ budget ─ circuit ─> task: own token, question, answer
//! ```

pub(crate) mod breaker;
mod login;
mod server;

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use governor::{DefaultDirectRateLimiter, Quota};
use microgw_engine::{Answer, CredentialDigest, Identity, Introspection as Reader, Sensitive, TokenError};
use quick_cache::sync::Cache;
use reqwest::StatusCode;
use tokio::time::timeout;

use crate::decider::Decider;
use crate::metrics::{IntrospectionOutcome, Metrics};
use crate::seldom::Seldom;
use crate::transport::{ClientError, Transport};
pub use breaker::Circuit;
use breaker::{Breaker, Change};
pub use login::{ClientAuthentication, Grant, GrantKind, Login, OwnToken};
use server::{Server, ServerError};

/// A little less than a decision has, so that the question ends before those who wait for it give up.
const TIMEOUT: Duration = Decider::DEADLINE.saturating_sub(Duration::from_millis(50));
/// Questions at a time.
const MAX_QUESTIONS: usize = 256;
/// Tokens that are remembered to be refused: apart from the genuine ones, so that garbage displaces garbage alone.
const REFUSED: usize = 4096;
/// For how long. Short: a token may be known to its issuer a moment later.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Answers that were given just now: those who waited for them keep them longer, and for those who come in between there is no
/// second question.
const ACTIVE: usize = 1024;
const ACTIVE_FOR: Duration = Duration::from_secs(1);
/// Tokens that are remembered to have been active: their callers do not share a budget with whoever makes tokens up.
const ESTABLISHED: usize = 16_384;

/// Who is asked, and how the gateway logs in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntrospectionConfig {
    /// `https:`, or `http:` where the caller allows it.
    pub url: String,
    pub login: Login,
    /// Questions per second about tokens that were not active here before, and as many about those that were.
    pub rate: NonZeroU32,
}

/// Asks. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Introspector(Arc<Inner>);

struct Inner {
    server: Server,
    active: Cache<CredentialDigest, (Instant, Arc<Identity>)>,
    questions: Mutex<HashMap<CredentialDigest, Question>>,
    refused: Cache<CredentialDigest, (Instant, TokenError)>,
    established: Cache<CredentialDigest, ()>,
    /// For tokens that were active before, and for all others.
    budgets: [DefaultDirectRateLimiter; 2],
    breaker: Breaker,
    metrics: Arc<Metrics>,
    spent: Seldom,
    failures: Seldom,
}

/// For who counts.
#[derive(Debug)]
pub(crate) struct Watch(Weak<Inner>);

/// One that is under way: all who wait are told the same.
type Question = Shared<BoxFuture<'static, Answer>>;

/// A question's task. However it ends, the next one about the token is another.
struct Task {
    inner: Arc<Inner>,
    digest: CredentialDigest,
    /// Whether the server answered as it should.
    answered: bool,
}

/// The introspector cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("`{0}` is not an http or https URL")]
    Url(String),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the credential for the authorization server cannot be sent in a header")]
    Credential,
}

// === impl Introspector ===

impl Introspector {
    /// A process-wide rustls provider must be installed.
    pub fn new(
        config: IntrospectionConfig,
        transport: &Transport,
        metrics: &Arc<Metrics>,
    ) -> Result<Introspector, SetupError> {
        let quota = Quota::per_second(config.rate);
        let introspector = Introspector(Arc::new(Inner {
            server: Server::new(&config.url, config.login, transport)?,
            active: Cache::new(ACTIVE),
            questions: Mutex::default(),
            refused: Cache::new(REFUSED),
            established: Cache::new(ESTABLISHED),
            budgets: [DefaultDirectRateLimiter::direct(quota), DefaultDirectRateLimiter::direct(quota)],
            breaker: Breaker::default(),
            metrics: Arc::clone(metrics),
            spent: Seldom::default(),
            failures: Seldom::default(),
        }));
        metrics.show_introspection(Watch(Arc::downgrade(&introspector.0)));
        Ok(introspector)
    }

    /// Asks over `transport` from now on.
    pub fn reach_over(&self, transport: &Transport) -> Result<(), ClientError> {
        self.0.server.reach_over(transport)
    }

    /// Whom the token stands for. The caller bounds the time.
    pub async fn ask(&self, digest: CredentialDigest, token: &Sensitive, reader: &Arc<Reader>) -> Answer {
        match self.begin(digest, token, reader) {
            Ok(question) => question.await,
            Err(answer) => answer,
        }
    }

    /// The question that is under way, or else a new one; or what is known without asking.
    fn begin(&self, digest: CredentialDigest, token: &Sensitive, reader: &Arc<Reader>) -> Result<Question, Answer> {
        let inner = &self.0;
        let mut questions = inner.questions();
        if let Some(question) = questions.get(&digest) {
            inner.metrics.introspected(IntrospectionOutcome::Shared);
            return Ok(question.clone());
        }
        // A question leaves its answer behind before it goes from the list.
        let now = Instant::now();
        if let Some((_, identity)) = inner.active.get(&digest).filter(|(until, _)| now < *until) {
            inner.metrics.introspected(IntrospectionOutcome::Remembered);
            return Err(Answer::Identity(identity));
        }
        if let Some((_, error)) = inner.refused.get(&digest).filter(|(until, _)| now < *until) {
            inner.metrics.introspected(IntrospectionOutcome::Remembered);
            return Err(Answer::Refused(error));
        }
        let [established, others] = &inner.budgets;
        let budget = if inner.established.get(&digest).is_some() { established } else { others };
        if questions.len() >= MAX_QUESTIONS || budget.check().is_err() {
            inner.metrics.introspected(IntrospectionOutcome::OverBudget);
            if inner.spent.now() {
                tracing::warn!(
                    "more opaque tokens than the authorization server may be asked about: requests are answered 503"
                );
            }
            return Err(Answer::Unavailable);
        }
        if !inner.breaker.admits(now) {
            inner.metrics.introspected(IntrospectionOutcome::CircuitOpen);
            return Err(Answer::Unavailable);
        }
        let task = Task { inner: Arc::clone(inner), digest, answered: false };
        // It goes on when those who wait have gone: what it finds out is worth having.
        let task = tokio::spawn(task.run(token.clone(), Arc::clone(reader)));
        let question = task.map(|ended| ended.unwrap_or(Answer::Unavailable)).boxed().shared();
        questions.insert(digest, question.clone());
        Ok(question)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inner(..)")
    }
}

impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspector").finish_non_exhaustive()
    }
}

// === impl Watch ===

impl Watch {
    /// How things stand, and how many tokens are remembered to be refused.
    pub(crate) fn look(&self) -> Option<(Circuit, usize)> {
        let inner = self.0.upgrade()?;
        Some((inner.breaker.circuit(Instant::now()), inner.refused.len()))
    }
}

// === impl Inner ===

impl Inner {
    fn questions(&self) -> MutexGuard<'_, HashMap<CredentialDigest, Question>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Task ===

impl Task {
    async fn run(mut self, token: Sensitive, reader: Arc<Reader>) -> Answer {
        let asked = timeout(TIMEOUT, self.inner.server.ask(&token)).await;
        let said = asked.unwrap_or(Err(ServerError::Slow(TIMEOUT))).and_then(|text| match reader.read(&text) {
            Err(error @ (TokenError::Json | TokenError::Claim("active"))) => Err(ServerError::Answer(error)),
            said => Ok(said),
        });
        let inner = &self.inner;
        let (answer, outcome) = match said {
            Ok(Ok(identity)) => {
                let identity = Arc::new(identity);
                let until = Instant::now() + identity.remembered().map_or(ACTIVE_FOR, |bound| bound.min(ACTIVE_FOR));
                inner.active.insert(self.digest, (until, Arc::clone(&identity)));
                inner.established.insert(self.digest, ());
                inner.refused.remove(&self.digest);
                (Answer::Identity(identity), IntrospectionOutcome::Active)
            }
            // The server's own word, or a token that is not for us: the same will be said in a moment.
            Ok(Err(error)) => {
                inner.established.remove(&self.digest);
                inner.refused.insert(self.digest, (Instant::now() + REFUSED_FOR, error));
                (Answer::Refused(error), IntrospectionOutcome::Inactive)
            }
            Err(error) => {
                // What a server says of an odd token is no reason to leave it alone: anybody can send five of them.
                self.answered = matches!(error, ServerError::Status(StatusCode::BAD_REQUEST));
                if inner.failures.now() {
                    tracing::warn!(%error, "the authorization server could not be asked about a token");
                }
                (Answer::Unavailable, IntrospectionOutcome::Failed)
            }
        };
        inner.metrics.introspected(outcome);
        self.answered |= outcome != IntrospectionOutcome::Failed;
        answer
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        match self.inner.breaker.report(self.answered, Instant::now()) {
            Some(Change::Opened(pause)) => {
                tracing::error!(?pause, "the authorization server fails again and again: it is left alone for a while");
            }
            Some(Change::Closed) => tracing::info!("the authorization server answers again"),
            None => {}
        }
        self.inner.questions().remove(&self.digest);
    }
}
