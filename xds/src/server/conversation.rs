//! One ADS stream: moves messages between the connection and a [`Session`].

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use http::HeaderMap;
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{Codec, Streaming};
use tonic_prost::ProstCodec;

use crate::ledger::{MAX_ID, Membership, Refusals, shorten};
use crate::publisher::Publisher;
use crate::session::{Change, Incoming, Response, Session, Step};
use crate::wire;

/// Bytes of one request. An Envoy that reconnects lists each resource that it has.
const MAX_REQUEST: usize = 32 * 1024 * 1024;
/// Requests that are read within a second; those above wait, and then the connection does. An Envoy sends a handful.
const MAX_REQUESTS: u32 = 500;
/// A stream that does not say within this time whose it is is closed.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// Responses that wait for the connection to take them: one per resource type at most.
const WAITING_RESPONSES: usize = 8;

pub(super) struct Conversation<M> {
    requests: Streaming<M>,
    responses: mpsc::Sender<Result<Vec<Bytes>, Status>>,
    closing: watch::Receiver<bool>,
    peer: Option<Arc<str>>,
    /// Held until it is known whose stream it is.
    unknown: Option<OwnedSemaphorePermit>,
}

/// The response body: the pieces of each message as they are, and the status at the end.
pub(super) struct Messages {
    responses: mpsc::Receiver<Result<Vec<Bytes>, Status>>,
    pieces: VecDeque<Bytes>,
}

/// Counts requests by the second.
struct Pace {
    since: Instant,
    left: u32,
}

// === impl Conversation ===

impl<M: Incoming> Conversation<M> {
    /// With the body of the answer.
    pub(super) fn new(
        requests: Body,
        peer: Option<Arc<str>>,
        closing: watch::Receiver<bool>,
        unknown: OwnedSemaphorePermit,
    ) -> (Conversation<M>, Messages) {
        // The codec's other half is not used: see [`crate::wire`].
        let mut codec = ProstCodec::<M, M>::default();
        let requests = Streaming::new_request(codec.decoder(), requests, None, Some(MAX_REQUEST));
        let (sender, responses) = mpsc::channel(WAITING_RESPONSES);
        let conversation = Conversation { requests, responses: sender, closing, peer, unknown: Some(unknown) };
        (conversation, Messages { responses, pieces: VecDeque::new() })
    }

    pub(super) async fn run(mut self, publishers: Arc<BTreeMap<String, Publisher>>) {
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
        let node = first.node().ok_or_else(|| Status::invalid_argument("the first request names no node"))?;
        let (publisher, membership) = self.join(node, publishers)?;
        self.unknown = None;

        let (mut offers, mut endpoints) = (publisher.offers(), publisher.endpoints());
        let mut session = Session::new(M::DIALECT, membership.unsure.clone());
        let mut refused = Refusals::new();
        let mut pace = Pace::new();
        let mut request = Some(first.into_request());
        loop {
            if let Some(request) = request.take() {
                let verdict = session.receive(request)?;
                if let Some(verdict) = verdict {
                    membership.judged(verdict);
                }
            }
            // Not held while waiting: an offer keeps a whole route table in memory.
            let offer = offers.borrow_and_update().clone();
            let located = endpoints.borrow_and_update().clone();
            if let Some(offer) = offer {
                let offer = offer.with(located);
                loop {
                    match session.next(&offer) {
                        Step::Send(response) => self.send(&response, &membership)?,
                        step => break membership.reached(offer.sequence, &step),
                    }
                }
                let now = session.refused_endpoints();
                if now != refused {
                    membership.refuses_endpoints(&now);
                    refused = now;
                }
            }
            tokio::select! {
                message = self.requests.message(), if pace.allows() => match message? {
                    Some(message) => {
                        pace.count();
                        request = Some(message.into_request());
                    }
                    None => return Ok(()),
                },
                () = pace.rest(), if !pace.allows() => {}
                changed = offers.changed() => changed.map_err(|_| Status::unavailable("the project is closed"))?,
                changed = endpoints.changed() => changed.map_err(|_| Status::unavailable("the project is closed"))?,
                _ = self.closing.wait_for(|closing| *closing) => return Err(Status::unavailable("shutting down")),
                () = self.responses.closed() => return Ok(()),
            }
        }
    }

    fn join<'a>(
        &self,
        node: &Node,
        publishers: &'a BTreeMap<String, Publisher>,
    ) -> Result<(&'a Publisher, Membership<'a>), Status> {
        let (id, project) = (shorten(&node.id, MAX_ID), shorten(&node.cluster, MAX_ID));
        let peer = self.peer.as_deref();
        let Some(publisher) = publishers.get(&node.cluster) else {
            tracing::warn!(envoy = ?id, ?project, peer, "an Envoy asks for a project that is not served");
            return Err(Status::not_found("the project named by node.cluster is not served here"));
        };
        let membership = publisher
            .ledger()
            .join(node, M::DIALECT, peer)
            .map_err(|full| Status::resource_exhausted(full.to_string()))?;
        tracing::info!(envoy = ?id, ?project, dialect = M::DIALECT.as_str(), peer, "an Envoy connected");
        Ok((publisher, membership))
    }

    fn send(&self, response: &Response, membership: &Membership<'_>) -> Result<(), Status> {
        let pieces = wire::encode(response).map_err(|error| Status::internal(error.to_string()))?;
        self.responses.try_send(Ok(pieces)).map_err(|_| Status::resource_exhausted("responses are not read"))?;
        tracing::debug!(
            kind = ?response.kind,
            generation = %response.generation,
            resources = response.resources.len(),
            removed = match &response.change {
                Change::Removed(names) => names.len(),
                Change::State(_) => 0,
            },
            "sent"
        );
        membership.pushed();
        Ok(())
    }
}

// === impl Pace ===

impl Pace {
    fn new() -> Pace {
        Pace { since: Instant::now(), left: MAX_REQUESTS }
    }

    fn allows(&self) -> bool {
        self.left > 0
    }

    fn count(&mut self) {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Pace::new();
        }
        self.left = self.left.saturating_sub(1);
    }

    /// Until the second is over.
    async fn rest(&mut self) {
        sleep_until(self.since + Duration::from_secs(1)).await;
        *self = Pace::new();
    }
}

// === impl Messages ===

impl http_body::Body for Messages {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match ready!(self.responses.poll_recv(context)) {
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
