//! Serving the socket: one accept loop deals connections round robin to threads, each with a runtime of its own. A
//! connection never changes its thread, so no decision crosses a core or waits for a lock of the runtime.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::thread;

use axum::serve::Listener as _;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixStream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;

use super::{Authz, Decider};
use crate::socket::PrivateListener;

/// Questions in flight on one connection; Envoy opens one per worker.
const MAX_STREAMS: u32 = 4096;
/// Bytes of headers of one question, which are Envoy's own few: those of the request are in the message.
const MAX_HEADERS: u32 = 16 * 1024;
/// Bytes of one question. Envoy's own limit on request heads is below a quarter of that.
const MAX_QUESTION: usize = 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("a worker of the authorization service cannot be started: {0}")]
    Worker(#[from] io::Error),
}

/// The running service. Ends when dropped; questions in flight are then lost, so stop Envoy first.
#[derive(Debug)]
pub struct AuthzServer {
    accepting: JoinHandle<()>,
}

impl AuthzServer {
    /// Serves with `workers` threads (at least one); the accept loop runs on the current runtime.
    pub fn start(listener: PrivateListener, decider: &Arc<Decider>, workers: usize) -> Result<AuthzServer, StartError> {
        let workers =
            (0..workers.max(1)).map(|index| worker(index, Arc::clone(decider))).collect::<io::Result<Vec<_>>>()?;
        Ok(AuthzServer { accepting: tokio::spawn(deal(listener, workers)) })
    }
}

impl Drop for AuthzServer {
    fn drop(&mut self) {
        // The workers see their channels closed, and end.
        self.accepting.abort();
    }
}

async fn deal(mut listener: PrivateListener, workers: Vec<UnboundedSender<StdStream>>) {
    for worker in workers.iter().cycle() {
        let (stream, _) = listener.accept().await;
        // Out of this runtime's reactor, into the worker's.
        match stream.into_std().map(|stream| worker.send(stream)) {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("a worker of the authorization service has ended"),
            Err(error) => tracing::warn!(%error, "lost a connection"),
        }
    }
}

fn worker(index: usize, decider: Arc<Decider>) -> io::Result<UnboundedSender<StdStream>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, streams) = mpsc::unbounded_channel();
    thread::Builder::new().name(format!("authz-{index}")).spawn(move || runtime.block_on(serve(streams, decider)))?;
    Ok(sender)
}

async fn serve(mut streams: UnboundedReceiver<StdStream>, decider: Arc<Decider>) {
    let service = AuthorizationServer::new(Authz(decider)).max_decoding_message_size(MAX_QUESTION);
    let mut server = http2::Builder::new(TokioExecutor::new());
    server.max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEADERS);
    while let Some(stream) = streams.recv().await {
        match UnixStream::from_std(stream) {
            Ok(stream) => {
                let connection =
                    server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()));
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection ended");
                    }
                });
            }
            Err(error) => tracing::warn!(%error, "lost a connection"),
        }
    }
}
