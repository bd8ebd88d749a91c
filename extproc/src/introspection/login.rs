//! How the gateway logs in to the authorization server: with a name and a password, or with a token of its own, which is
//! kept, and renewed before it ends.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::Serializer;
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde_json::Value;
use tokio::sync::Mutex;

use super::SetupError;
use super::server::{Endpoint, ServerError, parse};

/// After a renewal that failed while the old token is still good.
const RETRY: Duration = Duration::from_secs(5);
/// A token is renewed this long before its end, or in the last fifth of its life.
const AHEAD: Duration = Duration::from_secs(60);
/// A token that says it lives longer is renewed as if it did not.
const LONGEST: Duration = Duration::from_hours(24 * 365);

#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// RFC 7617, as written.
    Basic { user: String, password: String },
    /// `Authorization: Bearer`.
    Token(OwnToken),
}

/// Where the gateway's own token comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum OwnToken {
    Fixed(String),
    /// Fetched by `grant`; `first` is used until it ends or is refused.
    Granted {
        first: Option<String>,
        grant: Grant,
    },
}

/// RFC 6749.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// The token endpoint.
    pub url: String,
    pub kind: GrantKind,
    pub client: ClientAuthentication,
    pub scopes: Vec<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub enum GrantKind {
    ClientCredentials,
    Password { user: String, password: String },
    Refresh { token: String },
}

/// How the client says who it is at the token endpoint, RFC 6749 section 2.3.1.
#[derive(Clone, PartialEq, Eq)]
pub enum ClientAuthentication {
    Header {
        id: String,
        secret: String,
    },
    Body {
        id: String,
        secret: String,
    },
    /// Only its name, if it has one.
    Nothing {
        id: Option<String>,
    },
}

/// The gateway's standing at the server.
pub(super) enum Session {
    Basic(Credential),
    Token(Arc<Tokens>),
}

/// What goes into `Authorization`.
#[derive(Clone)]
pub(super) struct Credential(Arc<Held>);

struct Held {
    header: HeaderValue,
    /// `None`: nobody knows.
    life: Option<Life>,
}

#[derive(Clone, Copy)]
struct Life {
    renewed: Instant,
    ends: Instant,
}

pub(super) struct Tokens {
    held: ArcSwapOption<Held>,
    /// `None`: there is one token only.
    source: Option<Mutex<Source>>,
    endpoint: Endpoint,
}

/// What tokens are fetched by; whoever has it is the only one who does.
struct Source {
    url: Url,
    grant: Grant,
    /// The last renewal failed then.
    failed: Option<Instant>,
}

// === impl Session ===

impl Session {
    pub(super) fn new(login: Login, endpoint: Endpoint) -> Result<Session, SetupError> {
        let (first, grant) = match login {
            Login::Basic { user, password } => {
                let header = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
                return Ok(Session::Basic(Credential::new(&header, None).ok_or(SetupError::Credential)?));
            }
            Login::Token(OwnToken::Fixed(token)) => (Some(token), None),
            Login::Token(OwnToken::Granted { first, grant }) => (first, Some(grant)),
        };
        let first = first.map(|token| Credential::bearer(&token, None).ok_or(SetupError::Credential)).transpose()?;
        let source = |grant: Grant| Ok::<_, SetupError>(Source { url: parse(&grant.url)?, grant, failed: None });
        Ok(Session::Token(Arc::new(Tokens {
            held: ArcSwapOption::new(first.map(|first| first.0)),
            source: grant.map(source).transpose()?.map(Mutex::new),
            endpoint,
        })))
    }

    pub(super) async fn credential(&self) -> Result<Credential, ServerError> {
        match self {
            Session::Basic(credential) => Ok(credential.clone()),
            Session::Token(tokens) => tokens.current().await,
        }
    }

    /// One that may do better than `refused`.
    pub(super) async fn other_than(&self, refused: &Credential) -> Result<Credential, ServerError> {
        match self {
            Session::Basic(_) => Err(ServerError::Status(reqwest::StatusCode::UNAUTHORIZED)),
            Session::Token(tokens) => tokens.other_than(Some(refused)).await,
        }
    }
}

// === impl Tokens ===

impl Tokens {
    /// As long as a token is good nobody waits for the next.
    async fn current(self: &Arc<Self>) -> Result<Credential, ServerError> {
        let Some(held) = self.held.load_full().map(Credential) else { return self.other_than(None).await };
        let now = Instant::now();
        match held.0.life {
            Some(life) if now >= life.ends => self.other_than(Some(&held)).await,
            Some(life) if now >= life.renewed => {
                let (tokens, old) = (Arc::clone(self), held.clone());
                tokio::spawn(async move { tokens.renew(&old).await });
                Ok(held)
            }
            _ => Ok(held),
        }
    }

