//! Serving connections: one accept loop deals them round robin to threads, each with a runtime of its own. A connection
//! never changes its thread, so no decision crosses a core or waits for a lock of the runtime.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use axum::serve::Listener as _;
use envoy_types::pb::envoy::service::accesslog::v3::access_log_service_server::AccessLogServiceServer;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessorServer;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tonic::codegen::{BoxFuture, Service, http};

use crate::authz::Authz;
use crate::bandwidth::Reports;
use crate::decider::Decider;
use crate::process::Processor;
use crate::remote::{Arrival, Guest, RemoteListener, attentive};
use crate::socket::PrivateListener;

/// Questions in flight on one connection; Envoy opens one per worker.
const MAX_STREAMS: u32 = 4096;
/// Bytes of one that may wait to be read; of all of a connection together as many as they may be.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Bytes of headers of one question, which are Envoy's own few: those of the request are in the message.
const MAX_HEADERS: u32 = 16 * 1024;
/// Services, as paths name them.
const PROCESSING: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/";
const REPORTS: &str = "/envoy.service.accesslog.v3.AccessLogService/";
/// Bytes of one question. Envoy's own limit on request heads is below a quarter of that.
const MAX_QUESTION: usize = 1024 * 1024;
/// The same of what is said about a message. A piece of a body is as much as Envoy has in its buffer for a backend, 1 MiB and a little more.
const MAX_PIECE: usize = 8 * 1024 * 1024;

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

/// Where connections come from.
trait Source: Send + 'static {
    type Arrival: Arrives;

    fn next(&mut self) -> impl Future<Output = io::Result<Self::Arrival>> + Send;
    /// As fits such connections.
    fn server() -> http2::Builder<TokioExecutor>;
}

/// A connection on its way from one runtime to another.
trait Arrives: Send + 'static {
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// `None`: nobody to talk to.
    fn enter(self) -> impl Future<Output = Option<Self::Io>> + Send;
}

impl AuthzServer {
    /// Serves with `workers` threads (at least one); the accept loop runs on the current runtime.
    pub fn start(listener: PrivateListener, decider: &Arc<Decider>, workers: usize) -> Result<AuthzServer, StartError> {
        AuthzServer::serve(listener, decider, workers, "authz")
    }

    /// The same for Envoys on other hosts, with threads of their own.
    pub fn start_remote(
        listener: RemoteListener,
        decider: &Arc<Decider>,
        workers: usize,
    ) -> Result<AuthzServer, StartError> {
        AuthzServer::serve(listener, decider, workers, "remote-authz")
    }

    fn serve<S: Source>(
        source: S,
        decider: &Arc<Decider>,
        workers: usize,
        name: &str,
    ) -> Result<AuthzServer, StartError> {
        let workers = (0..workers.max(1))
            .map(|index| worker::<S>(format!("{name}-{index}"), Arc::clone(decider)))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(AuthzServer { accepting: tokio::spawn(deal(source, workers)) })
    }
}

impl Drop for AuthzServer {
    fn drop(&mut self) {
        // The workers see their channels closed, and end.
        self.accepting.abort();
    }
}

async fn deal<S: Source>(mut source: S, workers: Vec<UnboundedSender<S::Arrival>>) {
    for worker in workers.iter().cycle() {
        match source.next().await.map(|arrival| worker.send(arrival)) {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("a worker of the authorization service has ended"),
            Err(error) => tracing::warn!(%error, "lost a connection"),
        }
    }
}

fn worker<S: Source>(name: String, decider: Arc<Decider>) -> io::Result<UnboundedSender<S::Arrival>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, arrivals) = mpsc::unbounded_channel();
    thread::Builder::new().name(name).spawn(move || runtime.block_on(serve::<S>(arrivals, decider)))?;
    Ok(sender)
}

async fn serve<S: Source>(mut arrivals: UnboundedReceiver<S::Arrival>, decider: Arc<Decider>) {
    let service = Services::new(decider);
    let mut server = S::server();
    server.max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEADERS);
    // Bodies come whether or not anybody reads them yet: what of one waits must not stand in the way of other questions.
    server.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(STREAM_WINDOW * (MAX_STREAMS + 1));
    // As much is said before Envoy takes it.
    server.max_send_buf_size(STREAM_WINDOW as usize);
    while let Some(arrival) = arrivals.recv().await {
        let (server, service) = (server.clone(), TowerToHyperService::new(service.clone()));
        tokio::spawn(async move {
            let Some(io) = arrival.enter().await else { return };
            if let Err(error) = server.serve_connection(TokioIo::new(io), service).await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
}

/// Decisions, and reports of what bodies took.
#[derive(Clone)]
struct Services {
    decisions: AuthorizationServer<Authz>,
    processing: ExternalProcessorServer<Processor>,
    /// `None`: nobody is to report.
    reports: Option<AccessLogServiceServer<Reports>>,
}

// === impl Services ===

impl Services {
    fn new(decider: Arc<Decider>) -> Services {
        let bandwidth = decider.bandwidth.clone();
        let reports = bandwidth.map(|bandwidth| AccessLogServiceServer::new(Reports(bandwidth)));
        Services {
            processing: ExternalProcessorServer::new(Processor(Arc::clone(&decider)))
                .max_decoding_message_size(MAX_PIECE),
            decisions: AuthorizationServer::new(Authz(decider)).max_decoding_message_size(MAX_QUESTION),
            reports: reports.map(|reports| reports.max_decoding_message_size(MAX_QUESTION)),
        }
    }
}

impl Service<http::Request<Incoming>> for Services {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Incoming>) -> Self::Future {
        let path = request.uri().path();
        match &mut self.reports {
            _ if path.starts_with(PROCESSING) => self.processing.call(request),
            Some(reports) if path.starts_with(REPORTS) => reports.call(request),
            _ => self.decisions.call(request),
        }
    }
}

impl Source for PrivateListener {
    type Arrival = StdStream;

    async fn next(&mut self) -> io::Result<StdStream> {
        let (stream, _) = self.accept().await;
        // Out of this runtime's reactor, into the worker's.
        stream.into_std()
    }

    fn server() -> http2::Builder<TokioExecutor> {
        http2::Builder::new(TokioExecutor::new())
    }
}

impl Arrives for StdStream {
    type Io = UnixStream;

    async fn enter(self) -> Option<UnixStream> {
        UnixStream::from_std(self).inspect_err(|error| tracing::warn!(%error, "lost a connection")).ok()
    }
}

impl Source for RemoteListener {
    type Arrival = Arrival;

    async fn next(&mut self) -> io::Result<Arrival> {
        Ok(self.arrival().await)
    }

    fn server() -> http2::Builder<TokioExecutor> {
        attentive()
    }
}

impl Arrives for Arrival {
    type Io = Guest;

    async fn enter(self) -> Option<Guest> {
        self.admit().await
    }
}
