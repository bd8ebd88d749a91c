//! Services of Consul, over its HTTP API: instances that pass their checks, by questions that wait for news.

mod answer;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::backoff::Backoff;
use crate::health::{Health, SourceKind};
use crate::settings::Consul as Settings;
use crate::shared::{Following, Shared};
use crate::source::{Said, Source, tell};
use crate::tls::{self, TlsError};

use answer::places;

const FIRST_RETRY: Duration = Duration::from_millis(500);
/// Between two questions about one service, whatever answers say.
const PAUSE: Duration = Duration::from_millis(100);
const CONNECT: Duration = Duration::from_secs(2);
/// Beyond the time that a question waits, of which Consul adds up to a sixteenth.
const GRACE: Duration = Duration::from_secs(5);
/// An agent takes 200 connections of one client. Beyond this many services questions wait for each other.
const IN_FLIGHT: usize = 128;
/// How long they wait for news then.
const CROWDED: Duration = Duration::from_secs(1);
const MAX_ANSWER: usize = 4 << 20;

pub(crate) struct Consul {
    services: Shared<Said>,
    asked: Arc<Asked>,
}

struct Asked {
    /// `None`: nobody says where it is.
    settings: Option<Settings>,
    /// Made when it is needed, and anew when that was in vain.
    client: Mutex<Option<Client>>,
    health: Health,
    permits: Semaphore,
}

#[derive(Debug, thiserror::Error)]
enum ConsulError {
    #[error("the URL is not valid")]
    Url,
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the token is not one that can be sent")]
    Token,
    #[error("{}", chain(.0))]
    Http(#[from] reqwest::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("the answer has more than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("there is no room for another question")]
    Busy,
}

/// What was answered, and the index that says how new it is.
struct Answer {
    body: Vec<u8>,
    /// `None`: it has none to wait by.
    index: Option<u64>,
}

// === impl Consul ===

impl Consul {
    pub(crate) fn new(settings: Option<&Settings>, runtime: &Handle) -> Consul {
        let asked = Asked {
            settings: settings.cloned(),
            client: Mutex::new(None),
            health: Health::new(SourceKind::Consul),
            permits: Semaphore::new(IN_FLIGHT),
        };
        Consul { services: Shared::new(runtime), asked: Arc::new(asked) }
    }
}

impl Source for Consul {
    fn follow(&self, name: &str) -> Following<Said> {
        let configured = self.asked.settings.is_some();
        if !configured {
            self.asked.health.unconfigured(name);
        }
        let first = if configured { Said::Pending } else { Said::Silent };
        self.services.follow(name, first, |name, told| Asked::about(self.asked.clone(), name, told))
    }

    fn health(&self) -> &Health {
        &self.asked.health
    }
}

// === impl Asked ===

impl Asked {
    async fn about(asked: Arc<Asked>, name: Arc<str>, told: watch::Sender<Said>) {
        let Some(settings) = &asked.settings else {
            // Whoever follows must not find that the one who tells has gone.
            return told.closed().await;
        };
        let mut backoff = Backoff::new(FIRST_RETRY.min(settings.max_pause), settings.max_pause);
        let mut index: Option<u64> = None;
        let mut missing_since: Option<Instant> = None;
        loop {
            let left = missing_since.map(|since| settings.keep_missing.saturating_sub(since.elapsed()));
            // A service that is about to be given up is asked about when it is time.
            let wait = left.filter(|left| !left.is_zero()).map_or(settings.wait, |left| left.min(settings.wait));
            let begun = Instant::now();
            match asked.ask(settings, &name, index, wait).await {
                Err(error) => {
                    asked.health.failed(&name, &error);
                    Said::nothing_new(&told);
                    // What is asked next is answered at once: nothing is missed.
                    (index, missing_since) = (None, None);
                    tokio::time::sleep(backoff.pause()).await;
                }
                Ok(answer) => {
                    asked.health.succeeded();
                    backoff.reset();
                    // One that goes back is begun with anew: the agent, or all of it, was.
                    index = answer.index.filter(|new| index.is_none_or(|last| *new >= last));
                    match places(&answer.body) {
                        Err(refusal) => {
                            asked.health.refused(&name, &refusal);
                            Said::nothing_new(&told);
                        }
                        Ok(places) if places.is_empty() => {
                            let since = *missing_since.get_or_insert(begun);
                            let known = matches!(*told.borrow(), Said::Places(_));
                            if !known || since.elapsed() >= settings.keep_missing {
                                tell(&told, Said::Missing);
                            }
                        }
                        Ok(places) => {
                            missing_since = None;
                            tell(&told, Said::Places(places.into()));
                        }
                    }
                    let pause = if index.is_none() { CROWDED } else { PAUSE.saturating_sub(begun.elapsed()) };
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn ask(
        &self,
        settings: &Settings,
        name: &str,
        index: Option<u64>,
        wait: Duration,
    ) -> Result<Answer, ConsulError> {
        let crowded = self.permits.available_permits() == 0;
        let _permit = self.permits.acquire().await.map_err(|_| ConsulError::Busy)?;
        let wait = if crowded { wait.min(CROWDED) } else { wait };
        let client = self.client(settings)?;
        let mut url = Url::parse(&settings.url).map_err(|_| ConsulError::Url)?;
        // A segment of its own, whatever is in the name.
        url.path_segments_mut().map_err(|()| ConsulError::Url)?.clear().extend(["v1", "health", "service", name]);
        url.query_pairs_mut().append_pair("passing", "true");
        if let Some(datacenter) = &settings.datacenter {
            url.query_pairs_mut().append_pair("dc", datacenter);
        }
        let mut timeout = GRACE;
        if let Some(index) = index {
            let milliseconds = format!("{}ms", wait.as_millis().max(1));
            url.query_pairs_mut().append_pair("index", &index.to_string()).append_pair("wait", &milliseconds);
            timeout += wait + wait / 16;
        }
        let sent = client.get(url).timeout(timeout).send().await;
        let mut response = sent.map_err(reqwest::Error::without_url).inspect_err(|error| {
            // A certificate may have been renewed.
            if error.is_connect() {
                *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
        })?;
        if response.status() != StatusCode::OK {
            return Err(ConsulError::Status(response.status()));
        }
        let header = response.headers().get("x-consul-index");
        let index = header.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(ConsulError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        // 0 would be answered at once, and again and again.
        Ok(Answer { body, index: index.filter(|index| *index > 0) })
    }

    fn client(&self, settings: &Settings) -> Result<Client, ConsulError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = &settings.token {
            let mut token = HeaderValue::from_str(token).map_err(|_| ConsulError::Token)?;
            token.set_sensitive(true);
            headers.insert("x-consul-token", token);
        }
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .tcp_keepalive(Duration::from_secs(10))
            .default_headers(headers)
            .user_agent(concat!("micro-gw/", env!("CARGO_PKG_VERSION")));
        if settings.url.starts_with("https://") {
            builder = builder.tls_backend_preconfigured(tls::client(&settings.tls, b"http/1.1")?);
        }
        Ok(client.insert(builder.build()?).clone())
    }
}

/// reqwest's own text ends at "error sending request".
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
