//! How key sets are reached over the network.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, NoProxy, Proxy, Url};

use super::FetchError;

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

/// The client of every source: another takes its place when what is trusted changes.
#[derive(Clone)]
pub(super) struct Clients(Arc<ArcSwap<Client>>);

// === impl Transport ===

impl Transport {
    fn client(&self, timeout: Duration) -> reqwest::Result<Client> {
        let mut client = Client::builder()
            .redirect(Policy::custom(follow))
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
    pub(super) fn new(transport: &Transport, timeout: Duration) -> Result<Clients, FetchError> {
        let client = transport.client(timeout).map_err(FetchError::Client)?;
        Ok(Clients(Arc::new(ArcSwap::from_pointee(client))))
    }

    pub(super) fn replace(&self, transport: &Transport, timeout: Duration) -> Result<(), FetchError> {
        self.0.store(Arc::new(transport.client(timeout).map_err(FetchError::Client)?));
        Ok(())
    }

    pub(super) fn current(&self) -> Arc<Client> {
        self.0.load_full()
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
