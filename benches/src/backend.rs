//! A backend that has one answer. As cheap as can be: it runs beside the service.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 27\r\n\r\n{\"id\":1,\"name\":\"Rex\",\"a\":2}";
/// Bytes of a request's head.
const BUFFER: usize = 16 * 1024;

/// Serves on a free port until the runtime ends.
pub async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Envoy closes connections when it ends.
            tokio::spawn(answer(stream));
        }
    });
    Ok(address)
}

/// Requests have no body, and the next comes when the last was answered.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
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
            stream.write_all(ANSWER).await?;
            filled = 0;
        }
    }
}
