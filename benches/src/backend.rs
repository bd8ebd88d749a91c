//! A backend that has one answer. As cheap as can be: it runs beside the service.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 27\r\n\r\n{\"id\":1,\"name\":\"Rex\",\"a\":2}";
/// Bytes of a request's head.
const BUFFER: usize = 16 * 1024;

/// Serves on a free port until the runtime ends.
pub async fn start() -> io::Result<SocketAddr> {
    start_at(([127, 0, 0, 1], 0).into(), ANSWER).await
}

/// Serves there, with another answer.
pub async fn start_at(address: SocketAddr, answer: &'static [u8]) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Envoy closes connections when it ends.
            tokio::spawn(serve(stream, answer));
        }
    });
    Ok(address)
}

/// Reads requests with a body, and answers with one of so many bytes.
pub async fn start_reading(address: SocketAddr, length: usize) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    let answer: Arc<[u8]> = [head.as_bytes(), &vec![b'y'; length]].concat().into();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_reading(stream, Arc::clone(&answer)));
        }
    });
    Ok(address)
}

/// Each request says how long it is, and the next comes when the last was answered.
async fn serve_reading(mut stream: TcpStream, answer: Arc<[u8]>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        let read = stream.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let request = buffer.get(..filled).unwrap_or_default();
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(request.get(..end).unwrap_or_default()).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
        if filled >= end + 4 + length.unwrap_or(0) {
            stream.write_all(&answer).await?;
            filled = 0;
        }
    }
}

/// Requests have no body, and the next comes when the last was answered.
async fn serve(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        let read = stream.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        if buffer.get(..filled).is_some_and(|head| head.ends_with(b"\r\n\r\n")) {
            stream.write_all(answer).await?;
            filled = 0;
        }
    }
}
