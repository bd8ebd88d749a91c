//! A backend of things that go on: WebSocket connections, events, calls in both directions. It remembers what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::tls::Identity;

type Body = BoxBody<Bytes, Infallible>;

/// One request that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    /// Once it has arrived whole.
    pub body: Option<usize>,
}

pub struct Streaming {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    /// How many events each stream has.
    events: watch::Sender<usize>,
}

// === impl Streaming ===

impl Streaming {
    /// HTTP/1.1.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Streaming {
        Streaming::serve(false, None).await
    }

    /// HTTP/2 in the clear.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start_http2() -> Streaming {
        Streaming::serve(true, None).await
    }

    /// Over TLS, and HTTP/2 for those who know it.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start_tls(identity: &Identity) -> Streaming {
        Streaming::serve(false, Some(identity.acceptor_speaking(None, &[b"h2", b"http/1.1"]))).await
    }

    async fn serve(http2: bool, tls: Option<TlsAcceptor>) -> Streaming {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared { seen: Mutex::default(), events: watch::Sender::new(1) });
        let backend = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (backend, tls) = (backend.clone(), tls.clone());
                tokio::spawn(async move {
                    let Some(tls) = tls else { return connection(backend, stream, http2).await };
                    // Who does not like us is its own affair.
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    connection(backend, stream, http2).await;
                });
            }
        });
        Streaming { address, shared, task }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every stream of events has one more.
    pub fn another_event(&self) {
        self.shared.events.send_modify(|events| *events += 1);
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Seen ===

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

async fn connection<S>(shared: Arc<Shared>, stream: S, http2: bool)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    // A client that goes away is its own affair.
    if http2 {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    } else {
        let server = hyper::server::conn::http1::Builder::new();
        let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    }
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path_and_query().map_or("", |path| path.as_str()).to_owned();
    let index = {
        let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut headers = request.headers().clone();
        // HTTP/2 has it elsewhere.
        if let Some(authority) = request.uri().authority() {
            headers.insert("host", HeaderValue::from_str(authority.as_str()).expect("it is text"));
        }
        seen.push(Seen { method: request.method().to_string(), path: path.clone(), headers, body: None });
        seen.len() - 1
    };
    if path.ends_with("/silent") {
        return std::future::pending().await;
    }
    if request.headers().get("upgrade").is_some_and(|kind| kind.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        return websocket(request);
    }
    if request.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return call(request);
    }
    if path.ends_with("/events") {
        return events(shared.events.subscribe(), "text/event-stream");
    }
    if path.ends_with("/lines") {
        return events(shared.events.subscribe(), "application/json");
    }
    if path.ends_with("/endless") {
        // Headers, and then nothing.
        let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
        tokio::spawn(async move { sender.closed().await });
        return Response::new(BodyExt::boxed(StreamBody::new(ReceiverStream::new(receiver))));
    }
    let body = request.into_body().collect().await.ok();
    let trailers = body.as_ref().and_then(|body| body.trailers()).map(hyper::HeaderMap::len);
    let body = body.map(|body| body.to_bytes().len());
    if let Some(seen) = shared.seen.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
        seen.body = body;
    }
    let mut response = Response::new(
        Full::new(Bytes::from(json!({ "path": path, "body": body, "trailers": trailers }).to_string())).boxed(),
    );
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

/// Says what it was asked, and then all that it is told.
fn websocket(request: Request<Incoming>) -> Response<Body> {
    let mut response = Response::new(Full::default().boxed());
    let Some(key) = request.headers().get("sec-websocket-key") else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).expect("it is text");
    let headers = request.headers().iter();
    let headers: serde_json::Map<String, Value> =
        headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into())).collect();
    let first = json!({ "path": request.uri().to_string(), "headers": headers }).to_string();
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let mut stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let mut next = Some(Message::text(first));
        while let Some(message) = next {
            if message.is_close() || stream.send(message).await.is_err() {
                break;
            }
            next = stream.next().await.and_then(Result::ok);
        }
    });
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", HeaderValue::from_static("upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-accept", accept);
    response
}

fn events(mut events: watch::Receiver<usize>, content_type: &'static str) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for event in 1.. {
            if events.wait_for(|events| *events >= event).await.is_err() {
                break;
            }
            let data = Bytes::from(format!("data: {event}\n\n"));
            if sender.send(Ok::<_, Infallible>(Frame::data(data))).await.is_err() {
                break;
            }
        }
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(ReceiverStream::new(receiver))));
    response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    response
}

/// A call of gRPC whose answers are its messages, each when it comes; then trailers.
fn call(request: Request<Incoming>) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut body = request.into_body();
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data()
                && sender.send(Ok::<_, Infallible>(Frame::data(data))).await.is_err()
            {
                return;
            }
        }
        let trailers = [("grpc-status", "0"), ("grpc-message", "said all")];
        let trailers = trailers
            .map(|(name, value)| (hyper::header::HeaderName::from_static(name), HeaderValue::from_static(value)));
        let _ = sender.send(Ok(Frame::trailers(HeaderMap::from_iter(trailers)))).await;
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(ReceiverStream::new(receiver))));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}
