//! Interceptors that are services: one POST for each message, with JSON, and JSON that says what is to become of it.
//! `docs/interceptors.md` has the format.

mod answer;
mod question;
mod room;

use std::time::Duration;

use microgw_engine::interceptors::{Interception, InterceptorFailure, Verdict};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, redirect};
use tokio::time::{Instant, timeout_at};

pub use self::answer::read;
use self::answer::{Answer, AnswerError};
use self::question::Question;
use self::room::Place;
pub use self::room::{ROOM, Room};

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
    room: Room,
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
    pub fn new(client: Client, room: Room, url: &str) -> Result<Service, ServiceError> {
        let url = Url::parse(url).map_err(|_| ServiceError::Url)?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_plain {
            return Err(ServiceError::Url);
        }
        Ok(Service { client, url, credential: None, room })
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
        let read = match self.ask(&interception).await {
            Err(failure) => return Verdict::Failed(failure),
            Ok(read) => read,
        };
        let verdict = read.and_then(|(answer, _place)| answer::follow(interception, answer));
        verdict.unwrap_or_else(|error| {
            tracing::warn!("a service's answer cannot be used: {error}");
            Verdict::Failed(InterceptorFailure::Malformed)
        })
    }

    /// The answer has room until it was followed. `Err`: there is none.
    #[allow(clippy::type_complexity)] // Said once.
    async fn ask(
        &self,
        interception: &Interception,
    ) -> Result<Result<(Answer, Option<Place>), AnswerError>, InterceptorFailure> {
        let deadline = Instant::now() + interception.interceptor.timeout;
        let mut question = Question::of(interception);
        let length = question.length().ok_or(InterceptorFailure::Malformed)?;
        let asking = self.room.question(length, deadline).await.ok_or(InterceptorFailure::Crowded)?;
        let question = question.write(length).ok_or(InterceptorFailure::Malformed)?;
        let in_time = timeout_at(deadline, self.send(question));
        let Some(response) = in_time.await.map_err(|_| InterceptorFailure::Timeout)?? else {
            return Ok(Ok((Answer::default(), None)));
        };
        let (answer, place) = self.collect(response, deadline).await?;
        drop(asking);
        Ok(answer::parse(&answer).map(|answer| (answer, Some(place))))
    }

    /// `None`: it has nothing to say.
    async fn send(&self, question: Vec<u8>) -> Result<Option<Response>, InterceptorFailure> {
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, JSON).header(ACCEPT, JSON);
        if let Some((name, value)) = &self.credential {
            request = request.header(name, value);
        }
        let response = request.body(question).send().await.map_err(unreachable)?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(None),
            StatusCode::OK if is_json(&response) => Ok(Some(response)),
            StatusCode::OK => Err(InterceptorFailure::Malformed),
            // What stands between says that it is not there.
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Err(InterceptorFailure::Unreachable)
            }
            _ => Err(InterceptorFailure::Error),
        }
    }

    async fn collect(&self, mut response: Response, deadline: Instant) -> Result<(Vec<u8>, Place), InterceptorFailure> {
        let length = response.content_length();
        if length.is_some_and(|length| length > MAX_ANSWER as u64) {
            return Err(InterceptorFailure::Malformed);
        }
        let mut place = self.room.answer(length, deadline).await.ok_or(InterceptorFailure::Crowded)?;
        let mut answer = Vec::with_capacity(length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default());
        let mut is_long = false;
        loop {
            let piece = timeout_at(deadline, response.chunk()).await.map_err(|_| InterceptorFailure::Timeout)?;
            let Some(piece) = piece.map_err(unreachable)? else { break };
            let more = answer.len() + piece.len();
            if more > MAX_ANSWER {
                return Err(InterceptorFailure::Malformed);
            }
            if !is_long && room::is_long(length, more) {
                // First given back: of those that wait for more nobody keeps any.
                drop(place);
                place = self.room.long_answer(deadline).await.ok_or(InterceptorFailure::Crowded)?;
                is_long = true;
            }
            answer.extend_from_slice(&piece);
        }
        // Nothing is said by nothing.
        if answer.is_empty() { Err(InterceptorFailure::Malformed) } else { Ok((answer, place)) }
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

#[cfg(test)]
mod tests;
