//! Packages in a registry, by the OCI distribution specification: an image manifest with one layer, which is a tar, perhaps in `gzip`. Nothing that a registry
//! sends is believed before its digest was compared.

mod challenge;
mod keychain;
mod logins;
mod manifest;

use std::sync::Mutex;
use std::time::Duration;

use microgw_compiler::packages::digest;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode, Url};
use tokio::sync::OnceCell;

use self::challenge::Challenge;
pub use self::keychain::HelperError;
use self::logins::Known;
pub use self::logins::{Login, Logins};
use self::manifest::{EMPTY, Manifest, OCI_MANIFEST};
use crate::package::{MAX_TAR, Package, PackageError};
use crate::reference::{Reference, Revision};

/// Bytes of a manifest, of a token, and of what a registry says of an error.
const MAX_SAID: u64 = 256 << 10;
const MAX_REDIRECTS: usize = 5;
const CONNECT: Duration = Duration::from_secs(10);
/// For a request and its answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Who we are, where that is no secret.
const CLIENT: &str = "micro-gw";
/// Of a registry's answer that says which manifest it is.
const CONTENT_DIGEST: &str = "docker-content-digest";

#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// `None`: to this host alone.
    pub plain_http: Option<bool>,
    pub logins: Logins,
}

/// For one repository.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    host: String,
    repository: String,
    logins: Logins,
    /// What was found there, once it was needed.
    login: OnceCell<Option<Known>>,
    /// What was found out about the way in.
    authorization: Mutex<Option<HeaderValue>>,
}

/// Whether to read, or to write as well.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Pull,
    Push,
}

