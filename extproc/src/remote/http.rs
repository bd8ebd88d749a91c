//! HTTP/2 for Envoys on other hosts.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;

use super::Guest;

/// How often an Envoy is asked whether it is still there, and how long it may think about it.
const ALIVE: Duration = Duration::from_secs(15);
const ANSWER: Duration = Duration::from_secs(10);
/// Requests in flight on one connection.
const MAX_STREAMS: u32 = 100;
/// Bytes of headers of one request. Envoy's own limit on what it lets through comes first.
const MAX_HEADERS: u32 = 64 * 1024;

/// A server that notices when the other side is gone.
pub(crate) fn attentive() -> http2::Builder<TokioExecutor> {
    let mut server = http2::Builder::new(TokioExecutor::new());
    server.timer(TokioTimer::new()).keep_alive_interval(ALIVE).keep_alive_timeout(ANSWER);
    server
}

/// Until there are no more guests to come.
pub async fn serve(router: Router, mut guests: mpsc::Receiver<Guest>) {
    let mut server = attentive();
    server.max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEADERS);
    while let Some(guest) = guests.recv().await {
        let connection = server.serve_connection(TokioIo::new(guest), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
}
