//! How the gateway itself reaches others over the network: issuers' keys, the authorization server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, NoProxy, Proxy, Url};

const MAX_REDIRECTS: usize = 3;
/// A proxy has a loopback of its own.
const THIS_HOST: &str = "localhost,127.0.0.0/8,::1";

#[derive(Clone, Debug, Default)]
pub struct Transport {
    /// Certificates, DER, that are trusted instead of the system's authorities.
    pub trust: Option<Vec<Vec<u8>>>,
    /// For all hosts but this one. `None`: as the environment says.
    pub proxy: Option<ForwardProxy>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct ForwardProxy {
    /// `http://host:port`.
    pub url: String,
    /// User and password.
    pub credentials: Option<(String, String)>,
}

/// What becomes of an answer that points elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redirects {
    /// Followed from https to https.
    Followed,
    /// An answer like any other: credentials go to the place that was named, and nowhere else.
    Refused,
}

/// The HTTP client for one purpose: another takes its place when what is trusted changes.
#[derive(Clone)]
pub(crate) struct Clients {
    current: Arc<ArcSwap<Client>>,
    redirects: Redirects,
    /// To connect.
    timeout: Duration,
}

/// The HTTP client cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be set up: {}", chain(.0))]
pub struct ClientError(#[from] reqwest::Error);

// === impl Transport ===

impl Transport {
    /// For services that messages go through: an answer that points elsewhere is none.
    ///
    /// # Errors
    /// Something that is trusted cannot be read.
    pub fn interceptor_client(&self, connect: Duration) -> Result<Client, ClientError> {
        Ok(self.client(Redirects::Refused, connect)?)
    }

    fn client(&self, redirects: Redirects, timeout: Duration) -> reqwest::Result<Client> {
        let policy = match redirects {
            Redirects::Followed => Policy::custom(follow),
            Redirects::Refused => Policy::none(),
        };
        let mut client = Client::builder()
            .redirect(policy)
            .connect_timeout(timeout)
            .user_agent(concat!("micro-gw/", env!("CARGO_PKG_VERSION")));
        if let Some(trust) = &self.trust {
            let certificates =
                trust.iter().map(|der| Certificate::from_der(der)).collect::<reqwest::Result<Vec<_>>>()?;
            client = client.tls_certs_only(certificates);
        }
        if let Some(proxy) = &self.proxy {
            let mut forward = Proxy::all(&proxy.url)?.no_proxy(NoProxy::from_string(THIS_HOST));
            if let Some((user, password)) = &proxy.credentials {
                forward = forward.basic_auth(user, password);
            }
            client = client.proxy(forward);
        }
        client.build()
    }
}

impl fmt::Debug for ForwardProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardProxy").field("url", &self.url).finish_non_exhaustive()
    }
}

// === impl Clients ===

impl Clients {
    pub(crate) fn new(transport: &Transport, redirects: Redirects, timeout: Duration) -> Result<Clients, ClientError> {
        let client = transport.client(redirects, timeout)?;
        Ok(Clients { current: Arc::new(ArcSwap::from_pointee(client)), redirects, timeout })
    }

    pub(crate) fn replace(&self, transport: &Transport) -> Result<(), ClientError> {
        self.current.store(Arc::new(transport.client(self.redirects, self.timeout)?));
        Ok(())
    }

    pub(crate) fn current(&self) -> Arc<Client> {
        self.current.load_full()
    }
}

/// From https to https only: what was reached without TLS may not say where the keys are.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let https = |url: &Url| url.scheme() == "https";
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if https(attempt.url()) && attempt.previous().iter().all(https) {
        attempt.follow()
    } else {
        attempt.error("a redirect that is not from https to https")
    }
}

/// Appends what arrives of a body to `text`, and stops beyond `limit` bytes.
pub(crate) async fn read_body(
    response: &mut reqwest::Response,
    limit: usize,
    text: &mut Vec<u8>,
) -> reqwest::Result<()> {
    while let Some(chunk) = response.chunk().await? {
        text.extend_from_slice(&chunk);
        if text.len() > limit {
            break;
        }
    }
    Ok(())
}

/// With the reasons below it: reqwest's own text ends at "error sending request".
pub(crate) fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
