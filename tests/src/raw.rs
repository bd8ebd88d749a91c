//! Requests that no well-behaved client would send.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::PATIENCE;

/// What came back.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// 0: none.
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Whether the answer is there, as far as its head tells.
pub(crate) fn is_complete(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    match head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()) {
        Some(length) => length.trim().parse().is_ok_and(|length: usize| body.len() >= length),
        None => body.ends_with("0\r\n\r\n"),
    }
}

/// What comes back over a connection of its own, until it is enough, or the other side ends the connection.
///
/// # Panics
/// When nobody listens, or neither happens in time.
pub async fn exchange(address: SocketAddr, request: &[u8], is_enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.set_nodelay(true).expect("it is a TCP stream");
        // The other side may have heard enough before the end.
        let _ = stream.write_all(request).await;
        let mut bytes = Vec::new();
        while !is_enough(&bytes) && stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
        bytes
    };
    timeout(PATIENCE, exchange).await.expect("there is an answer")
}

// === impl RawAnswer ===

impl RawAnswer {
    /// Sends the bytes over a connection of their own.
    ///
    /// # Panics
    /// When nobody listens, or nothing comes back.
    pub async fn of(address: SocketAddr, request: &[u8]) -> RawAnswer {
        // Envoy keeps a connection that it has given up on open for another second: the answer is what counts.
        RawAnswer::read(&exchange(address, request, is_complete).await)
    }

    pub(crate) fn read(bytes: &[u8]) -> RawAnswer {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        RawAnswer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// A GET of `target`, byte for byte.
    pub async fn get(address: SocketAddr, target: &[u8]) -> RawAnswer {
        let request = [b"GET ", target, b" HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n"].concat();
        RawAnswer::of(address, &request).await
    }

    /// What the echoing backend saw, if it was asked.
    pub fn echo(&self) -> Option<serde_json::Value> {
        // Bodies of unknown length are chunked; an echo is one chunk.
        let body = self.body.find('{').and_then(|start| Some(&self.body[start..=self.body.rfind('}')?]))?;
        serde_json::from_str::<serde_json::Value>(body).ok().filter(|body| body.get("backend").is_some())
    }
}
