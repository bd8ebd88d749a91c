//! The aggregated discovery service on a Unix socket.
//!
//! Delta only: state-of-the-world streams are answered UNIMPLEMENTED. A second protocol is a second session type
//! beside [`crate::session`]; the offers, the ledger and publishing know of neither.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use futures_util::Stream;
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tonic::codec::{Codec, Streaming};
use tonic::codegen::Service;
use tonic::transport::Server;
use tonic::{Status, transport};
use tonic_prost::ProstCodec;

use crate::ledger::Membership;
use crate::publisher::Publisher;
use crate::session::{Session, Step};
use crate::wire;

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Bytes of one request. An Envoy that reconnects lists each resource that it has.
const MAX_REQUEST: usize = 32 * 1024 * 1024;
/// A stream that does not say within this time whose it is is closed.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// Responses that wait for the connection to take them: one per resource type at most.
const WAITING_RESPONSES: usize = 8;
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
        let (close, closing) = watch::channel(false);
        let service = DiscoveryService { publishers: self.publishers, closing };
        Server::builder()
            .serve_with_incoming_shutdown(service, accept(listener, nix::unistd::geteuid().as_raw()), async move {
                shutdown.await;
                close.send_replace(true);
            })
            .await?;
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
}

impl Service<Request<Body>> for DiscoveryService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() != DELTA {
            return ready(Ok(Status::unimplemented("only DeltaAggregatedResources is served").into_http()));
        }
        let mut codec = ProstCodec::<DeltaDiscoveryResponse, DeltaDiscoveryRequest>::default();
        let requests = Streaming::new_request(codec.decoder(), request.into_body(), None, Some(MAX_REQUEST));
        let (sender, responses) = mpsc::channel(WAITING_RESPONSES);
        let conversation = Conversation { requests, responses: sender, closing: self.closing.clone() };
        tokio::spawn(conversation.run(Arc::clone(&self.publishers)));
        let mut response = Response::new(Body::new(Messages { responses, pieces: VecDeque::new() }));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        ready(Ok(response))
    }
}

/// One delta stream: moves messages between the connection and a [`Session`].
struct Conversation {
    requests: Streaming<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<Vec<Bytes>, Status>>,
    closing: watch::Receiver<bool>,
}

impl Conversation {
    async fn run(mut self, publishers: Arc<BTreeMap<String, Publisher>>) {
        let status = self.converse(&publishers).await.err().unwrap_or_else(|| Status::ok(""));
        // The Envoy may be gone already.
        let _ = self.responses.send(Err(status)).await;
    }

    async fn converse(&mut self, publishers: &BTreeMap<String, Publisher>) -> Result<(), Status> {
        let Some(first) = timeout(FIRST_REQUEST, self.requests.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no request"))??
        else {
            return Ok(());
        };
        let node = first.node.as_ref().ok_or_else(|| Status::invalid_argument("the first request names no node"))?;
        let Some(publisher) = publishers.get(&node.cluster) else {
            tracing::warn!(envoy = ?node.id, project = ?node.cluster, "an Envoy asks for a project that is not served");
            return Err(Status::not_found("the project named by node.cluster is not served here"));
        };
        let membership = publisher.ledger().join(node).map_err(|full| Status::resource_exhausted(full.to_string()))?;
        tracing::info!(envoy = ?node.id, project = ?node.cluster, "an Envoy connected");

        let mut offers = publisher.offers();
        let mut session = Session::default();
        let mut request = Some(DeltaDiscoveryRequest { node: None, ..first });
        loop {
            if let Some(request) = request.take() {
                let verdict = session.receive(request).map_err(|many| Status::resource_exhausted(many.to_string()))?;
                if let Some(verdict) = verdict {
                    membership.judged(verdict);
                }
            }
            // Not held while waiting: an offer keeps a whole route table in memory.
            let offer = offers.borrow_and_update().clone();
            if let Some(offer) = offer {
                loop {
                    match session.next(&offer) {
                        Step::Send(response) => self.send(&response, &membership)?,
                        step => break membership.reached(offer.sequence, &step),
                    }
                }
            }
            tokio::select! {
                message = self.requests.message() => match message? {
                    Some(message) => request = Some(message),
                    None => return Ok(()),
                },
                changed = offers.changed() => changed.map_err(|_| Status::unavailable("the project is closed"))?,
                _ = self.closing.wait_for(|closing| *closing) => return Err(Status::unavailable("shutting down")),
                () = self.responses.closed() => return Ok(()),
            }
        }
    }

    fn send(&self, response: &crate::session::Response, membership: &Membership<'_>) -> Result<(), Status> {
        let pieces = wire::encode(response).map_err(|error| Status::internal(error.to_string()))?;
        self.responses.try_send(Ok(pieces)).map_err(|_| Status::resource_exhausted("responses are not read"))?;
        tracing::debug!(
            kind = ?response.kind,
            generation = %response.generation,
            changed = response.upserts.len(),
            removed = response.removed.len(),
            "sent"
        );
        membership.pushed();
        Ok(())
    }
}

/// The response body: the pieces of each message as they are, and the status at the end.
struct Messages {
    responses: mpsc::Receiver<Result<Vec<Bytes>, Status>>,
    pieces: VecDeque<Bytes>,
}

impl http_body::Body for Messages {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match std::task::ready!(self.responses.poll_recv(context)) {
                Some(Ok(pieces)) => self.pieces = pieces.into(),
                Some(Err(status)) => {
                    let mut trailers = HeaderMap::new();
                    return Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))));
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests;
