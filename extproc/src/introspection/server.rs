//! The authorization server's endpoints, as HTTP.

use std::time::Duration;

use form_urlencoded::Serializer;
use microgw_engine::{Sensitive, TokenError};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{StatusCode, Url};

use super::SetupError;
use super::login::{Login, Session};
use crate::transport::{ClientError, Clients, Redirects, Transport, chain, read_body};

/// Bytes; a longer answer is refused.
const MAX_LENGTH: usize = 64 * 1024;
/// To connect; answers have what is left of the question's time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why there is no answer. Never shows a token.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerError {
    #[error("{}", chain(.0))]
    Http(#[from] reqwest::Error),
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("it took longer than {0:?}")]
    Slow(Duration),
    #[error("the answer is longer than {MAX_LENGTH} bytes")]
    TooLong,
    #[error("the answer cannot be used: {0}")]
    Answer(TokenError),
    #[error("the gateway's own token was refused, and there is no way to another")]
    OwnToken,
    #[error("no token for the gateway itself: {0}")]
    NoOwnToken(Box<ServerError>),
    #[error("the token endpoint's answer has no usable `{0}`")]
    TokenAnswer(&'static str),
}

pub(super) struct Server {
    url: Url,
    session: Session,
    endpoint: Endpoint,
}

/// Where forms are sent to.
#[derive(Clone)]
pub(super) struct Endpoint(Clients);

// === impl Server ===

impl Server {
    pub(super) fn new(url: &str, login: Login, transport: &Transport) -> Result<Server, SetupError> {
        let endpoint = Endpoint(Clients::new(transport, Redirects::Refused, CONNECT_TIMEOUT)?);
        let session = Session::new(login, endpoint.clone())?;
        Ok(Server { url: parse(url)?, session, endpoint })
    }

    pub(super) fn reach_over(&self, transport: &Transport) -> Result<(), ClientError> {
        self.endpoint.0.replace(transport)
    }

    /// What the server says about a token, unread. The caller bounds the time.
    pub(super) async fn ask(&self, token: &Sensitive) -> Result<Vec<u8>, ServerError> {
        let form = Serializer::new(String::new())
            .append_pair("token", &token.0)
            .append_pair("token_type_hint", "access_token")
            .finish();
        let credential = self.session.credential().await?;
        match self.endpoint.post(&self.url, form.clone(), Some(credential.header())).await {
            // It was withdrawn, or ended before it said it would: once more with another.
            Err(ServerError::Status(StatusCode::UNAUTHORIZED)) => {
                let other = self.session.other_than(&credential).await?;
                self.endpoint.post(&self.url, form, Some(other.header())).await
            }
            answer => answer,
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// The body of a 200.
    pub(super) async fn post(
        &self,
        url: &Url,
        form: String,
        authorization: Option<HeaderValue>,
    ) -> Result<Vec<u8>, ServerError> {
        let mut request = self
            .0
            .current()
            .post(url.clone())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut response = request.send().await?;
        if response.status() != StatusCode::OK {
            return Err(ServerError::Status(response.status()));
        }
        let mut text = Vec::new();
        read_body(&mut response, MAX_LENGTH, &mut text).await?;
        if text.len() > MAX_LENGTH { Err(ServerError::TooLong) } else { Ok(text) }
    }
}

pub(super) fn parse(url: &str) -> Result<Url, SetupError> {
    let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    parsed.ok_or_else(|| SetupError::Url(url.to_owned()))
}
