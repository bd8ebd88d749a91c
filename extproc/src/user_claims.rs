//! What another server knows of users, as API Manager's key manager is asked: one question for all who want to know of one
//! user at the same time, its answer remembered, and a server that fails left alone for a while.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use microgw_engine::backend_jwt::{UserClaims, UserClaimsError};
use quick_cache::sync::Cache;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{StatusCode, Url};

use crate::introspection::breaker::{Breaker, Change};
use crate::transport::{ClientError, Clients, Redirects, Transport, chain, read_body};

/// Bytes; a longer answer is refused.
const MAX_LENGTH: usize = 64 * 1024;
/// To connect, and for the whole question: a decision has two seconds for everything.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_millis(1500);
/// Users that are remembered.
const CAPACITY: usize = 10_000;
const PATH: &str = "/keymanager-operations/user-info/claims/generate";

/// Where to ask, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimRetrieval {
    /// Before the path of the old product.
    pub server_url: String,
    pub user: String,
    pub password: String,
}

/// Asks about users.
pub struct ClaimRetriever {
    clients: Clients,
    url: Url,
    authorization: HeaderValue,
    breaker: Breaker,
    known: Cache<Box<str>, Known>,
    /// How long an answer is remembered.
    lifetime: Duration,
}

#[derive(Clone)]
struct Known {
    claims: Arc<UserClaims>,
    until: Instant,
}

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("`{0}` is not an http or https URL")]
    Url(String),
    #[error("the user or the password cannot be sent")]
    Login,
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Why there is no answer. Says nothing of the user.
#[derive(Debug, thiserror::Error)]
enum RetrievalError {
    #[error("{}", chain(.0))]
    Http(#[from] reqwest::Error),
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("it took longer than {TIMEOUT:?}")]
    Slow,
    #[error("the answer is longer than {MAX_LENGTH} bytes")]
    TooLong,
    #[error("the answer cannot be used: {0}")]
    Answer(#[from] UserClaimsError),
    #[error("it has failed again and again, and is left alone")]
    LeftAlone,
}

// === impl ClaimRetriever ===

impl ClaimRetriever {
    /// Answers are remembered for `lifetime`.
    pub fn new(from: &ClaimRetrieval, lifetime: Duration, transport: &Transport) -> Result<ClaimRetriever, SetupError> {
        let text = format!("{}{PATH}", from.server_url.trim_end_matches('/'));
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| SetupError::Url(text))?;
        let login = format!("Basic {}", STANDARD.encode(format!("{}:{}", from.user, from.password)));
        let mut authorization = HeaderValue::from_str(&login).map_err(|_| SetupError::Login)?;
        authorization.set_sensitive(true);
        Ok(ClaimRetriever {
            clients: Clients::new(transport, Redirects::Refused, CONNECT_TIMEOUT)?,
            url,
            authorization,
            breaker: Breaker::default(),
            known: Cache::new(CAPACITY),
            lifetime,
        })
    }

    /// Asks over `transport` from now on.
    pub fn reach_over(&self, transport: &Transport) -> Result<(), ClientError> {
        self.clients.replace(transport)
    }

    /// `None`: nobody can tell.
    pub async fn claims(&self, user: &str) -> Option<Arc<UserClaims>> {
        let user: Box<str> = user.into();
        if let Some(known) = self.known.get(&user) {
            if Instant::now() < known.until {
                return Some(known.claims);
            }
            self.known.remove(&user);
        }
        let known = self.known.get_or_insert_async(&user, self.fetch(&user)).await;
        known
            .inspect_err(|error| tracing::warn!(%error, "nothing is known of a user's claims"))
            .ok()
            .map(|known| known.claims)
    }

    async fn fetch(&self, user: &str) -> Result<Known, RetrievalError> {
        if !self.breaker.admits(Instant::now()) {
            return Err(RetrievalError::LeftAlone);
        }
        let answer = tokio::time::timeout(TIMEOUT, self.ask(user)).await.unwrap_or(Err(RetrievalError::Slow));
        match self.breaker.report(answer.is_ok(), Instant::now()) {
            Some(Change::Opened(pause)) => {
                tracing::error!(?pause, "the server of users' claims fails: it is left alone");
            }
            Some(Change::Closed) => tracing::info!("the server of users' claims answers again"),
            None => {}
        }
        Ok(Known { claims: Arc::new(answer?), until: Instant::now() + self.lifetime })
    }

    async fn ask(&self, user: &str) -> Result<UserClaims, RetrievalError> {
        let question = serde_json::json!({ "username": user }).to_string();
        let request = self.clients.current().post(self.url.clone()).header(AUTHORIZATION, self.authorization.clone());
        let request = request.header(ACCEPT, "application/json").header(CONTENT_TYPE, "application/json");
        let mut response = request.body(question).send().await?;
        if response.status() != StatusCode::OK {
            return Err(RetrievalError::Status(response.status()));
        }
        let mut text = Vec::new();
        read_body(&mut response, MAX_LENGTH, &mut text).await?;
        if text.len() > MAX_LENGTH {
            return Err(RetrievalError::TooLong);
        }
        Ok(UserClaims::read(&text)?)
    }
}

impl fmt::Debug for ClaimRetrieval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimRetrieval").field("server_url", &self.server_url).finish_non_exhaustive()
    }
}
