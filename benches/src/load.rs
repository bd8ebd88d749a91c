//! Closed-loop load over HTTP/1.1: each connection sends its next request when it has the whole answer to the last.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Requests in flight.
pub const CONNECTIONS: usize = 16;
/// Requests of one load: an end, should nobody stop it.
const MOST: u64 = 5_000_000;
/// Bytes of a response, head and body. Ours are a few hundred.
const BUFFER: usize = 16 * 1024;

/// What is asked of whom.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// Asked in turn. Not empty.
    pub requests: Arc<[Vec<u8>]>,
    /// With which they are answered.
    pub status: u16,
}

/// How requests ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub answered: u64,
    /// Answered with another status, or not at all.
    pub failed: u64,
}

/// A load that goes on until it is stopped, or dropped.
pub struct Load {
    counters: Arc<Counters>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Counters {
    stopped: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// A keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Box<[u8; BUFFER]>,
}

/// The request for `path`, with more header lines if need be.
pub fn get(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    request("GET", path, headers)
}

/// One without a body.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: bench\r\naccept: application/json\r\n");
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    request.push_str("\r\n");
    request.into_bytes()
}

/// One with a body.
pub fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let headers = [headers, &[("content-length", &length), ("content-type", "application/json")]].concat();
    [&request("POST", path, &headers), body].concat()
}

// === impl Target ===

impl Target {
    /// Whose requests are answered 200.
    pub fn new(address: SocketAddr, requests: impl Into<Arc<[Vec<u8>]>>) -> Target {
        Target { address, requests: requests.into(), status: 200 }
    }
}

// === impl Load ===

impl Load {
    pub fn start(runtime: &Handle, target: &Target) -> Load {
        let counters = Arc::new(Counters::default());
        let spread = target.requests.len() / CONNECTIONS;
        let tasks = (0..CONNECTIONS)
            .map(|index| runtime.spawn(drive(target.clone(), index * spread, Arc::clone(&counters))))
            .collect();
        Load { counters, tasks }
    }

    pub fn count(&self) -> Count {
        Count {
            answered: self.counters.answered.load(Ordering::Relaxed),
            failed: self.counters.failed.load(Ordering::Relaxed),
        }
    }

    /// Lets the requests in flight end.
    pub fn stop(mut self, runtime: &Handle) -> Count {
        self.counters.stopped.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            // A task that panicked has been reported.
            let _ = runtime.block_on(task);
        }
        self.count()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn drive(target: Target, first: usize, counters: Arc<Counters>) {
    let mut connection = None;
    for request in target.requests.iter().cycle().skip(first) {
        let sent = counters.answered.load(Ordering::Relaxed) + counters.failed.load(Ordering::Relaxed);
        if counters.stopped.load(Ordering::Relaxed) || sent >= MOST {
            return;
        }
        let counter = match ask(&mut connection, target.address, request).await {
            Ok(status) if status == target.status => &counters.answered,
            Ok(_) => &counters.failed,
            Err(_) => {
                connection = None;
                &counters.failed
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

async fn ask(connection: &mut Option<Connection>, address: SocketAddr, request: &[u8]) -> io::Result<u16> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(Connection::open(address).await?),
    };
    connection.ask(request).await
}

// === impl Connection ===

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: Box::new([0; BUFFER]) })
    }

    /// The status of the answer, which is read whole.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let free = self.buffer.get_mut(filled..).filter(|free| !free.is_empty());
            let read = self.stream.read(free.ok_or_else(|| malformed("too long"))?).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            let Some((status, length)) = response(self.buffer.get(..filled).unwrap_or_default())? else { continue };
            if filled >= length {
                return Ok(status);
            }
        }
    }
}

/// Status and length in bytes of the response that `bytes` starts with; `None`: its head is not complete.
fn response(bytes: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = bytes.get(..end).and_then(|head| std::str::from_utf8(head).ok()).ok_or_else(|| malformed("not text"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| malformed("no status"))?;
    // RFC 9110, section 15.3.5: no body follows.
    if status == 204 {
        return Ok(Some((status, end + 4)));
    }
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Ok(Some((status, end + 4 + length.ok_or_else(|| malformed("no length"))?)))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a response with {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_of_a_response() {
        let text = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(response(text).unwrap(), Some((404, text.len())));
        assert_eq!(response(&text[..20]).unwrap(), None);
        let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(response(empty).unwrap(), Some((204, empty.len())));
        assert!(response(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn requests_are_http() {
        let request = String::from_utf8(get("/a", &[("x-api-key", "k")])).unwrap();
        assert!(request.starts_with("GET /a HTTP/1.1\r\nhost: bench\r\n"));
        assert!(request.ends_with("\r\nx-api-key: k\r\n\r\n"));
    }
}
