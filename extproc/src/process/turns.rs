//! What is heard and said in turns: heads, and bodies that are collected, counted or passed on as they come.

use std::sync::Arc;

use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Asked;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    CommonResponse, HttpHeaders, ProcessingRequest, ProcessingResponse,
};
use envoy_types::pb::google::protobuf::Struct;
use futures_util::{Stream, StreamExt as _};
use microgw_engine::{Decision, Deny, Reason, Rule};
use microgw_faults::Form;
use tonic::Status;

use super::answer::{self, Direction};
use super::{Begun, Collected, Conversation, End, Outcome, ROOM, message, out_of_turn};
use crate::answer::refusal;

impl<A: Stream<Item = Result<ProcessingRequest, Status>> + Send + Unpin> Conversation<A> {
    /// The next message that is not of a request that passes: what is goes on.
    pub(super) async fn next(&mut self) -> Outcome<ProcessingRequest> {
        loop {
            let message = self.hear().await?;
            if let Some(message) = self.forward(message).await? {
                return Ok(message);
            }
        }
    }

    /// Until the request's body has passed, if it does; or a message that is not of it.
    pub(super) async fn uploaded(&mut self) -> Outcome<Option<ProcessingRequest>> {
        while self.upload.is_some() {
            let message = self.hear().await?;
            if let Some(message) = self.forward(message).await? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    pub(super) async fn hear(&mut self) -> Outcome<ProcessingRequest> {
        match self.asked.next().await {
            Some(Ok(message)) => Ok(message),
            None => Err(End::Over),
            // Ending well would let the request on.
            Some(Err(status)) => Err(End::Failed(status)),
        }
    }

    /// Has a piece of a request that passes go on; any other message is given back.
    pub(super) async fn forward(&mut self, asked: ProcessingRequest) -> Outcome<Option<ProcessingRequest>> {
        let Some(passing) = &mut self.upload else { return Ok(Some(asked)) };
        let said = match asked.request {
            Some(Asked::RequestBody(piece)) => {
                let Some(left) = passing.left.checked_sub(piece.body.len()) else {
                    let (rule, form) = (Arc::clone(&passing.rule), passing.form);
                    return self.cut(Reason::BodyTooLarge, form, &rule).await;
                };
                passing.left = left;
                if piece.end_of_stream {
                    self.upload = None;
                }
                Direction::Request.piece(piece.body, piece.end_of_stream)
            }
            Some(Asked::RequestTrailers(_)) if passing.retried => {
                let (rule, form) = (Arc::clone(&passing.rule), passing.form);
                return self.cut(Reason::UnreadableBody, form, &rule).await;
            }
            Some(Asked::RequestTrailers(_)) => {
                self.upload = None;
                Direction::Request.trailers()
            }
            request => return Ok(Some(ProcessingRequest { request, ..asked })),
        };
        self.say(message(said)).await?;
        Ok(None)
    }

    /// Ends an exchange of which something has gone on already. The client is told why if its response has not begun; otherwise
    /// Envoy breaks off.
    pub(super) async fn cut<T>(&self, reason: Reason, form: Form, rule: &Rule) -> Outcome<T> {
        self.decider.metrics.denied(reason);
        self.refuse(self.decider.refusal(reason), form, Some(rule)).await?;
        Err(End::Over)
    }

    pub(super) async fn say(&self, message: ProcessingResponse) -> Outcome<()> {
        self.said.send(Ok(message)).await.map_err(|_| End::Over)
    }

    pub(super) async fn head(
        &self,
        direction: Direction,
        common: CommonResponse,
        metadata: Option<Struct>,
    ) -> Outcome<()> {
        self.say(ProcessingResponse { dynamic_metadata: metadata, ..message(direction.headers(common)) }).await
    }

    pub(super) async fn body(&self, direction: Direction, body: Vec<u8>, trailers: bool) -> Outcome<()> {
        // Trailers may come right after the head: of a body that was never begun Envoy takes no piece.
        if trailers && body.is_empty() {
            return self.say(message(direction.trailers())).await;
        }
        for piece in direction.body(body, !trailers) {
            self.say(message(piece)).await?;
        }
        if trailers { self.say(message(direction.trailers())).await } else { Ok(()) }
    }

    /// What had come of a body that goes on as it comes.
    pub(super) async fn begin(&self, direction: Direction, Begun { body, ended }: Begun) -> Outcome<()> {
        if body.is_empty() {
            return Ok(());
        }
        for piece in direction.body(body, ended) {
            self.say(message(piece)).await?;
        }
        Ok(())
    }

    pub(super) async fn refuse(&self, deny: Deny<'_>, form: Form, rule: Option<&Rule>) -> Outcome<()> {
        let refused = answer::refused(refusal(&deny, form, rule, self.decider.rate_limits));
        let dynamic_metadata = answer::metadata(self.decider.describe(&Decision::Deny(deny)));
        self.say(ProcessingResponse { dynamic_metadata, ..message(refused) }).await
    }

    /// `length`: what the message says of itself, which may be less than what comes.
    pub(super) async fn collect(
        &mut self,
        direction: Direction,
        most: usize,
        length: Option<u64>,
    ) -> Outcome<Collected> {
        let length = length.map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
        if length > most {
            self.not_kept();
            return Ok(Collected::TooLong(Begun::default()));
        }
        // Room for what has come, not for what is promised: whoever sends a head alone takes none.
        let mut body = Vec::with_capacity(length.min(ROOM));
        loop {
            let piece = match (self.next().await?.request, direction) {
                (Some(Asked::RequestBody(piece)), Direction::Request)
                | (Some(Asked::ResponseBody(piece)), Direction::Response) => piece,
                (Some(Asked::RequestTrailers(_)), Direction::Request)
                | (Some(Asked::ResponseTrailers(_)), Direction::Response) => {
                    self.not_kept();
                    return Ok(Collected::Whole { body, trailers: true });
                }
                // The client was too slow, say: Envoy has answered, and the request goes nowhere.
                (Some(Asked::ResponseHeaders(headers)), Direction::Request) => {
                    return self.let_by(headers).await.and(Err(End::Over));
                }
                _ => return Err(out_of_turn()),
            };
            let is_longer = body.len().saturating_add(piece.body.len()) > most;
            if !self.held.grow(piece.body.len()) {
                self.not_kept();
                return Ok(Collected::NoRoom);
            }
            body.extend_from_slice(&piece.body);
            if is_longer {
                // It may be refused: it is for nobody else.
                self.not_kept();
                return Ok(Collected::TooLong(Begun { body, ended: piece.end_of_stream }));
            }
            if direction == Direction::Response {
                self.copy(&piece.body, piece.end_of_stream);
            }
            if piece.end_of_stream {
                return Ok(Collected::Whole { body, trailers: false });
            }
        }
    }

    /// A reply of Envoy's own goes by.
    pub(super) async fn let_by(&mut self, headers: HttpHeaders) -> Outcome<()> {
        self.head(Direction::Response, CommonResponse::default(), None).await?;
        if headers.end_of_stream { Ok(()) } else { self.pass_response(usize::MAX).await.map(drop) }
    }

    /// A response's body goes on as it comes, until it ends, or is longer than it may be.
    pub(super) async fn echo(&mut self, most: usize, rule: &Rule, form: Form) -> Outcome<()> {
        if self.pass_response(most).await? {
            return Ok(());
        }
        self.not_kept();
        self.cut(Reason::ResponseTooLarge, form, rule).await
    }

    /// `false`: it is longer.
    pub(super) async fn pass_response(&mut self, mut left: usize) -> Outcome<bool> {
        loop {
            match self.next().await?.request {
                Some(Asked::ResponseBody(piece)) => {
                    let last = piece.end_of_stream;
                    match left.checked_sub(piece.body.len()) {
                        Some(rest) => left = rest,
                        None => return Ok(false),
                    }
                    self.copy(&piece.body, last);
                    self.say(message(Direction::Response.piece(piece.body, last))).await?;
                    if last {
                        return Ok(true);
                    }
                }
                Some(Asked::ResponseTrailers(_)) => {
                    // What is kept has none.
                    self.not_kept();
                    self.say(message(Direction::Response.trailers())).await?;
                    return Ok(true);
                }
                // What is left of a request that was answered meanwhile.
                Some(Asked::RequestBody(_) | Asked::RequestTrailers(_)) => {}
                _ => return Err(out_of_turn()),
            }
        }
    }
}
