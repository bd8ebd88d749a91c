//! One fetch of a key set.

use std::path::PathBuf;
use std::time::Duration;

use microgw_engine::{KeyError, KeySet};
use reqwest::{StatusCode, Url};
use tokio::io::AsyncReadExt as _;

use super::KeyLocation;
use super::discovery::Discoverer;
use crate::transport::{ClientError, Clients, chain, read_body};

/// Bytes; a longer key set is refused.
const MAX_LENGTH: usize = 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("`{0}` is not an http or https URL")]
    Url(String),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{}", chain(.0))]
    Http(#[from] reqwest::Error),
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("the file cannot be read: {0}")]
    File(#[from] std::io::Error),
    #[error("there is no discovery document, or it does not say who the issuer is and where its keys are")]
    NoDocument,
    #[error("the discovery document is of another issuer")]
    OtherIssuer,
    #[error("the discovery document says that the keys are where nobody can be sure whose they are")]
    KeysElsewhere,
    #[error("the answer is longer than {MAX_LENGTH} bytes")]
    TooLong,
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("it took longer than {0:?}")]
    Slow(Duration),
}

pub(super) struct Fetcher {
    place: Place,
    timeout: Duration,
}

enum Place {
    Url(Clients, Url),
    File(PathBuf),
    Discovered(Discoverer),
}

impl Fetcher {
    pub(super) fn new(location: KeyLocation, timeout: Duration, clients: &Clients) -> Result<Fetcher, FetchError> {
        let place = match location {
            KeyLocation::File(path) => Place::File(path),
            KeyLocation::Url(url) => Place::Url(clients.clone(), parse(url)?),
            KeyLocation::Discovered(discovery) => Place::Discovered(Discoverer::new(discovery, clients)?),
        };
        Ok(Fetcher { place, timeout })
    }

    pub(super) async fn fetch(&self) -> Result<KeySet, FetchError> {
        let text =
            tokio::time::timeout(self.timeout, self.read()).await.map_err(|_| FetchError::Slow(self.timeout))??;
        let pem = text.trim_ascii_start().starts_with(b"-----BEGIN");
        Ok(if pem { KeySet::from_pem(&text)? } else { KeySet::from_jwks(&text)? })
    }

    async fn read(&self) -> Result<Vec<u8>, FetchError> {
        let mut text = Vec::new();
        match &self.place {
            Place::File(path) => {
                let file = tokio::fs::File::open(path).await?;
                file.take(MAX_LENGTH as u64 + 1).read_to_end(&mut text).await?;
            }
            Place::Url(clients, url) => {
                return get(clients, url, "application/jwk-set+json, application/json").await;
            }
            Place::Discovered(discoverer) => return discoverer.fetch().await,
        }
        if text.len() > MAX_LENGTH { Err(FetchError::TooLong) } else { Ok(text) }
    }
}

pub(super) fn parse(url: String) -> Result<Url, FetchError> {
    Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or(FetchError::Url(url))
}

/// What is there, if it is not too long. The caller bounds the time.
pub(super) async fn get(clients: &Clients, url: &Url, accept: &str) -> Result<Vec<u8>, FetchError> {
    let mut response = clients.current().get(url.clone()).header("accept", accept).send().await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let mut text = Vec::new();
    read_body(&mut response, MAX_LENGTH, &mut text).await?;
    if text.len() > MAX_LENGTH { Err(FetchError::TooLong) } else { Ok(text) }
}
