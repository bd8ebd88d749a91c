//! A backend that answers as it is told, and remembers whole messages.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub struct Scripted {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Script {
    reply: Reply,
    seen: Vec<Seen>,
    /// Replies wait for it.
    gate: Option<Arc<Semaphore>>,
}

/// What it was sent.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// With its query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

/// What it answers, until it is told something else.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// 0: 200.
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// In pieces of so many bytes, without a length. 0: whole.
    pub pieces: usize,
    pub trailers: Vec<(&'static str, String)>,
    /// It takes so long to think.
    pub after: Duration,
}

/// What replies wait for.
pub struct Gate(Arc<Semaphore>);

// === impl Gate ===

impl Gate {
    /// So many more are answered.
    pub fn let_through(&self, replies: usize) {
        self.0.add_permits(replies);
    }
}

// === impl Scripted ===

impl Scripted {
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Scripted {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Arc::clone(&script);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&script), request));
                    let server = hyper::server::conn::http1::Builder::new();
                    // A client that goes away is its own affair.
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Scripted { address, script, task }
    }

    pub fn replies(&self, reply: Reply) {
        lock(&self.script).reply = reply;
    }

    /// From now on requests are read, and answered once they are let.
    pub fn hold(&self) -> Gate {
        let gate = Arc::new(Semaphore::new(0));
        lock(&self.script).gate = Some(Arc::clone(&gate));
        Gate(gate)
    }

    /// How many came since they were taken last.
    pub fn seen(&self) -> usize {
        lock(&self.script).seen.len()
    }

    /// What came since it was asked last.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.script).seen)
    }

    /// The one request that came.
    ///
    /// # Panics
    /// When there are more, or none.
    pub fn one(&self) -> Seen {
        let mut seen = self.take();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.pop().expect("there is one")
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    /// `""`: there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("it is text"))
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    script: Arc<Mutex<Script>>,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let seen = Seen {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: head.headers,
        body: collected.to_bytes().to_vec(),
        trailers,
    };
    let gate = {
        let mut script = lock(&script);
        script.seen.push(seen);
        script.gate.clone()
    };
    if let Some(gate) = gate {
        gate.acquire().await.expect("it is not closed").forget();
    }
    let reply = lock(&script).reply.clone();
    if !reply.after.is_zero() {
        tokio::time::sleep(reply.after).await;
    }
    Ok(response(reply))
}

fn response(reply: Reply) -> Response<BoxBody<Bytes, Infallible>> {
    let whole = Bytes::from(reply.body);
    let body = if reply.pieces == 0 {
        Full::new(whole).boxed()
    } else {
        let pieces = whole.chunks(reply.pieces).map(Bytes::copy_from_slice).map(Frame::data).collect::<Vec<_>>();
        let trailers = (!reply.trailers.is_empty()).then(|| Frame::trailers(headers(&reply.trailers)));
        let frames = pieces.into_iter().chain(trailers).map(Ok::<_, Infallible>);
        StreamBody::new(tokio_stream::iter(frames)).boxed()
    };
    let mut response = Response::new(body);
    if reply.status > 0 {
        *response.status_mut() = reply.status.try_into().expect("it is a status");
    }
    *response.headers_mut() = headers(&reply.headers);
    response
}

/// A body in pieces of so many bytes, for a client that says no length.
pub fn in_pieces(body: &[u8], length: usize) -> BoxBody<Bytes, Infallible> {
    let pieces = body.chunks(length).map(Bytes::copy_from_slice).map(Frame::data).collect::<Vec<_>>();
    StreamBody::new(tokio_stream::iter(pieces.into_iter().map(Ok::<_, Infallible>))).boxed()
}

/// A body that trailers follow; they are all there is, where it is empty.
pub fn with_trailers(body: &[u8]) -> BoxBody<Bytes, Infallible> {
    let data = Some(Frame::data(Bytes::copy_from_slice(body))).filter(|_| !body.is_empty());
    let frames = data.into_iter().chain([Frame::trailers(headers(&[("x-trailer", "1".to_owned())]))]);
    let frames = frames.collect::<Vec<_>>();
    StreamBody::new(tokio_stream::iter(frames.into_iter().map(Ok::<_, Infallible>))).boxed()
}

fn headers(pairs: &[(&'static str, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("it can be sent"));
    }
    headers
}
