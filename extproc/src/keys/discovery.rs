//! Where an issuer says that its keys are: OpenID Connect Discovery, RFC 8414.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use reqwest::Url;
use serde_json::Value;

use super::FetchError;
use super::fetch::{get, parse};
use crate::transport::Clients;

/// An issuer that is asked where its keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Must be the document's `issuer`, to the letter.
    pub issuer: String,
    /// URLs of the document, tried in this order.
    pub documents: Vec<String>,
    /// Keys may come over `http:` from another host.
    pub allow_insecure: bool,
}

/// Reads the document before each fetch of keys, so that what it says is never older than they are.
pub(super) struct Discoverer {
    issuer: String,
    documents: Vec<Url>,
    allow_insecure: bool,
    clients: Clients,
    /// Where keys were found last: they may be there while the document is away.
    known: Mutex<Option<Url>>,
}

// === impl Discovery ===

impl Discovery {
    /// At the places that the two standards give the document.
    pub fn of(issuer: &str, allow_insecure: bool) -> Result<Discovery, &'static str> {
        let url = Url::parse(issuer).map_err(|_| "is not a URL")?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err("has a query or a fragment");
        }
        let appended = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        // RFC 8414 section 3: between host and path.
        let mut inserted = url.clone();
        inserted.set_path(&format!("/.well-known/oauth-authorization-server{}", url.path().trim_end_matches('/')));
        let documents = vec![appended, inserted.into()];
        Ok(Discovery { issuer: issuer.to_owned(), documents, allow_insecure })
    }
}

// === impl Discoverer ===

impl Discoverer {
    pub(super) fn new(discovery: Discovery, clients: &Clients) -> Result<Discoverer, FetchError> {
        let documents = discovery.documents.into_iter().map(parse).collect::<Result<_, _>>()?;
        let Discovery { issuer, allow_insecure, .. } = discovery;
        Ok(Discoverer { issuer, documents, allow_insecure, clients: clients.clone(), known: Mutex::default() })
    }

    /// The text of the key set.
    pub(super) async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        let place = match self.discover().await {
            Ok(place) => place,
            // A document that says something else is believed; one that is away has not said so.
            Err(error @ (FetchError::OtherIssuer | FetchError::KeysElsewhere)) => {
                self.remember(None);
                return Err(error);
            }
            Err(error) => self.known.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(error)?,
        };
        let keys = get(&self.clients, &place, "application/jwk-set+json, application/json").await?;
        self.remember(Some(place));
        Ok(keys)
    }

    fn remember(&self, place: Option<Url>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    /// The first document that there is.
    async fn discover(&self) -> Result<Url, FetchError> {
        let mut failure = FetchError::NoDocument;
        for document in &self.documents {
            match get(&self.clients, document, "application/json").await {
                Ok(text) => return self.read(document, &text),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn read(&self, document: &Url, text: &[u8]) -> Result<Url, FetchError> {
        let told: Value = serde_json::from_slice(text).map_err(|_| FetchError::NoDocument)?;
        let member = |name: &str| told.get(name).and_then(Value::as_str).ok_or(FetchError::NoDocument);
        // OpenID Connect Discovery section 4.3, RFC 8414 section 3.3: whoever is not that issuer may not speak for it.
        if member("issuer")? != self.issuer {
            return Err(FetchError::OtherIssuer);
        }
        let keys = Url::parse(member("jwks_uri")?).map_err(|_| FetchError::KeysElsewhere)?;
        let named = !keys.username().is_empty() || keys.password().is_some();
        let safe = match keys.scheme() {
            "https" => true,
            "http" => {
                let allowed = self.allow_insecure || is_loopback(&keys) || keys.origin() == document.origin();
                // What came with TLS does not go on without.
                allowed && document.scheme() == "http"
            }
            _ => false,
        };
        if safe && !named { Ok(keys) } else { Err(FetchError::KeysElsewhere) }
    }
}

pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::transport::{Clients, Redirects, Transport};

    #[test]
    fn the_document_has_two_places() {
        let of = |issuer: &str| Discovery::of(issuer, false).map(|discovery| discovery.documents);
        for (issuer, appended, inserted) in [
            ("https://a.example", "", ""),
            ("https://a.example/", "", ""),
            ("https://a.example/realms/one", "/realms/one", "/realms/one"),
            ("https://a.example/realms/one/", "/realms/one", "/realms/one"),
        ] {
            let expected = [
                format!("https://a.example{appended}/.well-known/openid-configuration"),
                format!("https://a.example/.well-known/oauth-authorization-server{inserted}"),
            ];
            assert_eq!(of(issuer).unwrap(), expected, "{issuer}");
        }
        for issuer in ["a", "https://a.example?x", "https://a.example#x"] {
            assert!(of(issuer).is_err(), "{issuer}");
        }
    }

    #[test]
    fn only_the_issuer_says_where_its_keys_are_and_not_everywhere() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let clients = Clients::new(&Transport::default(), Redirects::Followed, Duration::from_secs(1)).unwrap();
        let place = |issuer: &str, allow_insecure, told: &str| {
            let discovery = Discovery::of(issuer, allow_insecure).unwrap();
            let discoverer = Discoverer::new(discovery, &clients).unwrap();
            discoverer
                .read(&discoverer.documents[0], told.as_bytes())
                .map(String::from)
                .map_err(|error| error.to_string())
        };
        let told = |issuer: &str, keys: &str| format!(r#"{{"issuer": "{issuer}", "jwks_uri": "{keys}", "x": [1]}}"#);
        let (secure, local, open) = ("https://a.example", "http://127.0.0.1:9", "http://a.example");
        for (issuer, insecure, keys, passes) in [
            (secure, false, "https://keys.example/jwks", true),
            (secure, false, "http://a.example/jwks", false),
            (secure, true, "http://a.example/jwks", false),
            (secure, false, "http://127.0.0.1/jwks", false),
            (secure, false, "https://user@keys.example/jwks", false),
            (secure, false, "file:///etc/passwd", false),
            (secure, false, "jwks", false),
            (local, false, "http://127.0.0.1:9/jwks", true),
            (local, false, "http://localhost:10/jwks", true),
            (local, false, "http://keys.example/jwks", false),
            (local, false, "https://keys.example/jwks", true),
            (open, true, "http://a.example/jwks", true),
            (open, true, "http://keys.example/jwks", true),
        ] {
            let result = place(issuer, insecure, &told(issuer, keys));
            assert_eq!(result.is_ok(), passes, "{issuer} {keys}: {result:?}");
        }
        for wrong in [
            told("https://b.example", "https://a.example/jwks"),
            told("https://a.example/", "https://a.example/jwks"),
            r#"{"jwks_uri": "https://a.example/jwks"}"#.to_owned(),
            r#"{"issuer": "https://a.example"}"#.to_owned(),
            "<html>".to_owned(),
            "[]".to_owned(),
        ] {
            assert!(place(secure, false, &wrong).is_err(), "{wrong}");
        }
    }
}
