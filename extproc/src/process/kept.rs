//! Responses for others who ask the same: answered from memory, waited for, and copied as they pass.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Heard;
use envoy_types::pb::envoy::service::ext_proc::v3::{CommonResponse, ProcessingRequest, ProcessingResponse};
use envoy_types::pb::google::protobuf::Duration as Extension;
use futures_util::Stream;
use microgw_engine::{Exchange, ResponseHead, ResponseStep};
use tokio::time::Instant;
use tonic::Status;

use super::answer::{self, Direction};
use super::{Collected, Conversation, End, Head, Outcome, out_of_turn};
use crate::response_cache::{Asked, Copying, Kept, Turn, Waited, Waiting};

/// Whole seconds that Envoy waits longer than we do.
const LONGER: u64 = 2;

/// As if the backend had just given it: what the rule does to responses it does to this one.
pub(super) fn answer<'a>(exchange: &mut Exchange<'a>, kept: &'a Kept) -> ResponseStep<'a> {
    let ended = kept.body.is_empty();
    let head = ResponseHead { status: kept.head.status(), headers: &kept.head, ended };
    match exchange.on_response_head(head) {
        ResponseStep::NeedBody => exchange.on_response_body(&kept.body),
        step => step,
    }
}

impl<A: Stream<Item = Result<ProcessingRequest, Status>> + Send + Unpin> Conversation<A> {
    /// What others were answered who asked the same, or are about to be. `None`: the backend is to be asked.
    /// `later`: how long it may take then, until Envoy hears of it.
    pub(super) async fn known(&mut self, asked: &Asked, later: Duration) -> Outcome<Option<Arc<Kept>>> {
        let known = self.awaited(asked, later).await?;
        self.decider.responses.count(known.is_some());
        Ok(known)
    }

    async fn awaited(&mut self, asked: &Asked, later: Duration) -> Outcome<Option<Arc<Kept>>> {
        let responses = Arc::clone(&self.decider.responses);
        let mut deadline = None;
        loop {
            if let Some(known) = responses.get(asked) {
                return Ok(Some(known));
            }
            // That it has not changed since a client was told is an answer for that client alone.
            let leads = !asked.conditional || responses.stale(asked).is_some();
            match responses.expected.turn(asked, leads) {
                Turn::Alone => return Ok(None),
                Turn::First(first) => {
                    // Another first may just have been answered.
                    let known = responses.get(asked);
                    self.first = Some(first).filter(|_| known.is_none());
                    return Ok(known);
                }
                Turn::Waits(waiting) => match self.wait(waiting, &mut deadline, later).await? {
                    Waited::Lost => {}
                    Waited::Vain => return Ok(None),
                    Waited::Kept => {
                        let known = responses.get(asked);
                        if known.is_none() {
                            // It varies, say: the next one is not to be waited for either.
                            responses.expected.in_vain(asked);
                        }
                        return Ok(known);
                    }
                },
            }
        }
    }

    /// Unless the client goes, or Envoy answers it meanwhile. `deadline`: once it has begun.
    async fn wait(&mut self, waiting: Waiting, deadline: &mut Option<Instant>, later: Duration) -> Outcome<Waited> {
        let deadline = if let Some(deadline) = *deadline {
            deadline
        } else {
            let deadline = *deadline.insert(self.decider.responses.expected.deadline());
            self.have_envoy_wait(deadline + later).await?;
            deadline
        };
        tokio::select! {
            biased;
            waited = waiting.end(deadline) => Ok(waited),
            heard = self.hear() => match heard?.request {
                Some(Heard::ResponseHeaders(headers)) => self.let_by(headers).await.and(Err(End::Over)),
                _ => Err(out_of_turn()),
            },
        }
    }

    /// Envoy takes it once.
    async fn have_envoy_wait(&self, deadline: Instant) -> Outcome<()> {
        let seconds = deadline.saturating_duration_since(Instant::now()).as_secs() + LONGER;
        let longer = Extension { seconds: i64::try_from(seconds).unwrap_or_default(), nanos: 0 };
        self.say(ProcessingResponse { override_message_timeout: Some(longer), ..ProcessingResponse::default() }).await
    }

    /// What is kept is good still, as the backend says.
    pub(super) fn renewed(&mut self, asked: &Asked, stale: &Kept, response: &Head) -> Arc<Kept> {
        let (renewed, is_kept) = self.decider.responses.renew(asked, stale, response);
        match self.first.take() {
            Some(first) if is_kept => first.kept(),
            Some(first) => first.in_vain(),
            None => {}
        }
        renewed
    }

    /// `ended`: nothing follows the head in whose place it is.
    pub(super) async fn instead(&mut self, common: CommonResponse, body: Vec<u8>, ended: bool) -> Outcome<()> {
        let trailers = match if ended { None } else { Some(self.collect(Direction::Response, 0, None).await?) } {
            None => None,
            Some(Collected::Whole { trailers, .. }) => Some(trailers),
            Some(Collected::TooLong(_) | Collected::NoRoom) => return Err(out_of_turn()),
        };
        match trailers {
            // Of a body that was never begun Envoy takes no piece.
            None | Some(true) if !body.is_empty() => {
                self.head(Direction::Response, answer::replaced(common, body), None).await
            }
            None => self.head(Direction::Response, common, None).await,
            Some(trailers) => {
                self.head(Direction::Response, common, None).await?;
                self.body(Direction::Response, body, trailers).await
            }
        }
    }

    /// The backend's answer is there: it is copied for others, if it is for them.
    pub(super) fn answered(&mut self, asked: Option<&Asked>, answered: ResponseHead<'_>) {
        self.copying = asked.and_then(|asked| Copying::of(&self.decider.responses, asked, answered));
        match (&self.copying, &self.first) {
            (None, _) => self.not_kept(),
            (Some(_), _) if answered.ended => self.kept(),
            (Some(_), Some(first)) => first.begun(),
            (Some(_), None) => {}
        }
    }

    /// Takes a piece of a response that may be kept.
    pub(super) fn copy(&mut self, piece: &[u8], last: bool) {
        match self.copying.take().and_then(|copying| copying.with(piece)) {
            None => self.not_kept(),
            copying => self.copying = copying,
        }
        if last {
            self.kept();
        }
    }

    /// All of it has come.
    fn kept(&mut self) {
        if let Some(copying) = self.copying.take() {
            self.decider.responses.put(copying);
            if let Some(first) = self.first.take() {
                first.kept();
            }
        }
    }

    /// Whatever comes is for nobody else.
    pub(super) fn not_kept(&mut self) {
        self.copying = None;
        if let Some(first) = self.first.take() {
            first.in_vain();
        }
    }
}
