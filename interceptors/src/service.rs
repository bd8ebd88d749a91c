//! Interceptors that are services: one POST for each message, with JSON, and JSON that says what is to become of it.
//! `docs/interceptors.md` has the format.

mod answer;
mod question;

use std::time::Duration;

use microgw_engine::interceptors::{Interception, InterceptorFailure, Verdict};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, redirect};

pub use self::answer::read;

/// Of what is said on both sides.
pub const VERSION: u32 = 1;
/// Bytes of an answer: a body in base64, a head, and what JSON makes of them.
pub const MAX_ANSWER: usize = 16 * 1024 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Connections that nobody uses.
const IDLE: Duration = Duration::from_secs(60);
const MAX_IDLE: usize = 32;

/// Where a service is, and by what it knows the gateway.
pub struct Service {
    client: Client,
    url: Url,
    credential: Option<(HeaderName, HeaderValue)>,
}

/// Why a service cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    #[error("the service's URL is none of `http` or `https` with a host, or has a user or a fragment")]
    Url,
    #[error("the service's header cannot be sent")]
    Header,
}

/// For clients that ask services: whom they trust is said by others.
pub fn client(builder: ClientBuilder) -> ClientBuilder {
    builder
        .redirect(redirect::Policy::none())
        .no_proxy()
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MAX_IDLE)
        .tcp_nodelay(true)
}

// === impl Service ===

impl Service {
    pub fn new(client: Client, url: &str) -> Result<Service, ServiceError> {
        let url = Url::parse(url).map_err(|_| ServiceError::Url)?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_plain {
            return Err(ServiceError::Url);
        }
        Ok(Service { client, url, credential: None })
    }

    /// A header that tells the service who asks.
    pub fn with_credential(mut self, name: &str, value: &str) -> Result<Service, ServiceError> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| ServiceError::Header)?;
        let mut value = HeaderValue::from_str(value).map_err(|_| ServiceError::Header)?;
        value.set_sensitive(true);
        self.credential = Some((name, value));
        Ok(self)
    }

    pub async fn call(&self, interception: Interception) -> Verdict {
        let Ok(question) = question::write(&interception) else {
            return Verdict::Failed(InterceptorFailure::Malformed);
        };
        let timeout = interception.interceptor.timeout;
        match tokio::time::timeout(timeout, self.ask(question)).await {
            Err(_) => Verdict::Failed(InterceptorFailure::Timeout),
            Ok(Err(failure)) => Verdict::Failed(failure),
            Ok(Ok(answer)) => answer::read(interception, &answer).unwrap_or_else(|error| {
                tracing::warn!("a service's answer cannot be used: {error}");
                Verdict::Failed(InterceptorFailure::Malformed)
            }),
        }
    }

    /// Empty: it has nothing to say.
    async fn ask(&self, question: Vec<u8>) -> Result<Vec<u8>, InterceptorFailure> {
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, JSON).header(ACCEPT, JSON);
        if let Some((name, value)) = &self.credential {
            request = request.header(name, value);
        }
        let response = request.body(question).send().await.map_err(unreachable)?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(Vec::new()),
            StatusCode::OK if is_json(&response) => collect(response).await,
            StatusCode::OK => Err(InterceptorFailure::Malformed),
            // What stands between says that it is not there.
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Err(InterceptorFailure::Unreachable)
            }
            _ => Err(InterceptorFailure::Error),
        }
    }
}

/// Without where it is: a URL may say more than others should know.
impl std::fmt::Debug for Service {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Service").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

#[allow(clippy::needless_pass_by_value)] // What is mapped over is handed over.
fn unreachable(error: reqwest::Error) -> InterceptorFailure {
    tracing::debug!("a service is not reached: {}", error.without_url());
    InterceptorFailure::Unreachable
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

async fn collect(mut response: Response) -> Result<Vec<u8>, InterceptorFailure> {
    let mut answer = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(unreachable)? {
        if answer.len() + piece.len() > MAX_ANSWER {
            return Err(InterceptorFailure::Malformed);
        }
        answer.extend_from_slice(&piece);
    }
    // Nothing is said by nothing.
    if answer.is_empty() { Err(InterceptorFailure::Malformed) } else { Ok(answer) }
}

#[cfg(test)]
mod tests;
