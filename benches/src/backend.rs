//! A backend that has one answer. As cheap as can be: it runs beside the service.

use std::io;
use std::net::SocketAddr;

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
