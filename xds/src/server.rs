//! The aggregated discovery service: on a Unix socket, and on connections that others accept.

mod conversation;
mod network;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use futures_util::Stream;
use futures_util::stream::unfold;
use http::{HeaderValue, Request, Response, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::sleep;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Status, transport};

use self::conversation::Conversation;
use self::network::{Connection, Peer};
use crate::publisher::Publisher;
use crate::session::{Abuse, Incoming};

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const STATE_OF_THE_WORLD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

/// Streams that have not said yet whose they are.
const MAX_UNKNOWN: usize = 256;
/// How often an Envoy on another host is asked whether it is still there, and how long it may think about it.
const ALIVE: Duration = Duration::from_secs(15);
const ANSWER: Duration = Duration::from_secs(10);
/// Of one connection from another host: an Envoy has one stream.
const MAX_STREAMS: u32 = 16;
/// Bytes of headers of one request from another host.
const MAX_HEADERS: u32 = 16 * 1024;
/// Before trying again to accept a connection, when the process is out of descriptors or memory.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Serves publishers to the Envoys that ask for their projects by `node.cluster`.
#[derive(Clone, Debug)]
pub struct Xds {
    publishers: Arc<BTreeMap<String, Publisher>>,
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the xDS server failed")]
    Transport(#[from] transport::Error),
}

// === impl Xds ===

impl Xds {
    /// One publisher per project: of several for one project, the last counts.
    pub fn new(publishers: impl IntoIterator<Item = Publisher>) -> Xds {
        let by_project = publishers.into_iter().map(|publisher| (publisher.project().to_owned(), publisher));
        Xds { publishers: Arc::new(by_project.collect()) }
    }

    /// Serves until `shutdown` completes; streams are closed then. Peers that run as another user are refused.
    pub async fn serve(
        self,
        listener: UnixListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let connections = accept(listener, nix::unistd::geteuid().as_raw());
        self.serve_on(Server::builder(), connections, shutdown).await
    }

    /// Serves Envoys on other hosts until `shutdown` completes. Whoever accepts and secures their connections knows
    /// `who` they are.
    pub async fn serve_remote<IO>(
        self,
        connections: mpsc::Receiver<IO>,
        who: impl Fn(&IO) -> String + Send,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let server = Server::builder()
            .http2_keepalive_interval(Some(ALIVE))
            .http2_keepalive_timeout(Some(ANSWER))
            .http2_max_header_list_size(MAX_HEADERS)
            .max_concurrent_streams(MAX_STREAMS);
        let connections = unfold((connections, who), async |(mut connections, who)| {
            let io = connections.recv().await?;
            let peer = who(&io);
            Some((Ok(Connection::new(io, &peer)), (connections, who)))
        });
        self.serve_on(server, connections, shutdown).await
    }

    async fn serve_on<IO>(
        self,
        server: Server,
        connections: impl Stream<Item = Result<IO, Infallible>> + Send,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError>
    where
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let (close, closing) = watch::channel(false);
        let unknown = Arc::new(Semaphore::new(MAX_UNKNOWN));
        let service = DiscoveryService { publishers: self.publishers, closing, unknown };
        let shutdown = async move {
            shutdown.await;
            close.send_replace(true);
        };
        server.serve_with_incoming_shutdown(service, connections, shutdown).await?;
        Ok(())
    }
}

/// Connections from processes of the user `uid`.
fn accept(listener: UnixListener, uid: u32) -> impl Stream<Item = Result<UnixStream, Infallible>> {
    unfold(listener, move |listener| async move {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::error!(%error, "cannot accept an xDS connection");
                    sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            };
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == uid => return Some((Ok(stream), listener)),
                Ok(peer) => tracing::warn!(uid = peer.uid(), pid = peer.pid(), "refused an xDS connection"),
                Err(error) => tracing::warn!(%error, "refused an xDS connection of unknown origin"),
            }
        }
    })
}

/// Written by hand because a generated server copies responses: see [`crate::wire`].
#[derive(Clone)]
struct DiscoveryService {
    publishers: Arc<BTreeMap<String, Publisher>>,
    closing: watch::Receiver<bool>,
    unknown: Arc<Semaphore>,
}

impl Service<Request<Body>> for DiscoveryService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = match request.uri().path() {
            DELTA => self.converse::<DeltaDiscoveryRequest>(request),
            STATE_OF_THE_WORLD => self.converse::<DiscoveryRequest>(request),
            _ => Err(Status::unimplemented("only the aggregated discovery service is served")),
        };
        ready(Ok(answer.unwrap_or_else(Status::into_http)))
    }
}

impl DiscoveryService {
    fn converse<M: Incoming>(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let unknown = Arc::clone(&self.unknown).try_acquire_owned();
        let unknown =
            unknown.map_err(|_| Status::resource_exhausted("too many streams have not said whose they are"))?;
        let peer = request.extensions().get::<Peer>().map(|peer| Arc::clone(&peer.0));
        let (conversation, messages) = Conversation::<M>::new(request.into_body(), peer, self.closing.clone(), unknown);
        tokio::spawn(conversation.run(Arc::clone(&self.publishers)));
        let mut response = Response::new(Body::new(messages));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        Ok(response)
    }
}

impl From<Abuse> for Status {
    fn from(abuse: Abuse) -> Status {
        match abuse {
            Abuse::TooManyNames => Status::resource_exhausted(abuse.to_string()),
            Abuse::NoType => Status::invalid_argument(abuse.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
