//! HTTP/1.1, byte by byte: no library would send what this does.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{Mood, Peer, Request, Shared};

/// What can be reset.
pub(super) trait Connection: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Connection for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Connection for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

pub(super) async fn serve(mut stream: impl Connection, shared: Arc<Shared>, peer: Peer) {
    let mut bytes = Vec::new();
    while let Some(head) = head(&mut stream, &mut bytes).await {
        let length = header(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        while bytes.len() < length && stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
        bytes.drain(..length.min(bytes.len()));
        let mut line = head.split(' ');
        let mut word = || line.next().unwrap_or_default().to_owned();
        let request = Request {
            method: word(),
            path: word(),
            version: 1,
            host: header(&head, "host").unwrap_or_default().to_owned(),
            server_name: peer.server_name.clone(),
            client: peer.certificate.clone(),
        };
        let body = shared.body();
        let whole = |status: u16, more: &str| {
            let length = body.len();
            let fields = "content-type: application/json\r\n";
            format!("HTTP/1.1 {status} Told\r\n{fields}content-length: {length}\r\n{more}\r\n{body}")
        };
        let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
        let (answer, then) = match shared.take(request) {
            Mood::Well => (whole(200, ""), Then::GoOn),
            Mood::WellAndGone => (whole(200, "connection: close\r\n"), Then::Close),
            Mood::Status(status) => (whole(status, ""), Then::GoOn),
            Mood::Hang => (String::new(), Then::Wait),
            Mood::SlowHead => ("HTTP/1.1 200 OK\r\nx-slow: ".to_owned(), Then::Wait),
            Mood::SlowBody => (half.to_owned(), Then::Wait),
            Mood::Reset => (String::new(), Then::Reset),
            Mood::ResetInBody => (half.to_owned(), Then::Reset),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        match then {
            Then::GoOn => {}
            Then::Close => {
                let _ = stream.shutdown().await;
                return;
            }
            // Until the other side gives up.
            Then::Wait => while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {},
            Then::Reset => {
                let _ = stream.tcp().set_zero_linger();
                return;
            }
        }
    }
}

enum Then {
    GoOn,
    Close,
    Wait,
    Reset,
}

/// The next head, in lower case but for its first line; what comes after it stays in `bytes`.
async fn head(stream: &mut impl Connection, bytes: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = bytes.drain(..end + 4).collect::<Vec<_>>();
            return Some(String::from_utf8_lossy(&head).into_owned());
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}
