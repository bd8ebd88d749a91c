//! HTTP/2. What is about bytes of HTTP/1.1 is a reset of the stream here.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request as Asked, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use super::{Mood, Peer, Request, Shared};

pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    shared: Arc<Shared>,
    peer: Peer,
) {
    let told = Arc::new(Notify::new());
    let service = {
        let told = told.clone();
        service_fn(move |asked: Asked<Incoming>| {
            let (shared, told) = (shared.clone(), told.clone());
            let request = Request {
                method: asked.method().to_string(),
                path: asked.uri().path_and_query().map_or("", |path| path.as_str()).to_owned(),
                version: 2,
                host: asked.uri().authority().map(ToString::to_string).unwrap_or_default(),
                server_name: peer.server_name.clone(),
                client: peer.certificate.clone(),
            };
            async move {
                let status = match shared.take(request) {
                    Mood::Well => 200,
                    Mood::WellAndGone => {
                        told.notify_one();
                        200
                    }
                    Mood::Status(status) => status,
                    Mood::Hang | Mood::SlowHead | Mood::SlowBody => std::future::pending::<u16>().await,
                    // hyper resets a stream whose service fails.
                    Mood::Reset | Mood::ResetInBody => return Err(std::io::Error::other("told to")),
                };
                let mut response = Response::new(Full::new(Bytes::from(shared.body())));
                *response.status_mut() = hyper::StatusCode::from_u16(status).expect("it is a status");
                Ok(response)
            }
        })
    };
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = told.notified() => {}
    }
    // GOAWAY; what has begun is answered.
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