    /// Behind everybody's back, unless somebody is at it or has just failed.
    async fn renew(&self, old: &Credential) {
        let Some(Ok(mut source)) = self.source.as_ref().map(Mutex::try_lock) else { return };
        if self.replaced(Some(old)).is_some() || source.failed.is_some_and(|failed| failed.elapsed() < RETRY) {
            return;
        }
        if let Err(error) = self.fetch(&mut source).await {
            source.failed = Some(Instant::now());
            tracing::warn!(%error, "the gateway's own token for the authorization server could not be renewed yet");
        }
    }

    /// A token that is not `old`: fetched, unless somebody else has.
    async fn other_than(&self, old: Option<&Credential>) -> Result<Credential, ServerError> {
        let Some(source) = &self.source else { return Err(ServerError::OwnToken) };
        let mut source = source.lock().await;
        if let Some(other) = self.replaced(old) {
            return Ok(other);
        }
        self.fetch(&mut source).await.map_err(|error| ServerError::NoOwnToken(Box::new(error)))
    }

    fn replaced(&self, old: Option<&Credential>) -> Option<Credential> {
        let held = self.held.load_full()?;
        old.is_none_or(|old| !Arc::ptr_eq(&old.0, &held)).then_some(Credential(held))
    }

    async fn fetch(&self, source: &mut Source) -> Result<Credential, ServerError> {
        let (form, authorization) = source.grant.request()?;
        let text = self.endpoint.post(&source.url, form, authorization).await?;
        let answer: Value = serde_json::from_slice(&text).map_err(|_| ServerError::TokenAnswer("access_token"))?;
        let member = |name| answer.get(name).and_then(Value::as_str);
        if !member("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err(ServerError::TokenAnswer("token_type"));
        }
        let life =
            answer.get("expires_in").and_then(Value::as_u64).map(|seconds| Life::new(Duration::from_secs(seconds)));
        let token = member("access_token").and_then(|token| Credential::bearer(token, life));
        let token = token.ok_or(ServerError::TokenAnswer("access_token"))?;
        // RFC 6749 section 6: the old one may be worth nothing from now on.
        if let (GrantKind::Refresh { token: old }, Some(next)) = (&mut source.grant.kind, member("refresh_token")) {
            next.clone_into(old);
        }
        source.failed = None;
        self.held.store(Some(Arc::clone(&token.0)));
        Ok(token)
    }
}

// === impl Grant ===

impl Grant {
    /// The form, and `Authorization`.
    fn request(&self) -> Result<(String, Option<HeaderValue>), ServerError> {
        let mut form = Serializer::new(String::new());
        match &self.kind {
            GrantKind::ClientCredentials => form.append_pair("grant_type", "client_credentials"),
            GrantKind::Password { user, password } => form
                .append_pair("grant_type", "password")
                .append_pair("username", user)
                .append_pair("password", password),
            GrantKind::Refresh { token } => {
                form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token)
            }
        };
        if !self.scopes.is_empty() {
            form.append_pair("scope", &self.scopes.join(" "));
        }
        let header = match &self.client {
            ClientAuthentication::Header { id, secret } => {
                // Encoded first, unlike users and passwords elsewhere: RFC 6749 section 2.3.1.
                let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let login = STANDARD.encode(format!("{}:{}", encode(id), encode(secret)));
                Some(sensitive(&format!("Basic {login}")).ok_or(ServerError::OwnToken)?)
            }
            ClientAuthentication::Body { id, secret } => {
                form.append_pair("client_id", id).append_pair("client_secret", secret);
                None
            }
            ClientAuthentication::Nothing { id } => {
                if let Some(id) = id {
                    form.append_pair("client_id", id);
                }
                None
            }
        };
        Ok((form.finish(), header))
    }
}

// === impl Credential ===

impl Credential {
    fn new(header: &str, life: Option<Life>) -> Option<Credential> {
        Some(Credential(Arc::new(Held { header: sensitive(header)?, life })))
    }

    fn bearer(token: &str, life: Option<Life>) -> Option<Credential> {
        if token.is_empty() { None } else { Credential::new(&format!("Bearer {token}"), life) }
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.header.clone()
    }
}

// === impl Life ===

impl Life {
    fn new(length: Duration) -> Life {
        let (now, length) = (Instant::now(), length.min(LONGEST));
        Life { renewed: now + length.saturating_sub(AHEAD.min(length / 5)), ends: now + length }
    }
}

/// A header that no log shows.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Nothing of them but what they are.
macro_rules! hidden {
    ($($kind:ty),+) => {
        $(impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($kind), "(..)"))
            }
        })+
    };
}
hidden!(Login, OwnToken, Grant, GrantKind, ClientAuthentication);