/// Why a registry is of no use. Nothing of a credential is in it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("`{host}` cannot be reached")]
    Unreachable { host: String, source: reqwest::Error },
    #[error("there is no `{0}` in the registry, or not for us")]
    NotFound(String),
    #[error("the registry answers {status}{code} to {what}")]
    Status { what: &'static str, status: u16, code: String },
    #[error("`{host}` wants a login: {hint}")]
    LoginNeeded { host: String, hint: String },
    #[error("`{host}` refuses the login of `{keeper}` for `{registry}`")]
    LoginRefused { host: String, registry: String, keeper: String },
    #[error("`{host}` wants a password, and `{keeper}` has a token for it that is none")]
    NotPassword { host: String, keeper: String },
    #[error(transparent)]
    Helper(#[from] HelperError),
    #[error("`{0}` asks for a login in a way that is not known here")]
    Challenge(String),
    #[error("`{0}` sends us from https to http")]
    Downgrade(String),
    #[error("`{0}` sends us elsewhere too often, or to no URL")]
    Redirect(String),
    #[error("uploads go to another host than `{0}`: that is not done")]
    ForeignUpload(String),
    #[error("{0} is not what its digest says: it was changed, in the registry or on the way")]
    Digest(&'static str),
    #[error("{0} is longer than it may be")]
    TooLarge(&'static str),
    #[error("the manifest is none of a policy: {0}")]
    Manifest(String),
    #[error("which of them is meant? Name a tag or a digest, as in `{0}:1.0.0`")]
    NoRevision(String),
    #[error("the policy in the registry cannot be used: {0}")]
    Package(#[from] PackageError),
    #[error("the policy cannot be packed")]
    Pack(#[source] std::io::Error),
}

type Registered<T> = Result<T, RegistryError>;

// === impl Client ===

impl Client {
    /// For the repository of `reference`.
    pub fn new(reference: &Reference, options: ClientOptions) -> Registered<Client> {
        let loopback = reference.is_loopback();
        let scheme = if options.plain_http.unwrap_or(loopback) { "http" } else { "https" };
        let host = reference.host.clone();
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(PATIENCE)
            .user_agent(concat!("micro-gw/", env!("CARGO_PKG_VERSION")));
        if loopback {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|source| RegistryError::Unreachable { host: host.clone(), source })?;
        let base = Url::parse(&format!("{scheme}://{host}/v2/{}/", reference.repository))
            .map_err(|_| RegistryError::Redirect(host.clone()))?;
        let repository = reference.repository.clone();
        let (logins, login) = (options.logins, OnceCell::new());
        Ok(Client { http, base, host, repository, logins, login, authorization: Mutex::new(None) })
    }

    /// The package, and the digest of its manifest.
    pub async fn pull(&self, revision: &Revision) -> Registered<(Package, String)> {
        let url = self.url(&format!("manifests/{}", revision.as_str()))?;
        let accept = [(ACCEPT, OCI_MANIFEST)];
        let answer = self.send(Method::GET, url, &accept, None, Purpose::Pull).await?;
        let answer = self.expect(answer, "a manifest", &[StatusCode::OK], Some(revision)).await?;
        let said = answer.headers().get(CONTENT_DIGEST).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let bytes = self.read(answer, MAX_SAID, "the manifest").await?;
        let found = digest(&bytes);
        let expected = if let Revision::Digest(digest) = revision { Some(digest.clone()) } else { said };
        if expected.is_some_and(|expected| expected != found) {
            return Err(RegistryError::Digest("the manifest"));
        }
        let layer = Manifest::read(&bytes).map_err(RegistryError::Manifest)?;
        if layer.size > MAX_TAR {
            return Err(RegistryError::TooLarge("the policy"));
        }
        let blob = self.blob(&layer.digest, layer.size).await?;
        let read = if layer.is_compressed() { Package::from_gzip } else { Package::from_tar_below };
        Ok((read(&blob, layer.below())?, found))
    }

    /// Its bytes, which are those of that digest.
    async fn blob(&self, expected: &str, size: u64) -> Registered<Vec<u8>> {
        let mut url = self.url(&format!("blobs/{expected}"))?;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.send(Method::GET, url.clone(), &[], None, Purpose::Pull).await?;
            if answer.status().is_redirection() {
                let next = target(&answer).ok_or_else(|| RegistryError::Redirect(self.host.clone()))?;
                if url.scheme() == "https" && next.scheme() != "https" {
                    return Err(RegistryError::Downgrade(shown_host(&url)));
                }
                url = next;
                continue;
            }
            let answer = self.expect(answer, "a blob", &[StatusCode::OK], None).await?;
            let bytes = self.read(answer, size, "the policy").await?;
            if bytes.len() as u64 != size || digest(&bytes) != expected {
                return Err(RegistryError::Digest("the policy"));
            }
            return Ok(bytes);
        }
        Err(RegistryError::Redirect(self.host.clone()))
    }

    /// The digest of the manifest.
    pub async fn push(&self, package: &Package, tag: &Revision) -> Registered<String> {
        let tar = package.to_tar().map_err(RegistryError::Pack)?;
        let manifest = Manifest::of(package, &tar);
        self.upload(EMPTY.to_vec()).await?;
        self.upload(tar).await?;
        let url = self.url(&format!("manifests/{}", tag.as_str()))?;
        let pushed = digest(&manifest);
        let kind = [(CONTENT_TYPE, OCI_MANIFEST)];
        let answer = self.send(Method::PUT, url, &kind, Some(manifest), Purpose::Push).await?;
        let answer = self.expect(answer, "a manifest that is put", &[StatusCode::CREATED], None).await?;
        let said = answer.headers().get(CONTENT_DIGEST).and_then(|value| value.to_str().ok());
        if said.is_some_and(|said| said != pushed) {
            return Err(RegistryError::Digest("the manifest"));
        }
        Ok(pushed)
    }

    async fn upload(&self, bytes: Vec<u8>) -> Registered<()> {
        let digest = digest(&bytes);
        let url = self.url(&format!("blobs/{digest}"))?;
        let there = self.send(Method::HEAD, url, &[], None, Purpose::Push).await?;
        if there.status() == StatusCode::OK {
            return Ok(());
        }
        let url = self.url("blobs/uploads/")?;
        let answer = self.send(Method::POST, url, &[], Some(Vec::new()), Purpose::Push).await?;
        let answer = self.expect(answer, "an upload", &[StatusCode::ACCEPTED], None).await?;
        let mut place = target(&answer).ok_or_else(|| RegistryError::Redirect(self.host.clone()))?;
        if place.origin() != self.base.origin() {
            return Err(RegistryError::ForeignUpload(self.host.clone()));
        }
        place.query_pairs_mut().append_pair("digest", &digest);
        let kind = [(CONTENT_TYPE, "application/octet-stream")];
        let answer = self.send(Method::PUT, place, &kind, Some(bytes), Purpose::Push).await?;
        self.expect(answer, "an upload", &[StatusCode::CREATED], None).await.map(drop)
    }

    fn url(&self, below: &str) -> Registered<Url> {
        self.base.join(below).map_err(|_| RegistryError::Redirect(self.host.clone()))
    }

    /// Logs in where it must. Only the registry itself is told who we are: nobody to whom it sends us.
    async fn send(
        &self,
        method: Method,
        url: Url,
        headers: &[(reqwest::header::HeaderName, &'static str)],
        body: Option<Vec<u8>>,
        purpose: Purpose,
    ) -> Registered<Response> {
        let at_home = url.origin() == self.base.origin();
        let mut tried = false;
        loop {
            let mut request = self.http.request(method.clone(), url.clone());
            for (name, value) in headers {
                request = request.header(name, *value);
            }
            if let Some(authorization) = self.authorization().filter(|_| at_home) {
                request = request.header(AUTHORIZATION, authorization);
            }
            if let Some(body) = &body {
                request = request.body(body.clone());
            }
            let answer = request.send().await.map_err(|error| unreachable(&url, error))?;
            if answer.status() != StatusCode::UNAUTHORIZED || !at_home || tried {
                return Ok(answer);
            }
            tried = true;
            self.log_in(&answer, purpose).await?;
        }
    }

    fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    async fn login(&self) -> Registered<Option<&Known>> {
        Ok(self.login.get_or_try_init(|| self.logins.of(&self.host)).await?.as_ref())
    }

    /// As the registry asks for it.
    async fn log_in(&self, answer: &Response, purpose: Purpose) -> Registered<()> {
        let said = answer.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenge = Challenge::best(said);
        let known = self.login().await?;
        let authorization = match challenge {
            Some(Challenge::Bearer { realm, service }) => {
                self.token(&realm, service.as_deref(), known, purpose).await?
            }
            Some(Challenge::Basic) => {
                let host = || self.host.clone();
                let hint = || RegistryError::LoginNeeded { host: host(), hint: self.logins.hint(&self.host) };
                let Known { login, keeper } = known.ok_or_else(hint)?;
                login.basic().ok_or_else(|| RegistryError::NotPassword { host: host(), keeper: keeper.clone() })?
            }
            None => return Err(RegistryError::Challenge(self.host.clone())),
        };
        *self.authorization.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(authorization);
        Ok(())
    }

    /// Of whoever the registry names. What it is to open is said by us, not by the registry.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        known: Option<&Known>,
        purpose: Purpose,
    ) -> Registered<HeaderValue> {
        let unknown = || RegistryError::Challenge(self.host.clone());
        let mut url = Url::parse(realm).map_err(|_| unknown())?;
        match url.scheme() {
            "https" => {}
            "http" if self.base.scheme() == "http" => {}
            "http" => return Err(RegistryError::Downgrade(self.host.clone())),
            _ => return Err(unknown()),
        }
        let actions = if purpose == Purpose::Pull { "pull" } else { "pull,push" };
        let scope = format!("repository:{}:{actions}", self.repository);
        let service = service.map(|service| ("service", service));
        let asked = service.into_iter().chain([("scope", scope.as_str())]);
        let request = match known.map(|known| &known.login) {
            // OAuth 2.0, as the token server of a registry speaks it.
            Some(Login::Token(token)) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.extend_pairs([("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", token)]);
                let form = form.extend_pairs(asked).finish();
                self.http.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
            }
            login => {
                url.query_pairs_mut().extend_pairs(asked);
                let request = self.http.get(url.clone());
                match login.and_then(Login::basic) {
                    Some(basic) => request.header(AUTHORIZATION, basic),
                    None => request,
                }
            }
        };
        let is_renewed = known.is_some_and(|known| matches!(known.login, Login::Token(_)));
        let answer = request.send().await.map_err(|error| unreachable(&url, error))?;
        match answer.status() {
            StatusCode::OK => {}
            // RFC 6749, section 5.2: what is wrong with a token is 400.
            status if matches!(status.as_u16(), 401 | 403) || status == StatusCode::BAD_REQUEST && is_renewed => {
                let (host, registry) = (shown_host(&url), self.host.clone());
                return Err(match known {
                    Some(Known { keeper, .. }) => {
                        RegistryError::LoginRefused { host, registry, keeper: keeper.clone() }
                    }
                    None => RegistryError::LoginNeeded { host: registry, hint: self.logins.hint(&self.host) },
                });
            }
            status => {
                return Err(RegistryError::Status { what: "a token", status: status.as_u16(), code: String::new() });
            }
        }
        let bytes = self.read(answer, MAX_SAID, "the token").await?;
        challenge::token(&bytes).ok_or_else(unknown)
    }

    /// What was asked for, or why it is not there.
    async fn expect(
        &self,
        answer: Response,
        what: &'static str,
        good: &[StatusCode],
        revision: Option<&Revision>,
    ) -> Registered<Response> {
        let status = answer.status();
        if good.contains(&status) {
            return Ok(answer);
        }
        if status == StatusCode::UNAUTHORIZED {
            let hint = match self.login().await? {
                Some(Known { keeper, .. }) => format!("the one that `{keeper}` has is not taken"),
                None => self.logins.hint(&self.host),
            };
            return Err(RegistryError::LoginNeeded { host: self.host.clone(), hint });
        }
        if status == StatusCode::NOT_FOUND
            && let Some(revision) = revision
        {
            let separator = if matches!(revision, Revision::Digest(_)) { '@' } else { ':' };
            return Err(RegistryError::NotFound(format!("{}{separator}{}", self.repository, revision.as_str())));
        }
        let code = self.read(answer, MAX_SAID, "the answer").await.ok().and_then(|bytes| challenge::code(&bytes));
        let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
        Err(RegistryError::Status { what, status: status.as_u16(), code })
    }

    async fn read(&self, mut answer: Response, limit: u64, what: &'static str) -> Registered<Vec<u8>> {
        if answer.content_length().is_some_and(|length| length > limit) {
            return Err(RegistryError::TooLarge(what));
        }
        let mut bytes = Vec::new();
        loop {
            let host = self.host.clone();
            let chunk = answer.chunk().await;
            let chunk = chunk.map_err(|error| RegistryError::Unreachable { host, source: error.without_url() })?;
            let Some(chunk) = chunk else { return Ok(bytes) };
            if bytes.len() as u64 + chunk.len() as u64 > limit {
                return Err(RegistryError::TooLarge(what));
            }
            bytes.extend_from_slice(&chunk);
        }
    }
}

fn unreachable(url: &Url, error: reqwest::Error) -> RegistryError {
    // A URL may have a key in its query.
    RegistryError::Unreachable { host: shown_host(url), source: error.without_url() }
}

fn shown_host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Where an answer leads: over HTTP, and without a login in it.
fn target(answer: &Response) -> Option<Url> {
    let location = answer.headers().get(LOCATION)?.to_str().ok()?;
    let url = answer.url().join(location).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()).then_some(url)
}
