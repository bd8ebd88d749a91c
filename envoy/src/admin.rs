//! Envoy's admin interface, over its Unix socket.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Bytes of one answer: a bound on our memory, not on what Envoy has to say.
const MAX_ANSWER: usize = 256 << 20;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one Envoy. Connects anew for each question: they are few, and Envoys come and go.
#[derive(Clone, Debug)]
pub struct Admin {
    socket: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("cannot reach Envoy's admin interface at `{}`", .socket.display())]
    Connect { socket: PathBuf, source: io::Error },
    #[error("Envoy's admin interface did not answer {path} within {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout { path: String },
    #[error("Envoy's admin interface failed to answer {path}")]
    Http { path: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("Envoy's admin interface answered {path} with {status}")]
    Status { path: String, status: StatusCode },
    #[error("cannot read Envoy's answer to {path}")]
    Answer { path: String, source: serde_json::Error },
}

/// `/server_info`, the part that is of use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ServerInfo {
    /// `<commit>/<version>/...`.
    pub version: String,
    /// `LIVE`, `DRAINING`, `PRE_INITIALIZING` or `INITIALIZING`.
    pub state: String,
}

#[derive(Deserialize)]
struct ListenerList {
    // Envoy leaves out what is empty.
    #[serde(default)]
    listener_statuses: Vec<ListenerStatus>,
}

#[derive(Deserialize)]
struct ListenerStatus {
    name: String,
    local_address: Address,
}

#[derive(Deserialize)]
struct Address {
    /// Absent for a Unix socket.
    socket_address: Option<SocketAddress>,
}

#[derive(Deserialize)]
struct SocketAddress {
    address: IpAddr,
    port_value: u16,
}

// === impl Admin ===

impl Admin {
    pub fn new(socket: &Path) -> Admin {
        Admin { socket: socket.to_owned() }
    }

    /// Listeners by name with the addresses that they really have, also where port 0 was asked for. Empty until the
    /// first snapshot has arrived.
    pub async fn listeners(&self) -> Result<Vec<(String, SocketAddr)>, AdminError> {
        let path = "/listeners?format=json";
        let list: ListenerList = decode(path, &self.get(path).await?)?;
        let addressed = list.listener_statuses.into_iter().filter_map(|listener| {
            let address = listener.local_address.socket_address?;
            Some((listener.name, SocketAddr::new(address.address, address.port_value)))
        });
        Ok(addressed.collect())
    }

    /// Whether Envoy is live: initialised and not draining.
    pub async fn ready(&self) -> Result<bool, AdminError> {
        match self.get("/ready").await {
            Ok(_) => Ok(true),
            Err(AdminError::Status { status: StatusCode::SERVICE_UNAVAILABLE, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub async fn server_info(&self) -> Result<ServerInfo, AdminError> {
        let path = "/server_info";
        decode(path, &self.get(path).await?)
    }

    /// Counters and gauges whose name matches `filter`, a regular expression of RE2.
    pub async fn stats(&self, filter: &str) -> Result<BTreeMap<String, u64>, AdminError> {
        let answer = self.get(&format!("/stats?filter={}", encoded(filter))).await?;
        let text = String::from_utf8_lossy(&answer);
        let values = text.lines().filter_map(|line| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(values.collect())
    }

    /// All statistics in Prometheus' text format.
    pub async fn prometheus(&self) -> Result<Bytes, AdminError> {
        self.get("/stats/prometheus").await
    }

    pub async fn get(&self, path: &str) -> Result<Bytes, AdminError> {
        self.ask(Method::GET, path).await
    }

    /// Commands: `/healthcheck/fail`, `/drain_listeners?graceful`, `/logging?level=debug`.
    pub async fn post(&self, path: &str) -> Result<Bytes, AdminError> {
        self.ask(Method::POST, path).await
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Bytes, AdminError> {
        timeout(ANSWER_TIMEOUT, self.exchange(method, path))
            .await
            .unwrap_or_else(|_| Err(AdminError::Timeout { path: path.to_owned() }))
    }

    async fn exchange(&self, method: Method, path: &str) -> Result<Bytes, AdminError> {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| AdminError::Http { path: path.to_owned(), source };
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| AdminError::Connect { socket: self.socket.clone(), source })?;
        let (mut requests, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.into()))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "envoy-admin")
            .body(Empty::<Bytes>::new())
            .map_err(|error| failed(error.into()))?;
        let exchange = async move {
            let response = requests.send_request(request).await.map_err(|error| failed(error.into()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(failed)?.to_bytes();
            if status.is_success() { Ok(body) } else { Err(AdminError::Status { path: path.to_owned(), status }) }
        };
        // The connection makes progress only while it is polled. It ends with the answer, and its own error is the
        // exchange's too.
        let (answer, _) = tokio::join!(exchange, connection);
        answer
    }
}

fn decode<'a, T: Deserialize<'a>>(path: &str, answer: &'a [u8]) -> Result<T, AdminError> {
    serde_json::from_slice(answer).map_err(|source| AdminError::Answer { path: path.to_owned(), source })
}

/// Percent-encodes everything that is not unreserved (RFC 3986 section 2.3).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a `String` does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
