//! A backend for long bodies: it reads what it is sent, and answers with as many bytes as the path asks for, in pieces.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

pub struct Bodies {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

/// That many bytes are still to come.
struct Pieces(usize);

const PIECE: usize = 16 * 1024;

// === impl Bodies ===

impl Bodies {
    /// `/bytes/N` anywhere in a path: N bytes.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Bodies {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let service = service_fn(answer);
                    // A client that goes away is its own affair.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Bodies { address, task }
    }
}

impl Drop for Bodies {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Pieces>, Infallible> {
    let path = request.uri().path();
    let length = path.rsplit_once("/bytes/").and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let mut response = Response::new(Pieces(length));
    // It limits, too: of the gateway, for all that it can tell.
    let headers = response.headers_mut();
    for (name, value) in
        [("ratelimit", "\"own\";r=1;t=1"), ("ratelimit", "\"more\";r=1;t=1"), ("x-ratelimit-limit", "7")]
    {
        headers.append(name, hyper::header::HeaderValue::from_static(value));
    }
    Ok(response)
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static ZEROES: [u8; PIECE] = [b'0'; PIECE];
        let length = self.0.min(PIECE);
        self.0 -= length;
        let piece = Bytes::from_static(&ZEROES).slice(..length);
        Poll::Ready((length > 0).then_some(Ok(Frame::data(piece))))
    }
}
